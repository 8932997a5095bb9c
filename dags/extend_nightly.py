"""### Documents of the day, every night

Takes the files that arrived under `<extend_source>/<day>/` in S3, runs them through an Extend workflow and
lands the results in the warehouse. The day is the start of the run's data interval. The folders of the few
days before it are listed again, for files that arrived late; documents that have landed are neither sent nor
paid for again. The log of `discover` says which folders a run lists.

A **backfill** of a period is one command, and reads each day's own folder:

    airflow backfill create --dag-id extend_nightly --from-date 2026-10-01 --to-date 2026-10-31T23:59:59

`--to-date` is a time: a bare date means the midnight at its start, so that day is left out.

| Variable | Meaning |
|---|---|
| `extend_source` | prefix above the days, e.g. `s3://acme-inbox/documents` |
| `extend_workflow_id` | the Extend workflow |
| `extend_workspace` | files between tasks and the raw zone, e.g. `s3://aws_default@acme-data/extend` |
| `extend_lookback_days` | how many earlier days a run lists again; 3 without the Variable |
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronDataIntervalTimetable

from extend_deployment import DEPLOYMENT
from extend_pipeline import Quality, day_folders, documents_to_warehouse

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
    user_defined_macros={"day_folders": day_folders},
):
    documents_to_warehouse(
        DEPLOYMENT,
        # A manual run without a date has no interval and uses the day on which it runs.
        # A backfill has a run for each day, so none lists earlier days.
        source="{{ day_folders(var.value.extend_source, "
        "data_interval_start | default(dag_run.run_after, true), "
        "0 if dag_run.run_type == 'backfill' else var.value.get('extend_lookback_days', 3)) }}",
        workflow="{{ var.value.extend_workflow_id }}",
        quality=Quality(max_failed_ratio=0.5),
    )
