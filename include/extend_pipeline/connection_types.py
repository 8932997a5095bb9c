"""The types of connections that documents come from and land through, with their forms in Airflow.

A destination is one entry of :data:`DESTINATIONS`: the module that opens it, its form, and its *Test* button.
Only the standard library is imported, because Airflow reads this in every process it starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final

from extend_provider.connection_types import number_field, secret_field, text_field


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseType:
    """A kind of warehouse, named by the type of its connections.

    :param module: in :mod:`extend_pipeline.warehouse.destinations`.
    :param name: of the connection type in Airflow's form.
    :param provider: the official provider that registers the type itself; where it is installed, its form and
        its hook are used.
    :param fields: extra fields of the form, by name.
    :param hidden: standard fields that mean nothing here.
    :param labels: other labels of standard fields.
    :param placeholders: examples in standard fields.
    :param memory_limit_mb: the default for the DuckDB that prepares rows.
    """

    module: str
    name: str
    provider: str | None
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    placeholders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    memory_limit_mb: int = 128

    @property
    def hook(self) -> str:
        """The hook's name in :mod:`extend_pipeline.warehouse.hooks`, where it is made."""
        return f"{self.module.capitalize()}WarehouseHook"


#: By the type of a connection. No driver is imported before a warehouse is opened.
DESTINATIONS: Final[Mapping[str, WarehouseType]] = {
    "databricks": WarehouseType(
        module="databricks",
        name="Databricks",
        provider="apache-airflow-providers-databricks",
        fields={
            "http_path": text_field("HTTP path", "Of the SQL warehouse: /sql/1.0/warehouses/…"),
            "catalog": text_field(
                "Catalog", "The Unity Catalog catalog that holds the dataset. Databricks is experimental."
            ),
            "staging": text_field(
                "Staging", "A folder in a volume that rows pass through: /Volumes/catalog/schema/volume/…"
            ),
        },
        hidden=("schema",),
        labels={"password": "Access token"},
    ),
    "duckdb": WarehouseType(
        module="duckdb",
        name="DuckDB file",
        provider=None,
        fields={
            "snapshot": text_field(
                "Copy for readers", "Path of a copy that is renewed after each run; empty for none."
            ),
            "lock_timeout": number_field(
                "Lock timeout",
                "Seconds to wait while another process has the file open; empty for 120.",
                minimum=0,
            ),
        },
        hidden=("login", "password", "schema"),
        labels={"host": "File", "port": "Port (unused)"},
        placeholders={
            "host": "/data/warehouse.duckdb",
            "port": "1 lets Test work for a stored connection on Airflow 3.3",
        },
        memory_limit_mb=256,
    ),
    "google_cloud_platform": WarehouseType(
        module="bigquery",
        name="Google Cloud",
        provider="apache-airflow-providers-google",
        fields={
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
        },
        hidden=("host", "port", "schema", "login", "password"),
    ),
    "postgres": WarehouseType(
        module="postgres",
        name="Postgres",
        provider="apache-airflow-providers-postgres",
        fields={
            "sslmode": text_field(
                "SSL mode", "As libpq has it, e.g. verify-full. The extra takes all of libpq's parameters."
            ),
            "lock_timeout": number_field(
                "Lock timeout", "Seconds to wait while another run plans or lands; empty for 120.", minimum=0
            ),
        },
        labels={"schema": "Database"},
    ),
    # The Amazon provider is always installed, so this form is never shown.
    "redshift": WarehouseType(
        module="redshift", name="Amazon Redshift", provider="apache-airflow-providers-amazon"
    ),
    "snowflake": WarehouseType(
        module="snowflake",
        name="Snowflake",
        provider="apache-airflow-providers-snowflake",
        fields={
            "account": text_field("Account", "organization-account"),
            "database": text_field("Database", "The database that holds the dataset."),
            "warehouse": text_field("Warehouse", "The virtual warehouse that runs the statements."),
            "role": text_field("Role", "Empty for the user's default."),
            "private_key_file": text_field(
                "Private key file", "Path of a key; its passphrase is the password then."
            ),
        },
        hidden=("host", "port", "schema"),
    ),
}

_AZURE: Final = "apache-airflow-providers-microsoft-azure"


def connection_types() -> list[dict[str, Any]]:
    """Return the connection types that no installed provider registers.

    ``airflow connections add`` stores ``generic`` in place of a type that is not registered, and nothing can
    land through that.
    """
    missing = [
        _form(kind, destination)
        for kind, destination in DESTINATIONS.items()
        if destination.provider is None or not _is_installed(destination.provider)
    ]
    return missing if _is_installed(_AZURE) else [*missing, _azure()]


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _form(kind: str, destination: WarehouseType) -> dict[str, Any]:
    memory = f"What DuckDB may use to prepare rows; empty for {destination.memory_limit_mb}."
    return {
        "connection-type": kind,
        "hook-class-name": f"extend_pipeline.warehouse.hooks.{destination.hook}",
        "hook-name": destination.name,
        "conn-fields": {
            **destination.fields,
            "memory_limit_mb": number_field("Memory limit (MB)", memory, minimum=1),
            "threads": number_field("Threads", "Of DuckDB, which prepares rows; empty for 1.", minimum=1),
        },
        "ui-field-behaviour": {
            "hidden-fields": [*destination.hidden],
            "relabeling": {**destination.labels},
            "placeholders": {**destination.placeholders},
        },
    }


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
