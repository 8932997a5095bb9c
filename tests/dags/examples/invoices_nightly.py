import datetime as dt

from airflow.sdk import DAG, CronDataIntervalTimetable

from extend_pipeline import documents_to_warehouse

with DAG(
    "invoices_nightly",
    schedule=CronDataIntervalTimetable("0 3 * * *", timezone="UTC"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
):
    documents_to_warehouse(
        source="s3://acme-inbox/invoices/{{ data_interval_start | ds }}/",
        workflow_id="workflow_invoices",
        workspace="{{ var.value.extend_workspace }}",
        glob="*.pdf",
        max_failed_ratio=0.1,
    )
