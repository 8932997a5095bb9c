"""People at Extend: what waits for a reviewer, and what becomes of it when somebody has decided."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from fixtures.airflow.dag_runs import Outside

RUN = "GET /workflow_runs/{id}"
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
IN_REVIEW = {"status": "NEEDS_REVIEW", "name_glob": "doubtful*", "first_attempts": 1}

RunDag = Callable[..., Any]


def receipt(total: str) -> bytes:
    lines = ("Corner Cafe", "RECEIPT", "Receipt no: 04-457821", "Date: 19/11/2026", "Cashier: 3")
    return "\n".join((*lines, f"Total EUR  {total}", "Paid by: Cash", "")).encode()


def put(outside: Outside, *names: str) -> None:
    for number, name in enumerate(names):
        outside.put(f"documents/2026-11-19/{name}.txt", receipt(f"{number + 3}.00"))


@pytest.fixture
def night(outside: Outside, run_dag: RunDag) -> Callable[..., Any]:
    """Let documents of these names land: those called ``doubtful`` wait for a reviewer."""

    def land(*names: str, **settings: Any) -> Any:
        outside.extend.configure(outcomes=[IN_REVIEW], **settings)
        put(outside, *names)
        run = run_dag("extend_nightly", logical_date=NIGHT)
        assert run.state == "success"
        return run

    return land


def look(run_dag: RunDag, **conf: Any) -> Any:
    return run_dag("extend_reviews", logical_date=dt.datetime.now(dt.UTC), run_conf=conf)


def states(run: Any) -> dict[str, str]:
    return {ti.task_id.rpartition(".")[2]: str(ti.state) for ti in run.get_task_instances()}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def run_ids(outside: Outside) -> list[str]:
    return [run for (run,) in outside.rows("SELECT run_id FROM extend.documents WHERE name LIKE 'doubtful%'")]


def asked(outside: Outside) -> int:
    return sum(outside.extend.stats()["requests"].values())


@pytest.mark.full
def test_without_documents_in_review_extend_is_asked_nothing(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    first = look(run_dag)
    assert states(first) == {"find": "success", "ask": "skipped", "land": "skipped"}
    night("plain")
    before = asked(outside)
    second = look(run_dag)
    assert (second.state, states(second)["ask"]) == ("success", "skipped")
    assert asked(outside) == before


@pytest.mark.unit
def test_a_reviewed_document_lands_as_the_reviewer_left_it(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    night("plain", "doubtful", "doubtful too")
    assert outside.rows("SELECT count(*) FROM extend.receipt") == [(3,)]  # as the machine made them
    reviewed, _ = run_ids(outside)
    outside.extend.review(reviewed, "approve", edits={"total": 99.5}, reviewer="jane@acme.example")
    before = outside.extend.requests_to(RUN)
    run = look(run_dag)

    assert run.state == "success"
    assert outside.extend.requests_to(RUN) - before == 2  # one for each document in review, no more
    assert outside.rows(
        "SELECT status, reviewed, reviewed_by, reviewed_at IS NOT NULL, credits > 0 "
        f"FROM extend.documents WHERE run_id = '{reviewed}'"
    ) == [("PROCESSED", True, "jane@acme.example", True, True)]
    assert outside.rows(f"SELECT total::DOUBLE FROM extend.receipt WHERE run_id = '{reviewed}'") == [(99.5,)]
    assert outside.rows("SELECT path, value, machine_value <> '99.5' FROM extend.fields WHERE edited") == [
        ("total", "99.5", True)
    ]
    assert outside.statuses()["documents/2026-11-19/plain.txt"] == ("PROCESSED", None)
    assert outside.rows("SELECT count(*) FROM extend.documents WHERE status = 'NEEDS_REVIEW'") == [(1,)]
    assert outside.rows("SELECT count(*) FROM extend.receipt") == [(3,)]


def test_what_has_landed_after_its_review_is_not_asked_for_again_nor_sent_again(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    night("doubtful")
    outside.extend.review(run_ids(outside)[0], "approve")
    look(run_dag)
    before = asked(outside)
    assert states(look(run_dag))["ask"] == "skipped"
    assert asked(outside) == before
    night("doubtful")
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_nothing_lands_while_nobody_has_decided(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    night("doubtful")
    before = outside.rows("SELECT landed_at FROM extend.documents")
    run = look(run_dag)
    assert states(run) == {"find": "success", "ask": "success", "land": "skipped"}
    assert outside.rows("SELECT landed_at FROM extend.documents") == before
    raw = outside.warehouse.parent.glob("workspace/raw/**/review-*")
    assert list(raw) == []


def test_a_rejection_carries_its_note(outside: Outside, run_dag: RunDag, night: Callable[..., Any]) -> None:
    night("doubtful")
    outside.extend.review(run_ids(outside)[0], "reject", note="Not one of ours.")
    assert look(run_dag).state == "success"
    assert outside.rows("SELECT status, rejection_note, message, reviewed FROM extend.documents") == [
        ("REJECTED", "Not one of ours.", "Not one of ours.", True)
    ]


def test_runs_that_a_reviewer_sends_back_are_followed_to_their_ends(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    ends = {"doubtful": "PROCESSED", "doubtful again": "NEEDS_REVIEW", "doubtful failed": "FAILED"}
    night(*ends)
    rules = [{"status": end, "name_glob": f"{name}.*"} for name, end in ends.items() if end != "PROCESSED"]
    outside.extend.configure(outcomes=rules, hold=True)
    for run_id in run_ids(outside):
        outside.extend.review(run_id, "reclassify", type="invoice")
    under_way = look(run_dag)
    assert states(under_way)["land"] == "skipped"
    assert {status for status, _ in outside.statuses().values()} == {"NEEDS_REVIEW"}

    outside.extend.configure(hold=False)
    wait_until(lambda: outside.extend.stats()["runs"].get("PROCESSING", 0) == 0)
    assert look(run_dag).state == "success"
    statuses = {uri: status for uri, (status, _) in outside.statuses().items()}
    assert statuses == {f"documents/2026-11-19/{name}.txt": end for name, end in ends.items()}
    landed = "SELECT name FROM extend.{} JOIN extend.documents USING (document_id) ORDER BY ALL"
    others = [("doubtful again.txt",), ("doubtful.txt",)]
    assert outside.rows(landed.format("invoice")) == others
    assert [row for row in outside.rows(landed.format("receipt")) if row in others] == []


def test_a_run_that_is_gone_keeps_its_row_and_is_asked_for_once(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    night("doubtful", "doubtful too")
    gone, reviewed = run_ids(outside)
    assert outside.extend.call("DELETE", f"/workflow_runs/{gone}").ok
    outside.extend.review(reviewed, "approve")
    assert look(run_dag).state == "success"

    ((status, reason, message, machine),) = outside.rows(
        f"""SELECT status, reason, message, (SELECT count(*) FROM extend.receipt WHERE run_id = '{gone}')
            FROM extend.documents WHERE run_id = '{gone}'"""
    )
    assert (status, reason, machine) == ("NEEDS_REVIEW", "RUN_DELETED", 1)
    assert "deleted" in message
    assert outside.rows(f"SELECT status FROM extend.documents WHERE run_id = '{reviewed}'") == [
        ("PROCESSED",)
    ]

    before = asked(outside)
    look(run_dag)
    assert asked(outside) == before
    look(run_dag, include_deleted=True)
    assert asked(outside) == before + 1


def test_what_extend_cannot_show_fails_the_run_and_lands_with_the_next(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    night("doubtful", "doubtful too")
    for run_id in run_ids(outside):
        outside.extend.review(run_id, "approve")
    outside.extend.configure(faults=[{"endpoint": RUN, "kind": "malformed", "count": 10}])
    run = look(run_dag)
    assert run.state == "failed"
    assert states(run) == {"find": "success", "ask": "success", "land": "failed"}
    outside.extend.configure(faults=[])
    assert look(run_dag).state == "success"
    assert outside.rows("SELECT DISTINCT status FROM extend.documents") == [("PROCESSED",)]


def test_runs_of_another_connection_are_left_to_it(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any]
) -> None:
    night("doubtful")
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("UPDATE extend.loads SET extend_conn_id = 'extend_elsewhere'")
    assert states(look(run_dag))["ask"] == "skipped"


def test_waiting_for_reviewers_lands_what_they_decided(outside: Outside, run_dag: RunDag) -> None:
    outside.extend.configure(outcomes=[IN_REVIEW])
    put(outside, "plain", "doubtful")
    landed_before: list[bool] = []

    def decide() -> None:
        wait_until(lambda: outside.extend.stats()["runs"].get("NEEDS_REVIEW", 0) == 1)
        time.sleep(2)  # long enough for a look that must not end the wait
        landed_before.append(outside.statuses() != {})
        runs = outside.extend.call("GET", "/workflow_runs", params={"status": "NEEDS_REVIEW"}).json()["data"]
        outside.extend.review(runs[0]["id"], "approve", edits={"total": 42})

    reviewer = threading.Thread(target=decide)
    reviewer.start()
    run = run_dag("reviews_waited_for", logical_date=None)
    reviewer.join()

    assert run.state == "success"
    assert landed_before == [False]
    assert outside.rows("SELECT status, reviewed FROM extend.documents ORDER BY name") == [
        ("PROCESSED", True),
        ("PROCESSED", False),
    ]
    assert outside.rows("SELECT count(*) FROM extend.receipt WHERE total = 42") == [(1,)]


def test_failing_on_reviews_lands_everything_first(outside: Outside, run_dag: RunDag) -> None:
    outside.extend.configure(outcomes=[IN_REVIEW])
    put(outside, "plain", "doubtful")
    run = run_dag("reviews_failed_on", logical_date=None)
    assert run.state == "failed"
    assert states(run)["finish"] == "failed"
    assert states(run)["load"] == "success"
    assert {status for status, _ in outside.statuses().values()} == {"PROCESSED", "NEEDS_REVIEW"}
    assert outside.rows("SELECT count(*) FROM extend.receipt") == [(2,)]
