"""What the documents show works as it stands there; see tests/docs for how they show it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from fixtures.airflow.dag_runs import Outside
from sandbox.documents import generate


def test_the_operator_and_the_sensor_alone_run_a_batch(outside: Outside, run_dag: Callable[..., Any]) -> None:
    assert run_dag("operator_and_sensor", logical_date=None).state == "success"
    assert outside.extend.stats()["runs"] == {"PROCESSED": 1}


def test_a_pipeline_of_ones_own_lands(outside: Outside, run_dag: Callable[..., Any]) -> None:
    inbox = outside.s3.bucket("acme-inbox")
    samples = list(generate([dt.date(2026, 11, 19)], per_day=5, seed=3))
    (invoice,) = [sample for sample in samples if sample.key.endswith("invoice-00000.pdf")]
    outside.s3.put(inbox, "invoices/2026-11-19/one.pdf", invoice.data)
    outside.s3.put(inbox, "invoices/2026-11-19/note.txt", b"not a pdf")
    night = dt.datetime(2026, 11, 20, 3, tzinfo=dt.UTC)

    assert run_dag("invoices_nightly", logical_date=night).state == "success"
    assert outside.rows("SELECT name, status FROM extend.documents") == [("one.pdf", "PROCESSED")]
    ((total,),) = outside.rows("SELECT total FROM extend.invoice")
    assert invoice.truth.value is not None
    assert float(total) == invoice.truth.value["total"]


def test_a_pipeline_of_arrivals_has_nothing_to_do_before_anything_has_come(
    outside: Outside, run_dag: Callable[..., Any]
) -> None:
    assert run_dag("invoices_as_they_come", logical_date=None).state == "success"
    assert outside.extend.stats()["runs_created"] == {}
