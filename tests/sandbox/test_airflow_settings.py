"""``airflow_settings.yaml``: Astro's schema, read with errors that name file and key and never a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.airflow_settings import SettingsError, load_settings

PROJECT = Path(__file__).parents[2]
SECRET = "sk_very_secret"


def write(folder: Path, text: str) -> Path:
    path = folder / "airflow_settings.yaml"
    path.write_text(text)
    return path


def test_project_file_has_what_the_dags_need() -> None:
    settings = load_settings(PROJECT / "airflow_settings.yaml")
    assert {body["connection_id"]: body["conn_type"] for body in settings.connection_bodies()} == {
        "extend_default": "extend",
        "aws_default": "aws",
        "warehouse_default": "duckdb",
    }
    assert {body["name"]: (body["slots"], body["include_deferred"]) for body in settings.pool_bodies()} == {
        "extend": (4, True),
        "extend_warehouse": (2, False),
    }
    assert {body["key"] for body in settings.variable_bodies()} == {
        "extend_arrivals_queue",
        "extend_source",
        "extend_workflow_id",
        "extend_workspace",
    }


def test_connection_keeps_every_key(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        airflow:
          connections:
            - {conn_id: a, conn_type: http, conn_host: h, conn_schema: s, conn_login: l, conn_password: p,
               conn_port: 80, conn_extra: {deep: {er: [1]}}}
            - {conn_id: b, conn_type: http, conn_extra: '{"x": 1}'}
        """,
    )
    first, second = load_settings(path).connection_bodies()
    assert json.loads(first.pop("extra")) == {"deep": {"er": [1]}}
    assert first == {
        "connection_id": "a",
        "conn_type": "http",
        "host": "h",
        "schema": "s",
        "login": "l",
        "password": "p",
        "port": 80,
    }
    assert json.loads(second["extra"]) == {"x": 1}


def test_connection_uri_is_split_as_airflow_splits_it(tmp_path: Path) -> None:
    from airflow.sdk import Connection

    uri = "my-type://lo%40gin:pa%2Fss@Host.example:5432/sche%20ma?timeout=5&flag=yes"
    path = write(tmp_path, f"airflow:\n  connections:\n    - conn_id: c\n      conn_uri: {uri}\n")
    (body,) = load_settings(path).connection_bodies()
    theirs = Connection.from_uri(uri, conn_id="c")
    assert body.pop("extra") == theirs.extra
    assert body == {
        "connection_id": theirs.conn_id,
        "conn_type": theirs.conn_type,
        "host": theirs.host,
        "schema": theirs.schema,
        "login": theirs.login,
        "password": theirs.password,
        "port": theirs.port,
    }


def test_relocating_replaces_addresses_and_folders_everywhere(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        airflow:
          connections:
            - conn_id: c
              conn_type: aws
              conn_extra: {endpoint_url: "http://127.0.0.1:4701", list: ["x/.sandbox/y"]}
          variables:
            - {variable_name: v, variable_value: "file://.sandbox/workspace"}
        """,
    )
    settings = load_settings(path).relocated(
        {"http://127.0.0.1:4701": "http://127.0.0.1:9", ".sandbox/": "/home/"}
    )
    connection = settings.connection("c")
    assert connection is not None
    assert json.loads(connection["extra"]) == {"endpoint_url": "http://127.0.0.1:9", "list": ["x//home/y"]}
    assert settings.variable("v") == "file:///home/workspace"
    assert settings.variable("w") is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty file"),
        pytest.param("airflow:\n  connections:\n  pools:\n  variables:\n", id="empty sections"),
        pytest.param(
            "airflow: {connections: [{conn_id: , conn_type: , conn_host: }], "
            "pools: [{pool_name: , pool_slot: }], variables: [{variable_name: , variable_value: }]}",
            id="the placeholders of astro dev init",
        ),
    ],
)
def test_empty_file_gives_empty_settings(tmp_path: Path, text: str) -> None:
    settings = load_settings(write(tmp_path, text))
    assert (settings.connection_bodies(), settings.pool_bodies(), settings.variable_bodies()) == ([], [], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("airflow: [", r"line 1: this is not YAML", id="not YAML"),
        pytest.param("airflw: {}", r"unknown field `airflw`", id="unknown section"),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_type: b, conn_pasword: sk_very_secret}]}",
            r"unknown field `conn_pasword` - at `airflow\.connections\[0\]`",
            id="misspelt key",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_type: b, conn_password: [sk_very_secret]}]}",
            r"Expected `str \| null`, got `array` - at `airflow\.connections\[0\]\.conn_password`",
            id="wrong type",
        ),
        pytest.param(
            "airflow: {connections: [{conn_type: b, conn_password: sk_very_secret}]}",
            r"missing required field `conn_id` - at `airflow\.connections\[0\]`",
            id="no id",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_password: sk_very_secret}]}",
            r"conn_type is missing - at `airflow\.connections\[0\]` \(a\)",
            id="no type",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_type: b}, {conn_id: a, conn_type: c}]}",
            r"'a' is there twice - at `airflow\.connections\[1\]`",
            id="twice",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_uri: 'x://:sk_very_secret@h', conn_host: i}]}",
            r"conn_uri says everything; remove it or conn_host",
            id="both ways",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_uri: 'x://:sk_very_secret@h:99999'}]}",
            r"conn_uri is not a URI with a port from 0 to 65535",
            id="port out of range",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_type: b, conn_extra: '{sk_very_secret'}]}",
            r"conn_extra is neither a mapping nor JSON",
            id="extra is no JSON",
        ),
        pytest.param(
            "airflow: {connections: [{conn_id: a, conn_type: b, conn_extra: '[1]'}]}",
            r"conn_extra is JSON, but not an object",
            id="extra is a list",
        ),
        pytest.param(
            "airflow: {pools: [{pool_name: p, pool_slot: 0}]}",
            r"`int` >= 1 - at `airflow\.pools\[0\]\.pool_slot`",
            id="no slots",
        ),
        pytest.param(
            "airflow: {variables: [{variable_name: v, variable_value: 7}]}",
            r"Expected `str`, got `int` - at `airflow\.variables\[0\]\.variable_value`",
            id="number without quotes",
        ),
    ],
)
def test_error_names_file_and_key_but_no_value(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(path)
    assert str(caught.value).startswith(str(path))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_missing_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.yaml")


def test_repr_shows_no_secret() -> None:
    path = PROJECT / "airflow_settings.yaml"
    assert "sk_sandbox" in path.read_text()
    assert "sk_sandbox" not in repr(load_settings(path))
