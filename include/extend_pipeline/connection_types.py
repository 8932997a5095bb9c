"""Connection types of warehouses and sources with their forms, as ``get_provider_info`` describes them.

Only the standard library is imported, because Airflow reads this in every process it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final

from extend_provider.connection_types import number_field, secret_field, text_field

_WAREHOUSE_HOOKS: Final = "extend_pipeline.warehouse.hooks"


def connection_types() -> list[dict[str, Any]]:
    """Return ``duckdb``, and the types that warehouses and sources need and no installed provider registers.

    ``airflow connections add`` stores ``generic`` in place of a type that is not registered, and nothing can
    land through that. Where the official provider is installed, it registers the type itself.
    """
    missing = [build() for package, build in _OF_OFFICIAL_PROVIDERS.items() if not _is_installed(package)]
    return [_duckdb(), *missing]


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _duckdb() -> dict[str, Any]:
    return {
        "connection-type": "duckdb",
        "hook-class-name": f"{_WAREHOUSE_HOOKS}.DuckDBFileHook",
        "hook-name": "DuckDB file",
        "conn-fields": {
            "snapshot": text_field(
                "Copy for readers", "Path of a copy that is renewed after each run; empty for none."
            ),
            "lock_timeout": number_field(
                "Lock timeout",
                "Seconds to wait while another process has the file open; empty for 120.",
                minimum=0,
            ),
            **_preparation_fields(256),
        },
        "ui-field-behaviour": {
            "hidden-fields": ["login", "password", "schema"],
            "relabeling": {"host": "File", "port": "Port (unused)"},
            "placeholders": {
                "host": "/data/warehouse.duckdb",
                "port": "1 lets Test work for a stored connection on Airflow 3.3",
            },
        },
    }


def _postgres() -> dict[str, Any]:
    fields = {
        "sslmode": text_field(
            "SSL mode", "As libpq has it, e.g. verify-full. The extra takes all of libpq's parameters."
        ),
        "lock_timeout": number_field(
            "Lock timeout", "Seconds to wait while another run plans or lands; empty for 120.", minimum=0
        ),
    }
    return _warehouse("postgres", "PostgresWarehouseHook", "Postgres", fields, (), {"schema": "Database"})


def _snowflake() -> dict[str, Any]:
    fields = {
        "account": text_field("Account", "organization-account"),
        "database": text_field("Database", "The database that holds the dataset."),
        "warehouse": text_field("Warehouse", "The virtual warehouse that runs the statements."),
        "role": text_field("Role", "Empty for the user's default."),
        "private_key_file": text_field(
            "Private key file", "Path of a key; its passphrase is the password then."
        ),
    }
    return _warehouse(
        "snowflake", "SnowflakeWarehouseHook", "Snowflake", fields, ("host", "port", "schema"), {}
    )


def _databricks() -> dict[str, Any]:
    fields = {
        "http_path": text_field("HTTP path", "Of the SQL warehouse: /sql/1.0/warehouses/…"),
        "catalog": text_field(
            "Catalog", "The Unity Catalog catalog that holds the dataset. Databricks is experimental."
        ),
        "staging": text_field(
            "Staging", "A folder in a volume that rows pass through: /Volumes/catalog/schema/volume/…"
        ),
    }
    return _warehouse(
        "databricks",
        "DatabricksWarehouseHook",
        "Databricks",
        fields,
        ("schema",),
        {"password": "Access token"},
    )


def _bigquery() -> dict[str, Any]:
    fields = {
        "project": text_field(
            "Project", "Empty for that of the credentials. Documents in BigQuery are experimental."
        ),
        "location": text_field("Location", "Where a dataset is made, e.g. EU."),
        "key_path": text_field(
            "Key file", "Path of a service account's key; empty for the default credentials."
        ),
        "keyfile_dict": secret_field("Key (JSON)", "A service account's key itself."),
        "impersonation_chain": text_field(
            "Impersonation chain", "Accounts by commas; the last one is impersonated."
        ),
    }
    hidden = ("host", "port", "schema", "login", "password")
    return _warehouse("google_cloud_platform", "BigQueryWarehouseHook", "Google Cloud", fields, hidden, {})


def _azure() -> dict[str, Any]:
    return {
        "connection-type": "wasb",
        "hook-class-name": "extend_pipeline.sources.filesystems.AzureStorageHook",
        "hook-name": "Azure Blob Storage",
        "conn-fields": {
            "connection_string": secret_field("Connection string", "In the place of account and key."),
            "sas_token": secret_field("SAS token", "In the place of the key."),
            "tenant_id": text_field("Tenant ID", "Login and password are a client's id and secret then."),
        },
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port"],
            "relabeling": {"login": "Account (or client ID)", "password": "Key (or client secret)"},
            "placeholders": {},
        },
    }


#: By the official provider that registers the type itself.
_OF_OFFICIAL_PROVIDERS: Final = {
    "apache-airflow-providers-databricks": _databricks,
    "apache-airflow-providers-google": _bigquery,
    "apache-airflow-providers-microsoft-azure": _azure,
    "apache-airflow-providers-postgres": _postgres,
    "apache-airflow-providers-snowflake": _snowflake,
}


def _warehouse(
    kind: str, hook: str, name: str, fields: dict[str, Any], hidden: Sequence[str], labels: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "connection-type": kind,
        "hook-class-name": f"{_WAREHOUSE_HOOKS}.{hook}",
        "hook-name": name,
        "conn-fields": {**fields, **_preparation_fields(128)},
        "ui-field-behaviour": {"hidden-fields": [*hidden], "relabeling": {**labels}, "placeholders": {}},
    }


def _preparation_fields(memory_limit_mb: int) -> dict[str, Any]:
    """Return the fields of the DuckDB that prepares rows."""
    return {
        "memory_limit_mb": number_field(
            "Memory limit (MB)",
            f"What DuckDB may use to prepare rows; empty for {memory_limit_mb}.",
            minimum=1,
        ),
        "threads": number_field("Threads", "Of DuckDB, which prepares rows; empty for 2.", minimum=1),
    }
