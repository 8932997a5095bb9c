"""From an Airflow connection to an open warehouse."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import Warehouse, WarehouseError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse

#: Lower case, because engines disagree on what they do with capitals that are not quoted.
_DATASET: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
#: Extra fields that Snowflake's connector takes under the same name.
_OF_SNOWFLAKE: Final = (
    *("account", "database", "warehouse", "role", "region", "host", "port", "protocol"),
    *("authenticator", "token", "private_key_file", "private_key_file_pwd"),
)
#: In the address of a Databricks SQL warehouse, its id.
_SQL_WAREHOUSE: Final = re.compile(r"/sql/[\d.]+/(?:warehouses|endpoints)/([^/?]+)")
#: What makes an address of a path: two letters at least, as one may be a drive.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_OTHER_TYPE: Final = "For another warehouse, use a connection of its type."
_INSTEAD_OF_SCHEME: Final = {
    **dict.fromkeys(("file", "duckdb"), "Leave the scheme out."),
    **dict.fromkeys(("md", "motherduck"), "MotherDuck is not a destination yet."),
    **dict.fromkeys(("postgres", "postgresql", "mysql", "sqlite", "ducklake", "snowflake"), _OTHER_TYPE),
}
#: Schemas that belong to the engines themselves.
_RESERVED_DATASETS: Final = frozenset({"information_schema", "pg_catalog", "pg_toast", "system", "temp"})


def open_warehouse(conn_id: str, dataset: str) -> Warehouse:
    """Open the warehouse that the Airflow connection ``conn_id`` names; use it as a context manager.

    :param dataset: the schema that the tables live in; made on the first load.
    :raises WarehouseError: if the connection's type or settings, or the dataset's name, do not fit.
    """
    from airflow.sdk import BaseHook

    if not _DATASET.fullmatch(dataset) or dataset in _RESERVED_DATASETS:
        raise WarehouseError(
            f"dataset={dataset!r} cannot name a schema: use at most 63 lower-case letters, digits and "
            "underscores, the first not a digit, and no name that the engines keep for themselves."
        )
    connection = BaseHook.get_connection(conn_id)
    opener = _OPENERS.get(connection.conn_type or "")
    if opener is None:
        raise WarehouseError(_no_warehouse(connection))
    return opener(connection, dataset)


def _no_warehouse(connection: Connection) -> str:
    """Say why a connection's type is none that documents can land through, and what to do."""
    conn_id, types = connection.conn_id, ", ".join(sorted(_OPENERS))
    if connection.conn_type == "generic":
        return (
            f"Connection {conn_id!r} is of type 'generic': `airflow connections add` stores that in place "
            "of a type that no installed provider registers. Install airflow-provider-extend where that "
            f"command runs, then `airflow connections delete {conn_id}`, and add it with its type: {types}."
        )
    return (
        f"Connection {conn_id!r} is of type {connection.conn_type!r}; "
        f"documents can land through connections of type {types}."
    )


def _open_duckdb(connection: Connection, dataset: str) -> Warehouse:
    """Open the DuckDB file that is the connection's host; ``~`` and ``$VARIABLES`` in it are expanded.

    Extra fields: ``memory_limit_mb`` (default 256), ``threads`` (default 2), ``lock_timeout`` (seconds
    to wait while another process has the file open, default 120), ``snapshot`` (where readers find a copy of
    the file as it was after the last run; none by default).
    """
    return _duckdb(connection, dataset)


def _duckdb(connection: Connection, dataset: str) -> DuckDBWarehouse:
    from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse

    path, snapshot = duckdb_path(connection), connection.extra_dejson.get("snapshot")
    copy = _local_path(connection, "extra field snapshot", str(snapshot)) if snapshot else None
    if copy == path:
        raise WarehouseError(
            f"Connection {connection.conn_id!r}: extra field snapshot={snapshot!r} is the warehouse itself."
        )
    return DuckDBWarehouse(path, dataset, conn_id=connection.conn_id, snapshot=copy, **_options(connection))


