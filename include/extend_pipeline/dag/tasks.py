"""The tasks ``discover``, ``plan``, ``load`` and ``finish``: thin functions that open connections and files.

The decisions are in ``planning`` and ``batches``. Nothing heavy is imported before a task runs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook, ObjectStoragePath, conf, get_current_context

from extend_pipeline import config
from extend_pipeline.batches.chunk_state import CollectedChunk, check_handed_over, settings_of
from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.dag.conventions import pipeline_of, planner_of, skip_behind
from extend_pipeline.dag.lineage import announce
from extend_pipeline.dag.submit import count_voided, register_as_waiter
from extend_pipeline.exceptions import PipelineOutcomeError
from extend_pipeline.planning.chunking import Planning, unsent_path
from extend_pipeline.planning.plan import keep_plan, read_plan
from extend_pipeline.planning.quality import Landed, failure_reason, sum_of_rounds
from extend_pipeline.planning.record import LANDED_KEY, PIPELINE_KEY, landed_record, now, pipeline_record
from extend_pipeline.planning.replay import check_whole
from extend_pipeline.settings import Settings, read_settings, write_settings
from extend_pipeline.settings.reachable import check_reachable
from extend_pipeline.storage.raw_index import Entry, land, task_provenance
from extend_pipeline.storage.raw_zone import RawPart, part_path, write_part
from extend_pipeline.storage.workspace import check_write_once, read_documents, run_folder
from extend_provider.batch.attempts import AttemptMemory

if TYPE_CHECKING:
    from extend_pipeline.warehouse.api import Warehouse
    from extend_pipeline.warehouse.records import Claim, Landing, LandingPolicy

log = logging.getLogger(__name__)

#: How many addresses of a source the log names.
LOGGED_ADDRESSES: Final = 20


def discover_documents(settings: dict[str, Any]) -> str:
    """List the source into the run's folder and return the folder's address.

    A retry continues in the folder of the attempt before it; a cleared task begins a new folder.

    :param settings: rendered values for :class:`~extend_pipeline.settings.Settings`.
    """
    from extend_pipeline.planning.listing import write_listing

    checked = Settings.from_rendered(settings, label=config.label)
    context = get_current_context()
    check_reachable(
        context["task"],
        checked.disk,
        folders={
            "the workspace": checked.workspace,
            "the source": next((item.uri for item in checked.source if item.root == "file://"), None),
        },
    )
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
        log.info("reprocess='failed': the documents are read from the dead letters in the warehouse.")
        return str(folder)
    if checked.arrivals:
        from extend_pipeline.arrivals.taking import take_arrivals

        found = write_listing(folder, checked, take_arrivals(folder, checked, planner_of(ti)))
    else:
        shown = [item.uri for item in checked.source[:LOGGED_ADDRESSES]]
        more = len(checked.source) - len(shown)
        log.info("Reading %s%s.", ", ".join(shown), f" and {more:,} more" if more else "")
        found = write_listing(folder, checked)
    log.info("%s documents found.", f"{found:,}")
    return str(folder)


def _earlier_folder(memory: AttemptMemory, settings: Settings) -> ObjectStoragePath | None:
    """Return the folder that an earlier attempt has begun with the same settings."""
    remembered = memory.recall()
    if remembered is None:
        return None
    folder = ObjectStoragePath(remembered["folder"])
    try:
        return folder if read_settings(folder) == settings else None
    except FileNotFoundError:  # on the local disk of another worker
        return None


def plan_chunks(folder: str) -> list[ChunkReference]:
    """Plan the run: skip what has landed, reserve new chunks, land what cannot be sent; return the chunks."""
    from extend_pipeline.batches.sending.probing import check_rights
    from extend_pipeline.planning.discovery import failed_before
    from extend_pipeline.planning.listing import read_listing
    from extend_pipeline.warehouse.open import open_warehouse
    from extend_provider.hooks.extend import ExtendHook

    home = ObjectStoragePath(folder)
    settings = read_settings(home)
    # A connection that is missing or wrong stops the run here, before anything is reserved.
    extend = ExtendHook(settings.extend_conn_id).settings
    log.info("Documents are sent to %s.", extend.base_url)
    context = get_current_context()
    check_reachable(
        context["task"],
        settings.disk,
        folders={"the inbox of webhooks": extend.webhook_inbox},
        warehouse_conn_id=settings.warehouse_conn_id,
    )
    ti = context["ti"]
    kind = BaseHook.get_connection(settings.warehouse_conn_id).conn_type
    ti.xcom_push(key=PIPELINE_KEY, value=pipeline_record(settings, kind, now()))
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
        register_as_waiter(settings, plan, ti)
    return [] if settings.dry_run else plan.chunks


def load_chunk(chunk: CollectedChunk) -> dict[str, Any]:
    """Land a chunk: one row for each of its documents, and the rows of their results.

    The last round lands first and the first round, which has all documents, lands last. So a document stays
    claimed until its last attempt has landed, and after a crash the next run continues with it.

    :param chunk: as ``collect`` returns it.
    :raises PipelineInputError: ``collect`` was marked as success before it had finished.
    """
    check_handed_over(chunk, by="collect")
    from extend_pipeline.batches.inbox import part_note, remove_taken
    from extend_pipeline.dag.lineage import report_lineage
    from extend_pipeline.warehouse.open import open_warehouse
    from extend_pipeline.warehouse.records import LandingPolicy

    settings = settings_of(chunk)
    policy = LandingPolicy(
        settings.min_confidence, settings.on_low_confidence == "hold", settings.schema_contract
    )
    collected = [RawPart(**part) for part in chunk["parts"]]
    if not collected:
        unsent = _part_path(settings, "unsent", chunk["key"])
        collected = [write_part(unsent, None, read_documents(ObjectStoragePath(chunk["submission"])))]
    with open_warehouse(settings.warehouse_conn_id, settings.dataset) as warehouse:
        landings = [_land(warehouse, settings, part, policy).as_dict() for part in reversed(collected)]
    for part in collected:
        remove_taken(part_note(part.uri))
    landing = sum_of_rounds(landings)
    report_lineage(settings, landing["rows"])
    return landing


def finish_run(folder: str | None, landings: Any) -> dict[str, Any]:
    """Add up what has landed, log it, and decide whether the run is a success.

    :param folder: the run's folder; None if the discovery failed.
    :param landings: what the chunks' loads returned; those that did not land are missing.
    :raises PipelineOutcomeError: if the settings do not allow the outcome; everything has landed then.
    :raises AirflowSkipException: the discovery was skipped, and with it all other tasks.
    """
    from extend_pipeline.warehouse.open import publish_snapshot

    if folder is None:
        skip_behind(get_current_context()["ti"], "discover")
    planned = read_plan(ObjectStoragePath(folder)) if folder else None
    if folder is None or planned is None:
        raise PipelineOutcomeError(
            "The run has no plan, so nothing was sent to Extend. See whether discover or plan failed, and "
            "clear that task once the cause is removed."
        )
    settings = read_settings(ObjectStoragePath(folder))
    plan, unsent = planned
    # Airflow passes a mapped group's results as one bare value, a sequence, or None.
    landed = [landings] if isinstance(landings, Mapping) else landings or ()
    unlanded = len(landed) < len(plan.chunks)
    voided = count_voided(settings, plan) if unlanded else 0
    total = Landed.of(plan, landed, unsent, voided=voided)
    log.info("%s\n%s", plan.describe(), total.describe())
    if settings.arrivals and not unlanded:
        from extend_pipeline.arrivals.taking import release_arrivals

        release_arrivals(ObjectStoragePath(folder), settings, plan)
    publish_snapshot(settings.warehouse_conn_id, settings.dataset)
    ti = get_current_context()["ti"]
    ti.xcom_push(key=LANDED_KEY, value=landed_record(total.by_status, total.credits))
    _sweep_inbox(settings)
    reason = failure_reason(
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


def _sweep_inbox(settings: Settings) -> None:
    """Clean the inbox of the run's connection, if it has one."""
    from extend_pipeline.batches.inbox import inbox_of, sweep
    from extend_pipeline.warehouse.open import open_warehouse

    inbox = inbox_of(settings.extend_conn_id)
    if inbox is None:
        return
    with contextlib.ExitStack() as opened:

        def claims() -> Iterator[Claim]:
            warehouse = open_warehouse(settings.warehouse_conn_id, settings.dataset)
            return opened.enter_context(warehouse).claims()

        sweep(inbox, settings, claims)


def _land(
    warehouse: Warehouse, settings: Settings, part: RawPart, policy: LandingPolicy | None = None
) -> Landing:
    """Add a part to the index of the raw zone, and land it."""
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
    return land(warehouse, entry, is_new=True)


def _part_path(settings: Settings, batch: str, name: str) -> ObjectStoragePath:
    return part_path(
        settings.workspace,
        pipeline=settings.pipeline,
        workflow_id=settings.workflow_id,
        version=settings.version,
        batch=batch,
        name=name,
    )
