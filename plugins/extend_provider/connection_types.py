"""The connection types of this package, with their forms, as ``get_provider_info`` tells Airflow of them.

Nothing is imported but the standard library: Airflow reads this in every process it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final

_WAREHOUSE_HOOKS: Final = "extend_pipeline.warehouse.hooks"


def connection_types() -> list[dict[str, Any]]:
    """Return ``extend``, ``duckdb``, and what warehouses and sources need that no other provider registers.

    ``airflow connections add`` stores ``generic`` in the place of a type that is not registered, and nothing
    can land through that. Where the official provider is installed, the type is its own.
    """
    own = [build() for package, build in _OF_OTHERS.items() if not _is_installed(package)]
    return [_extend(), _duckdb(), *own]


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _extend() -> dict[str, Any]:
    return {
        "connection-type": "extend",
        "hook-class-name": "extend_provider.hooks.extend.ExtendHook",
        "hook-name": "Extend",
        "conn-fields": {
            "workspace_id": _text(
                "Workspace ID", "ws_…; needed for an API key of an organization, not for one of a workspace."
            ),
            "api_version": {
                "label": "API version",
                "description": "The version of Extend's API to speak.",
                # Written out, because nothing is imported here; a test holds it to the wire.
                "schema": {
                    "type": ["string", "null"],
                    "enum": ["2026-02-09", "2025-04-21"],
                    "default": "2026-02-09",
                },
            },
            "requests_per_second": _number(
                "Requests per second",
                "Limit of each Airflow process, shared by its tasks and triggers; empty for none.",
                exclusiveMinimum=0,
            ),
            "acceptance_window": _number(
                "Acceptance window",
                "Seconds in which Extend may still accept a submission without an answer; empty for 300.",
                exclusiveMinimum=0,
            ),
            "listing_grace": _number(
                "Listing grace",
                "Seconds that accepted runs may be missing from Extend's list; empty for 120.",
                minimum=0,
            ),
        },
        "ui-field-behaviour": {
            # The port is shown: Airflow 3.3 refuses the Test of a stored connection that has none.
            "hidden-fields": ["login", "schema"],
            "relabeling": {"host": "Base URL", "password": "API key"},
            "placeholders": {
                "host": "https://api.extend.ai (US2: api.us2.extend.app, EU: api.eu1.extend.ai)",
                "password": "sk_…",
                "port": "443",
            },
        },
    }


def _duckdb() -> dict[str, Any]:
    return {
        "connection-type": "duckdb",
        "hook-class-name": f"{_WAREHOUSE_HOOKS}.DuckDBFileHook",
        "hook-name": "DuckDB file",
        "conn-fields": {
            "snapshot": _text(
                "Copy for readers", "Path of a copy that is renewed after each run; empty for none."
            ),
            "lock_timeout": _number(
                "Lock timeout",
                "Seconds to wait while another process has the file open; empty for 120.",
                minimum=0,
            ),
            **_preparing(256),
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
        "sslmode": _text(
            "SSL mode", "As libpq has it, e.g. verify-full. The extra takes all of libpq's parameters."
        ),
        "lock_timeout": _number(
            "Lock timeout", "Seconds to wait while another run plans or lands; empty for 120.", minimum=0
        ),
    }
    return _warehouse("postgres", "PostgresWarehouseHook", "Postgres", fields, (), {"schema": "Database"})


def _snowflake() -> dict[str, Any]:
    fields = {
        "account": _text("Account", "organization-account"),
        "database": _text("Database", "The database that holds the dataset."),
        "warehouse": _text("Warehouse", "The virtual warehouse that runs the statements."),
        "role": _text("Role", "Empty for the user's default."),
        "private_key_file": _text("Private key file", "Path of a key; its passphrase is the password then."),
    }
    return _warehouse(
        "snowflake", "SnowflakeWarehouseHook", "Snowflake", fields, ("host", "port", "schema"), {}
    )


def _databricks() -> dict[str, Any]:
    fields = {
        "http_path": _text("HTTP path", "Of the SQL warehouse: /sql/1.0/warehouses/…"),
        "catalog": _text(
            "Catalog", "The Unity Catalog catalog that holds the dataset. Databricks is experimental."
        ),
        "staging": _text(
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
        "project": _text(
            "Project", "Empty for that of the credentials. Documents in BigQuery are experimental."
        ),
        "location": _text("Location", "Where a dataset is made, e.g. EU."),
        "key_path": _text("Key file", "Path of a service account's key; empty for the default credentials."),
        "keyfile_dict": _secret("Key (JSON)", "A service account's key itself."),
        "impersonation_chain": _text(
            "Impersonation chain", "Accounts by commas; the last one is impersonated."
        ),
    }
    hidden = ("host", "port", "schema", "login", "password")
    return _warehouse("google_cloud_platform", "BigQueryWarehouseHook", "Google Cloud", fields, hidden, {})


def _azure() -> dict[str, Any]:
    return {
        "connection-type": "wasb",
        "hook-class-name": "extend_pipeline.sources.hooks.AzureStorageHook",
        "hook-name": "Azure Blob Storage",
        "conn-fields": {
            "connection_string": _secret("Connection string", "In the place of account and key."),
            "sas_token": _secret("SAS token", "In the place of the key."),
            "tenant_id": _text("Tenant ID", "Login and password are a client's id and secret then."),
        },
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port"],
            "relabeling": {"login": "Account (or client ID)", "password": "Key (or client secret)"},
            "placeholders": {},
        },
    }


#: By the package that registers the type itself.
_OF_OTHERS: Final = {
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
        "conn-fields": {**fields, **_preparing(128)},
        "ui-field-behaviour": {"hidden-fields": [*hidden], "relabeling": {**labels}, "placeholders": {}},
    }


def _preparing(memory_limit_mb: int) -> dict[str, Any]:
    """Return the fields of the DuckDB that makes rows ready."""
    return {
        "memory_limit_mb": _number(
            "Memory limit (MB)",
            f"What DuckDB may use to make rows ready; empty for {memory_limit_mb}.",
            minimum=1,
        ),
        "threads": _number("Threads", "Of DuckDB, which makes rows ready; empty for 2.", minimum=1),
    }


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


def _secret(label: str, description: str) -> dict[str, Any]:
    schema = {"type": ["string", "null"], "format": "password"}
    return {"label": label, "description": description, "schema": schema}


def _number(label: str, description: str, **bounds: int) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["number", "null"], **bounds}}
