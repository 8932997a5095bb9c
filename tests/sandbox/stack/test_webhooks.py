"""The stack's webhooks: registered at the emulator before the DAGs run, and known to the connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from extend_ai import Extend

from fixtures.extend.api import ExtendApi
from fixtures.extend.scripted_server import Reply, ScriptedServer
from sandbox.airflow_settings import AirflowSettings, load_settings
from sandbox.stack.places import located
from sandbox.stack.webhooks import connected

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def airflow() -> Iterator[str]:
    """The address of something that answers like Airflow with the receiver, but takes no event."""
    with ScriptedServer(Reply(404)) as server:
        yield server.url


@pytest.fixture
def settings(extend_api: ExtendApi, tmp_path: Path) -> AirflowSettings:
    """The project's settings with the addresses of a stack."""
    project = load_settings(PROJECT / "airflow_settings.yaml")
    return located(project, tmp_path, extend_url=extend_api.url, s3_url="http://127.0.0.1:9")


def no_step(message: str) -> None:
    pytest.fail(message)


def extra_of(settings: AirflowSettings) -> dict[str, Any]:
    connection = settings.connection("extend_default")
    assert connection is not None
    extra: dict[str, Any] = json.loads(connection["extra"])
    return extra


def test_event_of_any_workflow_comes_to_the_receiver_signed_with_the_connections_secret(
    extend_api: ExtendApi, settings: AirflowSettings, tmp_path: Path
) -> None:
    with ScriptedServer(Reply(404), Reply(200)) as airflow:
        found = connected(settings, no_step, extend_url=extend_api.url, airflow_url=airflow.url)
        for workflow in ("workflow_mixed", "workflow_invoices"):
            extend_api.submit_batch([{"file": {"text": "INVOICE", "name": "a.txt"}}], workflow)
        extend_api.webhooks(delivered=2)
        asked, *received = airflow.requests
    assert asked.method == "GET"
    assert "authorization" not in asked.headers
    extra = extra_of(found)
    assert {request.path for request in received} == {"/extend/webhooks/extend_default"}
    client: Any = Extend(token=extend_api.key, base_url=extend_api.url)
    assert all(
        client.webhooks.verify(request.body, request.headers, extra["webhook_secrets"])
        for request in received
    )
    assert extra["webhook_inbox"] == f"file://{tmp_path}/workspace/inbox"
    assert extra["webhook_payload_hosts"] == extend_api.url
    assert extra["api_version"] == "2026-02-09"
    others = [body for body in found.connection_bodies() if body["connection_id"] != "extend_default"]
    assert others == [
        body for body in settings.connection_bodies() if body["connection_id"] != "extend_default"
    ]
    assert extra["webhook_secrets"] not in repr(found)


def test_all_ends_of_runs_are_subscribed_to_for_every_workflow(
    extend_api: ExtendApi, settings: AirflowSettings, airflow: str
) -> None:
    connected(settings, no_step, extend_url=extend_api.url, airflow_url=airflow)
    workflows = {each["id"] for each in extend_api.call("GET", "/workflows").json()["data"]}
    subscriptions = extend_api.call("GET", "/webhook_subscriptions").json()["data"]
    assert {each["resourceId"] for each in subscriptions} == workflows
    assert {len(each["enabledEvents"]) for each in subscriptions} == {5}


def test_connection_to_the_real_service_and_one_with_an_inbox_are_left_alone(
    extend_api: ExtendApi, settings: AirflowSettings, airflow: str
) -> None:
    real = settings.relocated({extend_api.url: "https://api.extend.ai"})
    without_workspace = settings.relocated({"extend_workspace": "another"})
    ready = connected(settings, no_step, extend_url=extend_api.url, airflow_url=airflow)
    extend_api.reset()
    for own in (real, without_workspace, ready):
        assert connected(own, no_step, extend_url=extend_api.url, airflow_url=airflow) == own
    assert extend_api.stats()["requests"] == {}


def test_refused_registration_is_told_and_leaves_polling(
    extend_api: ExtendApi, settings: AirflowSettings, airflow: str
) -> None:
    told: list[str] = []
    own = settings.relocated({"sk_sandbox": "sk_other"})
    assert connected(own, told.append, extend_url=extend_api.url, airflow_url=airflow) == own
    [message] = told
    assert "runs are polled" in message
    assert "401" in message
    assert "sk_other" not in message


def test_airflow_without_the_receiver_is_told_and_leaves_polling(
    extend_api: ExtendApi, settings: AirflowSettings
) -> None:
    told: list[str] = []
    with ScriptedServer(Reply(200, body=b"<html>Airflow</html>")) as server:
        found = connected(settings, told.append, extend_url=extend_api.url, airflow_url=server.url)
    assert found == settings
    assert "make setup" in told[0]
    assert extend_api.call("GET", "/webhook_endpoints").json()["data"] == []
