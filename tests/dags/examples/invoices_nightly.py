import datetime as dt

from airflow.sdk import DAG, CronDataIntervalTimetable

from extend_pipeline import S3, Deployment, Quality, documents_to_warehouse

ACME = Deployment("{{ var.value.extend_workspace }}")

with DAG(
    "invoices_nightly",
    schedule=CronDataIntervalTimetable("0 3 * * *", timezone="UTC"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
):
    documents_to_warehouse(
        ACME,
        source=S3("s3://acme-inbox/invoices/{{ data_interval_start | ds }}/", glob="*.pdf"),
        workflow="workflow_invoices",
        quality=Quality(max_failed_ratio=0.1),
    )
