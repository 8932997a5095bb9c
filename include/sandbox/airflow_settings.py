"""``airflow_settings.yaml``: connections, pools and variables in Astro's schema, read, checked and relocated.

The schema is that of the Astro CLI (``settings/types.go``), with one key more: ``pool_include_deferred``,
which that command line cannot set. No value of the file ever stands in an error: any may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import yaml
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(min_length=1)]


class SettingsError(ValueError):
    """The file cannot be used; the text names the file and the key."""


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One connection as the file has it: either by its parts, or as one URI."""

    conn_id: Name
    conn_type: str | None = None
    conn_host: str | None = None
    conn_schema: str | None = None
    conn_login: str | None = None
    conn_password: str | None = None
    conn_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    conn_uri: str | None = None
    conn_extra: dict[str, Any] | str | None = None

    def __repr__(self) -> str:
        return f"ConnectionSettings(conn_id={self.conn_id!r})"


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pool as the file has it."""

    pool_name: Name
    pool_slot: Annotated[int, Meta(ge=1)]
    pool_description: str | None = None
    pool_include_deferred: bool = False


class VariableSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variable as the file has it."""

    variable_name: Name
    variable_value: str

    def __repr__(self) -> str:
        return f"VariableSettings(variable_name={self.variable_name!r})"


class AirflowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under the file's ``airflow`` key."""

    connections: list[ConnectionSettings] | None = None
    pools: list[PoolSettings] | None = None
    variables: list[VariableSettings] | None = None

    def connection_bodies(self) -> list[dict[str, Any]]:
        """Return the connections as Airflow's REST API takes them (``ConnectionBody``)."""
        return [_connection_body(connection) for connection in self.connections or ()]

    def pool_bodies(self) -> list[dict[str, Any]]:
        """Return the pools as Airflow's REST API takes them (``PoolBody``)."""
        return [
            {
                "name": pool.pool_name,
                "slots": pool.pool_slot,
                "description": pool.pool_description,
                "include_deferred": pool.pool_include_deferred,
            }
            for pool in self.pools or ()
        ]

    def variable_bodies(self) -> list[dict[str, Any]]:
        """Return the variables as Airflow's REST API takes them (``VariableBody``)."""
        return [
            {"key": variable.variable_name, "value": variable.variable_value}
            for variable in self.variables or ()
        ]

    def variable(self, name: str) -> str | None:
        """Return a variable's value; None when there is none of that name."""
        found = (item.variable_value for item in self.variables or () if item.variable_name == name)
        return next(found, None)

    def connection(self, conn_id: str) -> dict[str, Any] | None:
        """Return a connection as Airflow's REST API takes it; None when there is none of that id."""
        found = (body for body in self.connection_bodies() if body["connection_id"] == conn_id)
        return next(found, None)

    def relocated(self, places: Mapping[str, str]) -> AirflowSettings:
        """Return a copy in which each text has the keys of ``places`` replaced by their values."""
        raw = msgspec.to_builtins(self)
        return msgspec.convert(_replace_in(raw, places), AirflowSettings)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    airflow: AirflowSettings | UnsetType = UNSET


def load_settings(path: Path) -> AirflowSettings:
    """Read and check the file.

    :raises SettingsError: it is missing, is not YAML, has an unknown key, a wrong type, a name twice, or a
        connection that is given both ways or neither.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise SettingsError(f"{path}{line}: this is not YAML: {getattr(error, 'problem', None)}") from None
    try:
        file = msgspec.convert(_without_blanks(raw) or {}, _File)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {str(error).replace('`$.', '`')}") from None
    settings = AirflowSettings() if isinstance(file.airflow, UnsetType) else file.airflow
    for problem in _problems(settings):
        raise SettingsError(f"{path}: {problem}")
    connections = settings.connections and [_with_mapping(connection) for connection in settings.connections]
    return msgspec.structs.replace(settings, connections=connections)


def _with_mapping(connection: ConnectionSettings) -> ConnectionSettings:
    """Return the connection with its extra as a mapping, whichever way the file has it."""
    extra = connection.conn_extra
    if not isinstance(extra, str) or not extra:
        return connection
    return msgspec.structs.replace(connection, conn_extra=json.loads(extra))


def _without_blanks(value: Any) -> Any:
    """Leave out list entries without any value: ``astro dev init`` writes such placeholders."""
    if isinstance(value, dict):
        return {key: _without_blanks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [
            _without_blanks(entry)
            for entry in value
            if not isinstance(entry, dict) or any(item is not None for item in entry.values())
        ]
    return value


def _problems(settings: AirflowSettings) -> Iterable[str]:
    """Yield what the types alone cannot tell."""
    names = {
        "connections": [connection.conn_id for connection in settings.connections or ()],
        "pools": [pool.pool_name for pool in settings.pools or ()],
        "variables": [variable.variable_name for variable in settings.variables or ()],
    }
    for kind, found in names.items():
        for index, name in enumerate(found):
            if name in found[:index]:
                yield f"{name!r} is there twice - at `airflow.{kind}[{index}]`"
    for index, connection in enumerate(settings.connections or ()):
        if problem := _connection_problem(connection):
            yield f"{problem} - at `airflow.connections[{index}]` ({connection.conn_id})"


def _connection_problem(connection: ConnectionSettings) -> str | None:
    parts = msgspec.structs.asdict(connection)
    others = [
        name for name, value in parts.items() if value is not None and name not in ("conn_id", "conn_uri")
    ]
    if connection.conn_uri is not None and others:
        return f"conn_uri says everything; remove it or {', '.join(others)}"
    if connection.conn_uri is not None and (problem := _uri_problem(connection.conn_uri)):
        return problem
    if connection.conn_uri is None and not connection.conn_type:
        return "conn_type is missing"
    if isinstance(connection.conn_extra, str) and connection.conn_extra:
        try:
            if not isinstance(json.loads(connection.conn_extra), dict):
                return "conn_extra is JSON, but not an object"
        except json.JSONDecodeError as error:
            return f"conn_extra is neither a mapping nor JSON ({error.msg}, column {error.colno})"
    return None


def _uri_problem(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return "conn_uri is not a URI with a port from 0 to 65535"
    return None if parts.scheme else "conn_uri has no connection type before its ://"


def _connection_body(connection: ConnectionSettings) -> dict[str, Any]:
    if connection.conn_uri is not None:
        return {"connection_id": connection.conn_id, **_parts_of_uri(connection.conn_uri)}
    extra = connection.conn_extra
    return {
        "connection_id": connection.conn_id,
        "conn_type": connection.conn_type,
        "host": connection.conn_host,
        "schema": connection.conn_schema,
        "login": connection.conn_login,
        "password": connection.conn_password,
        "port": connection.conn_port,
        "extra": json.dumps(extra) if isinstance(extra, dict) else extra,
    }


def _parts_of_uri(uri: str) -> dict[str, Any]:
    """Take Airflow's connection URI apart: ``type://login:password@host:port/schema?extra=…``."""
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {
        "conn_type": parts.scheme.replace("-", "_"),
        "host": unquote(parts.hostname) if parts.hostname else None,
        "schema": unquote(parts.path[1:]) or None,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "port": parts.port,
        "extra": query.get("__extra__") or (json.dumps(query) if query else None),
    }


def _replace_in(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for documented, actual in places.items():
            value = value.replace(documented, actual)
        return value
    if isinstance(value, dict):
        return {key: _replace_in(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_in(item, places) for item in value]
    return value
