"""``airflow_settings.yaml`` as the Astro CLI loads it: by Airflow's commands, put together as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fixtures.airflow.commands import run_commands
from sandbox.airflow_settings import load_settings

FILE = Path(__file__).parents[2] / "airflow_settings.yaml"


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


def test_astro_commands_store_what_the_sandbox_loads(airflow_database: None, tmp_path: Path) -> None:
    lines = list(commands(yaml.safe_load(FILE.read_text())["airflow"]))
    printed, stored = run_commands(lines, tmp_path)
    assert "invalid" not in printed  # the type of a connection, which would be stored as generic then
    settings = load_settings(FILE)

    def comparable(body: Mapping[str, Any]) -> dict[str, Any]:
        extra = json.loads(body["extra"] or "{}")
        return {name: value for name, value in {**body, "extra": extra}.items() if value not in (None, "")}

    expected = [comparable(body) for body in settings.connection_bodies()]
    assert [found for body in stored["connections"] if (found := comparable(body)) in expected] == expected
    assert all(
        stored["pools"][body["name"]][:2] == [body["slots"], body["description"]]
        for body in settings.pool_bodies()
    )
    assert {body["key"]: body["value"] for body in settings.variable_bodies()}.items() <= stored[
        "variables"
    ].items()
