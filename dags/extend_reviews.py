"""### What reviewers have decided, every hour

Documents that wait for a reviewer at Extend land as `NEEDS_REVIEW` with what the machine made of them. This
DAG asks Extend for just those runs, one request each, and lands what has been decided since: the reviewed
values, who reviewed them and when, the note of a rejection. Without documents in review it asks nothing.

| Variable | Meaning |
|---|---|
| `extend_workspace` | the one that the other DAGs use: reviewed answers go to its raw zone |
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronTriggerTimetable, Param

from extend_deployment import DEPLOYMENT
from extend_pipeline import reviews_to_warehouse

with DAG(
    "extend_reviews",
    description="Documents whose review at Extend has ended since, into the warehouse.",
    schedule=CronTriggerTimetable("17 * * * *", timezone="UTC"),
    start_date=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    tags=["extend", "documents"],
    doc_md=__doc__,
    params={
        "include_deleted": Param(
            default=False,
            type="boolean",
            title="Ask for deleted runs too",
            description="Ask again for runs that Extend has said to be deleted, for instance because the "
            "connection had the key of another workspace for a while.",
        ),
    },
):
    reviews_to_warehouse(DEPLOYMENT, include_deleted="{{ params.include_deleted }}")
