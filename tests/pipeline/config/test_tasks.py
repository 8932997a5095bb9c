"""What a DAG author writes reaches the tasks, and is checked again where templates have rendered it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from extend_pipeline import (
    GCS,
    S3,
    Arrivals,
    Azure,
    Budget,
    Deployment,
    Execution,
    Files,
    Quality,
    Reprocess,
    Warehouse,
    Workflow,
    documents_to_warehouse,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings
from fixtures.pipeline.authoring import NEEDED, rendered


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        *[("workspace", "Deployment.workspace"), ("dataset", "Warehouse.dataset")],
        ("disk", "Deployment.disk"),
        *[("workflow_id", "Workflow.id"), ("priority", "Workflow.priority"), ("limit", "Budget.limit")],
        *[("max_failed", "Quality.max_failed"), ("chunk_size", "Execution.chunk_size")],
        *[("glob", "source.glob"), ("aws_conn_id", "S3.conn_id"), ("source_conn_id", "source.conn_id")],
        *[("warehouse_conn_id", "Warehouse.conn_id"), ("dry_run", "dry_run"), ("source", "source")],
    ],
)
def test_rendered_value_is_refused_by_object_and_field_too(setting: str, field: str) -> None:
    with pytest.raises(PipelineInputError, match=rf"nothing was sent to Extend\. {field}: "):
        rendered({setting: ["x"]})


def test_first_task_gets_what_the_objects_say() -> None:
    settings = rendered(
        {},
        deployment=Deployment(
            "file:///data/extend", extend_conn_id="e", warehouse=Warehouse("w", dataset="d"), disk="shared"
        ),
        source=S3("s3://inbox/a/", glob="*.pdf", modified_from="2026-01-01", conn_id="a"),
        workflow=Workflow("wf", version=3, priority=5, metadata={"customer": 17}),
        budget=Budget(limit=1, max_documents=2, max_credits=3),
        quality=Quality(max_failed=4, max_failed_ratio=0.5, hold_below=0.6, schema_contract="freeze"),
        execution=Execution(
            chunk_size=7, max_attempts=8, transfer="upload", expires_in=9, poke_interval=dt.timedelta(hours=1)
        ),
        reprocess=Reprocess("all", repetition="r"),
        dry_run=True,
    )
    assert settings.model_dump(exclude={"source", "modified_from", "pipeline"}) == {
        "workspace": "file:///data/extend",
        "disk": "shared",
        "extend_conn_id": "e",
        "warehouse_conn_id": "w",
        "dataset": "d",
        "arrivals": None,
        "aws_conn_id": "a",
        "source_conn_id": None,
        "glob": "*.pdf",
        "modified_to": None,
        "workflow_id": "wf",
        "version": "3",
        "priority": 5,
        "metadata": {"customer": 17},
        "limit": 1,
        "max_documents": 2,
        "max_credits": 3.0,
        "max_failed": 4,
        "max_failed_ratio": 0.5,
        "min_confidence": 0.6,
        "on_low_confidence": "hold",
        "on_needs_review": "land",
        "schema_contract": "freeze",
        "chunk_size": 7,
        "max_attempts": 8,
        "transfer": "upload",
        "expires_in": 9,
        "poke_interval": 3600.0,
        "reprocess": "all",
        "repetition": "r",
        "failed_reasons": (),
        "failed_documents": (),
        "dry_run": True,
    }
    assert settings.source[0].uri == "s3://inbox/a/"
    assert settings.modified_from == dt.datetime(2026, 1, 1)  # noqa: DTZ001


def test_settings_that_shape_the_dag_reach_its_tasks() -> None:
    hours = dict(zip(("timeout", "missing_after", "poke_interval"), (5, 2, 1), strict=True))
    spans: dict[str, Any] = {name: dt.timedelta(hours=each) for name, each in hours.items()}
    with DAG("d", schedule=None) as dag:
        documents_to_warehouse(
            Deployment("file:///w", extend_conn_id="e", warehouse=Warehouse(pool="writers"), pool="batches"),
            source="s3://inbox/",
            workflow="w",
            quality=Quality(on_needs_review="wait", hold_below=0.5, approval_timeout=dt.timedelta(hours=7)),
            execution=Execution(on_timeout="cancel", cancel_on_kill=False, **spans),
            group_id="g",
        )
    tasks: dict[str, Any] = {task.task_id.rpartition(".")[2]: task for task in dag.tasks}
    assert {task_id.partition(".")[0] for task_id in dag.task_ids} == {"g"}
    pools = {name: tasks[name].pool for name in ("submit", "wait", "plan", "load", "held", "release")}
    assert pools == {
        **dict.fromkeys(("submit", "wait"), "batches"),
        **dict.fromkeys(("plan", "load", "held", "release"), "writers"),
    }
    wait = tasks["wait"]
    assert (wait.timeout, wait.missing_after, wait.poke_interval) == (5 * 3600, dt.timedelta(hours=2), 3600)
    assert (wait.on_timeout, wait.cancel_on_kill, wait.on_needs_review) == ("cancel", False, "wait")
    assert (wait.extend_conn_id, tasks["submit"].cancel_on_kill) == ("e", False)
    assert tasks["collect"].timeout == dt.timedelta(hours=5)
    assert tasks["approve"].response_timeout == dt.timedelta(hours=7)


def test_each_task_of_a_chunk_depends_on_few_others() -> None:
    """Each dependency of a mapped task costs queries in each of the scheduler's loops, for each chunk."""
    with DAG("d", schedule=None) as dag:
        documents_to_warehouse(Deployment("file:///w"), source="s3://inbox/", workflow="w", group_id="g")
    upstream = {
        task.task_id.removeprefix("g.chunk."): {
            each.removeprefix("g.chunk.") for each in task.upstream_task_ids
        }
        for task in dag.tasks
        if task.task_id.startswith("g.chunk.")
    }
    assert upstream == {
        "submit": {"g.plan"},
        "wait": {"submit"},
        "collect": {"submit", "wait"},
        "load": {"collect"},
    }


