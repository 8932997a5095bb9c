"""DAGs to be ended while they wait: for batches, mapped and not, and for their turn to submit."""

import datetime as dt
from typing import Any

from airflow.sdk import DAG

from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor

RUNS = 3
COMMON: dict[str, Any] = {
    "schedule": None,
    "start_date": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "is_paused_upon_creation": False,
    "default_args": {"deferrable": True},
}

with DAG("kill_deferred", params={"plain": "", "first": "", "second": ""}, **COMMON):
    ExtendBatchSensor(task_id="plain", batch_id="{{ params.plain }}", run_count=RUNS, poke_interval=2)
    ExtendBatchSensor.partial(task_id="mapped", run_count=RUNS, poke_interval=2).expand(
        batch_id=["{{ params.first }}", "{{ params.second }}"]
    )

INPUTS: list[dict[str, Any]] = [
    {"file": {"text": f"text {index}"}, "metadata": {"document_id": f"d{index}"}} for index in range(RUNS)
]
RETRIED: dict[str, Any] = {"retries": 1, "retry_delay": dt.timedelta(seconds=1)}

with DAG("kill_submission", **COMMON):
    submit = ExtendSubmitBatchOperator(task_id="submit", workflow_id="workflow_invoices", inputs=INPUTS)
    ExtendBatchSensor(task_id="wait", batch_id=submit.output, run_count=RUNS, poke_interval=2)

with DAG("lost_submission", **COMMON):
    ExtendSubmitBatchOperator(task_id="submit", workflow_id="workflow_invoices", inputs=INPUTS, **RETRIED)

with DAG("resubmission", **COMMON):
    ExtendSubmitBatchOperator(
        task_id="submit", workflow_id="workflow_invoices", inputs=INPUTS, on_clear="resubmit", **RETRIED
    )
