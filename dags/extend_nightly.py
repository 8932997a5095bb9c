"""### Documents of the day, every night

Takes the files that arrived under `<extend_source>/<day>/` in S3, runs them through an Extend workflow and
lands the results in the warehouse. The day is the start of the run's data interval, so a **backfill** of a
period is one command, and documents that have landed before are neither sent nor paid for again:

    airflow backfill create --dag-id extend_nightly --from-date 2026-11-01 --to-date 2026-11-30

| Variable | Meaning |
|---|---|
| `extend_source` | prefix above the days, e.g. `s3://acme-inbox/documents` |
| `extend_workflow_id` | the Extend workflow |
| `extend_workspace` | files between tasks and the raw zone, e.g. `s3://aws_default@acme-data/extend` |
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronDataIntervalTimetable

from extend_pipeline import documents_to_warehouse

with DAG(
    "extend_nightly",
    description="Documents of the day: S3, through Extend, into the warehouse.",
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=4,
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    tags=["extend", "documents"],
    doc_md=__doc__,
):
    documents_to_warehouse(
        # A run that somebody starts without a date has no interval; it takes the day on which it runs.
        source="{{ var.value.extend_source }}/"
        "{{ data_interval_start | default(dag_run.run_after, true) | ds }}/",
        workflow_id="{{ var.value.extend_workflow_id }}",
        workspace="{{ var.value.extend_workspace }}",
        max_failed_ratio=0.5,
    )
