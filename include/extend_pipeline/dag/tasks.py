"""The tasks between which a document travels: thin shells that open connections and files.

What they decide is decided by the pure modules beside this one. Nothing heavy is imported before a task runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import ObjectStoragePath, conf, get_current_context

from extend_pipeline import config
from extend_pipeline.batches.chunk_state import settings_of
from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.dag.conventions import pipeline_of, planner_of, skip_behind
from extend_pipeline.dag.lineage import announce
from extend_pipeline.dag.submit import count_voided, follow_held
from extend_pipeline.exceptions import PipelineInputError, PipelineOutcomeError
from extend_pipeline.planning.chunking import Planning, unsent_path
from extend_pipeline.planning.plan import keep_plan, read_plan
from extend_pipeline.planning.quality import Landed, landed_in_rounds, objection
from extend_pipeline.planning.replay import check_whole
from extend_pipeline.settings import Settings, read_settings, write_settings
from extend_pipeline.storage.raw_index import Entry, enter, land, task_provenance
from extend_pipeline.storage.raw_zone import RawPart, part_path, write_part
from extend_pipeline.storage.workspace import check_write_once, read_documents, run_folder
from extend_provider.batch.attempts import AttemptMemory

if TYPE_CHECKING:
    from extend_pipeline.warehouse import Landing, LandingPolicy, Warehouse

log = logging.getLogger(__name__)

#: Addresses of a source that the log names.
_TOLD_ADDRESSES: Final = 20


def discover_documents(settings: dict[str, Any]) -> str:
    """List the source into the run's folder and return the folder's address.

    A retry goes on in the folder of the attempt before it; a cleared task begins anew.

    :param settings: rendered values for :class:`~extend_pipeline.settings.Settings`.
    """
    from extend_pipeline.planning.listing import write_listing

    checked = Settings.from_rendered(settings, label=config.label)
    context = get_current_context()
    ti = context["ti"]
    group_id = ti.task_id.rpartition(".")[0]
    checked = checked.model_copy(update={"pipeline": pipeline_of(ti)})
    memory = AttemptMemory(context, retries=context["task"].retries or 0, key="discovery")
    folder = _earlier_folder(memory, checked)
    if folder is None:
        folder = run_folder(checked.workspace, dag_id=ti.dag_id, run_id=ti.run_id, group_id=group_id)
        write_settings(folder, checked)
        memory.remember({"folder": str(folder)})
    if checked.reprocess == "failed":
        log.info("What failed before is looked up in the warehouse.")
        return str(folder)
    shown = [item.uri for item in checked.source[:_TOLD_ADDRESSES]]
    more = len(checked.source) - len(shown)
    log.info("Reading %s%s.", ", ".join(shown), f" and {more:,} more" if more else "")
    found = write_listing(folder, checked)
    log.info("%s documents found there.", f"{found:,}")
    return str(folder)


def _earlier_folder(memory: AttemptMemory, settings: Settings) -> ObjectStoragePath | None:
    """Return the folder that an earlier attempt has begun with the same settings."""
    left = memory.recall()
    if left is None:
        return None
    folder = ObjectStoragePath(left["folder"])
    try:
        return folder if read_settings(folder) == settings else None
    except FileNotFoundError:  # the worker's own disk, and another worker
        return None


def plan_chunks(folder: str) -> list[ChunkReference]:
    """Leave out what has landed before, reserve what is new, land what cannot be sent; return the chunks."""
    from extend_pipeline.batches.probing import check_rights
    from extend_pipeline.planning.discovery import failed_before
    from extend_pipeline.planning.listing import read_listing
    from extend_pipeline.warehouse import open_warehouse
    from extend_provider.hooks.extend import ExtendHook

    home = ObjectStoragePath(folder)
    settings = read_settings(home)
    # A connection that is missing or wrong stops the run here, before anything is reserved.
    log.info("Documents are sent to %s.", ExtendHook(settings.extend_conn_id).settings.base_url)
    ti = get_current_context()["ti"]
    check_write_once(settings.workspace)
    unsent: dict[str, Any] = {}
    with open_warehouse(settings.warehouse_conn_id, settings.dataset) as warehouse:
        if not settings.dry_run:
            warehouse.check_writable()
        check_whole(
            warehouse,
            workspace=settings.workspace,
            warehouse_conn_id=settings.warehouse_conn_id,
            dataset=settings.dataset,
        )
        failed = settings.reprocess == "failed"
        plan = Planning(
            warehouse=warehouse,
            settings=settings,
            found=lambda: failed_before(warehouse, settings) if failed else read_listing(home),
            folder=home,
            planner=planner_of(ti),
            max_chunks=conf.getint("core", "max_map_length"),
            check=lambda documents: check_rights(settings.stores(), documents, settings.aws_conn_id),
        ).plan()
        if plan.unsent and not settings.dry_run:
            part = write_part(
                _part_path(settings, "unsent", home.name), None, read_documents(unsent_path(home))
            )
            repeated = settings.model_copy(update={"repetition": plan.repetition})
            unsent = _land(warehouse, repeated, part).as_dict()
    keep_plan(home, plan, unsent)
    log.log(logging.WARNING if plan.beyond_map else logging.INFO, "%s", plan.describe())
    ti.xcom_push(key="plan", value=plan.summary())
    if not settings.dry_run:
        follow_held(settings, plan, ti)
    return [] if settings.dry_run else plan.chunks


def load_chunk(
    chunk: ChunkReference, submission: str | None, parts: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Land a chunk: one row for each of its documents, and the rows of their results.

    The last round lands first, and the first one, which has all documents, last: a document is claimed until
    its last attempt has landed, so that what a crash leaves behind is taken up.

    :param submission: the file that lists the documents as they stood when the chunk was sent.
    :param parts: what was collected; none if nothing was sent.
    :raises PipelineInputError: a task before this one has left nothing.
    """
    if submission is None or parts is None:
        raise PipelineInputError(
            f"Chunk {chunk['key']}: a task before this one was marked as success before it was through, so "
            "what was sent or collected is not known here, and nothing has landed. Clear that task, submit "
            "or collect; what was sent is taken up, not sent again."
        )
    from extend_pipeline.dag.lineage import report_lineage
    from extend_pipeline.warehouse import LandingPolicy, open_warehouse

    settings = settings_of(chunk)
    policy = LandingPolicy(
        settings.min_confidence, settings.on_low_confidence == "hold", settings.schema_contract
    )
    collected = [RawPart(**part) for part in parts]
    if not collected:
        unsent = _part_path(settings, "unsent", chunk["key"])
        collected = [write_part(unsent, None, read_documents(ObjectStoragePath(submission)))]
    with open_warehouse(settings.warehouse_conn_id, settings.dataset) as warehouse:
        landings = [_land(warehouse, settings, part, policy).as_dict() for part in reversed(collected)]
    landing = landed_in_rounds(landings)
    report_lineage(settings, landing["rows"])
    return landing


