"""Landing one part in one transaction: all of it or nothing, the ledger's row last.

A part with very large values lands in several transactions. Each has whole documents; the last one has the
ledger's row. After a crash between two of them, the part is landed again from its first document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extend_pipeline.warehouse.files import read_lines
from extend_pipeline.warehouse.queries import ledger
from extend_pipeline.warehouse.queries.claims import delete_claims
from extend_pipeline.warehouse.records import (
    Landing,
    LandingPolicy,
    Provenance,
    SchemaContractError,
)
from extend_pipeline.warehouse.schema import dictionary_table, migrations, tables, views
from extend_pipeline.warehouse.schema.dictionary import Table
from extend_pipeline.warehouse.sql import (
    Columns,
    inline_rows,
    literal,
    names,
    qualified,
    text_columns,
    typed_columns,
)
from extend_pipeline.warehouse.transform import confidence, counting, resolve_runs
from extend_pipeline.warehouse.transform.parse import ParsedPart, Slice
from extend_pipeline.warehouse.transform.values import evidence, flatten, large_values, places

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session


class Load:
    """Lands one part in one dataset.

    :param session: an open connection; a transaction is begun and ended on it.
    :param dataset: the schema.
    :param part: the part as :func:`extend_pipeline.warehouse.transform.parse.parse_part` left it.
    :param withhold: see :meth:`extend_pipeline.warehouse.api.Warehouse.land`.
    """

    def __init__(
        self,
        session: Session,
        dataset: str,
        part: ParsedPart,
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
        """Make tables and columns for all that the part has."""
        self._session.make_schema(self._dataset)
        there = self._session.columns(self._dataset)
        there.pop(migrations.TABLE, None)
        self._whole = not there or {"documents", "runs"} <= there.keys()
        self._fit(tables.FIXED, there)
        self._session.make_views(self._dataset, views.statements(self._dataset))
        self._contract = self._policy.schema_contract or ledger.last_contract(
            self._session, self._dataset, self._provenance
        )
        dictionary = dictionary_table.read(self._session, self._dataset, self._contract)
        self._groups = [dictionary.tables_of(extractor) for extractor in self._part.extractors]
        self._refusal = dictionary.refusal(self._dataset)
        if self._refusal and not self._withhold:
            raise SchemaContractError(
                f"Part {self._provenance.part}: {self._refusal} Nothing of the part has landed; Extend has "
                "done its work, and its answers are in the raw zone. Set schema_contract to 'evolve' or "
                "'discard' and clear the load: nothing is sent again."
            )
        if self._refusal:  # read it again, without what was refused
            dictionary = dictionary_table.read(self._session, self._dataset, self._contract)
            self._groups = [[] for _ in self._part.extractors]
        filled = {table.name: dictionary.layout(table) for group in self._groups for table in group}
        self._fit(filled, there)
        # A table that was dropped is made again by the first part that has rows for it.
        self._generated = [name for name in dictionary.table_names if name in there or name in filled]
        self._session.stage("_load", *resolve_runs.load_row(self._provenance, self._policy, self._started))
        self._stage_declarations(self._groups)
        self._rows += dictionary_table.write(self._session, self._dataset, dictionary, load="_load")
        self._record_refusal()

    def _fit(self, wanted: Mapping[str, Columns], there: Mapping[str, Columns]) -> None:
        """Make, complete and widen tables."""
        for table, columns in wanted.items():
            self._session.fit_table(self._dataset, table, columns, there.get(table))

    def _land(self, piece: Slice, these: resolve_runs.SeqRange) -> None:
        self._resolve_runs(these)
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
        """Make the temporary tables cover the whole part once all of its slices have landed."""
        if not these.first:
            self._session.stage("_replaced", "SELECT document_id FROM _landing")
            return
        self._session.run("stage _replaced", "INSERT INTO _replaced SELECT document_id FROM _landing")
        if these.end is None:
            self._session.stage("_landing", "FROM _replaced")
            part = self._part
            self._session.stage("_submitted", resolve_runs.submitted_rows(part.submission, part.runs))
            self._session.stage("_attempts", resolve_runs.attempt_rows(part.runs))

    # the contract

    def _record_refusal(self) -> None:
        """Record in ``problems`` that the part's values are withheld, or remove that record."""
        part = self._provenance.part
        if ledger.has_part(self._session, self._dataset, self._provenance.part):
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

    # documents and runs

    def _resolve_runs(self, these: resolve_runs.SeqRange) -> None:
        """Stage which run each document has, and which of them are newer than what has landed."""
        runs = self._part.runs
        submitted = resolve_runs.submitted_rows(self._part.submission, runs, these)
        self._submitted = self._session.stage("_submitted", submitted)
        self._session.stage("_attempts", resolve_runs.attempt_rows(runs, these))
        self._known = self._session.stage("_known", resolve_runs.known_documents(self._table("documents")))
        self._known += self._session.stage("_known_runs", resolve_runs.known_runs(self._table("runs")))
        landing = confidence.with_standing(resolve_runs.landing_rows())
        self._landing = self._session.stage("_landing", landing)
        self._session.stage("_runs", resolve_runs.run_rows())
        self._session.stage("_counted", resolve_runs.counted_runs())

    def _may_have_rows(self) -> bool:
        """Return True if rows of the part's documents may have landed before.

        Every row of a document lands together with a row in ``documents``, and in ``runs`` if it is of a run.
        The tables of fields are a hundred times as long and are not searched. If rows were deleted from
        ``documents`` and ``runs`` alone, the part's ledger row still exists; if these tables were dropped,
        they were absent before the landing.
        """
        return bool(
            self._known
            or not self._whole
            or ledger.has_part(self._session, self._dataset, self._provenance.part)
        )

    def _delete_rows(self) -> None:
        """Delete the rows that the part replaces."""
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
        self._insert("documents", tables.DOCUMENTS, resolve_runs.document_rows())
        if self._landing < self._submitted:
            self._session.run("count attempts", resolve_runs.counted_attempts(self._table("documents")))
        if self._part.repaired:
            self._insert_problems(
                "REPLACED_CHARACTERS",
                "FROM _landing WHERE repaired",
                "Half a surrogate pair or a broken byte is no text; U+FFFD stands in its place.",
            )

    def _insert_runs(self) -> None:
        """Insert every attempt, even if its document is not in the part or in the dataset."""
        rows = "(_attempts SEMI JOIN _runs USING (run_id)) CROSS JOIN _load"
        self._insert("runs", tables.RUNS, f"SELECT {names(tables.RUNS)} FROM {rows}")
        self._insert_problems(
            "RUN_WITHOUT_DOCUMENT",
            "FROM (_runs ANTI JOIN _submitted USING (document_id)) CROSS JOIN _load",
            "The part did not submit the document of this run, which is in runs and in the raw zone only.",
        )

    def _insert_steps(self) -> None:
        """Insert steps, checks and files: what they contain besides extracted values."""
        for table, file in (
            ("steps", self._part.steps),
            ("checks", self._part.checks),
            ("files", self._part.files),
        ):
            if not file.lines:
                continue
            columns = tables.FIXED[table]
            copied = {name: kind for name, kind in columns.items() if name not in (*tables.KEY, "run_id")}
            self._insert(
                table,
                columns,
                f"""SELECT {names(tables.KEY)}, landing.run_id, {typed_columns("staged", copied)}
                    FROM {read_lines(file, {"seq": "BIGINT", **text_columns(copied)})} AS staged
                    JOIN _landing AS landing ON landing.seq = staged.seq""",
            )

    # extracted values

    def _insert_values(self, piece: Slice) -> None:
        self._session.stage("_confidences", confidence.no_confidences())
        kinds = {column.type for group in self._groups for table in group for column in table.columns}
        for page in piece.pages:
            large = large_values.may_be_in(page)
            metadata = flatten.stage_page(self._session, page)
            self._stage_evidence(metadata, large=large)
            for group_id, extracted in enumerate(self._groups):
                for table in extracted:
                    self._insert(table.name, table.all_columns, flatten.table_rows(table, group_id))
            self._insert("fields", tables.FIELDS, flatten.field_rows())
            if self._session.stage("_misfits", flatten.misfit_rows(kinds)):
                self._insert("problems", tables.PROBLEMS, flatten.problem_rows(large=large))
            self._session.run(
                "stage _confidences", f"INSERT INTO _confidences {confidence.page_confidences()}"
            )

    def _stage_evidence(self, metadata: str, *, large: bool) -> None:
        """Match the page's evidence to fields; report what has no field or cannot be read."""
        entries = self._session.stage("_evidence", evidence.evidence_rows(metadata, large=large))
        found = self._session.stage("_found", evidence.exactly_found_rows())
        if found < entries:
            self._session.stage("_found", evidence.found_rows())
            self._session.run("name absent fields", evidence.absent_paths())
            self._insert("problems", tables.PROBLEMS, evidence.problem_rows(metadata))

    def _hold_back(self) -> None:
        """Delete the rows of documents that need an approval from the generated tables."""
        self._session.stage("_assessed", confidence.assessed_rows())
        if not self._session.stage("_held_back", confidence.held_back_rows()):
            return
        condition = " AND ".join(f"target.{key} = held.{key}" for key in tables.KEY)
        for name in {table.name for group in self._groups for table in group}:
            ((count,),) = self._session.rows(
                f"hold back from {name}",
                f"DELETE FROM {self._table(name)} AS target USING _held_back AS held WHERE {condition}",
            )
            self._rows[name] -= count

    def _stage_declarations(self, groups: list[list[Table]]) -> None:
        extractors = [(number, extractor.name) for number, extractor in enumerate(self._part.extractors)]
        self._session.stage(
            "_groups", *inline_rows({"group_id": "BIGINT", "extractor": "VARCHAR"}, extractors)
        )
        declared = (
            place
            for group_id, group in enumerate(groups)
            for place in places.declared_places(group_id, group)
        )
        numbered = [(number, *place) for number, place in enumerate(declared)]
        samples, parameters = inline_rows(places.SAMPLE_COLUMNS, numbered)
        self._session.stage("_declared", places.declared_shapes(samples), parameters)

    # the ledger

    def _finish(self) -> Landing:
        """Check that each document of the part has exactly one row, and write the ledger's row."""
        session, dataset, provenance = self._session, self._dataset, self._provenance
        landing, runs = counting.counted(
            session, dataset, provenance, dict(+self._rows), refused=bool(self._refusal)
        )
        counting.write_load(
            session, dataset, provenance, landing, runs, contract=self._contract, started=self._started
        )
        return landing

    # statements

    def _table(self, name: str) -> str:
        return qualified(self._dataset, name)

    def _insert(
        self, table: str, columns: Columns, rows: str, parameters: Sequence[object] | None = None
    ) -> None:
        self._rows[table] += self._session.insert(self._dataset, table, columns, rows, parameters)

    def _insert_problems(self, code: str, source: str, message: str) -> None:
        self._insert(
            "problems",
            tables.PROBLEMS,
            f"""SELECT {names(tables.KEY)}, run_id, {literal(code)}, NULL, NULL, NULL, NULL,
                       {literal(message)}, landed_at {source}""",
        )
