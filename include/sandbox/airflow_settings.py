"""Reads and checks ``airflow_settings.yaml``: connections, pools and variables in the Astro CLI's schema.

The schema has one more key, ``pool_include_deferred``, which the Astro CLI cannot set. Errors never contain a
value of the file, because any value may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import yaml
from msgspec import Meta

Name = Annotated[str, Meta(min_length=1)]


class SettingsError(ValueError):
    """The file cannot be used. The text names the file and the key."""


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One connection, by its parts or as a URI; :func:`load_settings` splits a URI into parts."""

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
    """One pool."""

    pool_name: Name
    pool_slot: Annotated[int, Meta(ge=1)]
    pool_description: str | None = None
    pool_include_deferred: bool = False


class VariableSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variable."""

    variable_name: Name
    variable_value: str

    def __repr__(self) -> str:
        return f"VariableSettings(variable_name={self.variable_name!r})"


class AirflowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file's ``airflow`` key."""

    connections: list[ConnectionSettings] | None = None
    pools: list[PoolSettings] | None = None
    variables: list[VariableSettings] | None = None

    def connection_bodies(self) -> list[dict[str, Any]]:
        """Return the connections in the form of Airflow's REST API (``ConnectionBody``)."""
        return [
            {
                "connection_id": connection.conn_id,
                "conn_type": connection.conn_type,
                "host": connection.conn_host,
                "schema": connection.conn_schema,
                "login": connection.conn_login,
                "password": connection.conn_password,
                "port": connection.conn_port,
                "extra": json.dumps(connection.conn_extra) if connection.conn_extra else None,
            }
            for connection in self.connections or ()
        ]

    def pool_bodies(self) -> list[dict[str, Any]]:
        """Return the pools in the form of Airflow's REST API (``PoolBody``)."""
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
        """Return the variables in the form of Airflow's REST API (``VariableBody``)."""
        return [{"key": name, "value": value} for name, value in self._values().items()]

    def variable(self, name: str) -> str | None:
        """Return the value of a variable, or None if the file does not have it."""
        return self._values().get(name)

    def connection(self, conn_id: str) -> dict[str, Any] | None:
        """Return a connection in the form of Airflow's REST API, or None if the file does not have it."""
        return next((body for body in self.connection_bodies() if body["connection_id"] == conn_id), None)

    def relocated(self, places: Mapping[str, str]) -> AirflowSettings:
        """Return a copy in which all texts have the keys of ``places`` replaced by their values."""
        text = msgspec.json.encode(self).decode()
        for documented, actual in places.items():
            text = text.replace(documented, json.dumps(actual)[1:-1])
        return msgspec.json.decode(text, type=AirflowSettings)

    def _values(self) -> dict[str, str]:
        return {variable.variable_name: variable.variable_value for variable in self.variables or ()}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    airflow: AirflowSettings = AirflowSettings()


def load_settings(path: Path) -> AirflowSettings:
    """Read and check the file.

    :raises SettingsError: the file is missing or not YAML, a key is unknown, a value has the wrong type, a
        name is there twice, or a connection has both a URI and parts, or neither.
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
        settings = msgspec.convert(_without_blanks(raw) or {}, _File).airflow
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {str(error).replace('`$.', '`')}") from None
    for problem in _duplicates(settings):
        raise SettingsError(f"{path}: {problem}")
    connections = []
    for index, connection in enumerate(settings.connections or ()):
        try:
            connections.append(_in_parts(connection))
        except SettingsError as error:
            where = f"at `airflow.connections[{index}]` ({connection.conn_id})"
            raise SettingsError(f"{path}: {error} - {where}") from None
    return msgspec.structs.replace(settings, connections=connections)


def _without_blanks(value: Any) -> Any:
    """Leave out list entries that have no value at all; ``astro dev init`` writes such placeholders."""
    if isinstance(value, dict):
        return {key: _without_blanks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [
            _without_blanks(entry)
            for entry in value
            if not isinstance(entry, dict) or any(item is not None for item in entry.values())
        ]
    return value


def _duplicates(settings: AirflowSettings) -> Iterator[str]:
    names = {
        "connections": [connection.conn_id for connection in settings.connections or ()],
        "pools": [pool.pool_name for pool in settings.pools or ()],
        "variables": [variable.variable_name for variable in settings.variables or ()],
    }
    for kind, found in names.items():
        for index, name in enumerate(found):
            if name in found[:index]:
                yield f"{name!r} is there twice - at `airflow.{kind}[{index}]`"


def _in_parts(connection: ConnectionSettings) -> ConnectionSettings:
    """Return the connection by its parts, with the extra as a mapping; raises SettingsError."""
    if connection.conn_uri is None:
        if not connection.conn_type:
            raise SettingsError("conn_type is missing")
        return msgspec.structs.replace(connection, conn_extra=_mapping(connection.conn_extra))
    parts = msgspec.structs.asdict(connection).items()
    others = [name for name, part in parts if part is not None and name not in ("conn_id", "conn_uri")]
    if others:
        raise SettingsError(f"conn_uri says everything; remove it or {', '.join(others)}")
    return _from_uri(connection.conn_id, connection.conn_uri)


def _mapping(extra: dict[str, Any] | str | None) -> dict[str, Any] | None:
    if not isinstance(extra, str) or not extra:
        return extra or None
    try:
        parsed = json.loads(extra)
    except json.JSONDecodeError as error:
        reason = f"({error.msg}, column {error.colno})"
        raise SettingsError(f"conn_extra is neither a mapping nor JSON {reason}") from None
    if not isinstance(parsed, dict):
        raise SettingsError("conn_extra is JSON, but not an object")
    return parsed


def _from_uri(conn_id: str, uri: str) -> ConnectionSettings:
    """Split Airflow's connection URI, ``type://login:password@host:port/schema?extra=…``."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise SettingsError("conn_uri is not a URI with a port from 0 to 65535") from None
    if not parts.scheme:
        raise SettingsError("conn_uri has no connection type before its ://")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return ConnectionSettings(
        conn_id=conn_id,
        conn_type=parts.scheme.replace("-", "_"),
        conn_host=unquote(parts.hostname) if parts.hostname else None,
        conn_schema=unquote(parts.path[1:]) or None,
        conn_login=unquote(parts.username) if parts.username else None,
        conn_password=unquote(parts.password) if parts.password else None,
        conn_port=port,
        conn_extra=_mapping(query.get("__extra__")) or query or None,
    )
