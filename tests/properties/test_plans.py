"""Runs overlap, die, are cleared and corrected: each repetition of a document is paid for once.

Planning, voiding and sending are interleaved at the writes that decide between them. Whatever has happened,
in the end everything that was reserved lands or can be released.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
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

from extend_pipeline.batches.reservations import (
    ChunkReference,
    Reservation,
    chunk_documents,
    ledger_of,
    release,
)
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import ChunkVoidedError, PipelineInputError
from extend_pipeline.planning.chunking import Planning
from extend_pipeline.planning.discovery import failed_before
from extend_pipeline.planning.plan import Plan
from extend_pipeline.settings import Settings
from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse
from extend_provider.batch.orphans import IdempotencyKey
from extend_provider.batch.submission import Prepared, Submission, Submitter
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendBadRequestError
from fixtures.pipeline.chunks import planner
from fixtures.warehouse.files import DATASET, provenance, query
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run
from properties.extend_model import Crash, PausingLedger, Process, World, hook_of

#: Where a planning process can die.
DEATHS = st.sampled_from([None, None, None, "before the claims", "after the claims"])
#: Where a process that sends can stand still while others go on: up to its check of the time.
PAUSES = st.sampled_from([None, None, "read", "has read", "begin", "has begun", "connect"])
REPROCESS = st.sampled_from(["none", "none", "none", "all", "failed"])
INDEX = st.integers(0, 20)


class MortalWarehouse(DuckDBWarehouse):
    """A warehouse whose process dies around the writing of claims."""

    death: str | None = None

    def claim(self, new: Iterable[tuple[Document, str]], **how: Any) -> bool:
        if self.death == "before the claims":
            raise Crash
        answer = super().claim(new, **how)
        if self.death == "after the claims":
            raise Crash
        return answer


@dataclasses.dataclass
class Run:
    """A run of the pipeline: what it was asked for, and its plan once there is one."""

    name: str
    folder: ObjectStoragePath
    settings: Settings
    found: list[Document]
    active: bool = True
    plan: Plan | None = None


class Runs(RuleBasedStateMachine):
    """Runs over one growing source, one warehouse file and one workspace."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory(prefix="extend-planning-")
        self.home = Path(self._home.name)
        self.file = self.home / "warehouse.duckdb"
        self.world = World()
        self.source = [document(number) for number in range(4)]
        self.runs: list[Run] = []
        self.paused: list[Process] = []
        self._plans = itertools.count()

    @property
    def chunks(self) -> list[tuple[Run, ChunkReference]]:
        """What the tasks of all runs have been given to work on."""
        return [(run, chunk) for run in self.runs if run.plan for chunk in run.plan.chunks]

    @rule(count=st.integers(1, 4))
    def documents_arrive(self, count: int) -> None:
        known = len(self.source)
        self.source += [document(number) for number in range(known, known + count)]

    @rule(
        chunk_size=st.integers(1, 5), limit=st.none() | st.integers(1, 4), reprocess=REPROCESS, death=DEATHS
    )
    def run_begins(self, chunk_size: int, limit: int | None, reprocess: str, death: str | None) -> None:
        self.plan(self.new_run(chunk_size=chunk_size, limit=limit, reprocess=reprocess), death)

    @precondition(lambda self: self.runs)
    @rule(which=INDEX, active=st.booleans())
    def run_ends_or_is_cleared(self, which: int, active: bool) -> None:
        self.runs[which % len(self.runs)].active = active

    @precondition(lambda self: self.runs)
    @rule(which=INDEX, death=DEATHS)
    def plan_is_repeated(self, which: int, death: str | None) -> None:
        run = self.runs[which % len(self.runs)]
        run.active = True
        self.plan(run, death)

    @precondition(lambda self: self.chunks)
    @rule(
        which=INDEX,
        refused=st.booleans(),
        dies_at=st.sampled_from([None, None, "post", "has posted", "record", "has recorded"]),
        pauses_at=PAUSES,
    )
    def chunk_is_submitted(
        self, which: int, refused: bool, dies_at: str | None, pauses_at: str | None
    ) -> None:
        self.world.conduct.answer = "refused" if refused else "accepted"
        try:
            self.submit(*self.chunks[which % len(self.chunks)], dies_at=dies_at, pauses_at=pauses_at)
        finally:
            self.world.conduct.answer = "accepted"

    @precondition(lambda self: self.paused)
    @rule(which=INDEX, dies=st.booleans())
    def paused_process_goes_on(self, which: int, dies: bool) -> None:
        process = self.paused.pop(which % len(self.paused))
        if dies:
            process.die()
        else:
            self.go_on(process)

    @precondition(lambda self: self.chunks)
    @rule(which=INDEX, fails=st.booleans())
    def chunk_lands(self, which: int, fails: bool) -> None:
        self.land(*self.chunks[which % len(self.chunks)], fails=fails)

    @rule()
    def unsent_reservations_are_released(self) -> None:
        self.release()

    def new_run(self, **asked_for: Any) -> Run:
        name = f"run {len(self.runs)}"
        folder = ObjectStoragePath(f"file://{self.home}/runs/{len(self.runs)}")
        given = {"source": "s3://inbox/", "workflow_id": WORKFLOW, "workspace": f"file://{self.home}"}
        self.runs.append(Run(name, folder, Settings(**{**given, **asked_for}), list(self.source)))
        return self.runs[-1]

    def plan(self, run: Run, death: str | None = None) -> None:
        active = {each.name for each in self.runs if each.active}
        failed = run.settings.reprocess == "failed"
        with MortalWarehouse(self.file, DATASET, conn_id="test") as warehouse, contextlib.suppress(Crash):
            warehouse.death = death
            run.plan = None
            run.plan = Planning(
                warehouse=warehouse,
                settings=run.settings,
                found=lambda: failed_before(warehouse, run.settings) if failed else run.found,
                folder=run.folder,
                planner=planner(run.name, plan=f"plan {next(self._plans)}"),
                is_active=lambda them, _: them.run_id in active,
                sleep=lambda _: None,
            ).plan()
        if run.plan is not None:
            assert run.settings.limit is None or run.plan.to_send <= run.settings.limit
        with duckdb.connect(str(self.file), read_only=True) as file:
            claims = file.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'claims'").fetchone()
        if claims:
            twice = "SELECT document_id FROM claims GROUP BY document_id, repetition HAVING count(*) > 1"
            assert query(self.file, twice) == []

    def submit(
        self, run: Run, chunk: ChunkReference, dies_at: str | None = None, pauses_at: str | None = None
    ) -> None:
        """Submit a chunk as its task does, with Extend and the process from the model."""
        process = Process(self.world, lambda process: self.submitter(run, chunk, process))
        self.go_on(process, dies_at, pauses_at)

    def go_on(self, process: Process, dies_at: str | None = None, pauses_at: str | None = None) -> None:
        while not process.ended:
            if process.wakes_at is not None:
                self.world.now = max(self.world.now, process.wakes_at)
            process.go_on()
            if process.step == dies_at and not process.ended:
                process.die()
            if process.step == pauses_at and not process.ended:
                self.paused.append(process)
                break
        assert process.error is None or isinstance(process.error, (ChunkVoidedError, ExtendBadRequestError))
        sent = Counter(
            (metadata["document_id"], metadata["repetition"])
            for batch in self.world.batches
            for metadata in batch.metadata
        )
        assert all(times == 1 for times in sent.values()), "a repetition of a document was sent twice"

    def submitter(self, run: Run, chunk: ChunkReference, process: Process) -> Submission:
        marks = {"chunk": chunk["key"], "repetition": chunk["repetition"]}
        inputs = [
            BatchInput(FileInput(text="text"), {"document_id": each.id, **marks})
            for each in chunk_documents(run.settings, chunk)
        ]
        submission = Submitter(
            hook=hook_of(process),
            ledger=PausingLedger(process, ledger_of(run.settings, chunk["key"], chunk["plan"])),
            workflow_id=WORKFLOW,
            key=lambda: IdempotencyKey({"chunk": chunk["key"]}),
            prepare=lambda: Prepared(inputs),
            clock=self.world.clock,
            sleep=process.sleep,
        ).submit(deferrable=False)
        assert isinstance(submission, Submission)
        return submission

    def land(self, run: Run, chunk: ChunkReference, *, fails: bool = False) -> None:
        """Land a chunk, if its batch is known."""
        ledger = ledger_of(run.settings, chunk["key"], chunk["plan"])
        if not ledger.standing().begun or (batch_id := ledger.read().batch_id) is None:
            return
        documents = list(chunk_documents(run.settings, chunk))
        lines = raw_lines(*(result(each, batch_id, fails=fails) for each in documents))
        origin = provenance(batch_id, repetition=chunk["repetition"])
        with DuckDBWarehouse(self.file, DATASET, conn_id="test") as warehouse:
            warehouse.land(documents, lines, provenance=origin)

    def release(self) -> int:
        """Release what nobody has begun to send; return how many documents are still reserved."""
        with DuckDBWarehouse(self.file, DATASET, conn_id="test") as warehouse:
            claims = list(warehouse.claims())
            ledgers = {
                each.chunk: ledger_of(self.new_settings(), Reservation.of(each).key) for each in claims
            }
            warehouse.end_claims(chunk for chunk, ledger in ledgers.items() if release(ledger, "somebody"))
            return sum(each.documents for each in warehouse.claims())

    def new_settings(self) -> Settings:
        given = {"source": "s3://inbox/", "workflow_id": WORKFLOW, "workspace": f"file://{self.home}"}
        return Settings.from_rendered(given)

    def finished(self, run: Run) -> Plan:
        """Let a run do all that it plans."""
        self.plan(run)
        assert run.plan is not None
        for chunk in run.plan.chunks:
            self.submit(run, chunk)
            self.land(run, chunk)
        run.active = False
        return run.plan

    def teardown(self) -> None:
        """In the end runs come that nothing disturbs: all there is has one row, nothing stays reserved."""
        try:
            for process in self.paused:
                self.go_on(process)
            for each in self.runs:
                each.active = False
            self.finished(self.new_run())
            rows = query(self.file, "SELECT document_id FROM documents ORDER BY document_id")
            assert rows == sorted((each.id,) for each in self.source)
            self.advance_repetition()
            for run, chunk in self.chunks:
                self.land(run, chunk)
            assert self.release() == 0
        finally:
            self._home.cleanup()

    def advance_repetition(self) -> None:
        """Reprocess everything, half at a time: each run sends others, until a run says that none is left."""
        half = -(-len(self.source) // 2)
        for number in range(len(self.source) + 3):
            plan = self.finished(self.new_run(reprocess="all", limit=half))
            if plan.nothing_left:
                break
            assert plan.to_send + plan.held > 0, f"run {number} had nothing to do and did not say so"
        assert plan.nothing_left


def result(document: Document, batch_id: str, *, fails: bool = False) -> dict[str, Any]:
    ended = {"status": "FAILED", "failureReason": "INTERNAL_ERROR"} if fails else {}
    return run(document, steps=[], id=f"run_{document.id[:8]}_{batch_id}", batchId=batch_id, **ended)


def test_a_plan_beyond_its_bounds_reserves_and_voids_nothing() -> None:
    machine = Runs()
    machine.plan(machine.new_run(chunk_size=2))
    machine.runs[0].active = False
    before = query(machine.file, "SELECT document_id, chunk FROM claims ORDER BY ALL")
    with contextlib.suppress(PipelineInputError):
        machine.plan(machine.new_run(max_documents=1))
    assert query(machine.file, "SELECT document_id, chunk FROM claims ORDER BY ALL") == before
    for each in machine.chunks:
        machine.submit(*each)
    assert len(machine.world.batches) == 2, "the run that had planned them can still send them"
    machine.teardown()


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=6, stateful_step_count=18, deadline=None, derandomize=True)
