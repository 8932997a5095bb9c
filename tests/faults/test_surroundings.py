"""What lies around the pipeline fails for a while: the API, the warehouse, the workspace, the credentials."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from faults.scenario import RUN, Scenario, fault
from sandbox.documents import Truth
from sandbox.stack.landed import LandedWarehouse

#: Far beyond what a request, with its own repetitions, waits for.
OUTAGE_SECONDS = 12


def test_api_down_while_submitting(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("drop", "*", count=None)])
    run = scenario.start()
    scenario.task(run, "submit", "up_for_retry")
    time.sleep(OUTAGE_SECONDS)
    scenario.extend.configure(faults=[])
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=2)


def test_api_down_while_waiting(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    scenario.extend.configure(hold=False, faults=[fault("error", "*", status=503, count=None)])
    time.sleep(OUTAGE_SECONDS)
    assert scenario.task(run, "wait", "deferred").try_number == 1
    scenario.extend.configure(faults=[])
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1, attempts={"wait": 1})


def test_api_down_while_collecting(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("drop", RUN, skip=3, count=None)])
    run = scenario.start()
    scenario.task(run, "collect", "running")
    scenario.extend.configure(faults=[fault("drop", "*", count=None)])
    time.sleep(OUTAGE_SECONDS)
    scenario.extend.configure(faults=[])
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)


def test_warehouse_locked_by_another_process(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with duckdb.connect(str(scenario.lane.warehouse)):
        scenario.extend.configure(hold=False)
        scenario.task(run, "load", "up_for_retry")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)
    assert scenario.attempts(run)["load"] > 1


def test_workspace_refuses_the_intent_and_later_the_raw_runs(scenario: Scenario) -> None:
    truths = scenario.seed()
    with refused(scenario.lane.workspace / "raw"):
        with refused(scenario.lane.workspace / "batches"):
            run = scenario.start()
            scenario.task(run, "submit", "up_for_retry")
            assert scenario.created() == {}
        scenario.task(run, "collect", "up_for_retry")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)
    assert min(scenario.attempts(run)[name] for name in ("submit", "collect")) > 1


def test_workspace_refuses_the_record_of_a_batch_that_extend_has(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("slow", seconds=2, accepted=True)])
    run = scenario.start()
    scenario.wait_until(scenario.created, "Extend has the batch")
    with refused(scenario.lane.workspace / "batches"):
        scenario.task(run, "submit", "up_for_retry")
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)
    assert scenario.attempts(run)["submit"] > 1


def test_presigned_addresses_end_while_extend_has_a_queue(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start(expires_in=1)
    scenario.task(run, "wait", "deferred")
    time.sleep(2)
    scenario.extend.configure(hold=False)
    scenario.succeed(run)
    assert rows(scenario, "FAILED", "FAILED_TO_PROCESS_FILE") == len(sent(truths))
    scenario.client.clear_run(run.dag_id, run.dag_run_id)
    scenario.succeed(run)
    assert set(scenario.created().values()) == {1}, "clearing has paid again"

    again = scenario.start(reprocess="all")
    scenario.succeed(again)
    scenario.record(len(truths), run, again)
    scenario.assert_landed(truths)
    assert list(scenario.created().values()) == [2] * len(sent(truths)), "once each, and once each on demand"
    scenario.assert_nothing_under_way()


@pytest.mark.parametrize("status", [400, 403])
def test_s3_refuses_expired_credentials_between_discover_and_submit(scenario: Scenario, status: int) -> None:
    truths = scenario.seed()
    with refusing_server(status) as address:
        run = scenario.start()
        scenario.task(run, "plan", "running")
        scenario.lane.connect(s3_url=address)
        scenario.task(run, "submit", "up_for_retry", "failed", "success")
        assert scenario.created() == {}, "sent without a look at the objects"
    scenario.lane.connect()
    ended = scenario.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=100)
    if status == 403:  # a verdict on each document, which a new look at the source revises
        assert rows(scenario, "FAILED", "OBJECT_FORBIDDEN") == len(sent(truths))
        scenario.client.clear_run(ended.dag_id, ended.dag_run_id)
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1)


def sent(truths: list[Truth]) -> list[Truth]:
    return [truth for truth in truths if truth.status != "SKIPPED"]


def rows(scenario: Scenario, status: str, reason: str) -> int:
    with LandedWarehouse(scenario.lane.warehouse) as warehouse:
        sql = "SELECT count(*) FROM extend.documents WHERE status = ? AND reason = ?"
        return int(warehouse.rows(sql, [status, reason])[0][0])


@contextlib.contextmanager
def refused(folder: Path) -> Iterator[None]:
    """Have the system refuse every file of a folder, for root too, as a lost mount does."""
    aside = folder.with_suffix(".aside")
    if folder.exists():
        folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        if aside.exists():
            aside.rename(folder)


@contextlib.contextmanager
def refusing_server(status: int) -> Iterator[str]:
    """Serve an S3 that refuses every request, on a port of its own; yields its address."""

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

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
