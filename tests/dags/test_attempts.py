"""Failures are per document: what may pass is sent again, alone, as often as said; the emulator counts."""

from __future__ import annotations

import itertools
import json
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from extend_pipeline.__main__ import main
from extend_provider.hooks.extend import ExtendHook
from fixtures.airflow.dag_runs import Outside

BATCH = "POST /workflow_runs/batch"
RunDag = Callable[..., Any]


@pytest.fixture
def receipts(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put twelve receipts into S3; return their names."""
    # A submission may be accepted for as long as its answer is waited for, and be listed a moment later.
    connection = outside.extend.connection_json(timeout=2, acceptance_window=2, listing_grace=1)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", connection)
    names = [f"{number:02}.txt" for number in range(12)]
    for name in names:
        outside.put(f"documents/{name}", f"Receipt {name}\nTotal: 3.00 EUR\n".encode())
    return names


def fails(name_glob: str, *, reason: str = "INTERNAL_ERROR", **rule: Any) -> dict[str, Any]:
    return {"status": "FAILED", "reason": reason, "name_glob": name_glob, **rule}


def runs_per_document(outside: Outside) -> dict[str, int]:
    """Return how many runs Extend has made of each document, by the document's name."""
    names = dict(outside.rows("SELECT document_id, name FROM extend.documents"))
    return {names[key]: count for key, count in outside.extend.stats()["runs_created"].items()}


def expected(receipts: list[str], **more: int) -> dict[str, int]:
    """Return one run for each receipt, but for those named: ``n03=2``."""
    return {name: more.get(f"n{name[:2]}", 1) for name in receipts}


def in_the_warehouse(outside: Outside) -> dict[str, tuple[str, str | None, int]]:
    rows = outside.rows("SELECT name, status, reason, attempts FROM extend.documents")
    return {name: (status, reason, attempts) for name, status, reason, attempts in rows}


def test_failure_that_may_pass_is_sent_again_alone_and_a_permanent_one_is_a_dead_letter(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    passing = [fails("0[36].txt", first_attempts=1), fails("08.txt", first_attempts=2)]
    permanent = [fails("01.txt", reason="INVALID_WORKFLOW"), fails("02.txt", reason="A_REASON_OF_TOMORROW")]
    outside.extend.configure(outcomes=[*passing, *permanent, fails("05.txt")])
    assert run_dag("persistent", logical_date=None).state == "success"

    attempts = runs_per_document(outside)
    assert attempts == expected(receipts, n03=2, n05=3, n06=2, n08=3)
    failed = {
        "01.txt": ("FAILED", "INVALID_WORKFLOW", 1),
        "02.txt": ("FAILED", "A_REASON_OF_TOMORROW", 1),
        "05.txt": ("FAILED", "INTERNAL_ERROR", 3),
    }
    processed = {name: ("PROCESSED", None, attempts[name]) for name in receipts}
    assert in_the_warehouse(outside) == {**processed, **failed}
    letters = outside.rows("SELECT uri, reason, attempts, resending FROM extend.dead_letters ORDER BY uri")
    address = f"s3://{outside.bucket}/documents/"
    assert letters == [(f"{address}{name}", *ended[1:], False) for name, ended in failed.items()]

    assert outside.extend.requests_to(BATCH) == 3
    ended = outside.rows("SELECT status, reason, count(*) FROM extend.runs GROUP BY ALL ORDER BY ALL")
    assert ended == [
        ("FAILED", "A_REASON_OF_TOMORROW", 1),
        ("FAILED", "INTERNAL_ERROR", 7),
        ("FAILED", "INVALID_WORKFLOW", 1),
        ("PROCESSED", None, 9),
    ]
    batches = outside.rows("SELECT raw_uri, count(*) FROM extend.runs GROUP BY ALL ORDER BY 2")
    assert [count for _, count in batches] == [2, 4, 12]
    assert outside.rows("SELECT count(*) FROM extend.claims") == [(0,)]


def test_a_rate_limit_is_waited_out_without_a_worker_in_every_round(
    outside: Outside, run_dag: RunDag, receipts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    limit = {"endpoint": BATCH, "kind": "rate_limit", "retry_after": 0.1}
    outside.extend.configure(
        outcomes=[fails("0[36].txt", first_attempts=1)], faults=[limit, {**limit, "skip": 1}]
    )
    assert run_dag("persistent", logical_date=None).state == "success"
    assert runs_per_document(outside) == expected(receipts, n03=2, n06=2)
    assert outside.extend.requests_to(BATCH) == 4
    assert {status for status, _, _ in in_the_warehouse(outside).values()} == {"PROCESSED"}


def test_too_many_failures_fail_the_run_after_everything_has_landed(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    outside.extend.configure(outcomes=[fails("0[12].txt"), fails("03.txt", first_attempts=1)])
    assert run_dag("persistent", logical_date=None, run_conf={"max_failed": 1}).state == "failed"
    statuses = Counter(status for status, _, _ in in_the_warehouse(outside).values())
    assert statuses == {"PROCESSED": 10, "FAILED": 2}
    assert run_dag("persistent", logical_date=None, run_conf={"max_failed": 1}).state == "success"
    assert runs_per_document(outside) == expected(receipts, n01=3, n02=3, n03=2)


def first_batch(outside: Outside) -> list[dict[str, Any]]:
    """Return the summaries of the runs of the only batch, once it is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        listed = outside.extend.call("GET", "/workflow_runs", params={"maxPageSize": 1000}).json()["data"]
        if listed:
            return list(listed)
        time.sleep(0.1)
    raise TimeoutError("no batch was submitted")


class Meanwhile:
    """Does something to the first batch while the DAG waits for it, then lets the runs begin."""

    def __init__(self, outside: Outside, act: Callable[[str], Any], *names: str) -> None:
        self.outside = outside
        self.act = act
        self.names = names
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> Meanwhile:
        self.outside.extend.configure(hold=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.thread.join()

    def _run(self) -> None:
        try:
            for run in first_batch(self.outside):
                if run["files"][0]["name"] in self.names:
                    assert self.act(run["id"]).ok
        finally:
            self.outside.extend.configure(hold=False)


def test_runs_that_were_cancelled_or_deleted_meanwhile_are_sent_again_alone(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    methods = itertools.cycle(("POST", "DELETE"))

    def cancel_or_delete(run_id: str) -> Any:
        method = next(methods)
        return outside.extend.call(method, f"/workflow_runs/{run_id}{'/cancel' if method == 'POST' else ''}")

    with Meanwhile(outside, cancel_or_delete, "02.txt", "04.txt", "07.txt", "09.txt"):
        assert run_dag("persistent", logical_date=None).state == "success"
    assert runs_per_document(outside) == expected(receipts, n02=2, n04=2, n07=2, n09=2)
    assert {status for status, _, _ in in_the_warehouse(outside).values()} == {"PROCESSED"}


def test_after_the_last_attempt_a_failure_stays_and_a_run_that_is_gone_is_missing(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    def delete(run_id: str) -> Any:
        return outside.extend.call("DELETE", f"/workflow_runs/{run_id}")

    outside.extend.configure(outcomes=[fails("0[5-9].txt")])
    with Meanwhile(outside, delete, "04.txt"):
        assert run_dag("persistent", logical_date=None, run_conf={"max_attempts": 1}).state == "success"
    assert runs_per_document(outside) == expected(receipts)
    ends = Counter(in_the_warehouse(outside).values())
    assert ends == {
        ("PROCESSED", None, 1): 6,
        ("FAILED", "INTERNAL_ERROR", 1): 5,
        ("FAILED", "RUN_MISSING", 0): 1,
    }
    assert in_the_warehouse(outside)["04.txt"] == ("FAILED", "RUN_MISSING", 0)
    assert outside.rows("SELECT count(*) FROM extend.dead_letters") == [(6,)]


@pytest.mark.full
def test_what_is_accepted_as_gone_lands_and_is_sent_again_when_somebody_says_so(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    def delete(run_id: str) -> Any:
        return outside.extend.call("DELETE", f"/workflow_runs/{run_id}")

    gone = receipts[:5]
    with Meanwhile(outside, delete, *gone):
        assert run_dag("persistent", logical_date=None).state == "failed"
    assert set(outside.extend.stats()["runs_created"].values()) == {1}, "more than three of twelve"
    (listed,) = (outside.warehouse.parent / "workspace").glob("batches/*/*/*/documents-*.jsonl")
    assert main(["missing", f"file://{listed.parent}", "--accept"]) == 0

    assert run_dag("persistent", logical_date=None).state == "success"
    assert set(runs_per_document(outside).values()) == {1}
    missing = {name for name, (_, reason, _) in in_the_warehouse(outside).items() if reason == "RUN_MISSING"}
    assert missing == set(gone)
    assert resend(run_dag) == "success"
    assert runs_per_document(outside) == {name: 2 if name in gone else 1 for name in receipts}
    assert {status for status, _, _ in in_the_warehouse(outside).values()} == {"PROCESSED"}


@pytest.mark.parametrize("when", ["before the request", "before the record"])
def test_a_worker_that_dies_around_the_second_batch_sends_it_once(
    outside: Outside, run_dag: RunDag, receipts: list[str], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.extend.configure(outcomes=[fails("0[0-4].txt", first_attempts=1)])
    create, calls = ExtendHook.create_batch, iter(range(9))

    def dies(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        if next(calls) == 0:
            return create(hook, *args, **kwargs)
        if when == "before the record":
            create(hook, *args, **kwargs)
        raise RuntimeError("the worker is gone")

    with monkeypatch.context() as patched:
        patched.setattr(ExtendHook, "create_batch", dies)
        assert run_dag("persistent", logical_date=None).state == "failed"
    assert run_dag("persistent", logical_date=None).state == "success"
    assert runs_per_document(outside) == expected(receipts, n00=2, n01=2, n02=2, n03=2, n04=2)
    assert {status for status, _, _ in in_the_warehouse(outside).values()} == {"PROCESSED"}


@pytest.mark.parametrize("dies_at", ["collect", pytest.param("load", marks=pytest.mark.full)])
def test_what_a_run_has_sent_twice_is_landed_by_the_next_one(
    outside: Outside, run_dag: RunDag, receipts: list[str], dies_at: str
) -> None:
    outside.extend.configure(outcomes=[fails("0[0-4].txt", first_attempts=1)])
    assert run_dag("persistent", logical_date=None, dies_at=dies_at).state == "failed"
    assert run_dag("persistent", logical_date=None).state == "success"
    assert outside.extend.requests_to(BATCH) == 2
    assert {status for status, _, _ in in_the_warehouse(outside).values()} == {"PROCESSED"}


@pytest.mark.full
def test_an_object_that_is_gone_by_the_second_attempt_keeps_its_first_outcome(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    outside.extend.configure(outcomes=[fails("0[01].txt", first_attempts=1), fails("02.txt")])

    def gone(_: str) -> Any:
        outside.s3.client.delete_object(Bucket=outside.bucket, Key="documents/00.txt")
        return outside.extend.call("GET", "/workflow_runs")

    with Meanwhile(outside, gone, "00.txt"):
        assert run_dag("persistent", logical_date=None).state == "success"
    landed = in_the_warehouse(outside)
    assert landed["00.txt"] == ("FAILED", "INTERNAL_ERROR", 1)
    assert landed["01.txt"] == ("PROCESSED", None, 2)
    assert landed["02.txt"] == ("FAILED", "INTERNAL_ERROR", 3)
    assert len(landed) == len(receipts)


def test_what_is_sent_again_lands_where_the_command_has_found_it(
    outside: Outside, run_dag: RunDag, receipts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = {"warehouse_conn_id": "warehouse_default", "dataset": "analytics"}
    outside.extend.configure(outcomes=[fails("01.txt", reason="INVALID_WORKFLOW")])
    conf = {"source": f"s3://{outside.bucket}/documents/", **elsewhere}
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf).state == "success"
    outside.extend.configure(outcomes=[])

    capsys.readouterr()
    assert main(["dead-letters", "--dataset", "analytics", "--resend"]) == 0
    *words, printed = shlex.split(capsys.readouterr().out)
    conf = json.loads(printed)
    assert words[:3] == ["airflow", "dags", "trigger"]
    assert run_dag(words[3], logical_date=None, run_conf=conf).state == "success"
    assert outside.rows("SELECT status, count(*) FROM analytics.documents GROUP BY ALL") == [
        ("PROCESSED", len(receipts))
    ]
    assert sorted(outside.extend.stats()["runs_created"].values()) == [1] * (len(receipts) - 1) + [2]


def resend(run_dag: RunDag, **conf: Any) -> str:
    return str(run_dag("extend_on_demand", logical_date=None, run_conf={"reprocess": "failed", **conf}).state)


def test_dead_letters_are_sent_again_without_an_address(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    rules = [fails("01.txt", reason="INVALID_WORKFLOW"), fails("02.txt", reason="INVALID_WORKFLOW")]
    outside.extend.configure(outcomes=rules)
    run_dag("persistent", logical_date=None)
    outside.extend.configure(outcomes=rules[1:])

    assert resend(run_dag) == "success"
    assert runs_per_document(outside) == expected(receipts, n01=2, n02=2)
    landed = in_the_warehouse(outside)
    assert landed["01.txt"] == ("PROCESSED", None, 2)
    assert landed["02.txt"] == ("FAILED", "INVALID_WORKFLOW", 2)

    outside.extend.configure(outcomes=[])
    assert resend(run_dag, source=f"s3://{outside.bucket}/elsewhere/") == "success"
    assert runs_per_document(outside) == expected(receipts, n01=2, n02=2)
    assert resend(run_dag, source=f"s3://{outside.bucket}/documents/") == "success"
    assert runs_per_document(outside) == expected(receipts, n01=2, n02=3)
    assert resend(run_dag) == "success"
    assert runs_per_document(outside) == expected(receipts, n01=2, n02=3)


def test_dead_letters_that_another_run_sends_again_are_taken_up_and_not_sent_twice(
    outside: Outside, run_dag: RunDag, receipts: list[str]
) -> None:
    outside.extend.configure(outcomes=[fails("0[1-3].txt", reason="INVALID_WORKFLOW")])
    run_dag("persistent", logical_date=None)
    outside.extend.configure(outcomes=[])
    conf = {"reprocess": "failed"}
    died = run_dag("extend_on_demand", logical_date=None, run_conf=conf, dies_at="collect")
    assert died.state == "failed"
    assert outside.rows("SELECT count(*) FROM extend.dead_letters WHERE resending") == [(3,)]

    assert resend(run_dag) == "success"
    assert runs_per_document(outside) == expected(receipts, n01=2, n02=2, n03=2)
    assert {status for status, _, _ in in_the_warehouse(outside).values()} == {"PROCESSED"}