@pytest.mark.parametrize(
    ("source", "connections"),
    [
        (S3("s3://inbox/", conn_id="mine"), ("mine", None)),
        (GCS("gs://inbox/", conn_id="mine"), ("aws_default", "mine")),
        (Azure("abfs://inbox/", conn_id="mine"), ("aws_default", "mine")),
        (Files("sftp://inbox/a/", conn_id="mine"), ("aws_default", "mine")),
        ("s3://inbox/", ("aws_default", None)),
        (Arrivals("https://sqs/inbox", conn_id="mine"), ("mine", None)),
    ],
)
def test_connection_opens_the_store_of_its_source(source: Any, connections: Any) -> None:
    settings = rendered({}, source=source)
    assert (settings.aws_conn_id, settings.source_conn_id) == connections


@pytest.mark.parametrize("wrapped", [lambda output: output, Files])
def test_output_of_another_task_is_a_source_behind_that_task(wrapped: Any) -> None:
    with DAG("d", schedule=None) as dag:
        listed = wrapped(EmptyOperator(task_id="listed").output)
        documents_to_warehouse(**{**NEEDED[documents_to_warehouse], "source": listed})
    assert dag.get_task("listed").downstream_task_ids == {"documents_to_warehouse.discover"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[(Deployment, "pool"), (Warehouse, "pool"), (Quality, "on_needs_review")],
        *[(Execution, name) for name in ("timeout", "on_timeout", "cancel_on_kill", "missing_after")],
    ],
)
def test_output_of_another_task_shapes_no_dag(kind: Any, name: str) -> None:
    with DAG("d", schedule=None):
        output = EmptyOperator(task_id="listed").output
        with pytest.raises(PipelineInputError, match=rf"^{kind.__name__}\.{name}: must not be a template"):
            kind(**{**NEEDED[kind], name: output})


@pytest.mark.parametrize("kind", [kind for kind in NEEDED if isinstance(kind, type)])
def test_field_left_out_means_what_an_empty_template_means(kind: Any) -> None:
    """An object's default is what the settings take where a template renders nothing."""
    written = {name: value for name, value in kind(**NEEDED[kind]).to_settings().items() if value is not None}
    for name in written.keys() - {"workspace", "source", "workflow_id", "reprocess", "arrivals"}:
        assert Settings.model_fields[name].get_default() == written[name], name
