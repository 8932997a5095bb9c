"""The tasks that let a person decide about documents of low confidence: held, approve, release."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Asset, ObjectStoragePath, TriggerRule, get_current_context

from extend_pipeline.dag.conventions import python_task, skip_behind
from extend_pipeline.dag.lineage import announce, written_tables
from extend_pipeline.reviews.approvals import (
    APPROVE,
    LATER,
    REJECT,
    decided_lines,
    decision_mark,
    decision_of,
    question,
)
from extend_pipeline.reviews.parts import PartsWriter, land_parts, read_runs, write_runs
from extend_pipeline.settings import read_settings
from extend_pipeline.storage.workspace import read_json, write_json

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def add_approval(
    folder: Any, landings: Any, landed: Asset, *, response_timeout: dt.timedelta, warehouse_pool: str
) -> None:
    """Add the tasks ``held``, ``approve`` and ``release`` to the task group that is being defined.

    ``held`` runs even if chunks failed. If no document is held back, ``approve`` is skipped, and ``release``
    runs and does nothing: if it were skipped, tasks after the group would be skipped, too.

    :param landed: the asset that changes when held documents enter the typed tables.
    """
    find = python_task(
        "held",
        find_held,
        short_circuit=True,
        ignore_downstream_trigger_rules=False,
        trigger_rule=TriggerRule.ALL_DONE,
        pool=warehouse_pool,
    )
    held = find(folder)
    landings >> held
    approve = ApproveHeldOperator(task_id="approve", folder=held, response_timeout=response_timeout)
    release = python_task(
        "release",
        release_held,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        outlets=[written_tables(landed)],
        pool=warehouse_pool,
    )
    release(folder, approve.output, {"name": landed.name, "uri": landed.uri})


def find_held(folder: str | None) -> str | None:
    """Write the list of this run's held-back documents, and the question about them, into its folder.

    :returns: the run's folder; None if no document is held back, or if the run has no folder.
    """
    from extend_pipeline.warehouse.open import open_warehouse

    if folder is None:
        skip_behind(get_current_context()["ti"], "discover")
        return None
    home = ObjectStoragePath(folder)
    settings = read_settings(home)
    ti = get_current_context()["ti"]
    group_id = ti.task_id.rpartition(".")[0]
    with open_warehouse(settings.warehouse_conn_id, settings.dataset) as warehouse:
        held = warehouse.held_runs(dag_id=ti.dag_id, run_id=ti.run_id, group_id=group_id)
        count = write_runs(_held_path(home), held)
    log.info("%s documents are held back because of low confidence.", f"{count:,}")
    text = question(
        read_runs(_held_path(home)), count, dataset=settings.dataset, min_confidence=settings.min_confidence
    )
    subject = f"{count:,} documents of low confidence: may they enter the tables of {settings.dataset}?"
    write_json(_question_path(home), {"subject": subject, "body": text})
    return folder if count else None


class ApproveHeldOperator(HITLOperator):
    """Ask a person about the documents that are held back.

    The question is in the run's folder, so XCom carries only a reference. If nobody answers in time, or the
    answer is to decide later, the documents stay held back.

    :param folder: the run's folder.
    """

    template_fields: Sequence[str] = ("folder",)

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        options = [APPROVE, REJECT, LATER]
        super().__init__(subject="Documents of low confidence", options=options, defaults=LATER, **kwargs)
        self.folder = folder

    def execute(self, context: Context) -> Any:
        """Ask, and wait without a worker."""
        asked = read_json(_question_path(ObjectStoragePath(self.folder))) or {}
        self.subject, self.body = asked["subject"], asked["body"]
        return super().execute(context)


def release_held(folder: str | None, answer: dict[str, Any] | None, landed: dict[str, str]) -> dict[str, Any]:
    """Apply the answer, from the raw zone alone; return the number of documents by decision.

    :param answer: what :class:`ApproveHeldOperator` returned; None if there was nothing to ask.
    """
    from extend_pipeline.warehouse.open import open_warehouse, publish_snapshot

    decision, by = decision_of(answer)
    if folder is None or decision is None:
        log.info(
            "Nothing is approved or rejected%s.",
            "" if answer is None else "; clear 'approve' to be asked again",
        )
        return {}
    home = ObjectStoragePath(folder)
    settings = read_settings(home)
    # Each decision is a part of its own: a later decision does not overwrite an earlier one in the raw zone.
    name = f"approval-{home.name}-{decision_mark(by)}"
    with PartsWriter(settings.workspace, home, pipeline=settings.pipeline, name=name) as parts:
        for run, line in decided_lines(read_runs(_held_path(home)), decision, by):
            parts.add(run, line)
    with open_warehouse(settings.warehouse_conn_id, settings.dataset) as warehouse:
        landing = land_parts(warehouse, home, name, settings)
    publish_snapshot(settings.warehouse_conn_id, settings.dataset)
    count = landing.by_status.total()
    outcome: dict[str, Any] = {decision: count}
    log.info("%s documents: %s by %s.", f"{count:,}", decision, by.get("by") or "the default")
    if decision == "APPROVED":
        context = get_current_context()
        (alias,) = context["task"].outlets
        asset = Asset(name=landed["name"], uri=landed["uri"])
        context["outlet_events"][alias].add(asset, extra=outcome)
        announce(
            outcome,
            landing.rows,
            warehouse_conn_id=settings.warehouse_conn_id,
            dataset=settings.dataset,
            documents=count,
        )
    return outcome


def _held_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "held.jsonl"


def _question_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "question.json"
