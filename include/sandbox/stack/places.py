"""Puts a stack's own addresses into the settings of ``airflow_settings.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from sandbox.airflow_settings import AirflowSettings, ConnectionSettings, VariableSettings
from sandbox.stack.postgres import Postgres
from sandbox.stack.webhooks import WORKSPACE_VARIABLE

#: The addresses in ``airflow_settings.yaml``; a stack replaces them by its own.
DOCUMENTED_EXTEND_URL = "http://127.0.0.1:4700"
DOCUMENTED_S3_URL = "http://127.0.0.1:4701"
DOCUMENTED_HOME = ".sandbox/"

WAREHOUSE_CONNECTION: Final = "warehouse_default"
#: Where machines share no disk: the database that documents land in, and the bucket of workspace and logs.
DATABASE: Final = "warehouse"
BUCKET: Final = "extend-sandbox-shared"


def located(settings: AirflowSettings, home: Path, *, extend_url: str, s3_url: str) -> AirflowSettings:
    """Return the settings with the stack's own addresses instead of the documented ones."""
    places = {DOCUMENTED_EXTEND_URL: extend_url, DOCUMENTED_S3_URL: s3_url, DOCUMENTED_HOME: f"{home}/"}
    return settings.relocated(places)


def apart(settings: AirflowSettings, postgres: Postgres) -> AirflowSettings:
    """Return the settings with the workspace in S3 and the warehouse in Postgres."""
    workspace = VariableSettings(
        variable_name=WORKSPACE_VARIABLE, variable_value=f"s3://aws_default@{BUCKET}/extend"
    )
    where = postgres.parameters(DATABASE)
    warehouse = ConnectionSettings(
        conn_id=WAREHOUSE_CONNECTION,
        conn_type="postgres",
        conn_host=where["host"],
        conn_login=where["user"],
        conn_schema=where["dbname"],
        conn_port=5432,
    )
    variables = [each for each in settings.variables or () if each.variable_name != WORKSPACE_VARIABLE]
    connections = [each for each in settings.connections or () if each.conn_id != WAREHOUSE_CONNECTION]
    return msgspec.structs.replace(
        settings, variables=[*variables, workspace], connections=[*connections, warehouse]
    )