def publish_snapshot(conn_id: str, dataset: str) -> None:
    """Let readers see what has landed by now, in a warehouse that nobody can read while it is written.

    To be called once when a run has landed what it has: it costs as much as copying the file. Warehouses that
    serve readers themselves are left alone.

    :raises WarehouseError: if it could not be done.
    """
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    if connection.conn_type == "duckdb" and connection.extra_dejson.get("snapshot"):
        with _duckdb(connection, dataset) as warehouse:
            warehouse.publish()


def duckdb_path(connection: Connection) -> Path:
    """Return the DuckDB file that a connection names.

    :raises WarehouseError: if it names none.
    """
    host = (connection.host or "").strip()
    if not host and connection.schema:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} has its path in the schema field. The path of a DuckDB file "
            "is the host; in a connection URI its slashes are written %2F: duckdb://%2Fdata%2Fwarehouse.duckdb."
        )
    if not host or host.startswith(":"):
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs the path of a DuckDB file as its host."
        )
    return _local_path(connection, "the host", host)


def _local_path(connection: Connection, field: str, value: str) -> Path:
    """Return the file that a field names; ``~`` and ``$VARIABLES`` in it are expanded.

    :raises WarehouseError: if it is an address, which a DuckDB file that is written cannot have, or a folder.
    """
    expanded = os.path.expandvars(value.strip())
    where = f"Connection {connection.conn_id!r}: {field}"
    if scheme := _SCHEME.match(expanded):
        remedy = _INSTEAD_OF_SCHEME.get(scheme[1].lower(), "DuckDB writes local files only.")
        raise WarehouseError(
            f"{where} begins with {scheme[1]}:, but must be the path of a file, such as "
            f"/data/warehouse.duckdb. {remedy}"
        )
    path = Path(expanded).expanduser().absolute()
    if path.is_dir():
        raise WarehouseError(f"{where} is the folder {path}; name a file in it.")
    return path


def _open_postgres(connection: Connection, dataset: str) -> Warehouse:
    """Open the Postgres database that a connection of Airflow's type ``postgres`` names.

    Extra fields: whatever libpq takes (``sslmode``, ``sslrootcert``, ``options``, …); ``memory_limit_mb``
    (default 128) and ``threads`` (default 2) of the DuckDB that makes rows ready; ``lock_timeout`` (seconds
    to wait while another run plans or lands, default 120).
    """
    from extend_pipeline.warehouse.destinations.postgres import Postgres, libpq_parameters
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    _require(connection, "postgres", "psycopg", "sqlglot")
    where = {
        "host": connection.host,
        "port": connection.port,
        "dbname": connection.schema,
        "user": connection.login,
        "password": connection.password,
    }
    given = {name: value for name, value in where.items() if value}
    port, database = connection.port and f":{connection.port}", connection.schema and f"/{connection.schema}"
    address = f"{connection.host or ''}{port or ''}{database or ''}"
    options = _options(connection)
    lock_timeout = options.pop("lock_timeout", 120)
    name = f"Postgres {address} (connection {connection.conn_id!r})"
    destination = Postgres(
        name, {**libpq_parameters(connection.extra_dejson), **given}, lock_timeout=lock_timeout
    )
    return RemoteWarehouse(destination, dataset, **options)


