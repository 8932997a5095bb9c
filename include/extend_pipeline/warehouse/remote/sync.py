"""Landing a part in a destination: its affected rows are fetched, landed on in DuckDB, and replaced.

The workbench is a temporary DuckDB file. It gets the affected rows, which are those that landing the part can
read or change; the part lands in it as in any DuckDB warehouse; then the affected rows of the destination are
replaced by what the workbench holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse
from extend_pipeline.warehouse.files import StagedFile, read_lines
from extend_pipeline.warehouse.records import Landing, LandingPolicy, Provenance
from extend_pipeline.warehouse.remote import limits
from extend_pipeline.warehouse.remote.destination import DestinationSession
from extend_pipeline.warehouse.schema import tables, views
from extend_pipeline.warehouse.schema.wide_tables import Segments, joined, segmented, segments_of
from extend_pipeline.warehouse.sql import (
    TYPES,
    Columns,
    ColumnType,
    created,
    literal,
    names,
    qualified,
    quoted,
)
from extend_pipeline.warehouse.transform.landing import Load
from extend_pipeline.warehouse.transform.parse import ParsedPart

_DOCUMENT: Final[Columns] = {"document_id": ColumnType.TEXT}
_RUN: Final[Columns] = {"run_id": ColumnType.TEXT}
_NAME: Final[Columns] = {"table_name": ColumnType.TEXT, "column_name": ColumnType.TEXT}


class Sync:
    """Lands one part in a destination.

    :param workbench: open, empty, and thrown away afterwards; of the same dataset.
    :param there: a session of the destination; a transaction is open, and no other run writes to the dataset.
    :param folder: for files that pass between the two.
    """

    def __init__(
        self,
        workbench: DuckDBWarehouse,
        there: DestinationSession,
        part: ParsedPart,
        provenance: Provenance,
        folder: Path,
    ) -> None:
        self._workbench = workbench
        self._here = workbench.session(f"Part {provenance.part}")
        self._there = there
        self._dataset = workbench.dataset
        self._part = part
        self._provenance = provenance
        self._folder = folder
        self._numbers = itertools.count()
        self._affected = self._affected_rows()

    def land(self, policy: LandingPolicy, *, withhold: bool = False) -> Landing:
        """Land the part; see :meth:`extend_pipeline.warehouse.api.Warehouse.land`."""
        before = self._fetch_affected()
        with self._workbench.memory_for(self._part, self._here):
            load = Load(self._here, self._dataset, self._part, self._provenance, policy, withhold=withhold)
            landing = load.run()
            limits.replace(self._here, self._dataset, self._there.destination.dialect)
            after = self._segmented(before)
            self._evolve(before, after)
            self._replace_affected(after)
        return landing

    # the slice

    def _affected_rows(self) -> dict[str, Sequence[str]]:
        """Return the conditions of the affected rows by table; only the first may overlap with the others.

        Landing the part neither reads nor changes other rows of these tables. In all other tables it replaces
        rows with their document, without reading them. Every engine can delete by each condition: Delta has
        no ``NOT IN`` beside an ``OR``.
        """
        runs = read_lines(self._part.runs, {"run_id": "VARCHAR"})
        of_documents = self._of_documents(f"SELECT DISTINCT document_id FROM {self._submitted()}")
        run_ids = self._uploaded(_RUN, f"SELECT DISTINCT run_id FROM {runs}")
        of_runs = f"run_id IN (SELECT run_id FROM {run_ids})"
        return {
            "dictionary": ["1 = 1"],
            "documents": [of_documents],
            "runs": [of_documents, of_runs],
            "problems": [of_documents, of_runs, "document_id IS NULL AND run_id IS NULL"],
            "claims": [of_documents],
            "loads": [f"part = {literal(self._provenance.part)}"],
        }

    def _submitted(self) -> str:
        return read_lines(self._part.submission, {"document_id": "VARCHAR"})

    def _of_documents(self, document_ids: str) -> str:
        """Return the condition of the rows of these documents, for this workflow and version."""
        return (
            f"(document_id IN (SELECT document_id FROM {self._uploaded(_DOCUMENT, document_ids)}) "
            f"AND {self._of_workflow()})"
        )

    def _of_workflow(self) -> str:
        origin = self._provenance
        version = literal(origin.version or "")
        return f"workflow_id = {literal(origin.workflow_id)} AND workflow_version_requested = {version}"

    def _last_load(self) -> str:
        """Return the condition of the workflow's last load of another part."""
        loads, part = self._table("loads"), literal(self._provenance.part)
        others = f"{self._of_workflow()} AND part <> {part}"
        return f"{others} AND ended_at = (SELECT max(ended_at) FROM {loads} WHERE {others})"

    # from there to here

    def _fetch_affected(self) -> dict[str, Columns]:
        """Make the destination's tables in the workbench, with the affected rows; return what there is."""
        there = self._there.columns(self._dataset)
        known = [table for table in tables.FIXED if table in there]
        self._here.make_schema(self._dataset)
        brought = f"document_id IN (SELECT document_id FROM {self._submitted()}) AND {self._of_workflow()}"
        for table in known:
            self._here.run(f"make {table}", created(self._table(table), there[table]))
            for number, condition in enumerate(self._affected.get(table, ())):
                self._fetch(table, there[table], condition, but=brought if number else "1 = 0")
        if "loads" in known:
            self._fetch("loads", there["loads"], self._last_load())
        nothing = ", ".join(f"'' AS {name}" for name in tables.DICTIONARY)
        names_before = f"SELECT {nothing} WHERE 1 = 0"
        if "dictionary" in known:
            names_before = f"SELECT {names(tables.DICTIONARY)} FROM {self._table('dictionary')}"
            generated = self._here.rows(
                "read table names", f"SELECT DISTINCT table_name FROM {self._table('dictionary')}"
            )
            for table in (name for (name,) in generated if name in there):
                columns = joined(segments_of(table, there))
                self._here.run(f"make {table}", created(self._table(table), columns))
        self._here.run("stage _names", f"CREATE TEMP TABLE _names AS {names_before}")
        return there

    def _fetch(self, table: str, columns: Columns, condition: str, *, but: str = "1 = 0") -> None:
        """Copy rows of the destination into the workbench's table of the same name, as text.

        :param but: in DuckDB's dialect, which of them to leave out.
        """
        texts = ", ".join(self._there.destination.as_text(column, kind) for column, kind in columns.items())
        pages = self._there.pages(
            f"read {table}", f"SELECT {texts} FROM {self._table(table)} WHERE {condition}"
        )
        file = StagedFile(self._new_file())
        try:
            for row in itertools.chain.from_iterable(pages):
                file.write(dict(zip(columns, row, strict=True)))
        finally:
            file.close()
        if file.lines:
            typed = ", ".join(f"CAST({quoted(name)} AS {TYPES[kind]})" for name, kind in columns.items())
            source = read_lines(file, dict.fromkeys(columns, "VARCHAR"))
            self._here.run(
                f"bring in {table}",
                f"INSERT INTO {self._table(table)} ({names(columns)}) SELECT {typed} FROM {source} "
                f"WHERE ({but}) IS NOT TRUE",
            )

    # from here to there

    def _segmented(self, before: Mapping[str, Columns]) -> dict[str, Segments]:
        """Return the segments in the destination of each table that the workbench has."""
        generated = set(
            self._here.rows("read names", f"SELECT {names(_NAME)} FROM {self._table('dictionary')}")
        )
        widest = self._there.destination.dialect.widest
        return {
            table: segmented(
                table,
                columns,
                {column for column in columns if (table, column) not in generated},
                segments_of(table, before),
                widest,
            )
            for table, columns in self._here.columns(self._dataset).items()
        }

    def _evolve(self, before: Mapping[str, Columns], after: Mapping[str, Segments]) -> None:
        """Make new tables and columns, widen columns, and renew the views."""
        self._there.make_schema(self._dataset)
        for name, columns in itertools.chain.from_iterable(each.items() for each in after.values()):
            self._there.fit_table(self._dataset, name, columns, before.get(name))
        self._there.make_views(self._dataset, views.statements(self._dataset))

    def _names_changed(self) -> bool:
        dictionary = self._table("dictionary")
        return bool(
            self._here.rows(
                "compare names",
                f"(FROM {dictionary} EXCEPT FROM _names) UNION ALL (FROM _names EXCEPT FROM {dictionary})",
            )
        )

    def _replace_affected(self, after: Mapping[str, Segments]) -> None:
        """Replace the affected rows by those of the workbench, the ledger's row last."""
        landed = self._of_documents("SELECT document_id FROM _landing")  # as Load leaves it
        self._there.start_writing()
        unchanged = set() if self._names_changed() else {"dictionary"}
        for table in sorted(after.keys() - unchanged, key=lambda name: (name == "loads", name)):
            this_part = f" WHERE {self._affected[table][0]}" if table == "loads" else ""
            for name, columns in after[table].items():
                for condition in self._affected.get(table, [landed]):
                    self._there.run(
                        f"delete from {name}", f"DELETE FROM {self._table(name)} WHERE {condition}"
                    )
                rows = f"SELECT {names(columns)} FROM {self._table(table)}{this_part}"
                self._append(self._table(name), columns, rows)

    def _uploaded(self, columns: Columns, rows: str) -> str:
        """Upload rows to a temporary table of the destination; return its name."""
        table = self._there.temporary(columns)
        self._append(table, columns, rows)
        return table

    def _append(self, table: str, columns: Columns, rows: str) -> None:
        self._there.append(f"insert into {table}", table, columns, self._here, rows, self._new_file())

    def _new_file(self) -> Path:
        return self._folder / f"rows-{next(self._numbers)}"

    def _table(self, name: str) -> str:
        return qualified(self._dataset, name)
