"""Lineage: which sources became which tables, told to whoever collects lineage in this Airflow.

Airflow hands what is reported here to its hook lineage readers; the OpenLineage provider is one, and costs
nothing where it is not set up. :func:`as_openlineage` is what that provider calls to name our tables the way
that other tools (dbt, Spark) name the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.dag.assets import table_asset
from extend_pipeline.warehouse.destinations.duckdb import duckdb_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Asset, Connection

    from extend_pipeline.settings import Settings

#: Sources of one task; Airflow takes up to 100 in all.
_MOST_SOURCES: Final = 50


def report_lineage(settings: Settings, tables: Iterable[str]) -> None:
    """Report, for the task that is running, that the settings' sources went into these tables."""
    from airflow.sdk import BaseHook
    from airflow.sdk.lineage import get_hook_lineage_collector

    collector = get_hook_lineage_collector()
    reporter = BaseHook()
    for source in settings.source[:_MOST_SOURCES]:
        collector.add_input_asset(reporter, uri=source.uri)
    place = table_namespace(BaseHook.get_connection(settings.warehouse_conn_id))
    for table in sorted(tables):
        asset = table_asset(settings.warehouse_conn_id, settings.dataset, table)
        collector.add_output_asset(
            reporter,
            uri=asset.uri,
            name=asset.name,
            asset_extra={
                **place,
                "workflow_id": settings.workflow_id,
                "workflow_version": settings.version or "latest",
            },
        )


def table_namespace(connection: Connection) -> dict[str, str]:
    """Return how OpenLineage names the warehouse: a ``namespace``, and the ``database`` with the schemas.

    A DuckDB file is named as dbt's integration does, a Postgres database as OpenLineage's naming asks for;
    user and password are never part of it.
    """
    if connection.conn_type == "duckdb":
        path = duckdb_path(connection)
        return {"namespace": f"duckdb://{path}", "database": path.stem}
    host = connection.host or "localhost"
    port = f":{connection.port}" if connection.port else ":5432" if connection.conn_type == "postgres" else ""
    return {"namespace": f"{connection.conn_type}://{host}{port}", "database": connection.schema or ""}


def as_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Return a table's asset as OpenLineage's data set, with the workflow that filled it as tags."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from openlineage.client.facet_v2 import tags_dataset

    scheme, _, place = asset.uri.partition("://")
    conn_id, *path = place.split("/")
    extra = dict(asset.extra or {})
    namespace = str(extra.pop("namespace", f"{scheme}://{conn_id}"))
    database = str(extra.pop("database", ""))
    tags = [
        tags_dataset.TagsDatasetFacetFields(key, str(value), source="EXTEND") for key, value in extra.items()
    ]
    return Dataset(
        namespace=namespace,
        name=".".join(part for part in (database, *path) if part),
        facets={"tags": tags_dataset.TagsDatasetFacet(tags=tags)} if tags else {},
    )