def _open_snowflake(connection: Connection, dataset: str) -> Warehouse:
    """Open the Snowflake database that a connection of Airflow's type ``snowflake`` names.

    Extra fields: ``account``, ``database``, ``warehouse``, ``role``, ``region``, ``host``, ``authenticator``,
    ``token``, ``private_key_file`` and its password in ``private_key_file_pwd``, or the connection's own;
    ``memory_limit_mb`` (default 128) and ``threads`` (default 2).
    """
    from extend_pipeline.warehouse.destinations.snowflake import Snowflake
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    _require(connection, "snowflake", "snowflake.connector", "sqlglot")
    extra = connection.extra_dejson
    given = {name: extra[name] for name in _OF_SNOWFLAKE if extra.get(name)}
    if not given.get("database"):
        raise WarehouseError(f"Connection {connection.conn_id!r} needs the extra field 'database'.")
    if connection.login:
        given["user"] = connection.login
    if connection.password:
        secret = "private_key_file_pwd" if "private_key_file" in given else "password"
        given[secret] = connection.password
    options = _options(connection)
    options.pop("lock_timeout", None)
    name = f"Snowflake {given['database']} (connection {connection.conn_id!r})"
    return RemoteWarehouse(Snowflake(name, given), dataset, **options)


def _open_redshift(connection: Connection, dataset: str) -> Warehouse:
    """Open the Redshift database that a connection of Airflow's type ``redshift`` names.

    Extra fields: ``staging`` (a folder in S3 that rows pass through, ``s3://connection@bucket/path``),
    ``iam_role`` (with which Redshift reads it; ``default`` is the cluster's own), and whatever
    ``redshift_connector`` takes (``iam``, ``cluster_identifier``, ``is_serverless``, ``region``, ``sslmode``,
    …); ``memory_limit_mb``, ``threads`` and ``lock_timeout`` as for Postgres.
    """
    _require(connection, "redshift", "redshift_connector", "sqlglot")
    import redshift_connector

    from extend_pipeline.warehouse.destinations.redshift import Redshift
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    extra = connection.extra_dejson
    staging, iam_role = str(extra.get("staging") or ""), str(extra.get("iam_role") or "")
    if not staging.startswith("s3://") or not iam_role:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs the extra fields 'staging' "
            "(s3://connection@bucket/path, which rows pass through) and 'iam_role' (with which Redshift "
            "reads it, or 'default')."
        )
    known = inspect.signature(redshift_connector.connect).parameters
    given: dict[str, Any] = {name: value for name, value in extra.items() if name in known}
    where = {
        "host": connection.host,
        "port": connection.port,
        "database": connection.schema,
        "user": connection.login,
        "password": connection.password,
    }
    given |= {name: value for name, value in where.items() if value}
    given["max_prepared_statements"] = 0  # each statement is another one
    options = _options(connection)
    destination = Redshift(
        f"Redshift {connection.host or ''}/{connection.schema or ''} (connection {connection.conn_id!r})",
        lambda: redshift_connector.connect(**given),
        staging=staging,
        iam_role=iam_role,
        lock_timeout=options.pop("lock_timeout", 120),
    )
    return RemoteWarehouse(destination, dataset, **options)


def _open_databricks(connection: Connection, dataset: str) -> Warehouse:
    """Open the Unity Catalog catalog that a connection of Airflow's type ``databricks`` names.

    The host is the workspace's address. A personal access token is the password, or extra field ``token``;
    with ``service_principal_oauth`` login and password are a service principal's client id and secret; with
    ``azure_tenant_id`` (and ``azure_resource_id``) those of one of Azure's. Other extra fields: ``http_path``
    of the SQL warehouse, ``catalog``, ``staging`` (a folder in a volume that rows pass through,
    ``/Volumes/catalog/schema/volume/…``); ``memory_limit_mb`` (default 128) and ``threads`` (default 2).
    """
    _require(connection, "databricks", "databricks.sdk", "pyarrow", "sqlglot")
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    from extend_pipeline.warehouse.destinations.databricks import Databricks
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    extra = connection.extra_dejson
    warehouse = _SQL_WAREHOUSE.search(str(extra.get("http_path") or ""))
    catalog, staging = str(extra.get("catalog") or ""), str(extra.get("staging") or "")
    if not connection.host or not warehouse or not catalog or not staging.startswith("/Volumes/"):
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs the workspace's address as its host, and the extra "
            "fields 'http_path' (/sql/1.0/warehouses/…), 'catalog' and 'staging' "
            "(/Volumes/catalog/schema/volume/…, which rows pass through)."
        )
    given = {"host": connection.host, "retry_timeout_seconds": 60, **_databricks_secrets(connection)}
    options = _options(connection)
    options.pop("lock_timeout", None)
    destination = Databricks(
        f"Databricks {catalog} (connection {connection.conn_id!r})",
        lambda: WorkspaceClient(config=Config(**given)),
        warehouse_id=warehouse[1],
        catalog=catalog,
        staging=staging,
    )
    return RemoteWarehouse(destination, dataset, **options)