def finish_run(folder: str | None, landings: Any) -> dict[str, Any]:
    """Add up what has landed, say it, and decide whether the run is a success.

    :param folder: the run's folder; None if even the discovery failed.
    :param landings: what the chunks' loads returned; those that did not land are missing.
    :raises PipelineOutcomeError: if the outcome is not what the settings allow; everything has landed then.
    :raises AirflowSkipException: the discovery was skipped, and everything behind it.
    """
    from extend_pipeline.warehouse import publish_snapshot

    if folder is None:
        skip_behind(get_current_context()["ti"], "discover")
    planned = read_plan(ObjectStoragePath(folder)) if folder else None
    if folder is None or planned is None:
        raise PipelineOutcomeError(
            "The run did not come to a plan, so nothing was sent to Extend. See which task failed, "
            "discover or plan, and clear it when its cause is gone."
        )
    settings = read_settings(ObjectStoragePath(folder))
    plan, unsent = planned
    # Of a mapped group, Airflow gives one chunk's value bare, several as a sequence, and none as None.
    landed = [landings] if isinstance(landings, Mapping) else landings or ()
    unlanded = len(landed) < len(plan.chunks)
    voided = count_voided(settings, plan) if unlanded else 0
    total = Landed.of(plan, landed, unsent, voided=voided)
    log.info("%s\n%s", plan.describe(), total.describe())
    publish_snapshot(settings.warehouse_conn_id, settings.dataset)
    reason = objection(
        total,
        max_failed=settings.max_failed,
        max_failed_ratio=settings.max_failed_ratio,
        fail_on_review=settings.on_needs_review == "fail",
    )
    if reason:
        raise PipelineOutcomeError(reason)
    announce(
        total.figures(),
        total.rows,
        warehouse_conn_id=settings.warehouse_conn_id,
        dataset=settings.dataset,
        documents=total.by_status.total(),
        credits=total.credits,
        workflow_id=settings.workflow_id,
        version=settings.version,
    )
    return total.figures()


def _land(
    warehouse: Warehouse, settings: Settings, part: RawPart, policy: LandingPolicy | None = None
) -> Landing:
    """Enter a part into the index of the raw zone, and land it from there."""
    from extend_pipeline.warehouse.records import AS_BEFORE

    origin = task_provenance(
        **settings.asked_for, batch_id=part.batch_id, extend_conn_id=settings.extend_conn_id
    )
    entry = Entry(
        part=part,
        dataset=settings.dataset,
        warehouse_conn_id=settings.warehouse_conn_id,
        provenance=origin,
        policy=policy or AS_BEFORE,
    )
    return land(warehouse, enter(entry))


def _part_path(settings: Settings, batch: str, name: str) -> ObjectStoragePath:
    return part_path(
        settings.workspace,
        pipeline=settings.pipeline,
        workflow_id=settings.workflow_id,
        version=settings.version,
        batch=batch,
        name=name,
    )
