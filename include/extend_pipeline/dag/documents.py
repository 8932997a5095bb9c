"""The pipeline as one call: a task group that takes documents from S3 through Extend into a warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Literal

from airflow.sdk import TaskGroup, TriggerRule, XComArg, task, task_group

from extend_pipeline.batches.collection import collect_chunk
from extend_pipeline.batches.ledger import DOCUMENTS_KEY
from extend_pipeline.dag.assets import landed_group, written_tables
from extend_pipeline.dag.conventions import open_group
from extend_pipeline.dag.outages import AskingOperator
from extend_pipeline.dag.submit import SubmitChunkOperator
from extend_pipeline.dag.tasks import discover_documents, finish_run, load_chunk, plan_chunks
from extend_pipeline.dag.wait import MISSING_AFTER, WaitChunkOperator
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import PipelineShape, check_literals, check_shape
from extend_provider.operators.submit_batch import RUN_COUNT_KEY


def documents_to_warehouse(
    *,
    source: str | Sequence[str] | XComArg = "",
    workflow_id: str,
    workspace: str,
    group_id: str = "documents_to_warehouse",
    version: str | int | None = None,
    priority: int | str | None = None,
    glob: str | None = None,
    modified_from: dt.date | str | None = None,
    modified_to: dt.date | str | None = None,
    limit: int | str | None = None,
    max_documents: int | str | None = None,
    max_credits: float | str | None = None,
    dry_run: bool | str = False,
    reprocess: Literal["none", "failed", "all"] | bool | str = "none",
    repetition: str | None = None,
    max_attempts: int | str = 3,
    chunk_size: int | str = 1000,
    parallel_listings: int | str = 8,
    transfer: Literal["presign", "upload"] = "presign",
    expires_in: int | str = 1800,
    on_needs_review: Literal["land", "wait", "fail"] = "land",
    min_confidence: float | str | None = None,
    on_low_confidence: Literal["flag", "hold"] = "flag",
    approval_timeout: dt.timedelta = dt.timedelta(days=7),
    schema_contract: Literal["evolve", "freeze", "discard"] | str = "evolve",
    max_failed: int | str | None = None,
    max_failed_ratio: float | str | None = None,
    timeout: dt.timedelta = dt.timedelta(hours=24),
    on_timeout: Literal["leave", "cancel"] = "leave",
    cancel_on_kill: bool = True,
    missing_after: dt.timedelta = MISSING_AFTER,
    poke_interval: dt.timedelta = dt.timedelta(minutes=1),
    extend_conn_id: str = "extend_default",
    aws_conn_id: str = "aws_default",
    source_conn_id: str | None = None,
    warehouse_conn_id: str = "warehouse_default",
    dataset: str = "extend",
    pool: str = "extend",
    warehouse_pool: str = "extend_warehouse",
) -> TaskGroup:
    """Add the whole pipeline to the DAG that is being defined.

    Everything that says *what* to process may be a Jinja template; it is rendered once, by the first task.
    What shapes the DAG may not, see :class:`~extend_pipeline.settings.PipelineShape`. Behind a skipped task
    the whole group is skipped.

    :param source: an ``s3://bucket/prefix`` to list; or a list of addresses (or one text, a line each), of
        which those that end in ``/`` are prefixes and the others single objects; or the output of a task that
        returns such. Likewise ``gs://``,
        ``abfs://``, ``file:///`` and whatever else Airflow's providers bring; ``https://`` addresses are
        single documents. ``reprocess="failed"`` needs none.
    :param workflow_id: the Extend workflow.
    :param workspace: where files between tasks and the raw zone live, e.g. ``s3://aws_default@bucket/extend``.
    :param version: a published version's number, or ``draft``; Extend's latest when left out.
    :param priority: 1 (first) to 100; Extend's default for batches is 90.
    :param glob: only objects whose key, after the prefix, matches; see :mod:`extend_pipeline.sources.globs`.
    :param modified_from: only objects last modified at this time or later, UTC without a zone.
    :param modified_to: only objects last modified before this time.
    :param limit: send at most so many documents; the rest is left for a later run.
    :param max_documents: refuse the whole plan, before anything is claimed or sent, if more documents are to
        be sent after ``limit`` has cut it.
    :param max_credits: refuse it likewise if more credits are to be expected, going by what was charged for
        landed documents of the workflow; also if none was, because the cost is unknown then.
    :param dry_run: list and plan, say what would be sent, and send nothing.
    :param reprocess: send documents again, and pay for them again, although they have landed before: ``all``
        that the source holds, or those that ``failed``, which are looked up in the warehouse instead.
    :param repetition: a name for what ``reprocess="all"`` sends again; each document is sent once in it, and
        a later run continues it. Left out: the one of this source that is open, or a new one.
    :param max_attempts: how often a document is sent at the most, 1 to 10: what failed for a passing reason,
        was cancelled or has no run is sent again, alone, before the chunk lands.
    :param chunk_size: documents per batch, 1 to 1,000.
    :param parallel_listings: how many parts of a long listing are listed at the same time, 1 to 32.
    :param transfer: ``presign`` lets Extend read by presigned URL, and uploads what a store has no URLs for;
        ``upload`` sends the bytes of all.
    :param expires_in: seconds for which a presigned URL is valid; Extend queues batches, so not too few.
    :param on_needs_review: documents that wait for a reviewer are landed as they are (``land``), waited for
        (``wait``), or landed and then fail the run (``fail``).
    :param min_confidence: documents with a field of which Extend was less sure, 0 to 1, are flagged.
    :param on_low_confidence: ``flag`` says so on the document's row; ``hold`` keeps its rows out of the typed
        tables besides, until somebody has approved them in Airflow, who is asked once all chunks have landed.
    :param approval_timeout: how long the question waits for an answer; without one they stay out.
    :param schema_contract: when an extractor's schema has changed, the tables gain what they lack
        (``evolve``), the load fails before anything of it lands (``freeze``), or new fields stay out of the
        typed tables (``discard``) and are in ``fields`` and ``problems`` alone.
    :param max_failed: fail the run, after everything has landed, if more documents failed.
    :param max_failed_ratio: the same by share of the settled documents, 0 to 1.
    :param timeout: how long a chunk may take, all attempts together; and how long an outage of Extend is
        waited out while its runs are collected. No outage costs a retry.
    :param on_timeout: then the batch goes on at Extend (``leave``: clear the task to wait for it again), or
        what has not settled is cancelled (``cancel``).
    :param cancel_on_kill: ending a waiting task by hand (mark failed or success, delete the run) cancels what
        has not settled at Extend, unless another run waits for the same chunk; clearing it never does.
    :param missing_after: how long a batch may list fewer runs than were submitted, all of them settled and
        nothing changing, before the missing ones count as gone; at the most half of ``timeout``. Up to 3 of
        them, or 10 % and at the most 50, are sent again; with more, or with no run listed at all, the task
        fails and says what to do.
    :param poke_interval: how long to wait between two looks at a batch, at the most.
    :param extend_conn_id: connection of type ``extend``.
    :param aws_conn_id: connection that reads ``s3://`` sources.
    :param source_conn_id: connection that reads ``gs://`` and the like; what the library finds without it.
    :param warehouse_conn_id: connection of the destination; of type ``duckdb``, its host is the file.
    :param dataset: the schema that holds the tables.
    :param pool: Airflow pool that bounds the batches in flight; its slots must include deferred tasks.
    :param warehouse_pool: Airflow pool of one slot, because a DuckDB file has one writer.
    :return: the task group, to be put before or after other tasks.
    :raises PipelineInputError: when the DAG file is parsed, if a literal setting is wrong.
    """
    shape = {
        "group_id": group_id,
        "pool": pool,
        "warehouse_pool": warehouse_pool,
        "on_needs_review": on_needs_review,
        "on_low_confidence": on_low_confidence,
        "on_timeout": on_timeout,
        "cancel_on_kill": cancel_on_kill,
        "timeout": timeout,
        "missing_after": missing_after,
        "poke_interval": poke_interval,
        "approval_timeout": approval_timeout,
    }
    check_shape(shape, PipelineShape)
    settings: dict[str, Any] = {
        "source": source,
        "workflow_id": workflow_id,
        "workspace": workspace,
        "version": version,
        "priority": priority,
        "glob": glob,
        "modified_from": modified_from,
        "modified_to": modified_to,
        "limit": limit,
        "max_documents": max_documents,
        "max_credits": max_credits,
        "dry_run": dry_run,
        "reprocess": reprocess,
        "repetition": repetition,
        "max_attempts": max_attempts,
        "chunk_size": chunk_size,
        "parallel_listings": parallel_listings,
        "poke_interval": poke_interval.total_seconds(),
        "transfer": transfer,
        "expires_in": expires_in,
        "on_needs_review": on_needs_review,
        "min_confidence": min_confidence,
        "on_low_confidence": on_low_confidence,
        "schema_contract": schema_contract,
        "max_failed": max_failed,
        "max_failed_ratio": max_failed_ratio,
        "extend_conn_id": extend_conn_id,
        "aws_conn_id": aws_conn_id,
        "source_conn_id": source_conn_id,
        "warehouse_conn_id": warehouse_conn_id,
        "dataset": dataset,
    }
    check_literals(settings)
    if on_low_confidence == "hold" and min_confidence in (None, ""):
        raise PipelineInputError(
            "on_low_confidence='hold' needs min_confidence: below it documents are held."
        )
    with open_group(group_id) as group:
        folder = _task("discover", discover_documents)(settings)
        chunks = _task("plan", plan_chunks, pool=warehouse_pool)(folder)

        def process_chunk(chunk: Any) -> Any:
            submit = SubmitChunkOperator(
                task_id="submit", chunk=chunk, cancel_on_kill=cancel_on_kill, pool=pool
            )
            wait = WaitChunkOperator(
                task_id="wait",
                chunk=chunk,
                batch_id=submit.output,
                run_count=XComArg(submit, key=RUN_COUNT_KEY),
                on_needs_review="wait" if on_needs_review == "wait" else "land",
                missing_after=missing_after,
                timeout=timeout.total_seconds(),
                on_timeout=on_timeout,
                cancel_on_kill=cancel_on_kill,
                poke_interval=poke_interval.total_seconds(),
                extend_conn_id=extend_conn_id or "extend_default",
                pool=pool,
            )
            collect = AskingOperator(
                task_id="collect",
                function=collect_chunk,
                arguments=[chunk, submit.output],
                timeout=timeout,
            )
            wait >> collect
            load = _task("load", load_chunk, pool=warehouse_pool)
            return load(chunk, XComArg(submit, key=DOCUMENTS_KEY), collect.output)

        landings = task_group(group_id="chunk")(process_chunk).expand(chunk=chunks)
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        # Whatever became of the chunks, the run is added up; it fails there if a chunk is missing.
        _task("finish", finish_run, trigger_rule=TriggerRule.ALL_DONE, outlets=outlets)(folder, landings)
        if on_low_confidence == "hold":
            # Imported here, because only who asks for it pays for Airflow's human-in-the-loop operators.
            from extend_pipeline.dag.approval import add_approval

            add_approval(
                folder, landings, landed, response_timeout=approval_timeout, warehouse_pool=warehouse_pool
            )
    return group


def _task(task_id: str, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Make a task of a function; what it is called with are other tasks' outputs, which Airflow resolves."""
    made: Callable[..., Any] = task(task_id=task_id, **options)(function)
    return made
