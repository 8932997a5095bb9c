"""Landing one part: everything of it or nothing, in one transaction, the ledger's row last."""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from extend_pipeline.documents import RUN_MISSING
from extend_pipeline.warehouse import shaping, tables
from extend_pipeline.warehouse.dictionary import Dictionary, Table
from extend_pipeline.warehouse.records import Landing, Provenance, WarehouseError
from extend_pipeline.warehouse.sql import (
    TYPES,
    created,
    literal,
    names,
    quoted,
    read_lines,
    text_columns,
    typed,
)
from extend_pipeline.warehouse.staging import StagedPart
from extend_pipeline.warehouse.table_plan import ColumnType
from extend_pipeline.warehouse.tables import Columns

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: Statuses that a run can stay in.
SETTLED: Final = ("PROCESSED", "NEEDS_REVIEW", "REJECTED", "FAILED", "CANCELLED")
_RUN_TIMES: Final = ("created_at", "started_at", "ended_at", "updated_at", "reviewed_at")
_OBJECT: Final = {**tables.SUBMISSION, **tables.OUTCOME}
_ATTEMPT: Final = {
    **tables.OUTCOME,
    **{n: t for n, t in tables.RUN.items() if n != "observed_at"},
    "usage": ColumnType.JSON,
}
_STEP: Final = {name: kind for name, kind in tables.STEPS.items() if name not in {*tables.KEY, "run_id"}}


