"""People in Airflow: documents of low confidence are held back until somebody approves them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from extend_pipeline.confidence import APPROVE, LATER, REJECT
from fixtures.dag_runs import Outside

RunDag = Callable[..., Any]


class Responder(threading.Thread):
    """Somebody who answers the next question that Airflow asks, as its REST API does it.

    :ivar body: the question.
    :ivar requests: how often Extend had been asked by then.
    """

    def __init__(self, outside: Outside, answer: str) -> None:
        super().__init__()
        self.outside = outside
        self.answer = answer
        self.body = ""
        self.requests = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._answer()
        except BaseException as failure:
            self.failure = failure
            raise

    def _answer(self) -> None:
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        deadline = time.monotonic() + 60
        while not self.body:
            assert time.monotonic() < deadline, "nobody has asked"
            time.sleep(0.2)
            with create_session() as session:
                open_question = select(HITLDetail, TaskInstance).join(
                    TaskInstance, TaskInstance.id == HITLDetail.ti_id
                )
                asked = session.execute(
                    open_question.where(
                        HITLDetail.responded_at.is_(None), TaskInstance.state == "awaiting_input"
                    )
                ).first()
                if asked is None:
                    continue
                detail, ti = asked
                body = str(detail.body)
                self.requests = requests(self.outside)
                update_hitl_detail(
                    dag_id=ti.dag_id,
                    dag_run_id=ti.run_id,
                    task_id=ti.task_id,
                    update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[self.answer]),
                    user=SimpleAuthManagerUser(username="jane", role="admin"),
                    session=session,
                )
                self.body = body


def receipt(number: int) -> bytes:
    lines = ("Corner Cafe", "RECEIPT", f"Receipt no: 04-45782{number}", "Cashier: 3", "Paid by: Cash")
    return "\n".join((*lines, f"Total EUR  {number}.00", "")).encode()


def no_receipt(number: int) -> bytes:
    """Return what is an invoice: taken for a receipt, no field of it is sure."""
    lines = ("Corner Cafe", "INVOICE", f"Invoice number: 04-45782{number}", "Due date: 20/11/2026")
    return "\n".join((*lines, f"Total EUR  {number}.00", "Bill to: Jane", "")).encode()


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


def told(run: Any) -> list[dict[str, Any]]:
    """What the asset's events say that ``release`` has caused in this run."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        return [event.extra for event in events if str(event.source_task_id).endswith(".release")]


def requests(outside: Outside) -> int:
    return sum(outside.extend.stats()["requests"].values())


def answered(outside: Outside, run_dag: RunDag, answer: str) -> tuple[Any, Responder]:
    responder = Responder(outside, answer)
    responder.start()
    run = run_dag("confident", logical_date=None)
    responder.join()
    assert responder.failure is None
    return run, responder


def test_with_nothing_to_approve_nobody_is_asked(outside: Outside, run_dag: RunDag) -> None:
    put(outside, sure=2, doubtful=0)
    run = run_dag("confident", logical_date=None)
    assert run.state == "success"
    after = {name: states(run)[name] for name in ("held", "approve", "release", "finish")}
    assert after == {"held": "success", "approve": "skipped", "release": "success", "finish": "success"}
    assert typed(outside) == ["sure 0", "sure 1"]


def test_approved_documents_enter_the_typed_tables_without_a_request(
    outside: Outside, run_dag: RunDag
) -> None:
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
    assert told(run) == [{"APPROVED": 3}]


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
    assert told(again) == []
