"""The receiver inside Airflow's API server: reached without a login, and nothing else below its mount."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.utils.session import create_session

from fixtures.webhooks import deliveries
from fixtures.webhooks.receiver import RunningReceiver, connection, running

ROOT = Path(__file__).parents[3]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with what pip writes of this repository's entry points."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = tmp_path / "installed" / "extend_of_this_test-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extend-of-this-test\nVersion: 0\n")
    lines = [f"{name} = {target}" for name, target in project["entry-points"]["airflow.plugins"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[airflow.plugins]", *lines, ""]))
    return info.parent


@pytest.fixture
def api_server(installed: Path, airflow_database: None, tmp_path: Path) -> Iterator[RunningReceiver]:
    """Airflow's API server with this plugin; the connection is in Airflow's database."""
    inbox = f"file://{tmp_path}/inbox"
    stored = Connection.from_json(connection(inbox), conn_id="extend_default")
    with create_session() as session:
        session.add(stored)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(installed), *sys.path]),
        "AIRFLOW__API_AUTH__JWT_SECRET": "of this test alone, and long enough to sign with, all of it",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": conf.get("database", "sql_alchemy_conn"),
    }
    try:
        with running(inbox, environment, "airflow.api_fastapi.main:app") as server:
            yield server
    finally:
        with create_session() as session:
            session.delete(session.merge(stored))


def test_in_airflows_api_server_the_route_needs_a_signature_and_no_login(api_server: RunningReceiver) -> None:
    mount = "extend/webhooks"
    assert (
        api_server.deliver(conn_id="api/v2/dags", method="GET").status_code == 401
    )  # the rest of the server
    answer = api_server.deliver(conn_id=f"{mount}/extend_default")
    assert (answer.status_code, answer.json()) == (200, {"result": "stored"})
    assert set(api_server.inbox.arrived("batch_1")) == {"workflow_run_1"}
    body = deliveries.body(event_id="event_2")
    forged = {**deliveries.headers(body), "x-extend-request-signature": "0" * 64}
    assert api_server.deliver(body, forged, f"{mount}/extend_default").status_code == 401
    for method, path in (
        ("GET", f"{mount}/extend_default"),
        ("POST", f"{mount}/"),
        ("POST", f"{mount}/extend_default/"),
        ("POST", f"{mount}/aws_default"),
        ("GET", f"{mount}/docs"),
        ("GET", f"{mount}/openapi.json"),
        ("POST", mount),
    ):
        denied = api_server.deliver(body, conn_id=path, method=method)
        assert denied.status_code in (404, 405), f"{method} {path}"
    assert len(api_server.stored()) == 1


def test_a_process_that_only_loads_the_plugin_does_not_load_the_receiver() -> None:
    program = (
        "import sys, extend_provider; from airflow.providers.common.compat.sdk import AirflowPlugin; "
        "before = set(sys.modules); import extend_provider.webhooks.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "extend_provider.webhooks extend_provider.webhooks.plugin"