class Load:
    """One part on its way into one dataset.

    :param session: an open connection; a transaction is begun and ended on it.
    :param dataset: the schema.
    :param part: the part as :func:`extend_pipeline.warehouse.staging.stage` left it.
    """

    def __init__(self, session: Session, dataset: str, part: StagedPart, provenance: Provenance) -> None:
        self._session = session
        self._dataset = dataset
        self._part = part
        self._provenance = provenance
        self._started = datetime.now(UTC)
        self._existing: dict[str, set[str]] = {}
        self._rows: Counter[str] = Counter()

    def run(self) -> Landing:
        """Land the part; see :meth:`extend_pipeline.warehouse.records.Warehouse.land`."""
        with self._session.transaction():
            self._make_fixed_tables()
            dictionary = Dictionary(
                self._session.rows("read dictionary", f"FROM {self._table('dictionary')}")
            )
            groups = [dictionary.tables_of(extractor) for extractor in self._part.extractors]
            self._make_generated_tables(groups)
            self._stage_outcomes()
            self._delete_documents(dictionary)
            self._insert_documents()
            self._replace_runs()
            self._insert_steps()
            self._insert_values(groups)
            self._write_dictionary(dictionary)
            return self._finish()

    # tables

    def _make_fixed_tables(self) -> None:
        self._session.run("make schema", f"CREATE SCHEMA IF NOT EXISTS {quoted(self._dataset)}")
        columns = self._session.rows(
            "read columns",
            "SELECT table_name, column_name FROM duckdb_columns() "
            f"WHERE database_name = current_database() AND schema_name = {literal(self._dataset)}",
        )
        for table, column in columns:
            self._existing.setdefault(table, set()).add(column)
        for table, wanted in tables.FIXED.items():
            self._make_table(table, wanted)

    def _make_generated_tables(self, groups: list[list[Table]]) -> None:
        for table in (table for group in groups for table in group):
            self._make_table(table.name, table.all_columns)

    def _make_table(self, name: str, columns: Columns) -> None:
        """Make a table, or give it the columns that it does not have yet."""
        existing = self._existing.get(name)
        if existing is None:
            self._session.run(f"make {name}", created(self._table(name), columns))
            self._existing[name] = set(columns)
            return
        for column in [column for column in columns if column not in existing]:
            self._session.run(
                f"widen {name}",
                f"ALTER TABLE {self._table(name)} ADD COLUMN {quoted(column)} {TYPES[columns[column]]}",
            )
            existing.add(column)

    # documents and runs

    def _stage_outcomes(self) -> None:
        """Decide, in temporary tables, which run each document has, and which are newer than landed."""
        self._temporary("_load", *self._load_row())
        self._temporary("_submitted", self._submitted())
        self._temporary("_attempts", self._attempts())
        self._temporary("_outcomes", _outcomes())
        self._temporary("_landing", _not_older("_outcomes", self._table("documents"), list(tables.KEY)))

    def _load_row(self) -> tuple[str, list[object]]:
        origin = self._provenance
        row: dict[str, object] = {
            "workflow_id": origin.workflow_id,
            "workflow_version_requested": origin.version or "",
            "load_batch_id": origin.batch_id,
            "raw_uri": origin.raw_uri,
            "dag_id": origin.dag_id,
            "dag_run_id": origin.run_id,
            "task_id": origin.task_id,
            "map_index": origin.map_index,
            "landed_at": self._started,
        }
        types = {**tables.KEY, **tables.LOAD, "load_batch_id": ColumnType.TEXT}
        columns = ", ".join(f"?::{TYPES[types[name]]} AS {name}" for name in row)
        return f"SELECT {columns}", list(row.values())

    def _submitted(self) -> str:
        """One row per document of the submission; one that was sent stands before one that was not."""
        columns = {"document_id": ColumnType.TEXT, **_OBJECT}
        source = read_lines(self._part.submission, {"ordinal": "BIGINT", **text_columns(columns)})
        return f"""
            SELECT {_typed(columns)} FROM {source} AS staged
            QUALIFY row_number() OVER (
                PARTITION BY document_id ORDER BY staged.status IS NULL DESC, ordinal DESC) = 1
        """

    def _attempts(self) -> str:
        """One row per run of the part: its newest snapshot."""
        columns = {"document_id": ColumnType.TEXT, **_ATTEMPT}
        source = read_lines(
            self._part.runs, {"seq": "BIGINT", "repaired": "BOOLEAN", **text_columns(columns)}
        )
        return f"""
            SELECT * FROM (
                SELECT *, greatest({", ".join(_RUN_TIMES)}) AS observed_at
                FROM (SELECT seq, repaired, {_typed(columns)} FROM {source} AS staged)
            ) AS run
            QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY {_recency("run")} DESC, seq DESC) = 1
        """

    def _delete_documents(self, dictionary: Dictionary) -> None:
        for table in (*tables.REPLACED, *dictionary.table_names):
            condition = " AND ".join(f"target.{key} = landing.{key}" for key in tables.KEY)
            self._session.run(
                f"delete from {table}",
                f"DELETE FROM {self._table(table)} AS target USING _landing AS landing WHERE {condition}",
            )

    def _insert_documents(self) -> None:
        self._insert("documents", tables.DOCUMENTS, f"SELECT {names(tables.DOCUMENTS)} FROM _landing")
        self._insert_problems(
            "REPLACED_CHARACTERS",
            "FROM _landing WHERE repaired",
            "Half a surrogate pair or a broken byte is no text; U+FFFD stands in its place.",
        )

    def _replace_runs(self) -> None:
        """Keep every attempt, also those that no document of the part, or of the dataset, has."""
        runs = self._table("runs")
        self._temporary("_runs", _not_older("(FROM _attempts CROSS JOIN _load)", runs, ["run_id"]))
        self._session.run(
            "delete from runs", f"DELETE FROM {runs} USING _runs WHERE runs.run_id = _runs.run_id"
        )
        self._insert("runs", tables.RUNS, f"SELECT {names(tables.RUNS)} FROM _runs")
        self._session.run(
            "delete stray runs",
            f"DELETE FROM {self._table('problems')} AS problem USING _runs "
            "WHERE problem.run_id = _runs.run_id AND problem.code = 'RUN_WITHOUT_DOCUMENT'",
        )
        self._insert_problems(
            "RUN_WITHOUT_DOCUMENT",
            "FROM _runs ANTI JOIN _submitted USING (document_id)",
            "The part did not submit the document of this run, which is in runs and in the raw zone only.",
        )

    def _insert_steps(self) -> None:
        source = read_lines(self._part.steps, {"seq": "BIGINT", **text_columns(_STEP)})
        self._insert(
            "steps",
            tables.STEPS,
            f"""SELECT {names(tables.KEY)}, landing.run_id, {_typed(_STEP)}
                FROM {source} AS staged JOIN _landing AS landing ON landing.seq = staged.seq""",
        )

    # extracted values

    def _insert_values(self, groups: list[list[Table]]) -> None:
        self._stage_declarations(groups)
        for page in self._part.pages:
            self._temporary("_page", shaping.page_rows(page))
            self._temporary("_nodes", shaping.node_rows())
            for group_id, extracted in enumerate(groups):
                for table in extracted:
                    self._insert(table.name, table.all_columns, shaping.table_rows(table, group_id))
            self._insert("fields", tables.FIELDS, shaping.field_rows())
            self._insert("problems", tables.PROBLEMS, shaping.problem_rows())

    def _stage_declarations(self, groups: list[list[Table]]) -> None:
        extractors = [extractor.name for extractor in self._part.extractors]
        self._temporary(
            "_groups",
            "SELECT unnest(?::BIGINT[]) AS group_id, unnest(?::VARCHAR[]) AS extractor",
            [list(range(len(extractors))), extractors],
        )
        places = [
            (number, *place)
            for number, place in enumerate(
                place
                for group_id, group in enumerate(groups)
                for place in shaping.declared_places(group_id, group)
            )
        ]
        columns = {
            "sample_no": "BIGINT",
            "group_id": "BIGINT",
            "sample": "JSON",
            "kind": "VARCHAR",
            "type": "VARCHAR",
            "table_name": "VARCHAR",
            "column_name": "VARCHAR",
        }
        self._temporary(
            "_samples",
            "SELECT " + ", ".join(f"unnest(?::{kind}[]) AS {name}" for name, kind in columns.items()),
            [list(values) for values in zip(*places, strict=True)] or [[]] * len(columns),
        )
        self._temporary("_declared", shaping.declared_shapes())

    # the books

    def _write_dictionary(self, dictionary: Dictionary) -> None:
        if dictionary.added:
            values = [list(column) for column in zip(*dictionary.added, strict=True)]
            self._insert(
                "dictionary",
                tables.DICTIONARY,
                "SELECT " + ", ".join("unnest(?::VARCHAR[])" for _ in tables.DICTIONARY),
                values,
            )
        problems = self._table("problems")
        for problem in dictionary.problems:
            same = " AND ".join(f"{column} = ?" for column in problem if column != "message")
            self._session.run(
                "delete schema problem",
                f"DELETE FROM {problems} WHERE document_id IS NULL AND {same}",
                [value for column, value in problem.items() if column != "message"],
            )
            self._insert(
                "problems",
                tables.PROBLEMS,
                f"""SELECT NULL, workflow_id, workflow_version_requested, NULL,
                           {", ".join("?" for _ in range(4))}, NULL, ?, landed_at FROM _load""",
                list(problem.values()),
            )

    def _finish(self) -> Landing:
        """Count what the part's documents have now, prove that it is one row each, and write the ledger."""
        rows = self._session.rows(
            "count documents",
            f"""SELECT document.status, document.reason, count(*)
                FROM {self._table("documents")} AS document
                JOIN (FROM _submitted CROSS JOIN _load) AS submitted USING ({names(tables.KEY)})
                GROUP BY ALL ORDER BY ALL""",
        )
        ((submitted, runs, credits),) = self._session.rows(
            "count part",
            "SELECT (SELECT count(*) FROM _submitted), count(*), coalesce(sum(credits), 0) FROM _attempts",
        )
        found = sum(count for _, _, count in rows)
        if found != submitted:
            raise WarehouseError(
                f"Part {self._provenance.part}: {submitted} documents were to have one row each in "
                f"{self._dataset}.documents, they have {found}. The load was undone."
            )
        by_status: Counter[str] = Counter()
        by_reason: Counter[str] = Counter()
        for status, reason, count in rows:
            by_status[status] += count
            if reason is not None:
                by_reason[reason] += count
        landing = Landing(submitted, dict(by_status), dict(by_reason), float(credits), dict(+self._rows))
        self._write_ledger(landing, runs)
        return landing

    def _write_ledger(self, landing: Landing, runs: int) -> None:
        loads = self._table("loads")
        self._session.run("delete from loads", f"DELETE FROM {loads} WHERE part = ?", [self._provenance.part])
        self._insert(
            "loads",
            tables.LOADS,
            f"""SELECT ?, workflow_id, workflow_version_requested, load_batch_id, ?, ?, ?, ?, ?, ?, ?, ?,
                       {names([name for name in tables.LOAD if name != "landed_at"])} FROM _load""",
            [
                self._provenance.part,
                self._provenance.extend_conn_id,
                landing.documents,
                runs,
                landing.credits,
                json.dumps(landing.by_status),
                json.dumps(landing.rows),
                self._started,
                datetime.now(UTC),
            ],
        )

    # statements

    def _table(self, name: str) -> str:
        return f"{quoted(self._dataset)}.{quoted(name)}"

    def _temporary(self, name: str, rows: str, parameters: Sequence[object] | None = None) -> None:
        self._session.run(f"stage {name}", f"CREATE OR REPLACE TEMP TABLE {name} AS {rows}", parameters)

    def _insert(
        self, table: str, columns: Columns, rows: str, parameters: Sequence[object] | None = None
    ) -> None:
        ((count,),) = self._session.rows(
            f"insert into {table}", f"INSERT INTO {self._table(table)} ({names(columns)}) {rows}", parameters
        )
        self._rows[table] += count

    def _insert_problems(self, code: str, source: str, message: str) -> None:
        self._insert(
            "problems",
            tables.PROBLEMS,
            f"""SELECT {names(tables.KEY)}, run_id, {literal(code)}, NULL, NULL, NULL, NULL,
                       {literal(message)}, landed_at {source}""",
        )


