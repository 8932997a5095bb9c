"""Runs that overlap, die and are repeated share one warehouse: each document is sent once and has one row."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
from airflow.sdk import ObjectStoragePath
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from extend_pipeline.batch_ledger import WorkspaceLedger
from extend_pipeline.documents import Document
from extend_pipeline.planning import ChunkReference, Plan, chunk_path, make_plan
from extend_pipeline.settings import Settings
from extend_pipeline.warehouse.duckdb_warehouse import DuckDBWarehouse
from extend_pipeline.workspace import batch_folder, read_documents
from extend_provider.models import BatchInput, FileInput
from extend_provider.recovery import Mark
from extend_provider.submission import Prepared, Submission, Submitter
from pipeline.warehouse_files import DATASET, provenance, query
from pipeline.warehouse_runs import WORKFLOW, document, raw_lines, run
from properties.extend_model import Crash, PausingLedger, Process, World, hook_of

#: Where a planning process can die.
DEATHS = st.sampled_from([None, None, "before the claims", "after the claims"])
INDEX = st.integers(0, 20)


class MortalWarehouse(DuckDBWarehouse):
    """A warehouse whose process dies around the writing of claims."""

    death: str | None = None

    def claim(
        self,
        claims: Iterable[tuple[Document, str]],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
    ) -> None:
        if self.death == "before the claims":
            raise Crash
        super().claim(claims, workflow_id=workflow_id, version=version, repetition=repetition)
        if self.death == "after the claims":
            raise Crash


@dataclasses.dataclass
class Run:
    """A run of the pipeline: what it was asked for, and its plan once there is one."""

    folder: ObjectStoragePath
    settings: Settings
    found: list[Document]
    plan: Plan | None = None


class Planning(RuleBasedStateMachine):
    """Runs over one growing source, one warehouse file and one workspace."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory(prefix="extend-planning-")
        self.home = Path(self._home.name)
        self.file = self.home / "warehouse.duckdb"
        self.world = World()
        self.source = [document(number) for number in range(4)]
        self.runs: list[Run] = []

    @property
    def chunks(self) -> list[tuple[Run, ChunkReference]]:
        """What the tasks of all runs have been given to work on."""
        return [(run, chunk) for run in self.runs if run.plan for chunk in run.plan.chunks]

    @rule(count=st.integers(1, 4))
    def documents_arrive(self, count: int) -> None:
        known = len(self.source)
        self.source += [document(number) for number in range(known, known + count)]

    @rule(
        chunk_size=st.integers(1, 5),
        limit=st.none() | st.integers(1, 4),
        repetition=st.sampled_from(["", "", "again"]),
        death=DEATHS,
    )
    def run_begins(self, chunk_size: int, limit: int | None, repetition: str, death: str | None) -> None:
        self.plan(self.discovered(chunk_size=chunk_size, limit=limit, repetition=repetition), death)

    @precondition(lambda self: self.runs)
    @rule(which=INDEX, death=DEATHS)
    def plan_is_repeated(self, which: int, death: str | None) -> None:
        self.plan(self.runs[which % len(self.runs)], death)

    @precondition(lambda self: self.chunks)
    @rule(which=INDEX, dies_at=st.sampled_from([None, "post", "has posted", "record", "has recorded"]))
    def chunk_is_submitted(self, which: int, dies_at: str | None) -> None:
        run, chunk = self.chunks[which % len(self.chunks)]
        self.submit(run, chunk, dies_at)

    @precondition(lambda self: self.chunks)
    @rule(which=INDEX)
    def chunk_lands(self, which: int) -> None:
        self.land(*self.chunks[which % len(self.chunks)])

    def discovered(self, **asked_for: Any) -> Run:
        folder = ObjectStoragePath(f"file://{self.home}/runs/{len(self.runs)}")
        given = {"source": "s3://inbox/", "workflow_id": WORKFLOW, "workspace": f"file://{self.home}"}
        self.runs.append(Run(folder, Settings(**{**given, **asked_for}), list(self.source)))
        return self.runs[-1]

    def plan(self, run: Run, death: str | None = None) -> None:
        with MortalWarehouse(self.file, DATASET, conn_id="test") as warehouse, contextlib.suppress(Crash):
            warehouse.death = death
            run.plan = make_plan(
                warehouse, run.settings, run.found, run.folder, max_chunks=None, requests_per_second=None
            )
        with duckdb.connect(str(self.file), read_only=True) as file:
            claims = file.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'claims'").fetchone()
        if claims:
            twice = "SELECT document_id FROM claims GROUP BY document_id, repetition HAVING count(*) > 1"
            assert query(self.file, twice) == []

    def submit(self, run: Run, chunk: ChunkReference, dies_at: str | None = None) -> None:
        """Submit a chunk as its task does, with Extend and the process from the model."""
        process = Process(self.world, lambda process: self.submitter(run, chunk, process))
        while not process.ended:
            if process.wakes_at is not None:
                self.world.now = max(self.world.now, process.wakes_at)
            process.go_on()
            if process.step == dies_at and not process.ended:
                process.die()
        assert process.error is None
        sent = Counter(
            (metadata["document_id"], metadata["repetition"])
            for batch in self.world.batches
            for metadata in batch.metadata
        )
        assert all(times == 1 for times in sent.values()), "a document was sent twice"

    def submitter(self, run: Run, chunk: ChunkReference, process: Process) -> Submission:
        marks = {"chunk": chunk["key"], "repetition": run.settings.repetition}
        inputs = [
            BatchInput(FileInput(text="text"), {"document_id": each.id, **marks})
            for each in read_documents(chunk_path(chunk))
        ]
        return Submitter(
            hook=hook_of(process),
            ledger=PausingLedger(process, self.ledger(chunk)),
            workflow_id=WORKFLOW,
            mark=lambda: Mark({"chunk": chunk["key"]}),
            prepare=lambda: Prepared(inputs),
            clock=self.world.clock,
            sleep=process.sleep,
        ).submit()

    def ledger(self, chunk: ChunkReference) -> WorkspaceLedger:
        return WorkspaceLedger(
            batch_folder(f"file://{self.home}", workflow_id=WORKFLOW, version=None, key=chunk["key"])
        )

    def land(self, run: Run, chunk: ChunkReference) -> None:
        """Land a chunk, if its batch is known; every document has been processed then."""
        batch_id = self.ledger(chunk).read().batch_id
        if batch_id is None:
            return
        documents = list(read_documents(chunk_path(chunk)))
        lines = raw_lines(*(result(each, batch_id) for each in documents))
        origin = provenance(batch_id, repetition=run.settings.repetition)
        with DuckDBWarehouse(self.file, DATASET, conn_id="test") as warehouse:
            warehouse.land(documents, lines, provenance=origin)

    def teardown(self) -> None:
        """In the end a run comes that nothing disturbs: all there is has one row, nothing is held."""
        try:
            last = self.discovered()
            self.plan(last)
            assert last.plan is not None
            for chunk in last.plan.chunks:
                self.submit(last, chunk)
                self.land(last, chunk)
            rows = query(self.file, "SELECT document_id FROM documents ORDER BY document_id")
            assert rows == sorted((each.id,) for each in self.source)
            assert query(self.file, "SELECT count(*) FROM claims WHERE repetition = ''") == [(0,)]
        finally:
            self._home.cleanup()


def result(document: Document, batch_id: str) -> dict[str, Any]:
    return run(document, steps=[], id=f"run_{document.id[:8]}_{batch_id}", batchId=batch_id)


TestPlanning = Planning.TestCase
TestPlanning.settings = settings(max_examples=12, stateful_step_count=14, deadline=None, derandomize=True)
