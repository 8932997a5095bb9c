"""Landing one part: everything of it or nothing, in one transaction, the ledger's row last."""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse import confidence, outcomes, shaping, tables
from extend_pipeline.warehouse.catalog import Catalog
from extend_pipeline.warehouse.claims import delete_claims
from extend_pipeline.warehouse.dictionary import Dictionary, Table
from extend_pipeline.warehouse.records import (
    Landing,
    LandingPolicy,
    Provenance,
    SchemaContract,
    SchemaContractError,
    WarehouseError,
)
from extend_pipeline.warehouse.sql import (
    TYPES,
    inline_rows,
    literal,
    names,
    quoted,
    read_lines,
    text_columns,
    typed_columns,
)
from extend_pipeline.warehouse.staging import StagedPart
from extend_pipeline.warehouse.table_plan import ColumnType
from extend_pipeline.warehouse.tables import Columns

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

_OF_THE_LOAD: Final = {"load_batch_id": ColumnType.TEXT, "hold": ColumnType.BOOLEAN}
#: Fields that an error names before it only counts them.
_NAMED: Final = 20
_WIDENED: Final = ("table_name", "column_name", "type")


class Load:
    """One part on its way into one dataset.

    :param session: an open connection; a transaction is begun and ended on it.
    :param dataset: the schema.
    :param part: the part as :func:`extend_pipeline.warehouse.staging.stage` left it.
    """

    def __init__(
        self,
        session: Session,
        dataset: str,
        part: StagedPart,
        provenance: Provenance,
        policy: LandingPolicy,
    ) -> None:
        self._session = session
        self._dataset = dataset
        self._part = part
        self._provenance = provenance
        self._policy = policy
        self._started = datetime.now(UTC)
        self._rows: Counter[str] = Counter()

    def run(self) -> Landing:
        """Land the part; see :meth:`extend_pipeline.warehouse.records.Warehouse.land`."""
        with self._session.transaction():
            catalog = Catalog(self._session, self._dataset)
            whole = not len(catalog) or ("documents" in catalog and "runs" in catalog)
            catalog.make_fixed_tables()
            contract = self._contract()
            dictionary = Dictionary(
                self._session.rows("read dictionary", f"FROM {self._table('dictionary')}"), contract
            )
            groups = [dictionary.tables_of(extractor) for extractor in self._part.extractors]
            self._keep_contract(dictionary)
            catalog.make_generated_tables(dictionary, groups)
            self._stage_outcomes()
            if self._may_have_rows(whole):
                # A table that somebody has dropped is made again by the first part that has rows for it.
                self._delete_rows([name for name in dictionary.table_names if name in catalog])
            delete_claims(self._session, self._dataset)
            self._insert_runs()
            self._insert_steps()
            self._insert_values(groups)
            self._hold_back(groups)
            self._insert_documents()
            self._write_dictionary(dictionary)
            return self._finish(contract)

    # the contract

    def _contract(self) -> SchemaContract:
        """Return what is asked for, or what the last load of the workflow was asked for."""
        if self._policy.schema_contract is not None:
            return self._policy.schema_contract
        last: list[tuple[SchemaContract]] = self._session.rows(
            "read contract",
            f"""SELECT schema_contract FROM {self._table("loads")}
                WHERE workflow_id = ? AND workflow_version_requested = ? AND schema_contract IS NOT NULL
                ORDER BY ended_at DESC LIMIT 1""",
            [self._provenance.workflow_id, self._provenance.version or ""],
        )
        return last[0][0] if last else "evolve"

    def _keep_contract(self, dictionary: Dictionary) -> None:
        if not dictionary.refused:
            return
        named = "; ".join(dictionary.refused[:_NAMED])
        if len(dictionary.refused) > _NAMED:
            named += f" and {len(dictionary.refused) - _NAMED:,} more"
        raise SchemaContractError(
            f"Part {self._provenance.part}: the tables of {self._dataset} have no place for what an "
            f"extractor has now, and schema_contract='freeze' makes none. {named}. Nothing of the part has "
            "landed; Extend has done its work, and its answers are in the raw zone. Set schema_contract to "
            "'evolve' or 'discard' and clear the load: nothing is sent again."
        )

    # documents and runs

    def _stage_outcomes(self) -> None:
        """Decide, in temporary tables, which run each document has, and which are newer than landed."""
        key = list(tables.KEY)
        self._temporary("_load", *self._load_row())
        self._submitted = self._temporary("_submitted", outcomes.submitted_rows(self._part.submission))
        self._temporary("_attempts", outcomes.attempt_rows(self._part.runs))
        self._known = self._temporary("_known", outcomes.known_documents(self._table("documents")))
        self._known += self._temporary("_known_runs", outcomes.known_runs(self._table("runs")))
        self._temporary("_outcomes", outcomes.outcome_rows())
        self._landing = self._temporary("_landing", outcomes.not_older("_outcomes", "_known", key))
        self._temporary("_standing", confidence.standing_rows("_known"))
        attempts = "(FROM _attempts CROSS JOIN _load)"
        self._temporary("_runs", outcomes.not_older(attempts, "_known_runs", ["run_id"]))
        self._temporary("_counted", outcomes.counted_runs())

    def _load_row(self) -> tuple[str, list[object]]:
        origin = self._provenance
        row: dict[str, object] = {
            "workflow_id": origin.workflow_id,
            "workflow_version_requested": origin.version or "",
            "load_batch_id": origin.batch_id,
            "repetition": origin.repetition,
            "raw_uri": origin.raw_uri,
            "dag_id": origin.dag_id,
            "dag_run_id": origin.run_id,
            "task_id": origin.task_id,
            "map_index": origin.map_index,
            "landed_at": origin.landed_at or self._started,
            "min_confidence": self._policy.min_confidence,
            "hold": self._policy.hold,
        }
        types = {**tables.KEY, **tables.LOAD, **tables.CONFIDENCE, **_OF_THE_LOAD}
        columns = ", ".join(f"?::{TYPES[types[name]]} AS {name}" for name in row)
        return f"SELECT {columns}", list(row.values())

    def _may_have_rows(self, whole: bool) -> bool:
        """Whether rows of the part's documents may have landed before.

        Each row of a document has landed with one in ``documents``, and with one in ``runs`` if it has come
        out of a run; looking for one in tables of fields, a hundred times as long, would cost the more the
        more has landed. What somebody has deleted from these two alone is found by the part's ledger row.

        :param whole: whether these two tables have always been there.
        """
        ledger = f"SELECT 1 FROM {self._table('loads')} WHERE part = ?"
        again = self._session.rows("look for part", ledger, [self._provenance.part])
        return bool(self._known or again or not whole)

    def _delete_rows(self, generated: Sequence[str]) -> None:
        """Delete what the part brings anew."""
        condition = " AND ".join(f"target.{key} = landing.{key}" for key in tables.KEY)
        for table in (*tables.REPLACED, *generated):
            self._session.run(
                f"delete from {table}",
                f"DELETE FROM {self._table(table)} AS target USING _landing AS landing WHERE {condition}",
            )
        runs = self._table("runs")
        self._session.run(
            "delete from runs", f"DELETE FROM {runs} USING _runs WHERE runs.run_id = _runs.run_id"
        )
        self._session.run(
            "delete stray runs",
            f"DELETE FROM {self._table('problems')} AS problem USING _runs "
            "WHERE problem.run_id = _runs.run_id AND problem.code = 'RUN_WITHOUT_DOCUMENT'",
        )

    def _insert_documents(self) -> None:
        self._insert("documents", tables.DOCUMENTS, outcomes.document_rows("_assessed"))
        if self._landing < self._submitted:
            self._session.run("count attempts", outcomes.counted_attempts(self._table("documents")))
        if self._part.repaired:
            self._insert_problems(
                "REPLACED_CHARACTERS",
                "FROM _landing WHERE repaired",
                "Half a surrogate pair or a broken byte is no text; U+FFFD stands in its place.",
            )

    def _insert_runs(self) -> None:
        """Keep every attempt, also those that no document of the part, or of the dataset, has."""
        self._insert("runs", tables.RUNS, f"SELECT {names(tables.RUNS)} FROM _runs")
        self._insert_problems(
            "RUN_WITHOUT_DOCUMENT",
            "FROM _runs ANTI JOIN _submitted USING (document_id)",
            "The part did not submit the document of this run, which is in runs and in the raw zone only.",
        )

    def _insert_steps(self) -> None:
        """Insert what steps and files have told beside extracted values."""
        for table, file in (
            ("steps", self._part.steps),
            ("checks", self._part.checks),
            ("files", self._part.files),
        ):
            if not file.lines:
                continue
            columns = tables.FIXED[table]
            told = {name: kind for name, kind in columns.items() if name not in (*tables.KEY, "run_id")}
            self._insert(
                table,
                columns,
                f"""SELECT {names(tables.KEY)}, landing.run_id, {typed_columns("staged", told)}
                    FROM {read_lines(file, {"seq": "BIGINT", **text_columns(told)})} AS staged
                    JOIN _landing AS landing ON landing.seq = staged.seq""",
            )

    # extracted values

    def _insert_values(self, groups: list[list[Table]]) -> None:
        self._stage_declarations(groups)
        self._temporary("_sources", shaping.source_rows(self._part.steps))
        self._temporary("_doubts", confidence.no_doubts())
        problems = shaping.problem_rows(
            {column.type for group in groups for table in group for column in table.columns}
        )
        for page in self._part.pages:
            for name, rows in shaping.page_stages(page):
                self._temporary(name, rows)
            for group_id, extracted in enumerate(groups):
                for table in extracted:
                    self._insert(table.name, table.all_columns, shaping.table_rows(table, group_id))
            self._insert("fields", tables.FIELDS, shaping.field_rows())
            self._insert("problems", tables.PROBLEMS, problems)
            self._session.run("stage _doubts", f"INSERT INTO _doubts {confidence.doubt_rows()}")

    def _hold_back(self, groups: list[list[Table]]) -> None:
        """Take the few rows of documents that need an approval out of the generated tables again."""
        self._temporary("_assessed", confidence.assessed_rows())
        if not self._temporary("_held", confidence.held_rows()):
            return
        condition = " AND ".join(f"target.{key} = held.{key}" for key in tables.KEY)
        for name in {table.name for group in groups for table in group}:
            ((count,),) = self._session.rows(
                f"hold back from {name}",
                f"DELETE FROM {self._table(name)} AS target USING _held AS held WHERE {condition}",
            )
            self._rows[name] -= count

    def _stage_declarations(self, groups: list[list[Table]]) -> None:
        extractors = [(number, extractor.name) for number, extractor in enumerate(self._part.extractors)]
        self._temporary("_groups", *inline_rows({"group_id": "BIGINT", "extractor": "VARCHAR"}, extractors))
        places = (
            place
            for group_id, group in enumerate(groups)
            for place in shaping.declared_places(group_id, group)
        )
        numbered = [(number, *place) for number, place in enumerate(places)]
        samples, parameters = inline_rows(shaping.SAMPLE_COLUMNS, numbered)
        self._temporary("_declared", shaping.declared_shapes(samples), parameters)

    # the books

    def _write_dictionary(self, dictionary: Dictionary) -> None:
        if dictionary.added:
            columns = dict.fromkeys(tables.DICTIONARY, "VARCHAR")
            self._insert("dictionary", tables.DICTIONARY, *inline_rows(columns, dictionary.added))
        if dictionary.widened:
            wider, parameters = inline_rows(dict.fromkeys(_WIDENED, "VARCHAR"), dictionary.widened)
            self._session.run(
                "widen dictionary",
                f"""UPDATE {self._table("dictionary")} AS known SET type = wider.type FROM ({wider}) AS wider
                    WHERE known.table_name = wider.table_name AND known.column_name = wider.column_name""",
                parameters,
            )
        if dictionary.problems:
            self._tell_misfits(dictionary)

    def _tell_misfits(self, dictionary: Dictionary) -> None:
        """Tell of each name and type that did not fit: once, however often it happens."""
        same = ("code", "table_name", "column_name", "path")
        columns = dict.fromkeys((*same, "message"), "VARCHAR")
        self._temporary("_misfits", *inline_rows(columns, dictionary.problems))
        conditions = " AND ".join(f"problem.{name} = misfit.{name}" for name in same)
        self._session.run(
            "delete misfits",
            f"DELETE FROM {self._table('problems')} AS problem USING _misfits AS misfit "
            f"WHERE problem.document_id IS NULL AND {conditions}",
        )
        self._insert(
            "problems",
            tables.PROBLEMS,
            f"""SELECT NULL, workflow_id, workflow_version_requested, NULL, {names(same)}, NULL, message,
                       landed_at
                FROM _misfits CROSS JOIN _load""",
        )

    def _finish(self, contract: SchemaContract) -> Landing:
        """Count what the part's documents have now, prove that it is one row each, and write the ledger."""
        self._temporary(
            "_landed",
            f"""SELECT document_id, status, reason, approval
                FROM {self._table("documents")} SEMI JOIN (FROM _submitted CROSS JOIN _load)
                USING ({names(tables.KEY)})""",
        )
        ((submitted, found, distinct, runs, credits, held),) = self._session.rows(
            "count part",
            """SELECT (SELECT count(*) FROM _submitted), count(*), count(DISTINCT document_id),
                      (SELECT count(*) FROM _attempts),
                      (SELECT coalesce(sum(credits), 0) FROM _attempts WHERE ?),
                      count(*) FILTER (approval = ?)
               FROM _landed""",
            [self._provenance.counted, confidence.WAITING],
        )
        if not submitted == found == distinct:
            raise WarehouseError(
                f"Part {self._provenance.part}: {submitted} documents were to have one row each in "
                f"{self._dataset}.documents; there are {found} rows of {distinct}. The load was undone."
            )
        by_status: Counter[str] = Counter()
        by_reason: Counter[str] = Counter()
        for status, reason, count in self._session.rows(
            "count outcomes", "SELECT status, reason, count(*) FROM _landed GROUP BY ALL ORDER BY ALL"
        ):
            by_status[status] += count
            if reason is not None:
                by_reason[reason] += count
        landing = Landing(
            submitted, dict(by_status), dict(by_reason), float(credits), dict(+self._rows), held
        )
        self._write_ledger(landing, runs, contract)
        return landing

    def _write_ledger(self, landing: Landing, runs: int, contract: SchemaContract) -> None:
        loads = self._table("loads")
        self._session.run("delete from loads", f"DELETE FROM {loads} WHERE part = ?", [self._provenance.part])
        self._insert(
            "loads",
            tables.LOADS,
            f"""SELECT ?, workflow_id, workflow_version_requested, load_batch_id, ?, ?, ?, ?, ?, ?, ?, ?, ?,
                       {names([name for name in tables.LOAD if name != "landed_at"])} FROM _load""",
            [
                self._provenance.part,
                self._provenance.extend_conn_id,
                landing.documents,
                runs,
                landing.credits,
                json.dumps(landing.by_status),
                json.dumps(landing.rows),
                contract,
                self._started,
                datetime.now(UTC),
            ],
        )

    # statements

    def _table(self, name: str) -> str:
        return f"{quoted(self._dataset)}.{quoted(name)}"

    def _temporary(self, name: str, rows: str, parameters: Sequence[object] | None = None) -> int:
        """Make a temporary table; return how many rows it has."""
        ((count,),) = self._session.rows(
            f"stage {name}", f"CREATE OR REPLACE TEMP TABLE {name} AS {rows}", parameters
        )
        return int(count)

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
