"""Landing one part: everything of it or nothing, in one transaction, the ledger's row last.

A part whose values are too large for one transaction lands in several: everything of a document or nothing in
each, the ledger's row in the last. After a crash between two of them the part is landed again, from its first
document on, as after any other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.files import read_lines
from extend_pipeline.warehouse.queries.claims import delete_claims
from extend_pipeline.warehouse.records import (
    Landing,
    LandingPolicy,
    Provenance,
    SchemaContract,
    SchemaContractError,
    WarehouseError,
)
from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.schema.catalog import Catalog
from extend_pipeline.warehouse.schema.dictionary import Dictionary, Table
from extend_pipeline.warehouse.sql import (
    Columns,
    inline_rows,
    literal,
    names,
    quoted,
    text_columns,
    typed_columns,
)
from extend_pipeline.warehouse.transform import confidence, evidence, flatten, places, resolve_runs
from extend_pipeline.warehouse.transform.parse import Slice, StagedPart

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

_WIDENED: Final = ("table_name", "column_name", "type")


class Load:
    """One part on its way into one dataset.

    :param session: an open connection; a transaction is begun and ended on it.
    :param dataset: the schema.
    :param part: the part as :func:`extend_pipeline.warehouse.transform.parse.stage` left it.
    :param withhold: see :meth:`extend_pipeline.warehouse.api.Warehouse.land`.
    """

    def __init__(
        self,
        session: Session,
        dataset: str,
        part: StagedPart,
        provenance: Provenance,
        policy: LandingPolicy,
        *,
        withhold: bool = False,
    ) -> None:
        self._session = session
        self._dataset = dataset
        self._part = part
        self._provenance = provenance
        self._policy = policy
        self._withhold = withhold
        self._started = datetime.now(UTC)
        self._rows: Counter[str] = Counter()

    def run(self) -> Landing:
        """Land the part; see :meth:`extend_pipeline.warehouse.api.Warehouse.land`."""
        slices = self._part.slices
        ends = [piece.first for piece in slices[1:]]
        for piece, end in zip(slices, [*ends, None], strict=True):
            with self._session.transaction():
                if not piece.first:
                    self._prepare()
                self._land(piece, resolve_runs.SeqRange(piece.first, end))
                if end is None:
                    landing = self._finish()
        return landing

    def _prepare(self) -> None:
        """Make a place for all that the part has."""
        catalog = Catalog(self._session, self._dataset)
        self._whole = not len(catalog) or ("documents" in catalog and "runs" in catalog)
        catalog.make_fixed_tables()
        self._contract = self._asked_contract()
        dictionary = self._read_dictionary()
        self._groups = [dictionary.tables_of(extractor) for extractor in self._part.extractors]
        self._refusal = dictionary.refusal(self._dataset)
        if self._refusal and not self._withhold:
            raise SchemaContractError(
                f"Part {self._provenance.part}: {self._refusal} Nothing of the part has landed; Extend has "
                "done its work, and its answers are in the raw zone. Set schema_contract to 'evolve' or "
                "'discard' and clear the load: nothing is sent again."
            )
        if self._refusal:
            dictionary = self._read_dictionary()  # without what was refused
            self._groups = [[] for _ in self._part.extractors]
        catalog.make_generated_tables(dictionary, self._groups)
        # A table that somebody has dropped is made again by the first part that has rows for it.
        self._generated = [name for name in dictionary.table_names if name in catalog]
        self._temporary("_load", *resolve_runs.load_row(self._provenance, self._policy, self._started))
        self._temporary("_sources", flatten.source_rows(self._part.steps))
        self._stage_declarations(self._groups)
        self._write_dictionary(dictionary)
        self._tell_refusal()

    def _land(self, piece: Slice, these: resolve_runs.SeqRange) -> None:
        self._stage_outcomes(these)
        if self._may_have_rows():
            self._delete_rows()
        delete_claims(self._session, self._dataset)
        self._insert_runs()
        self._insert_steps()
        self._insert_values(piece)
        self._hold_back()
        self._insert_documents()
        if not these.is_all:
            self._remember(these)

    def _remember(self, these: resolve_runs.SeqRange) -> None:
        """Let the temporary tables tell of the whole part once all of its slices have landed."""
        if not these.first:
            self._temporary("_replaced", "SELECT document_id FROM _landing")
            return
        self._session.run("stage _replaced", "INSERT INTO _replaced SELECT document_id FROM _landing")
        if these.end is None:
            self._temporary("_landing", "FROM _replaced")
            part = self._part
            self._temporary("_submitted", resolve_runs.submitted_rows(part.submission, part.runs))
            self._temporary("_attempts", resolve_runs.attempt_rows(part.runs))

    # the contract

    def _read_dictionary(self) -> Dictionary:
        rows = self._session.rows("read dictionary", f"FROM {self._table('dictionary')}")
        return Dictionary(rows, self._contract)

    def _tell_refusal(self) -> None:
        """Tell that the part's values are withheld, or not any more."""
        part = self._provenance.part
        if self._is_known_part():
            self._session.run(
                "delete refusal",
                f"DELETE FROM {self._table('problems')} WHERE document_id IS NULL AND code = ? AND value = ?",
                [tables.REFUSED, part],
            )
        if self._refusal:
            message = (
                f"{self._refusal} The part's documents have landed, with values in fields alone. Replay with "
                "schema_contract 'evolve' or 'discard': nothing is sent again."
            )
            self._insert(
                "problems",
                tables.PROBLEMS,
                """SELECT NULL, workflow_id, workflow_version_requested, NULL, ?, NULL, NULL, NULL, ?, ?,
                          landed_at FROM _load""",
                [tables.REFUSED, part, message],
            )

    def _is_known_part(self) -> bool:
        ledger = f"SELECT 1 FROM {self._table('loads')} WHERE part = ?"
        return bool(self._session.rows("look for part", ledger, [self._provenance.part]))

    def _asked_contract(self) -> SchemaContract:
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

    # documents and runs

    def _stage_outcomes(self, these: resolve_runs.SeqRange) -> None:
        """Decide, in temporary tables, which run each document has, and which are newer than landed."""
        key, runs = list(tables.KEY), self._part.runs
        submitted = resolve_runs.submitted_rows(self._part.submission, runs, these)
        self._submitted = self._temporary("_submitted", submitted)
        self._temporary("_attempts", resolve_runs.attempt_rows(runs, these))
        self._known = self._temporary("_known", resolve_runs.known_documents(self._table("documents")))
        self._known += self._temporary("_known_runs", resolve_runs.known_runs(self._table("runs")))
        self._temporary("_outcomes", resolve_runs.outcome_rows())
        self._landing = self._temporary("_landing", resolve_runs.not_older("_outcomes", "_known", key))
        self._temporary("_standing", confidence.standing_rows("_known"))
        attempts = "(FROM _attempts CROSS JOIN _load)"
        self._temporary("_runs", resolve_runs.not_older(attempts, "_known_runs", ["run_id"]))
        self._temporary("_counted", resolve_runs.counted_runs())

    def _may_have_rows(self) -> bool:
        """Whether rows of the part's documents may have landed before.

        Each row of a document has landed with one in ``documents``, and with one in ``runs`` if it has come
        out of a run; looking for one in tables of fields, a hundred times as long, would cost the more the
        more has landed. What somebody has deleted from these two alone is found by the part's ledger row, and
        that they were dropped before the part came.
        """
        return bool(self._known or not self._whole or self._is_known_part())

    def _delete_rows(self) -> None:
        """Delete what the part brings anew."""
        condition = " AND ".join(f"target.{key} = landing.{key}" for key in tables.KEY)
        for table in (*tables.REPLACED, *self._generated):
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
        self._insert("documents", tables.DOCUMENTS, resolve_runs.document_rows("_assessed"))
        if self._landing < self._submitted:
            self._session.run("count attempts", resolve_runs.counted_attempts(self._table("documents")))
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

    def _insert_values(self, piece: Slice) -> None:
        self._temporary("_doubts", confidence.no_doubts())
        problems = flatten.problem_rows(
            {column.type for group in self._groups for table in group for column in table.columns}
        )
        for page in piece.pages:
            for name, rows in flatten.page_stages(page):
                self._temporary(name, rows)
            self._stage_evidence()
            for group_id, extracted in enumerate(self._groups):
                for table in extracted:
                    self._insert(table.name, table.all_columns, flatten.table_rows(table, group_id))
            self._insert("fields", tables.FIELDS, flatten.field_rows())
            self._insert("problems", tables.PROBLEMS, problems)
            self._session.run("stage _doubts", f"INSERT INTO _doubts {confidence.doubt_rows()}")

    def _stage_evidence(self) -> None:
        """Lead the page's evidence to its fields, and tell of what has none or cannot be read."""
        entries = self._temporary("_evidence", evidence.evidence_rows())
        found = self._temporary("_found", evidence.exactly_found_rows())
        if found < entries:
            self._temporary("_found", evidence.found_rows())
            self._session.run("name absent fields", evidence.absent_paths())
            self._insert("problems", tables.PROBLEMS, evidence.problem_rows())

    def _hold_back(self) -> None:
        """Take the few rows of documents that need an approval out of the generated tables again."""
        self._temporary("_assessed", confidence.assessed_rows())
        if not self._temporary("_held", confidence.held_rows()):
            return
        condition = " AND ".join(f"target.{key} = held.{key}" for key in tables.KEY)
        for name in {table.name for group in self._groups for table in group}:
            ((count,),) = self._session.rows(
                f"hold back from {name}",
                f"DELETE FROM {self._table(name)} AS target USING _held AS held WHERE {condition}",
            )
            self._rows[name] -= count

    def _stage_declarations(self, groups: list[list[Table]]) -> None:
        extractors = [(number, extractor.name) for number, extractor in enumerate(self._part.extractors)]
        self._temporary("_groups", *inline_rows({"group_id": "BIGINT", "extractor": "VARCHAR"}, extractors))
        declared = (
            place
            for group_id, group in enumerate(groups)
            for place in places.declared_places(group_id, group)
        )
        numbered = [(number, *place) for number, place in enumerate(declared)]
        samples, parameters = inline_rows(places.SAMPLE_COLUMNS, numbered)
        self._temporary("_declared", places.declared_shapes(samples), parameters)

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

    def _finish(self) -> Landing:
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
            [self._provenance.counted, tables.WAITING],
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
            submitted,
            dict(by_status),
            dict(by_reason),
            float(credits),
            dict(+self._rows),
            held,
            refused=bool(self._refusal),
        )
        self._write_ledger(landing, runs)
        return landing

    def _write_ledger(self, landing: Landing, runs: int) -> None:
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
                self._contract,
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
