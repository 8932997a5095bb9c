"""The dictionary: which generated table or column holds which path of an extraction.

A name, once given, stays with its path. A column is widened where that keeps every value (integers to
decimals, dates to times). A field that is declared with an incompatible type gets a second column beside the
first, so that no column changes its meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from extend_pipeline.warehouse.records import SchemaContract
from extend_pipeline.warehouse.schema import tables, views
from extend_pipeline.warehouse.schema.json_schema import SchemaColumn, SchemaTable, schema_tables
from extend_pipeline.warehouse.schema.names import Path, beside, identifier, identifiers, path_of, path_text
from extend_pipeline.warehouse.sql import ColumnType

#: Fields that an error names before it only counts them.
_NAMED: Final = 20
#: Names that no extractor's table can have.
_RESERVED: Final = (*tables.FIXED, *views.VIEWS)


@dataclasses.dataclass(frozen=True, slots=True)
class Extractor:
    """An extractor with one of its schemas.

    It is identified by its name, because the two API versions give the same extractor different ids.
    """

    name: str
    schema: Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A generated column. ``type`` is how its values are read; the table's column may be wider."""

    name: str
    path: Path
    type: ColumnType


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A generated table, as one schema fills it.

    :param path: the list whose items are the rows; empty for the extraction itself.
    :param positions: for each list on the way to a row, outermost first, the column with the item's position.
    :param objects: paths of the objects that its columns are taken from.
    :param discarded: paths of fields and lists that the contract keeps out of the tables.
    """

    name: str
    path: Path
    positions: tuple[str, ...]
    columns: tuple[Column, ...]
    objects: tuple[Path, ...]
    discarded: tuple[Path, ...] = ()

    @property
    def own_columns(self) -> dict[str, ColumnType]:
        """The columns before the declared ones: keys and positions."""
        return {**tables.RESULT, **dict.fromkeys(self.positions, ColumnType.INTEGER)}

    @property
    def all_columns(self) -> dict[str, ColumnType]:
        """All columns that the schema fills."""
        return {**self.own_columns, **{column.name: column.type for column in self.columns}}


class Dictionary:
    """What the ``dictionary`` table holds, and what an extractor's schema adds to it.

    :param rows: the table's rows, see :data:`extend_pipeline.warehouse.schema.tables.DICTIONARY`.
    :param contract: what happens to fields for which an extractor's tables have no column yet.
    :ivar added: rows that are new.
    :ivar widened: ``(table, column, type)`` of existing columns that have to become wider.
    :ivar refused: what the contract ``freeze`` refuses, in words.
    :ivar problems: ``(code, table, column, path, message)`` for names and types that did not fit.
    """

    def __init__(self, rows: Iterable[Sequence[Any]], contract: SchemaContract = "evolve") -> None:
        self.added: list[tuple[str | None, ...]] = []
        self.widened: list[tuple[str, str, ColumnType]] = []
        self.refused: list[str] = []
        self.problems: list[tuple[str, ...]] = []
        self._contract = contract
        self._tables: dict[str, Path] = {}
        self._columns: dict[str, dict[str, Column]] = {}
        for table, column, extractor, source_path, kind, _ in rows:
            path = path_of(source_path)
            if column:
                self._columns.setdefault(table, {})[column] = Column(column, path, ColumnType(kind))
            else:
                self._tables[table] = (extractor, *path)
        #: The contract only applies to extractors that have landed before.
        self._bound = {path[0] for path in self._tables.values()}

    @property
    def table_names(self) -> list[str]:
        """All generated tables."""
        return list(self._tables)

    def refusal(self, dataset: str) -> str:
        """Return what the contract ``freeze`` refuses, as a message; empty if there is nothing."""
        if not self.refused:
            return ""
        named = "; ".join(self.refused[:_NAMED])
        if len(self.refused) > _NAMED:
            named += f" and {len(self.refused) - _NAMED:,} more"
        return (
            f"The tables of {dataset} have no place for what an extractor has now, and "
            f"schema_contract='freeze' makes none. {named}."
        )

    def layout(self, table: Table) -> dict[str, ColumnType]:
        """Return all columns that the table has, whichever schema they are from."""
        known = self._columns.get(table.name, {})
        return {**table.own_columns, **{column.name: column.type for column in known.values()}}

    def tables_of(self, extractor: Extractor) -> list[Table]:
        """Return the tables of an extractor's schema, parents first; empty if it has no schema."""
        if extractor.schema is None:
            message = f"Extractor {extractor.name!r} has no JSON Schema: its values are in fields only."
            self._problem("NO_SCHEMA", extractor.name, "", (), message)
            return []
        discarded: list[Path] = []
        planned = self._let_in(extractor, schema_tables(extractor.schema), discarded)
        found = self._table_names(extractor, planned)
        filled = [self._table(found[table.path], table, extractor, discarded) for table in planned]
        if discarded:
            filled[0] = dataclasses.replace(filled[0], discarded=tuple(discarded))
        return filled

    # tables

    def _let_in(
        self, extractor: Extractor, planned: Iterable[SchemaTable], discarded: list[Path]
    ) -> list[SchemaTable]:
        """Return the tables that exist or may be made; lists within a refused list are left out, too."""
        known = set(self._tables.values())
        kept: dict[Path, SchemaTable] = {}
        for table in planned:
            if table.path and _around(table.path) not in kept:
                continue
            if (extractor.name, *table.path) in known or self._may(
                extractor, table.path[:-1], "a new list", discarded
            ):
                kept[table.path] = table
        return list(kept.values())

    def _table_names(self, extractor: Extractor, planned: Iterable[SchemaTable]) -> dict[Path, str]:
        given: dict[str, Path | None] = {**dict.fromkeys(_RESERVED), **self._tables}
        known = {path: name for name, path in self._tables.items()}
        base = known.get((extractor.name,), extractor.name)
        wanted = {
            (extractor.name, *table.path): "_".join([base, *_keys(table.path)]) if table.path else base
            for table in planned
        }
        found = identifiers(wanted, given)
        for path, name in found.items():
            if name in self._tables:
                continue
            self._tables[name] = path
            self._add(name, "", extractor, path[1:], None, None)
            if name != identifier(wanted[path]):
                message = f"{wanted[path]!r} is table {name}: the plain name is taken or too long."
                self._problem("NAME_CHANGED", name, "", path[1:], message)
        return {path[1:]: name for path, name in found.items()}

    def _table(self, name: str, planned: SchemaTable, extractor: Extractor, discarded: list[Path]) -> Table:
        positions = position_columns(planned.path)
        known = self._columns.setdefault(name, {})
        holders = {(column.path, column.type.family): column for column in known.values()}
        paths = {column.path for column in known.values()}
        columns: list[Column] = []
        new: list[SchemaColumn] = []
        for column in planned.columns:
            holder = holders.get((column.path, column.type.family))
            if holder is None:
                change = "another type" if column.path in paths else "a new field"
                if self._may(extractor, column.path, f"{change}, {column.type}", discarded):
                    new.append(column)
            elif self._holds(holder, column, name, extractor, discarded):
                columns.append(Column(holder.name, column.path, column.type))
        plain = self._plain_names(name, planned.path, [column.path for column in new], positions)
        for column in new:
            chosen = plain[column.path]
            if column.path in paths:
                chosen = self._beside(name, chosen, column)
            elif chosen != _wanted(planned.path, column.path):
                message = f"The field is column {chosen}: its own name is taken, reserved or no identifier."
                self._problem("NAME_CHANGED", name, chosen, column.path, message)
            known[chosen] = Column(chosen, column.path, column.type)
            columns.append(known[chosen])
            self._add(name, chosen, extractor, column.path, column.type, column.description)
        return Table(name, planned.path, positions, tuple(columns), planned.objects)

    # columns

    def _holds(
        self,
        holder: Column,
        column: SchemaColumn,
        table: str,
        extractor: Extractor,
        discarded: list[Path],
    ) -> bool:
        """Return True if a column of the same family takes the values, widened if necessary and allowed."""
        wider = holder.type.widened(column.type)
        if wider is holder.type:
            return True
        if not self._may(extractor, column.path, f"{wider}, where it was {holder.type}", discarded):
            return False
        self._columns[table][holder.name] = dataclasses.replace(holder, type=wider)
        self.widened.append((table, holder.name, wider))
        return True

    def _plain_names(
        self, table: str, table_path: Path, paths: Iterable[Path], positions: Iterable[str]
    ) -> dict[Path, str]:
        """Return the name of each field's first column; give a name to a field without one."""
        given: dict[str, Path | None] = {**dict.fromkeys(tables.RESULT), **dict.fromkeys(positions)}
        for column in self._columns[table].values():
            is_beside = column.name.endswith(f"__{column.type.family}")
            given[column.name] = None if is_beside else column.path
        return identifiers({path: _wanted(table_path, path) for path in paths}, given)

    def _beside(self, table: str, plain: str, column: SchemaColumn) -> str:
        """Return the name of a second column for a field, and report it as a problem."""
        known = self._columns[table]
        message = (
            f"The field's type has changed from {known[plain].type} to {column.type}. Each has a column of "
            f"its own, {plain} and another one that starts with {plain}__; the dictionary has both."
        )
        self._problem("TYPE_CHANGED", table, plain, column.path, message)
        return beside(plain, column.type.family, column.path, known)

    # the contract

    def _may(self, extractor: Extractor, path: Path, change: str, discarded: list[Path]) -> bool:
        """Return True if the tables may change for a field; otherwise refuse or discard it, and report it."""
        if self._contract == "evolve" or extractor.name not in self._bound:
            return True
        if self._contract == "freeze":
            self.refused.append(f"{extractor.name}: {'.'.join(_keys(path))} is {change}")
        else:
            discarded.append(path)
            message = f"It is {change}; schema_contract='discard' keeps it out of the tables. See fields."
            self._problem("DISCARDED", self._own_table(extractor), "", path, message)
        return False

    def _own_table(self, extractor: Extractor) -> str:
        return next(name for name, path in self._tables.items() if path == (extractor.name,))

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


def _wanted(table_path: Path, path: Path) -> str:
    return "_".join(_keys(path[len(table_path) :])) or "value"


def _around(path: Path) -> Path:
    """Return the path of the table that contains a list."""
    ends = [end for end, key in enumerate(path[:-1]) if key is None]
    return path[: ends[-1] + 1] if ends else ()


def _keys(path: Path) -> list[str]:
    return [key for key in path if key is not None]
