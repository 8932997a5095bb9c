"""Pipelines in the midst of other tasks, under defaults that were made for those."""

import dataclasses
import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException

from extend_deployment import DEPLOYMENT
from extend_pipeline import (
    Budget,
    Execution,
    Files,
    Quality,
    Reprocess,
    Workflow,
    documents_to_warehouse,
    replay_to_warehouse,
    reviews_to_warehouse,
)

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HASTY = Execution(poke_interval=dt.timedelta(seconds=1))


@task
def skipped() -> None:
    raise AirflowSkipException


@task.short_circuit(ignore_downstream_trigger_rules=False)
def circuit() -> bool:
    return False


@task.branch
def branch() -> list[str]:
    return []


with DAG(
    "behind_a_skip", schedule=None, start_date=START, params={"kind": Param("skipped", type="string")}
) as dag:
    for before in (skipped, circuit, branch):
        with TaskGroup(before.function.__name__):
            groups: list[Any] = [
                documents_to_warehouse(
                    DEPLOYMENT,
                    source="{{ var.value.extend_source }}/",
                    workflow="workflow_receipts",
                    quality=Quality(hold_below=0.8),
                    execution=HASTY,
                ),
                reviews_to_warehouse(DEPLOYMENT),
                replay_to_warehouse(DEPLOYMENT),
            ]
            before() >> groups

with DAG(
    "two_of_them",
    schedule=None,
    start_date=START,
    render_template_as_native_obj=True,
    default_args={"do_xcom_push": False, "trigger_rule": TriggerRule.ALL_DONE},
    params={"limit": 25, "days": ["2026-11-18", "2026-11-19"]},
):

    @task(do_xcom_push=True)
    def addresses(source: str, days: list[str]) -> list[str]:
        return [f"{source}/{day}/" for day in days]

    listed = addresses("{{ var.value.extend_source }}", "{{ params.days }}")
    for name in ("first", "second"):
        with TaskGroup(name):
            documents_to_warehouse(
                dataclasses.replace(DEPLOYMENT, extend_conn_id="{{ '' }}"),
                source=Files(
                    listed,
                    glob="**/*.txt" if name == "first" else "**/*.{pdf,PDF}",
                    modified_from="{{ macros.datetime(2020, 1, 1) }}",
                    modified_to="20990101",
                ),
                workflow=Workflow(
                    "{{ var.value.extend_workflow_id }}",
                    metadata={"group": name, "limit": "{{ params.limit }}", "extend:usage_tags": ["night"]},
                ),
                budget=Budget(limit="{{ params.limit }}"),
                execution=HASTY,
                reprocess=Reprocess("none", repetition="{{ '' }}"),
                dry_run="{{ false }}",
            )
