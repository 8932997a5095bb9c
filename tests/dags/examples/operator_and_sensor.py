import datetime as dt

from airflow.sdk import DAG

from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor

with DAG("operator_and_sensor", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    inputs = [{"file": {"text": "Invoice number: 17\nTotal: 12.50 EUR"}, "metadata": {"order": 17}}]
    submit = ExtendSubmitBatchOperator(task_id="submit", workflow_id="workflow_invoices", inputs=inputs)
    ExtendBatchSensor(task_id="wait", batch_id=submit.output, run_count=submit.output["run_count"])
