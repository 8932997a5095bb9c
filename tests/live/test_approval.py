"""Documents of low confidence are held until a person answers, on a real scheduler over the REST API."""

from __future__ import annotations

import time

import duckdb
import pytest

from extend_pipeline.reviews.approvals import APPROVE, LATER, REJECT
from fixtures.airflow.stack import Live
from fixtures.airflow.timing import RUN_SECONDS
from sandbox.stack.client import DagRun
from sandbox.stack.samples import source_of

DAG = "approved"
ASK = "documents_to_warehouse.approve"


def text(kind: str, number: int) -> bytes:
    facts = {
        "receipt": ("RECEIPT", f"Receipt no: 04-45782{number}", "Cashier: 3", "Paid by: Cash"),
        "invoice": ("INVOICE", f"Invoice number: {number}", "Due date: 20/11/2026", "Bill to: Jane"),
    }
    return "\n".join(("Corner Cafe", *facts[kind], f"Total EUR  {number + 3}.00", "")).encode()


@pytest.fixture
def asked(live: Live) -> DagRun:
    """A run over three receipts and two invoices, taken for receipts, that waits for an answer."""
    live.client.wait_for_dag(DAG)
    bucket, prefix = source_of(live.settings)
    live.s3.bucket(bucket)
    for number, kind in enumerate(("receipt", "invoice", "receipt", "invoice", "receipt")):
        live.s3.put(bucket, f"{prefix}approval/{kind}-{number}.txt", text(kind, number))
    run = live.client.trigger(DAG, conf={"source": f"s3://{bucket}/{prefix}approval/"})
    live.client.wait_for_task(DAG, run.dag_run_id, ASK, ("awaiting_input",))
    return run


def typed(live: Live) -> list[str]:
    with duckdb.connect(str(live.warehouse), read_only=True) as connection:
        rows = connection.execute(
            """SELECT DISTINCT document.name FROM extend.receipt
               JOIN extend.documents AS document USING (document_id) ORDER BY ALL"""
        ).fetchall()
    return [name for (name,) in rows]


def answer(live: Live, run: DagRun, choice: str) -> None:
    # A person reads first. An answer within a second finds Airflow 3.3.2 still without a note of the worker's
    # exit, and it then takes the task that is queued again for one that was killed.
    time.sleep(5)
    live.client.answer(DAG, run.dag_run_id, ASK, choice)
    ended = live.client.wait_for_run(DAG, run.dag_run_id, timeout=RUN_SECONDS)
    assert ended.state == "success", live.client.failed_logs(DAG, run.dag_run_id)


SURE = ["receipt-0.txt", "receipt-2.txt", "receipt-4.txt"]
ALL = ["invoice-1.txt", "invoice-3.txt", *SURE]


def test_approval_lands_the_held_rows_without_requests_to_extend(live: Live, asked: DagRun) -> None:
    assert typed(live) == SURE
    (question,) = live.client.get(f"dags/{DAG}/dagRuns/{asked.dag_run_id}/hitlDetails")["hitl_details"]
    assert question["options"] == [APPROVE, REJECT, LATER]
    assert "2 documents" in question["body"]
    assert question["body"].count("open at Extend") == 2

    before = live.extend.stats()["requests"]
    answer(live, asked, APPROVE)
    assert live.extend.stats()["requests"] == before
    assert typed(live) == ALL


@pytest.mark.full
def test_clearing_after_a_late_decision_asks_again(live: Live, asked: DagRun) -> None:
    answer(live, asked, LATER)
    assert typed(live) == SURE
    live.client.clear_tasks(DAG, asked.dag_run_id, [ASK], downstream=True)
    live.client.wait_for_task(DAG, asked.dag_run_id, ASK, ("awaiting_input",))
    answer(live, asked, APPROVE)
    assert typed(live) == ALL
