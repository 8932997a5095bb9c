"""Whole runs with webhooks: results and reviews land without being asked for, and the inbox is left clean."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_provider.webhooks.inbox.store import Inbox
from fixtures.airflow.dag_runs import Outside
from fixtures.webhooks import deliveries
from fixtures.webhooks.delivered import LISTING, RUN, Webhooks
from fixtures.webhooks.mailbox import mailbox

NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
IN_REVIEW = {"status": "NEEDS_REVIEW", "name_glob": "doubtful*", "first_attempts": 1}

RunDag = Callable[..., Any]


@pytest.fixture
def delivering(outside: Outside, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhooks]:
    """Webhooks of the DAG's workflow, into the inbox of its workspace."""
    assert webhooks.address == f"{os.environ['AIRFLOW_VAR_EXTEND_WORKSPACE']}/inbox"
    monkeypatch.setattr("extend_provider.batch.waiting.watching.SHORTEST_LOOK", 0.2)
    with mailbox(webhooks.inbox) as url:
        webhooks.api.listen(url, workflow_id="workflow_mixed")
        yield webhooks


@pytest.fixture
def night(outside: Outside, run_dag: RunDag, delivering: Webhooks) -> Callable[..., Any]:
    """Let documents of these names land: those called ``doubtful`` wait for a reviewer."""

    def land(*names: str) -> Any:
        outside.extend.configure(outcomes=[IN_REVIEW])
        for number, name in enumerate(names):
            outside.put(f"documents/2026-11-19/{name}.txt", f"RECEIPT\nTotal EUR {number + 3}.00\n".encode())
        run = run_dag("extend_nightly", logical_date=NIGHT)
        assert run.state == "success"
        delivering.api.webhooks()
        return run

    return land


def look(run_dag: RunDag, **conf: Any) -> dict[str, str]:
    """Look at reviews; return the tasks' states."""
    run = run_dag("extend_reviews", logical_date=dt.datetime.now(dt.UTC), run_conf=conf)
    return {ti.task_id.rpartition(".")[2]: str(ti.state) for ti in run.get_task_instances()}


def asked(outside: Outside) -> int:
    return sum(outside.extend.stats()["requests"].values())


@pytest.mark.unit
def test_a_night_and_its_reviews_land_by_webhooks_alone(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any], delivering: Webhooks
) -> None:
    night("plain", "doubtful", "doubtful too")
    assert (delivering.requests_to(LISTING), delivering.requests_to(RUN)) == (1, 0)
    assert delivering.names() == [], "what has landed is not kept"

    assert look(run_dag)["land"] == "skipped"  # the first look asks Extend for all
    before = asked(outside)
    reviewed, other = [
        run for (run,) in outside.rows("SELECT run_id FROM extend.documents WHERE name LIKE 'doubt%'")
    ]
    outside.extend.review(reviewed, "approve", edits={"total": 99.5}, reviewer="jane@acme.example")
    delivering.api.webhooks()
    assert look(run_dag) == {"find": "success", "ask": "success", "land": "success"}
    assert outside.rows(f"SELECT status, reviewed_by FROM extend.documents WHERE run_id = '{reviewed}'") == [
        ("PROCESSED", "jane@acme.example")
    ]
    assert outside.rows(f"SELECT total::DOUBLE FROM extend.receipt WHERE run_id = '{reviewed}'") == [(99.5,)]
    assert delivering.names() == []
    assert asked(outside) == before

    outside.extend.configure(webhook_faults=[{"kind": "lose"}])
    outside.extend.review(other, "reject", note="No receipt.")
    assert look(run_dag)["land"] == "skipped"
    assert look(run_dag, include_deleted=True)["land"] == "success"
    assert outside.rows("SELECT status, count(*) FROM extend.documents GROUP BY 1 ORDER BY 1") == [
        ("PROCESSED", 2),
        ("REJECTED", 1),
    ]


def test_what_is_old_and_of_no_batch_at_work_is_swept_at_the_end_of_a_run(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any], delivering: Webhooks
) -> None:
    strange = delivering.put(json.dumps(deliveries.run(batchId="batch_strange")).encode())
    fresh = delivering.put(json.dumps(deliveries.run(batchId="batch_fresh")).encode())
    of_the_batch = age(delivering, strange.batch_id)
    night("plain")
    assert not of_the_batch.exists()
    assert list(delivering.inbox.arrived(fresh.batch_id))


def age(delivering: Webhooks, batch_id: str | None) -> Path:
    """Make the only webhook of a batch two days old."""
    (path,) = (delivering.folder / "runs" / str(batch_id)).iterdir()
    old = time.time() - 2 * 86400
    os.utime(path, (old, old))
    return path


def test_an_inbox_that_nobody_can_read_costs_requests_and_no_document(
    outside: Outside, run_dag: RunDag, night: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*asked: object) -> None:
        raise PermissionError("no")

    for method in ("arrived", "read", "remove", "sweep"):
        monkeypatch.setattr(Inbox, method, refuse)
    night("plain", "doubtful")
    outside.extend.review(
        outside.rows("SELECT run_id FROM extend.documents WHERE name LIKE 'd%'")[0][0], "approve"
    )
    assert look(run_dag)["land"] == "success"
    assert outside.rows("SELECT DISTINCT status FROM extend.documents") == [("PROCESSED",)]
