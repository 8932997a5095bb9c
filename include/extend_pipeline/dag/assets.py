"""Assets: what other DAGs are scheduled on when something has landed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, AssetAlias, get_current_context

from extend_pipeline.config import Deployment, check_type
from extend_pipeline.exceptions import PipelineInputError
from extend_provider.client.validation import is_templated

#: Airflow leaves addresses of such a scheme as they are.
SCHEME = "x-extend"


def landed_table(deployment: Deployment, table: str) -> Asset:
    """Return the asset of one table: ``schedule=landed_table(deployment, "invoice")``.

    Its events come once per run, after all of the run has landed, from every DAG that lands in the table.
    Each carries ``rows`` (written to the table) and ``documents``, and after documents were sent ``credits``,
    ``workflow_id`` and ``version``. Reviews, approvals and replays emit them too. A run that fails, be it by
    ``max_failed``, emits none; one that wrote nothing to a table none for it.

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
    """Return the asset that stands for everything a task group has landed, in whichever tables."""
    return _asset(dag_id, group_id)


def written_tables(landed: Asset) -> AssetAlias:
    """Return what a task has as its outlet that learns only when it runs which tables have rows."""
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
