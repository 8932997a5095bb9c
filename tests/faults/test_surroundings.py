"""What the pipeline depends on fails for a while: API, warehouse, workspace, credentials."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from fixtures.airflow.scenario import BATCH, DAY, RUN, Scenario, fault
from fixtures.airflow.timing import OUTAGE_SECONDS
from fixtures.tiers import FULL

#: What being down means, one after the other: refused, cut off, and no answer at all.
OUTAGE = (
    fault("error", "*", status=503, count=None),
    fault("drop", "*", count=None),
    fault("slow", "*", seconds=30, count=None),
)


@pytest.mark.long
@pytest.mark.parametrize(
    "seconds", [OUTAGE_SECONDS, pytest.param(45, marks=FULL)], ids=["seconds", "minutes"]
)
def test_wait_and_submit_survive_an_outage(scenario: Scenario, seconds: float) -> None:
    next_day = DAY + dt.timedelta(days=1)
    truths = scenario.seed(16, DAY, next_day)
    scenario.extend.configure(hold=True)
    waiting = scenario.start()
    scenario.task(waiting, "wait", "deferred")
    scenario.extend.configure(hold=False, faults=[OUTAGE[0]])
    submitting = scenario.start(next_day)
    scenario.task(submitting, "submit", "running")
    for each in OUTAGE:
        scenario.extend.configure(faults=[each])
        time.sleep(seconds)
    assert scenario.task(waiting, "wait", "deferred").try_number == 1
    assert len(scenario.created()) < len(truths) / 2, "something was accepted by a service that is down"
    scenario.extend.configure(faults=[])
    scenario.succeed(waiting, submitting)
    scenario.verdict(truths, waiting, submitting, posts=3)
    assert scenario.attempts(waiting)["wait"] == 1


def test_collect_survives_an_outage(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("drop", RUN, skip=3, count=None)])
    run = scenario.start()
    scenario.task(run, "collect", "running")
    scenario.extend.configure(faults=[fault("drop", "*", count=None)])
    time.sleep(OUTAGE_SECONDS)
    scenario.extend.configure(faults=[])
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)


@pytest.mark.long
def test_load_waits_for_a_warehouse_that_another_process_locks(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with duckdb.connect(str(scenario.lane.warehouse)):
        scenario.extend.configure(hold=False)
        scenario.task(run, "load", "up_for_reschedule")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1, attempts={"load": 1})


def test_plan_retries_when_the_workspace_refuses_reservations(scenario: Scenario) -> None:
    truths = scenario.seed()
    with Files(scenario).refuses("batches"):
        run = scenario.start()
        scenario.task(run, "plan", "up_for_retry")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)


@pytest.mark.parametrize("kind", [pytest.param("files", marks=FULL), "bucket"])
def test_submit_and_collect_retry_when_the_workspace_refuses_files(scenario: Scenario, kind: str) -> None:
    truths = scenario.seed()
    workspace = WORKSPACES[kind](scenario)
    scenario.extend.configure(hold=True)
    scenario.lane.open_pools(batches=0)
    run = scenario.start()
    scenario.task(run, "submit", "scheduled")
    with workspace.refuses("batches"):
        scenario.lane.open_pools()
        scenario.task(run, "submit", "up_for_retry")
        assert scenario.created() == {}
    scenario.task(run, "wait", "deferred")
    with workspace.refuses("raw"):
        scenario.extend.configure(hold=False)
        scenario.task(run, "collect", "up_for_retry")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)
    assert min(scenario.attempts(run)[name] for name in ("submit", "collect")) > 1


@pytest.mark.parametrize("kind", [pytest.param("files", marks=FULL), "bucket"])
def test_submit_finds_its_batch_when_the_workspace_refused_the_record(scenario: Scenario, kind: str) -> None:
    truths = scenario.seed()
    workspace = WORKSPACES[kind](scenario)
    scenario.lane.connect(answer_seconds=30)
    scenario.extend.configure(faults=[fault("slow", seconds=8, accepted=True)])
    run = scenario.start()
    scenario.wait_until(scenario.created, "Extend has the batch")
    with workspace.refuses("batches"):
        scenario.task(run, "submit", "up_for_retry")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)
    assert scenario.attempts(run)["submit"] > 1


#: Where the disk is full in the middle of a write, by task: each of them costs it an attempt.
WRITES = {
    "submit": (
        "extend_pipeline.batches.chunk_state:write_documents",
        "extend_pipeline.batches.ledger:WorkspaceLedger.begin",
        "extend_pipeline.batches.ledger:WorkspaceLedger.record",
    ),
    "collect": ("extend_pipeline.storage.raw_zone:PartWriter.add_document",),
    "load": ("extend_pipeline.storage.raw_index:enter", "extend_pipeline.dag.tasks:land"),
}


def test_full_disk_in_each_write_costs_only_attempts(scenario: Scenario) -> None:
    """Of the documents sent, the intent, the batch, the raw runs, their entry, and the warehouse."""
    truths = scenario.seed()
    places = [(task, function) for task, functions in WRITES.items() for function in functions]
    proofs = [scenario.failpoint(task, function, room=64) for task, function in places]
    run = scenario.start()
    scenario.succeed(run)
    assert not [proof for proof in proofs if not proof.exists()], "there was room"
    assert_files_are_whole(scenario.lane.workspace)
    attempts = {task: len(functions) + 1 for task, functions in WRITES.items()}
    scenario.verdict(truths, run, posts=1, attempts=attempts)


def assert_files_are_whole(workspace: Path) -> None:
    """Fail if a file of the workspace is cut off, or the beginning of one is left."""
    files = [path for path in workspace.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.startswith(".")], "what could not be written is left"
    for path in files:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for part in content.splitlines() if ".jsonl" in path.name else [content]:
            json.loads(part)


@FULL
def test_expired_presigned_urls_are_sent_again_fresh(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start(expires_in=20)  # no shorter than a busy machine takes to read them the second time
    scenario.task(run, "wait", "deferred")
    time.sleep(21)
    scenario.extend.configure(hold=False)
    scenario.succeed(run)
    # What fails over its file may have been read too late each time, as far as the pipeline can tell.
    scenario.verdict(truths, run, posts=3, runs_of=lambda truth: 3 if truth.status == "FAILED" else 2)
    scenario.client.clear_run(run.dag_id, run.dag_run_id)
    scenario.succeed(run)
    assert scenario.extend.requests_to(BATCH) == 3, "clearing has paid again"


@pytest.mark.parametrize("status", [pytest.param(400, marks=FULL), 403])
def test_submit_retries_when_s3_refuses_expired_credentials(scenario: Scenario, status: int) -> None:
    truths = scenario.seed()
    scenario.lane.open_pools(batches=0)
    with refusing_server(status) as address:
        run = scenario.start()
        scenario.task(run, "plan", "success")
        scenario.lane.connect(s3_url=address)
        scenario.lane.open_pools()
        scenario.task(run, "submit", "up_for_retry")
        assert scenario.created() == {}, "sent without a look at the objects"
    scenario.lane.connect()
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)


class Files:
    """A workspace in a folder that is lost as a mount is: the system then refuses its files, for root too."""

    def __init__(self, scenario: Scenario) -> None:
        self._root = scenario.lane.workspace

    @contextlib.contextmanager
    def refuses(self, *folders: str) -> Iterator[None]:
        """Refuse every file of some folders for the block."""
        asides = {self._root / folder: self._root / f"{folder}.aside" for folder in folders}
        for folder, aside in asides.items():
            if folder.exists():
                folder.rename(aside)
            folder.touch()
        try:
            yield
        finally:
            for folder, aside in asides.items():
                folder.unlink()
                if aside.exists():
                    aside.rename(folder)


class Bucket:
    """A workspace in a bucket of its own, whose policy may deny writing."""

    def __init__(self, scenario: Scenario) -> None:
        self._client = scenario.lane.s3.client
        self._name = f"workspace-{scenario.bucket}"
        scenario.lane.s3.bucket(self._name)
        scenario.lane.put_workspace(f"s3://aws_{scenario.lane.name}@{self._name}/extend")

    @contextlib.contextmanager
    def refuses(self, *folders: str) -> Iterator[None]:
        """Refuse to write objects of some folders for the block."""
        resources = [f"arn:aws:s3:::{self._name}/extend/{folder}/*" for folder in folders]
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": resources}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        self._client.put_bucket_policy(Bucket=self._name, Policy=policy)
        try:
            yield
        finally:
            self._client.delete_bucket_policy(Bucket=self._name)


WORKSPACES: dict[str, Callable[[Scenario], Files | Bucket]] = {"files": Files, "bucket": Bucket}


@contextlib.contextmanager
def refusing_server(status: int) -> Iterator[str]:
    """Serve an S3 that refuses all credentials, on a port of its own; yields its address."""
    code = {400: "ExpiredToken", 403: "InvalidAccessKeyId"}[status]
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
