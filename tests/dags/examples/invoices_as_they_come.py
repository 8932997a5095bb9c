import datetime as dt

from airflow.sdk import DAG

from extend_pipeline import Arrivals, Deployment, documents_to_warehouse

ACME = Deployment("{{ var.value.extend_workspace }}")
INVOICES = Arrivals(
    "https://sqs.eu-central-1.amazonaws.com/123456789012/extend-arrivals",
    name="invoices",
    address="s3://acme-inbox/documents/invoices/",
    glob="*.pdf",
    at_least=20,
    or_after=dt.timedelta(minutes=2),
)

with DAG(
    "invoices_as_they_come",
    schedule=[INVOICES.asset(ACME)],
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_runs=4,
):
    documents_to_warehouse(ACME, source=INVOICES, workflow="workflow_invoices")