def _databricks_secrets(connection: Connection) -> dict[str, Any]:
    """Return what proves who we are: one way, whatever else the environment offers to the SDK."""
    extra = connection.extra_dejson
    token = extra.get("token") or connection.password
    if not token:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs a personal access token, or a service principal's "
            "secret, as its password."
        )
    if extra.get("azure_tenant_id"):
        return {
            "auth_type": "azure-client-secret",
            "azure_client_id": connection.login,
            "azure_client_secret": connection.password,
            "azure_tenant_id": extra["azure_tenant_id"],
            "azure_workspace_resource_id": extra.get("azure_resource_id"),
        }
    if extra.get("service_principal_oauth"):
        return {
            "auth_type": "oauth-m2m",
            "client_id": connection.login,
            "client_secret": connection.password,
        }
    return {"auth_type": "pat", "token": token}


def _open_bigquery(connection: Connection, dataset: str) -> Warehouse:
    """Open the BigQuery project that a connection of Airflow's type ``google_cloud_platform`` names.

    Extra fields: ``project`` (that of the credentials, if it is not given), ``location`` (of a dataset that
    is made), the credentials as :mod:`extend_pipeline.warehouse.destinations.google_credentials` has them;
    ``memory_limit_mb`` (default 128) and ``threads`` (default 2).
    """
    _require(connection, "bigquery", "google.cloud.bigquery", "sqlglot")
    from google.cloud.bigquery import Client

    from extend_pipeline.warehouse.destinations.bigquery import BigQuery
    from extend_pipeline.warehouse.destinations.google_credentials import credentials
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    extra = connection.extra_dejson

    def connect() -> Client:
        found, its_own = credentials(extra)
        project = extra.get("project") or its_own
        if not project:
            raise WarehouseError(f"Connection {connection.conn_id!r} needs the extra field 'project'.")
        return Client(project, credentials=found)

    options = _options(connection)
    options.pop("lock_timeout", None)
    where = f" {extra['project']}" if extra.get("project") else ""
    name = f"BigQuery{where} (connection {connection.conn_id!r})"
    destination = BigQuery(name, connect, location=extra.get("location") or None)
    return RemoteWarehouse(destination, dataset, **options)


def _require(connection: Connection, extra: str, *modules: str) -> None:
    """See that what an extra brings is installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise WarehouseError(
                f"Connection {connection.conn_id!r} is of type {connection.conn_type!r}, and {module} is not "
                f"installed: install the extra '{extra}'."
            ) from None


def _options(connection: Connection) -> dict[str, Any]:
    options: dict[str, Any] = {}
    readers: Mapping[str, Callable[[Any], Any]] = {
        "memory_limit_mb": int,
        "threads": int,
        "lock_timeout": float,
    }
    for name, read in readers.items():
        value = connection.extra_dejson.get(name)
        if value is None:
            continue
        try:
            options[name] = read(value)
        except (TypeError, ValueError):
            raise WarehouseError(
                f"Connection {connection.conn_id!r}: extra field {name}={value!r} is not a number."
            ) from None
    return options


_OPENERS: Final[Mapping[str, Callable[[Any, str], Warehouse]]] = {
    "databricks": _open_databricks,
    "duckdb": _open_duckdb,
    "google_cloud_platform": _open_bigquery,
    "postgres": _open_postgres,
    "redshift": _open_redshift,
    "snowflake": _open_snowflake,
}
