"""A user's own DAG, run whole and mapped: what Airflow keeps and what its UI gets to link and to show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, XComArg, task_group
from airflow.sdk.types import TaskInstanceKey

from extend_provider.links.dashboard import ExtendDashboardLink
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor
from fixtures.extend.api import ExtendApi

URL = "{{ 'https://bucket.example/a.txt?sig=' ~ '5ecre7' }}"


def inputs(*names: str) -> list[dict[str, Any]]:
    return [{"file": {"text": "text-5ecre7", "name": name}} for name in names]


def users_dag() -> DAG:
    """The operators and the sensor as the README shows them, in a mapped group."""
    with DAG("users_dag", schedule=None) as dag:

        @task_group
        def batch(inputs: Any) -> None:
            submit = ExtendSubmitBatchOperator(
                task_id="submit",
                workflow_id="{{ 'workflow_' ~ 'invoices' }}",
                inputs=inputs,
                priority="{{ 40 + 2 }}",
            )
            ExtendBatchSensor(
                task_id="wait",
                batch_id=submit.output,
                run_count=XComArg(submit, key="run_count"),
                poke_interval=0.2,
                timeout=30,
            )

        batch.expand(inputs=[inputs("a.txt"), inputs("b.txt", "c.txt")])
        ExtendRunWorkflowOperator(
            task_id="run",
            workflow_id="workflow_invoices",
            raw_texts=["text-5ecre7"],
            metadata={"link": URL},
            secrets={"token": URL},
            poll_interval=0.2,
        )
        ExtendRunWorkflowOperator.partial(
            task_id="mapped_run", workflow_id="workflow_invoices", poll_interval=0.2
        ).expand(raw_texts=[["one"], ["two"]])
    return dag


def register(dag: DAG) -> None:
    """Do what Airflow's dag processor does with a DAG it has found."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]  # Airflow's own gap
    bag = DagBag(dag_folder="/dev/null", bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def test_a_mapped_dag_runs_and_links_every_task_instance(
    extend_api: ExtendApi, airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.xcom import XComModel
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session
    from sqlalchemy import select

    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True, latency_seconds=0.1)
    dag = users_dag()
    register(dag)
    run = dag.test()
    assert run.state == "success"

    instances = {(ti.task_id, ti.map_index): ti for ti in run.get_task_instances()}
    with create_session() as session:
        stored = session.execute(
            select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value).where(
                XComModel.run_id == run.run_id
            )
        ).all()
        shown = session.scalars(
            select(RenderedTaskInstanceFields).where(RenderedTaskInstanceFields.run_id == run.run_id)
        ).all()
        rendered = {(fields.task_id, fields.map_index): fields.rendered_fields for fields in shown}
    xcoms = {(task_id, index, key): value for task_id, index, key, value in stored}

    assert [xcoms["batch.wait", index, "return_value"]["settled"] for index in (0, 1)] == [1, 2]
    assert [xcoms["batch.submit", index, "run_count"] for index in (0, 1)] == [1, 2]
    assert xcoms["run", -1, "return_value"][0]["status"] == "PROCESSED"

    serialized = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    for task_id, index in [
        ("batch.wait", 0),
        ("batch.wait", 1),
        ("run", -1),
        ("mapped_run", 0),
        ("mapped_run", 1),
    ]:
        operator = serialized.get_task(task_id)
        (link,) = operator.operator_extra_links
        assert link.name == ExtendDashboardLink().name
        url = link.get_link(operator, ti_key=instances[task_id, index].key)
        assert url == xcoms[task_id, index, "dashboard_url"]
        assert url.startswith("https://")
    assert (
        len(
            {
                xcoms[task_id, index, "dashboard_url"]
                for task_id, index, key in xcoms
                if key == "dashboard_url"
            }
        )
        == 5
    )

    assert rendered["batch.submit", 1]["workflow_id"] == "workflow_invoices"
    assert rendered["batch.submit", 1]["priority"] == "42"
    assert rendered["batch.submit", 1]["inputs"] == [
        {"file": {"name": name, "text": "<text of 11 characters>"}} for name in ("b.txt", "c.txt")
    ]
    assert rendered["run", -1]["metadata"] == {"link": "https://bucket.example/a.txt?***"}
    assert "5ecre7" not in json.dumps(list(rendered.values()))


@pytest.mark.parametrize("url", ["https://dashboard.example/run_1", ""], ids=["known", "not-yet"])
def test_a_url_known_to_the_operator_is_linked_without_a_request(url: str) -> None:
    operator = BaseOperator(task_id="any")
    operator.dashboard_url = url
    key = TaskInstanceKey(dag_id="d", task_id="t", run_id="r", try_number=1, map_index=-1)
    assert ExtendDashboardLink().get_link(operator, ti_key=key) == url
