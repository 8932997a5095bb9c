"""Reviews: a task group that lands the decisions of reviewers at Extend, and its tasks."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from typing import Any, Final

from airflow.sdk import ObjectStoragePath, TaskGroup, get_current_context

from extend_pipeline import config
from extend_pipeline.config import Deployment, Templated, check_type
from extend_pipeline.dag.conventions import ExtendCallOperator, open_group, pipeline_of, python_task
from extend_pipeline.dag.lineage import announce, landed_group, written_tables
from extend_pipeline.exceptions import PipelineOutcomeError
from extend_pipeline.reviews.decisions import DELETED_MESSAGE, NEWS, ReviewSettings, ReviewState
from extend_pipeline.reviews.parts import (
    PartsWriter,
    land_parts,
    note_deleted_parts,
    read_runs,
    write_runs,
)
from extend_pipeline.settings import check_literals, check_shape
from extend_pipeline.settings.reachable import check_reachable
from extend_pipeline.storage.raw_zone import deleted_line
from extend_pipeline.storage.workspace import read_json, run_folder, write_json

log = logging.getLogger(__name__)

#: How long ``ask`` waits during an outage of Extend; the next run would fetch the same runs.
ASK_TIMEOUT: Final = dt.timedelta(hours=6)


def reviews_to_warehouse(
    deployment: Deployment,
    *,
    include_deleted: Templated[bool] = False,
    group_id: str = "reviews_to_warehouse",
) -> TaskGroup:
    """Add the landing of reviews to the DAG that is being defined.

    It looks at rows with status ``NEEDS_REVIEW`` alone and asks Extend for just those runs, one request each;
    without such rows it asks nothing. Decisions that webhooks have brought land without a request, and then
    Extend is asked for the other runs once a day only.

    :param deployment: the one that ``documents_to_warehouse`` uses; reviewed answers go to its raw zone, and
        runs submitted through another connection are left to that one.
    :param include_deleted: ask also for runs that Extend has said to be deleted.
    :return: the task group; what comes after it is skipped when there is no news.
    :raises PipelineInputError: when the DAG file is parsed, if a value is wrong; it names object and field.
    """
    check_type("deployment", deployment, Deployment)
    check_shape({"group_id": group_id})
    settings = {**deployment.to_settings(), "include_deleted": include_deleted}
    check_literals(settings, ReviewSettings, label=config.deployment_label)
    warehouse_pool = deployment.warehouse.pool
    with open_group(group_id) as group:
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        find = python_task("find", find_reviews, short_circuit=True, pool=warehouse_pool)
        ask = ExtendCallOperator(
            task_id="ask",
            function=ask_for_reviews,
            arguments=[find(settings)],
            timeout=ASK_TIMEOUT,
            short_circuit=True,
        )
        land = python_task("land", land_reviews, pool=warehouse_pool, outlets=outlets)
        land(ask.output)
    return group


def find_reviews(settings: dict[str, Any]) -> str | None:
    """Write the list of the runs that wait for a reviewer; return the run's folder, None if there are none.

    :param settings: rendered values for :class:`~extend_pipeline.reviews.decisions.ReviewSettings`.
    """
    from extend_pipeline.warehouse.open import open_warehouse

    checked = ReviewSettings.from_rendered(settings, label=config.deployment_label)
    context = get_current_context()
    check_reachable(
        context["task"],
        checked.disk,
        folders={"the workspace": checked.workspace},
        warehouse_conn_id=checked.warehouse_conn_id,
    )
    ti = context["ti"]
    group_id = ti.task_id.rpartition(".")[0]
    folder = run_folder(checked.workspace, dag_id=ti.dag_id, run_id=ti.run_id, group_id=group_id)
    with open_warehouse(checked.warehouse_conn_id, checked.dataset) as warehouse:
        waiting = warehouse.runs_in_review(checked.extend_conn_id, include_deleted=checked.include_deleted)
        found = write_runs(_runs_path(folder), waiting)
    log.info("%s documents wait for a reviewer.", f"{found:,}")
    write_json(folder / "settings.json", checked.to_stored())
    return str(folder) if found else None


def ask_for_reviews(folder: str) -> str | None:
    """Look for news of each run, write them into the raw zone; return the folder, or None without news.

    With an inbox of webhooks, Extend is asked once a day only, and always if deleted runs are asked for too.
    """
    from extend_pipeline.batches.inbox import inbox_of, note_taken
    from extend_pipeline.reviews.asking import ask
    from extend_pipeline.reviews.webhooks import ReviewWebhooks, is_asking_due, note_asked
    from extend_provider.hooks.extend import ExtendAsyncHook

    home = ObjectStoragePath(folder)
    settings = _settings(home)
    now, inbox = dt.datetime.now(dt.UTC), inbox_of(settings.extend_conn_id)
    webhooks = ReviewWebhooks(inbox) if inbox is not None else None
    asks_for_all = webhooks is None or settings.include_deleted or is_asking_due(settings, now)
    pipeline = pipeline_of(get_current_context()["ti"])
    with (
        PartsWriter(settings.workspace, home, pipeline=pipeline, name=_reviewed(home)) as reviewed,
        PartsWriter(settings.workspace, home, pipeline=pipeline, name=_gone(home)) as gone,
    ):
        verdicts = ask(
            ExtendAsyncHook(extend_conn_id=settings.extend_conn_id),
            read_runs(_runs_path(home)),
            take=reviewed.add,
            deleted=lambda run: gone.add(run, deleted_line(run.run_id)),
            webhooks=webhooks,
            asks_for_all=asks_for_all,
        )
    if webhooks is not None:
        note_taken(_taken_path(home), webhooks.taken)
        if asks_for_all and not verdicts[ReviewState.UNANSWERED]:
            note_asked(settings, now)
    write_json(_verdicts_path(home), _plain(verdicts))
    log.info("Of %s documents in review: %s.", f"{verdicts.total():,}", _described(verdicts))
    return folder if any(verdicts[v] for v in (*NEWS, ReviewState.DELETED, ReviewState.UNANSWERED)) else None


def land_reviews(folder: str) -> dict[str, Any]:
    """Land the reviewers' decisions, batch by batch, and return the counts.

    :raises PipelineOutcomeError: if Extend could not show some of the runs; everything else has landed.
    """
    from extend_pipeline.batches.inbox import remove_taken
    from extend_pipeline.warehouse.open import open_warehouse, publish_snapshot

    home = ObjectStoragePath(folder)
    settings = _settings(home)
    with open_warehouse(settings.warehouse_conn_id, settings.dataset) as warehouse:
        landed = land_parts(warehouse, home, _reviewed(home), settings)
        message = DELETED_MESSAGE.format(conn_id=settings.extend_conn_id)
        note_deleted_parts(warehouse, home, _gone(home), settings, message)
    remove_taken(_taken_path(home))
    publish_snapshot(settings.warehouse_conn_id, settings.dataset)
    verdicts = Counter({ReviewState(name): count for name, count in _kept(_verdicts_path(home)).items()})
    log.info("%s. Landed: %s.", _described(verdicts), dict(landed.by_status))
    if unanswered := verdicts[ReviewState.UNANSWERED]:
        raise PipelineOutcomeError(
            f"Extend could not show {unanswered:,} of {verdicts.total():,} runs in review, see the log of "
            "the task before. Everything else has landed; the next look asks for them again."
        )
    outcome: dict[str, Any] = {"verdicts": _plain(verdicts), "by_status": dict(landed.by_status)}
    announce(
        outcome,
        landed.rows,
        warehouse_conn_id=settings.warehouse_conn_id,
        dataset=settings.dataset,
        documents=landed.by_status.total(),
    )
    return outcome


def _described(verdicts: Counter[ReviewState]) -> str:
    return ", ".join(f"{count:,} {found}" for found, count in verdicts.most_common()) or "none"


def _settings(folder: ObjectStoragePath) -> ReviewSettings:
    path = folder / "settings.json"
    return ReviewSettings.from_stored(_kept(path), str(path))


def _kept(path: ObjectStoragePath) -> dict[str, Any]:
    return dict(read_json(path) or {})


def _plain(verdicts: Counter[ReviewState]) -> dict[str, int]:
    return {str(found): count for found, count in verdicts.items()}


def _runs_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "in-review.jsonl"


def _verdicts_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "verdicts.json"


def _taken_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "webhooks.jsonl"


def _reviewed(folder: ObjectStoragePath) -> str:
    return f"review-{folder.name}"


def _gone(folder: ObjectStoragePath) -> str:
    return f"gone-{folder.name}"
