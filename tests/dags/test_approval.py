"""People in Airflow: documents of low confidence are held back until somebody approves them."""

from __future__ import annotations

from typing import Any

import pytest

from extend_pipeline.reviews.approvals import APPROVE, LATER, REJECT
from fixtures.airflow.approvals import RunDag, answered, no_receipt, receipt, requests
from fixtures.airflow.dag_runs import Outside


def put(outside: Outside, *, sure: int, doubtful: int) -> None:
    for number in range(sure):
        outside.put(f"documents/sure {number}.txt", receipt(number))
    for number in range(doubtful):
        outside.put(f"documents/doubtful {number}.txt", no_receipt(number))


def states(run: Any) -> dict[str, str]:
    return {ti.task_id.rpartition(".")[2]: str(ti.state) for ti in run.get_task_instances()}


def typed(outside: Outside) -> list[str]:
    found = outside.rows(
        """SELECT DISTINCT document.name FROM extend.receipt
           JOIN extend.documents AS document USING (document_id) ORDER BY ALL"""
    )
    return [name.removesuffix(".txt") for (name,) in found]


def approvals(outside: Outside) -> dict[str, str | None]:
    return dict(outside.rows("SELECT name, approval FROM extend.documents ORDER BY name"))


def told(run: Any) -> dict[str, dict[str, Any]]:
    """What the events say that ``release`` has caused in this run, by the asset's last name."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        released = [event for event in events if str(event.source_task_id).endswith(".release")]
        return {event.asset.name.rpartition(".")[2]: event.extra for event in released}


def test_with_nothing_to_approve_nobody_is_asked(outside: Outside, run_dag: RunDag) -> None:
    put(outside, sure=2, doubtful=0)
    run = run_dag("confident", logical_date=None)
    assert run.state == "success"
    after = {name: states(run)[name] for name in ("held", "approve", "release", "finish")}
    assert after == {"held": "success", "approve": "skipped", "release": "success", "finish": "success"}
    assert typed(outside) == ["sure 0", "sure 1"]


@pytest.mark.parametrize("keys", ["brackets", "dots"])
def test_approved_documents_enter_the_typed_tables_without_a_request(
    outside: Outside, run_dag: RunDag, keys: str
) -> None:
    outside.extend.configure(metadata_keys=keys)
    put(outside, sure=1, doubtful=3)
    run, asked = answered(outside, run_dag, APPROVE)
    assert run.state == "success"
    assert states(run)["approve"] == states(run)["release"] == "success"
    assert typed(outside) == ["doubtful 0", "doubtful 1", "doubtful 2", "sure 0"]
    assert set(approvals(outside).values()) == {None, "APPROVED"}
    assert requests(outside) == asked.requests
    assert "3 documents" in asked.body
    assert asked.body.count("open at Extend") == 3
    assert "X-Amz" not in asked.body
    assert told(run)["documents_to_warehouse"] == {"APPROVED": 3}
    assert told(run)["receipt"] == {"rows": 3, "documents": 3}
    assert outside.rows("SELECT count(*) FROM extend.problems") == [(0,)]


@pytest.mark.parametrize(
    ("answer", "approval"),
    [pytest.param(REJECT, "REJECTED", id="rejected"), pytest.param(LATER, "WAITING", id="later")],
)
def test_what_is_not_approved_stays_out(
    outside: Outside, run_dag: RunDag, answer: str, approval: str
) -> None:
    put(outside, sure=1, doubtful=1)
    run, _ = answered(outside, run_dag, answer)
    assert run.state == "success"
    assert typed(outside) == ["sure 0"]
    assert approvals(outside) == {"doubtful 0.txt": approval, "sure 0.txt": None}
    assert outside.rows("SELECT count(DISTINCT document_id) FROM extend.fields") == [(2,)]


def test_a_second_run_asks_nothing_about_what_was_decided(outside: Outside, run_dag: RunDag) -> None:
    put(outside, sure=0, doubtful=1)
    answered(outside, run_dag, REJECT)
    again = run_dag("confident", logical_date=None)
    assert states(again)["approve"] == "skipped"
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert told(again) == {}
