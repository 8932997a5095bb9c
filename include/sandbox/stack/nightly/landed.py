"""Reads the landed documents from the warehouse's own tables, as an analyst would."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from sandbox.stack.nightly.verify import LandedDocument, Place

#: The schema that the DAGs land in.
DATASET = "extend"

#: Columns that join all tables: one document in one workflow.
KEY = ("document_id", "workflow_id", "workflow_version_requested")

#: Selects a workflow and a prefix of the keys.
_OF_THESE = "workflow_id = ? AND starts_with(key, ?)"

#: The first columns of every table of an extractor.
RESULT_COLUMNS = (*KEY, "run_id", "result_idx", "file_id")


@dataclasses.dataclass(frozen=True, slots=True)
class ExtractedTable:
    """A table made from an extractor's schema.

    :param path: path of the list whose items are the rows, with None for "each item"; empty for the document.
    :param positions: columns with the positions of the items, outermost list first.
    :param columns: the value columns, each with its path.
    """

    name: str
    extractor: str
    path: tuple[str | None, ...]
    positions: tuple[str, ...]
    columns: Mapping[str, tuple[str | None, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Extraction:
    """The values that one extractor found in one file.

    :param table: the extractor's main table.
    :param values: the values from all tables of the extractor, by place, without nulls.
    """

    document_id: str
    file_id: str | None
    table: str
    values: dict[Place, Any]


class LandedWarehouse:
    """A warehouse opened for reading; a context manager that closes it.

    :param place: a DuckDB file, or a Postgres database as libpq's connection string.
    :raises duckdb.IOException: the file does not exist, or a writer has it open.
    """

    def __init__(self, place: Path | str) -> None:
        self._database: Any
        if isinstance(place, Path):
            self._database, self._mark = duckdb.connect(str(place), read_only=True), "?"
        else:
            self._database, self._mark = psycopg.connect(place, autocommit=True), "%s"

    def __enter__(self) -> LandedWarehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        found: list[tuple[Any, ...]] = self._database.execute(
            sql.replace("?", self._mark), list(parameters) or None
        ).fetchall()
        return found

    def table_counts(self) -> dict[str, int]:
        """Return the number of rows of each table and view, by name."""
        names = self.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name",
            [DATASET],
        )
        return {name: self.rows(f"SELECT count(*) FROM {_qualified(name)}")[0][0] for (name,) in names}

    def views(self) -> set[str]:
        """Return the names of the views."""
        sql = "SELECT table_name FROM information_schema.views WHERE table_schema = ?"
        return {name for (name,) in self.rows(sql, [DATASET])}

    def extracted_tables(self) -> list[ExtractedTable]:
        """Return the tables of all extractors, each main table before those of its lists."""
        tables: dict[str, tuple[str, tuple[str | None, ...]]] = {}
        columns: dict[str, dict[str, tuple[str | None, ...]]] = {}
        for name, column, extractor, source in self.rows(
            f"SELECT table_name, column_name, extractor, source_path FROM {_qualified('dictionary')}"
        ):
            if column:
                columns.setdefault(name, {})[column] = _path(source)
            else:
                tables[name] = (extractor, _path(source))
        found = [
            ExtractedTable(
                name, extractor, path, self._positions(name, columns.get(name, {})), columns.get(name, {})
            )
            for name, (extractor, path) in tables.items()
        ]
        return sorted(found, key=lambda table: (table.extractor, len(table.path), table.name))

    def documents(self, workflow_id: str, prefix: str) -> Iterator[tuple[str, LandedDocument]]:
        """Yield the documents of a workflow whose keys start with a prefix, with their keys."""
        kinds: dict[str, str] = {}
        values: dict[str, dict[Place, Any]] = {}
        for extraction in self.extractions(workflow_id, prefix):
            # A merged extractor comes before its parts: "Invoice", "Invoice lines".
            kinds.setdefault(extraction.document_id, extraction.table)
            values.setdefault(extraction.document_id, {}).update(extraction.values)
        for document_id, key, status, reason in self.rows(
            f"SELECT document_id, key, status, reason FROM {_qualified('documents')} WHERE {_OF_THESE}",
            [workflow_id, prefix],
        ):
            landed = LandedDocument(status, reason, kinds.get(document_id), values.get(document_id, {}))
            yield key, landed

    def extractions(self, workflow_id: str, prefix: str) -> list[Extraction]:
        """Return the extractions of the documents of a workflow whose keys start with a prefix."""
        found: dict[tuple[str, str, int], Extraction] = {}
        roots: dict[str, str] = {}
        for table in self.extracted_tables():
            root = roots.setdefault(table.extractor, table.name)
            for document_id, result_idx, file_id, row in self._rows_of(table, (workflow_id, prefix)):
                extraction = Extraction(document_id, file_id, root, {})
                found.setdefault((document_id, root, result_idx), extraction).values.update(row)
        return list(found.values())

    def _rows_of(
        self, table: ExtractedTable, parameters: Sequence[str]
    ) -> Iterator[tuple[str, int, str | None, dict[Place, Any]]]:
        names = (*table.positions, *table.columns)
        picked = ", ".join(("document_id", "result_idx", "file_id", *(f'"{name}"' for name in names)))
        documents = f"SELECT {', '.join(KEY)} FROM {_qualified('documents')} WHERE {_OF_THESE}"
        sql = f"SELECT {picked} FROM {_qualified(table.name)} WHERE ({', '.join(KEY)}) IN ({documents})"
        for document_id, result_idx, file_id, *cells in self.rows(sql, parameters):
            positions, found = cells[: len(table.positions)], cells[len(table.positions) :]
            row = {
                _placed(path, positions): value
                for path, value in zip(table.columns.values(), found, strict=True)
                if value is not None
            }
            yield document_id, result_idx, file_id, row

    def _positions(self, table: str, columns: Mapping[str, object]) -> tuple[str, ...]:
        names = self.rows(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
            [DATASET, table],
        )
        return tuple(name for (name,) in names if name not in columns and name not in RESULT_COLUMNS)


def _placed(path: tuple[str | None, ...], positions: Sequence[int]) -> Place:
    """Return the path with each None replaced by a position."""
    remaining = iter(positions)
    return tuple(next(remaining) if part is None else part for part in path)


def _path(source: Any) -> tuple[str | None, ...]:
    """Read a path, which Postgres has as JSON and DuckDB as its text."""
    return tuple(json.loads(source) if isinstance(source, str) else source)


def _qualified(table: str) -> str:
    return f'"{DATASET}"."{table}"'
