"""``airflow_settings.yaml`` as the Astro CLI loads it: by Airflow's commands, put together as text."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.airflow_settings import load_settings

FILE = Path(__file__).parents[2] / "airflow_settings.yaml"

#: Runs Airflow's commands as its command line does, and prints what is stored then.
RUN = """
import json, shlex, sys
from airflow.cli.cli_parser import get_parser
for line in json.load(sys.stdin):
    program, *arguments = shlex.split(line)
    assert program == "airflow"
    command = get_parser().parse_args(arguments)
    command.func(command)

from airflow.models import Connection, Pool, Variable
from airflow.utils.session import create_session
with create_session() as session:
    print("", json.dumps({
        "connections": [
            {
                "connection_id": c.conn_id, "conn_type": c.conn_type, "host": c.host, "schema": c.schema,
                "login": c.login, "password": c.password, "port": c.port, "extra": c.extra,
            }
            for c in session.query(Connection)
        ],
        "pools": {p.pool: [p.slots, p.description] for p in session.query(Pool)},
        "variables": {v.key: v.val for v in session.query(Variable)},
    }), sep="\\n")
"""


def commands(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the commands that the Astro CLI runs in the API server's container, in its order.

    It puts a value between single quotes and escapes nothing. An extra that is a mapping loses every
    value that is not text; what the schema of Astro does not know is left out.
    """
    for pool in settings["pools"]:
        yield f"airflow pools set  {pool['pool_name']} {pool['pool_slot']} '{pool['pool_description']}' "
    for variable in settings["variables"]:
        yield f"airflow variables set {variable['variable_name']} '{variable['variable_value']}'"
    for connection in settings["connections"]:
        extra = connection.get("conn_extra", "")
        if isinstance(extra, dict):
            extra = json.dumps({key: value for key, value in extra.items() if isinstance(value, str)})
        given = {
            "type": connection.get("conn_type"),
            "extra": extra,
            **{name: connection.get(f"conn_{name}") for name in ("host", "login", "password", "schema")},
        }
        line = f"airflow connections add  '{connection['conn_id']}' "
        line += "".join(f"--conn-{name} '{value}' " for name, value in given.items() if value)
        port = connection.get("conn_port")
        yield line + (f"--conn-port {port}" if port else "")


def test_its_own_commands_store_what_the_sandbox_loads(airflow_database: None, tmp_path: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db")) as prepared,
        contextlib.closing(sqlite3.connect(tmp_path / "airflow.db")) as own,
    ):
        prepared.backup(own)
    lines = list(commands(yaml.safe_load(FILE.read_text())["airflow"]))
    ended = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
    )
    assert ended.returncode == 0, ended.stderr
    assert "invalid" not in ended.stderr  # the type of a connection, which would be stored as generic then
    stored = json.loads(ended.stdout.splitlines()[-1])
    settings = load_settings(FILE)

    def comparable(body: Mapping[str, Any]) -> dict[str, Any]:
        extra = json.loads(body["extra"] or "{}")
        return {name: value for name, value in {**body, "extra": extra}.items() if value not in (None, "")}

    expected = [comparable(body) for body in settings.connection_bodies()]
    assert [found for body in stored["connections"] if (found := comparable(body)) in expected] == expected
    assert all(
        stored["pools"][body["name"]] == [body["slots"], body["description"]]
        for body in settings.pool_bodies()
    )
    assert {body["key"]: body["value"] for body in settings.variable_bodies()}.items() <= stored[
        "variables"
    ].items()
