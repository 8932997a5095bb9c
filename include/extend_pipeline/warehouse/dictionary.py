"""The warehouse's dictionary: which table and column stands for what, now and from now on.

A name, once given, stays with its path, and a column keeps its first type: a value of another type is told
of in ``problems`` instead of changing the column under its readers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from extend_pipeline.warehouse import tables
from extend_pipeline.warehouse.names import Path, identifier, identifiers, path_of, path_text
from extend_pipeline.warehouse.staging import Extractor
from extend_pipeline.warehouse.table_plan import ColumnType, PlannedTable, plan_tables


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A generated column. ``type`` is what the table has, which a later schema may contradict."""

    name: str
    path: Path
    type: ColumnType


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A generated table.

    :param path: the list whose items are the rows, empty for the extraction itself.
    :param positions: for each list on the way to a row, outermost first, the column with the item's position.
    :param objects: paths of the objects that its columns are taken from.
    """

    name: str
    path: Path
    positions: tuple[str, ...]
    columns: tuple[Column, ...]
    objects: tuple[Path, ...]

    @property
    def own_columns(self) -> dict[str, ColumnType]:
        """The columns before the declared ones: keys and positions."""
        return {**tables.RESULT, **dict.fromkeys(self.positions, ColumnType.INTEGER)}

    @property
    def all_columns(self) -> dict[str, ColumnType]:
        """All columns with their types."""
        return {**self.own_columns, **{column.name: column.type for column in self.columns}}


class Dictionary:
    """What the ``dictionary`` table holds, and what an extractor's schema adds to it.

    :param rows: the table's rows, see :data:`extend_pipeline.warehouse.tables.DICTIONARY`.
    :ivar added: rows that are new.
    :ivar problems: ``(code, table, column, path, message)`` for names and types that did not fit.
    """

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self.added: list[tuple[str | None, ...]] = []
        self.problems: list[tuple[str, ...]] = []
        self._tables: dict[str, Path] = {}
        self._columns: dict[str, dict[str, Column]] = {}
        for table, column, extractor, source_path, kind, _ in rows:
            path = path_of(source_path)
            if column:
                self._columns.setdefault(table, {})[column] = Column(column, path, ColumnType(kind))
            else:
                self._tables[table] = (extractor, *path)

    @property
    def table_names(self) -> list[str]:
        """All generated tables."""
        return list(self._tables)

    def tables_of(self, extractor: Extractor) -> list[Table]:
        """Return the tables of an extractor's schema, parents first; empty if it has no schema."""
        if extractor.schema is None:
            message = f"Extractor {extractor.name!r} has no JSON Schema: its values are in fields only."
            self._problem("NO_SCHEMA", extractor.name, "", (), message)
            return []
        planned = plan_tables(extractor.schema)
        table_names = self._table_names(extractor, planned)
        return [self._table(table_names[table.path], table, extractor) for table in planned]

    def _table_names(self, extractor: Extractor, planned: Iterable[PlannedTable]) -> dict[Path, str]:
        given: dict[str, Path | None] = {**dict.fromkeys(tables.FIXED), **self._tables}
        known = {path: name for name, path in self._tables.items()}
        base = known.get((extractor.name,), extractor.name)
        wanted = {
            (extractor.name, *table.path): "_".join([base, *_keys(table.path)]) if table.path else base
            for table in planned
        }
        found = identifiers(wanted, given)
        for path, name in found.items():
            if path in known:
                continue
            self._tables[name] = path
            self._add(name, "", extractor, path[1:], None, None)
            if name != identifier(wanted[path]):
                message = f"{wanted[path]!r} is table {name}: the plain name is taken or too long."
                self._problem("NAME_CHANGED", name, "", path[1:], message)
        return {path[1:]: name for path, name in found.items()}

    def _table(self, name: str, planned: PlannedTable, extractor: Extractor) -> Table:
        positions = position_columns(planned.path)
        known = self._columns.setdefault(name, {})
        given: dict[str, Path | None] = {**dict.fromkeys(tables.RESULT), **dict.fromkeys(positions)}
        given.update({column.name: column.path for column in known.values()})
        wanted = {
            column.path: "_".join(_keys(column.path[len(planned.path) :])) or "value"
            for column in planned.columns
        }
        found = identifiers(wanted, given)
        for column in planned.columns:
            chosen = found[column.path]
            if chosen not in known:
                known[chosen] = Column(chosen, column.path, column.type)
                self._add(name, chosen, extractor, column.path, column.type, column.description)
                if chosen != wanted[column.path]:
                    message = (
                        f"The field is column {chosen}: its own name is taken, reserved or no identifier."
                    )
                    self._problem("NAME_CHANGED", name, chosen, column.path, message)
            elif known[chosen].type is not column.type:
                message = (
                    f"The column is {known[chosen].type} and stays it; the schema now says {column.type}. "
                    "Values that do not fit have a row of their own here."
                )
                self._problem("TYPE_CHANGED", name, chosen, column.path, message)
        columns = tuple(known[found[column.path]] for column in planned.columns)
        return Table(name, planned.path, positions, columns, planned.objects)

    def _add(
        self,
        table: str,
        column: str,
        extractor: Extractor,
        path: Path,
        kind: ColumnType | None,
        description: str | None,
    ) -> None:
        self.added.append((table, column, extractor.name, path_text(path), kind, description))

    def _problem(self, code: str, table: str, column: str, path: Path, message: str) -> None:
        self.problems.append((code, table, column, path_text(path), message))


def position_columns(path: Path) -> tuple[str, ...]:
    """Return the position columns of a list's table, ``line_items_idx, idx`` for the taxes of each item."""
    lists = [path[: end + 1] for end, key in enumerate(path) if key is None]
    outer = {
        each: "_".join(_keys(each[len(before) :])) + "_idx"
        for before, each in zip([(), *lists], lists[:-1], strict=False)
    }
    found = identifiers(outer, {"idx": None, **dict.fromkeys(tables.RESULT)})
    return (*found.values(), "idx") if lists else ()


def _keys(path: Path) -> list[str]:
    return [key for key in path if key is not None]
