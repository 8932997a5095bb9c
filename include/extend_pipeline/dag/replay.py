"""Replay: a task group that lands the raw zone again, without a request to Extend, and its tasks."""

from __future__ import annotations

import logging
from typing import Any, Literal

import msgspec
from airflow.sdk import ObjectStoragePath, TaskGroup, get_current_context

from extend_pipeline import config
from extend_pipeline.config import Deployment, Templated, Warehouse, check_type
from extend_pipeline.dag.conventions import open_group, python_task
from extend_pipeline.dag.lineage import announce, landed_group, written_tables
from extend_pipeline.planning.replay import (
    ReplaySettings,
    begin,
    end,
    forget,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.settings import check_literals, check_shape
from extend_pipeline.settings.reachable import check_reachable
from extend_pipeline.storage.raw_index import Entry
from extend_pipeline.storage.workspace import read_json, run_folder, write_json

log = logging.getLogger(__name__)


def replay_to_warehouse(
    deployment: Deployment,
    *,
    into: Warehouse | None = None,
    again: Templated[bool] = False,
    schema_contract: Templated[Literal["evolve", "freeze", "discard"]] | None = None,
    group_id: str = "replay_to_warehouse",
) -> TaskGroup:
    """Add the rebuilding of tables to the DAG that is being defined.

    It reads the raw zone and writes to the warehouse; Extend and the documents' source are not asked.

    :param deployment: the one that ``documents_to_warehouse`` uses: where the parts of the raw zone landed.
    :param into: where they are to land now, if not in the same warehouse.
    :param again: land all parts, not only those that the destination does not have; rows that are there are
        replaced by the same ones, so that a table that was dropped comes back, and a row that was changed.
    :param schema_contract: ``evolve``, ``freeze`` or ``discard``: what becomes of fields that the tables do
        not have; None: what it was when each part landed. A part that ``freeze`` refuses lands without its
        values, stops no other, and has a row in ``problems``.
    :return: the task group.
    :raises PipelineInputError: when the DAG file is parsed, if a value is wrong; it names object and field.
    """
    check_type("deployment", deployment, Deployment)
    check_type("into", into or deployment.warehouse, Warehouse)
    check_shape({"group_id": group_id})
    settings = {
        "workspace": deployment.workspace,
        "disk": deployment.disk,
        "dataset": deployment.warehouse.dataset,
        "warehouse_conn_id": deployment.warehouse.conn_id,
        "into_dataset": into and into.dataset,
        "into_warehouse_conn_id": into and into.conn_id,
        "again": again,
        "schema_contract": schema_contract,
    }
    check_literals(settings, ReplaySettings, label=config.deployment_label)
    warehouse_pool = (into or deployment.warehouse).pool
    with open_group(group_id) as group:
        find = python_task("find", find_parts, pool=warehouse_pool)
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        land = python_task("land", replay_parts, pool=warehouse_pool, outlets=outlets)
        land(find(settings))
    return group


def find_parts(settings: dict[str, Any]) -> str:
    """Find the parts to replay; return the run's folder.

    If all parts are to land again, they are removed from the ledger of the destination here, once: a retry of
    the next task continues where it stopped.

    :param settings: rendered values for :class:`~extend_pipeline.planning.replay.ReplaySettings`.
    """
    from extend_pipeline.warehouse.open import open_warehouse

    checked = ReplaySettings.from_rendered(settings, label=config.deployment_label)
    context = get_current_context()
    check_reachable(
        context["task"],
        checked.disk,
        folders={"the workspace": checked.workspace},
        warehouse_conn_id=checked.destination.warehouse_conn_id,
    )
    ti = context["ti"]
    folder = run_folder(
        checked.workspace,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        group_id=ti.task_id.rpartition(".")[0],
    )
    entries = parts_of(checked)
    begin(checked)
    if checked.again:
        with open_warehouse(*checked.destination) as warehouse:
            forget(warehouse, entries)
    write_json(folder / "settings.json", checked.to_stored())
    log.info("%s parts of %s are in the raw zone.", f"{len(entries):,}", checked.dataset)
    return str(folder)


def replay_parts(folder: str) -> dict[str, Any]:
    """Land the parts that the ledger of the destination lacks; return the counts.

    Parts that the schema contract refuses are in the counts and in ``problems``; they fail nothing.
    """
    from extend_pipeline.warehouse.open import open_warehouse, publish_snapshot

    kept = ObjectStoragePath(folder) / "settings.json"
    settings = ReplaySettings.from_stored(read_json(kept) or {}, str(kept))
    entries = parts_of(settings)
    with open_warehouse(*settings.destination) as warehouse:
        due = not_landed(entries, whole_parts(warehouse))
        log.info("%s of %s parts are to be landed.", f"{len(due):,}", f"{len(entries):,}")
        landed = 0

        def log_part(entry: Entry, refused: bool) -> None:
            nonlocal landed
            landed += 1
            what = (
                "has landed without its values: the schema contract refuses them" if refused else "has landed"
            )
            level = logging.WARNING if refused else logging.INFO
            log.log(level, "%s of %s: %s %s.", f"{landed:,}", f"{len(due):,}", entry.part.uri, what)

        total = replay(warehouse, due, settings, log_part)
    end(settings)
    if total.refused:
        log.warning(
            "%s parts have landed without their values, see SCHEMA_CONTRACT in problems. Replay with the "
            "contract evolve or discard to land them in the tables.",
            f"{total.refused:,}",
        )
    publish_snapshot(*settings.destination)
    conn_id, dataset = settings.destination
    figures: dict[str, Any] = msgspec.to_builtins(total)
    announce(figures, total.rows, warehouse_conn_id=conn_id, dataset=dataset, documents=total.documents)
    return figures
