"""A DAG of an analyst's own: it runs when invoices have landed, whichever DAG has landed them."""

import datetime as dt
from typing import Any

from airflow.sdk import DAG, task

from extend_pipeline import Deployment, landed_table

INVOICES = landed_table(Deployment("{{ var.value.extend_workspace }}"), "invoice")

with DAG(
    "invoice_mart",
    schedule=[INVOICES],
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
):

    @task
    def rebuild(triggering_asset_events: Any = None) -> dict[str, int]:
        """Say how many rows which run has written; a real mart would read the table here."""
        return {
            event.source_dag_run.run_id: event.extra["rows"] for event in triggering_asset_events[INVOICES]
        }

    rebuild()
