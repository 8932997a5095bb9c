"""One mapped ``ExtendRunWorkflowOperator`` for each file: the provider alone, for a few documents.

It waits for the runs and returns their ids and statuses; it reads no results and lands none.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, task

from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator

with DAG(
    "bench_mapped",
    schedule=None,
    is_paused_upon_creation=False,
    default_args={"retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    params={"bucket": Param(type="string"), "prefix": Param(type="string")},
):

    @task
    def files(params: Any = None) -> list[list[dict[str, str]]]:
        """Return a presigned URL for each document."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        hook = S3Hook("aws_default")
        keys = hook.list_keys(params["bucket"], params["prefix"])
        places = ({"Bucket": params["bucket"], "Key": key} for key in keys)
        return [[{"url": str(hook.generate_presigned_url("get_object", place))}] for place in places]

    ExtendRunWorkflowOperator.partial(
        task_id="run",
        workflow_id="{{ var.value.extend_workflow_id }}",
        deferrable=True,
        poll_interval=5,
    ).expand(files=files())
