"""The tables and views of a dataset in a DuckDB file: what there is, and what a part makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extend_pipeline.warehouse.schema import migrations, tables, views
from extend_pipeline.warehouse.schema.dictionary import Dictionary, Table
from extend_pipeline.warehouse.sql import TYPES, Columns, created, literal, quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session


class Catalog:
    """The catalog is read once, and known from then on.

    :param session: a transaction is open on it.
    """

    def __init__(self, session: Session, dataset: str) -> None:
        self._session = session
        self._dataset = dataset
        session.make_schema(dataset)
        self._columns: dict[str, set[str]] = {}
        for table, column in session.rows(
            "read columns",
            "SELECT table_name, column_name FROM duckdb_columns() "
            f"WHERE database_name = current_database() AND schema_name = {literal(dataset)}",
        ):
            self._columns.setdefault(table, set()).add(column)
        self._columns.pop(migrations.TABLE, None)  # it tells of the others

    def __contains__(self, table: str) -> bool:
        """Whether there is a table of this name."""
        return table in self._columns

    def __len__(self) -> int:
        """Return how many tables and views there are."""
        return len(self._columns)

    def make_fixed_tables(self) -> None:
        """Make the tables that every dataset has, with their columns, and the views."""
        for table, wanted in tables.FIXED.items():
            self._make_table(table, wanted)
        made = {view: views.made_view(self._dataset, view) for view in views.VIEWS}
        self._session.make_views(self._dataset, made)

    def make_generated_tables(self, dictionary: Dictionary, groups: list[list[Table]]) -> None:
        """Make, complete and widen the tables that the part has rows for."""
        for table, column, kind in dictionary.widened:
            if column in self._columns.get(table, ()):
                self._session.run(
                    f"widen {table}",
                    f"ALTER TABLE {self._name(table)} ALTER COLUMN {quoted(column)} TYPE {TYPES[kind]}",
                )
        for filled in {table.name: table for group in groups for table in group}.values():
            self._make_table(filled.name, dictionary.layout(filled))

    def _make_table(self, name: str, columns: Columns) -> None:
        """Make a table, or give it the columns that it does not have yet."""
        existing = self._columns.get(name)
        if existing is None:
            self._session.run(f"make {name}", created(self._name(name), columns))
            self._columns[name] = set(columns)
            return
        for column in [column for column in columns if column not in existing]:
            self._session.run(
                f"widen {name}",
                f"ALTER TABLE {self._name(name)} ADD COLUMN {quoted(column)} {TYPES[columns[column]]}",
            )
            existing.add(column)

    def _name(self, name: str) -> str:
        return f"{quoted(self._dataset)}.{quoted(name)}"
