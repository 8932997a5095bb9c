"""What has landed, reported to Airflow: events of assets that schedule DAGs, and OpenLineage.

Airflow hands the lineage that is reported here to its hook lineage readers; the OpenLineage provider is one,
and costs nothing where it is not set up. :func:`as_openlineage` is what that provider calls to name our
tables the way that other tools (dbt, Spark) name the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Asset, AssetAlias, get_current_context

from extend_pipeline.config import Deployment, check_type
from extend_pipeline.exceptions import PipelineInputError
from extend_provider.client.validation import is_templated

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Connection

    from extend_pipeline.settings import Settings


#: The scheme of the assets' URIs; Airflow does not normalize URIs of an unknown scheme.
SCHEME = "x-extend"


def landed_table(deployment: Deployment, table: str) -> Asset:
    """Return the asset of one table: ``schedule=landed_table(deployment, "invoice")``.

    Its events come once per run, after all of the run has landed, from every DAG that lands in the table.
    Each carries ``rows`` (written to the table) and ``documents``, and after documents were sent ``credits``,
    ``workflow_id`` and ``version``. Reviews, approvals and replays emit them too. A run that fails,
    also by ``max_failed``, emits none; a run that wrote nothing to a table emits none for it.

    :param deployment: its warehouse is the one that the table is in.
    :param table: a table of the dataset, generated or not, as the ``dictionary`` table has it.
    :raises PipelineInputError: if the warehouse is known only when a task runs.
    """
    check_type("deployment", deployment, Deployment)
    warehouse = deployment.warehouse
    for name in ("conn_id", "dataset"):
        if is_templated(getattr(warehouse, name)):
            raise PipelineInputError(f"Warehouse.{name}: must not be a template, because it names the asset")
    return table_asset(warehouse.conn_id, warehouse.dataset, table)


def table_asset(warehouse_conn_id: Any, dataset: Any, table: str) -> Asset:
    """Return the asset of one table."""
    return _asset(warehouse_conn_id, dataset, table)


def landed_group(dag_id: str, group_id: str) -> Asset:
    """Return the asset of everything that a task group lands, in any table."""
    return _asset(dag_id, group_id)


def written_tables(landed: Asset) -> AssetAlias:
    """Return the outlet of a task that knows only at run time which tables it writes."""
    return AssetAlias(f"{landed.name}.tables", group="extend")


def announce(
    figures: Mapping[str, Any],
    rows: Mapping[str, int],
    *,
    warehouse_conn_id: str,
    dataset: str,
    **shared: Any,
) -> None:
    """Emit the events of the running task: one for its group, one for each table that rows were written to.

    :param figures: what the group's event carries.
    :param rows: rows written, by table.
    :param shared: what the event of each table carries besides its rows.
    """
    context = get_current_context()
    events = context["outlet_events"]
    for outlet in context["task"].outlets:
        if isinstance(outlet, AssetAlias):
            for table in sorted(name for name, count in rows.items() if count > 0):
                asset = table_asset(warehouse_conn_id, dataset, table)
                events[outlet].add(asset, extra={"rows": rows[table], **shared})
        else:
            events[outlet].extra = dict(figures)


def _asset(*place: str) -> Asset:
    return Asset(name=".".join(place), uri=f"{SCHEME}://{'/'.join(place)}", group="extend")


#: Sources of one task; Airflow takes up to 100 in all.
_MOST_SOURCES: Final = 50


def report_lineage(settings: Settings, tables: Iterable[str]) -> None:
    """Report, for the task that is running, that the settings' sources went into these tables.

    Nothing is done where nobody reads it: even the collector that collects nothing imports every installed
    provider that has assets, boto3 among them.
    """
    from airflow.sdk import BaseHook, plugins_manager
    from airflow.sdk.lineage import get_hook_lineage_collector

    if not plugins_manager.get_hook_lineage_readers_plugins():
        return
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
        from extend_pipeline.warehouse.destinations.duckdb import duckdb_path

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