def _outcomes() -> str:
    """Return one row per submitted document with its newest run, or with why it has none."""
    objects = ", ".join(f"document.{quoted(name)}" for name in tables.SUBMISSION)
    attempt = ", ".join(f"run.{name}" for name in tables.RUN if name != "batch_id")
    load = ", ".join(f"load.{name}" for name in tables.LOAD)
    no_run = (
        "FAILED",
        RUN_MISSING,
        "The document was sent, but the batch lists no run of it; it will be sent again.",
    )
    outcome = ", ".join(
        f"""CASE WHEN run.run_id IS NOT NULL THEN run.{name}
                 WHEN document.status IS NULL THEN {literal(text)} ELSE document.{name} END AS {name}"""
        for name, text in zip(tables.OUTCOME, no_run, strict=True)
    )
    return f"""
        SELECT document.document_id, load.workflow_id, load.workflow_version_requested,
               {objects}, {outcome}, {attempt}, {load}, run.seq, run.repaired,
               CASE WHEN run.run_id IS NOT NULL THEN coalesce(run.batch_id, load.load_batch_id)
                    WHEN document.status IS NULL THEN load.load_batch_id END AS batch_id
        FROM _submitted AS document
        CROSS JOIN _load AS load
        LEFT JOIN (
            SELECT * FROM _attempts AS run
            QUALIFY row_number() OVER (PARTITION BY document_id ORDER BY {_recency("run")} DESC) = 1
        ) AS run ON run.document_id = document.document_id
    """


def _not_older(incoming: str, landed: str, key: list[str]) -> str:
    """Return the incoming rows, without those whose landed row tells of something newer."""
    same = " AND ".join(f"landed.{name} = incoming.{name}" for name in key)
    return f"""
        SELECT incoming.* FROM {incoming} AS incoming LEFT JOIN {landed} AS landed ON {same}
        WHERE landed.{key[0]} IS NULL OR {_recency("incoming")} >= {_recency("landed")}
    """


def _recency(row: str) -> str:
    """What two rows about one document, or one run, are ordered by: the greater one stays.

    A run before none, a settled one before one under way, then the newest; a review that has ended before one
    that has not. The run's id makes it one order whatever the order of the loads.
    """
    settled = ", ".join(literal(status) for status in SETTLED)
    return f"""row({row}.run_id IS NOT NULL, {row}.status IN ({settled}),
                   coalesce({row}.observed_at, TIMESTAMPTZ 'epoch'), {row}.status <> 'NEEDS_REVIEW',
                   coalesce({row}.run_id, ''))"""


def _typed(columns: Mapping[str, ColumnType]) -> str:
    return ", ".join(f"{typed(f'staged.{quoted(n)}', t)} AS {quoted(n)}" for n, t in columns.items())
