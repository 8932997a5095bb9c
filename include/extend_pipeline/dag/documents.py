"""The pipeline as one call: a task group that takes documents from S3 through Extend into a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from airflow.sdk import TaskGroup, TriggerRule, task_group

from extend_pipeline import config
from extend_pipeline.batches.collection import collect_chunk
from extend_pipeline.config import (
    Arrivals,
    Budget,
    Deployment,
    Execution,
    Quality,
    Reprocess,
    Source,
    Templated,
    Workflow,
    check_type,
    source_settings,
)
from extend_pipeline.dag.conventions import ExtendCallOperator, open_group, python_task
from extend_pipeline.dag.lineage import landed_group, written_tables
from extend_pipeline.dag.submit import SubmitChunkOperator
from extend_pipeline.dag.tasks import discover_documents, finish_run, load_chunk, plan_chunks
from extend_pipeline.dag.wait import WaitChunkOperator
from extend_pipeline.settings import check_literals, check_shape


def documents_to_warehouse(
    deployment: Deployment,
    *,
    source: Source | Arrivals | Templated[str | Sequence[str]] | None,
    workflow: Workflow | str,
    budget: Budget = Budget(),  # noqa: B008  # frozen
    quality: Quality = Quality(),  # noqa: B008
    execution: Execution = Execution(),  # noqa: B008
    reprocess: Reprocess | Templated[Literal["none", "failed", "all"]] = "none",
    dry_run: Templated[bool] = False,
    group_id: str = "documents_to_warehouse",
) -> TaskGroup:
    """Add the whole pipeline to the DAG that is being defined.

    Behind a skipped task the whole group is skipped. The fields of the objects are described where these are:
    :mod:`extend_pipeline.config`.

    :param deployment: where it reads, works and writes.
    :param source: which documents: an object, or an address (a prefix to list), or several addresses (a list,
        a line each, or the output of a task), of which those that end in ``/`` are prefixes and the others
        single objects. :class:`~extend_pipeline.config.Arrivals` are those that S3 has announced. None, if
        ``reprocess="failed"`` looks the documents up in the warehouse.
    :param workflow: the Extend workflow, or its id.
    :param budget: how many documents are sent, and what they may cost.
    :param quality: which results are good enough.
    :param execution: how documents are sent and waited for.
    :param reprocess: send documents again, and pay for them again, although they have landed before: ``all``
        that the source holds, or those that ``failed``.
    :param dry_run: list and plan, say what would be sent, and send nothing.
    :param group_id: the name of the task group, under which what it has landed is kept too.
    :return: the task group, to be put before or after other tasks.
    :raises PipelineInputError: when the DAG file is parsed, if a value is wrong; it names object and field.
    """
    check_type("deployment", deployment, Deployment)
    check_type("budget", budget, Budget)
    check_type("quality", quality, Quality)
    check_type("execution", execution, Execution)
    workflow = workflow if isinstance(workflow, Workflow) else Workflow(workflow)
    reprocess = reprocess if isinstance(reprocess, Reprocess) else Reprocess(reprocess)
    check_shape({"group_id": group_id})
    settings = {
        name: value
        for each in (deployment, workflow, budget, quality, execution, reprocess)
        for name, value in each.to_settings().items()
    }
    settings |= {**source_settings(source), "dry_run": dry_run}
    check_literals(settings, label=config.label)
    extend_pool, warehouse_pool = deployment.pool, deployment.warehouse.pool
    with open_group(group_id) as group:
        folder = python_task("discover", discover_documents)(settings)
        chunks = python_task("plan", plan_chunks, pool=warehouse_pool)(folder)

        def process_chunk(chunk: Any) -> Any:
            # Each task takes the chunk from the task before it, not from `plan`: Airflow evaluates each
            # dependency of each mapped task in each of the scheduler's loops, and pulls each argument.
            submit = SubmitChunkOperator(
                task_id="submit", chunk=chunk, cancel_on_kill=execution.cancel_on_kill, pool=extend_pool
            )
            sent: Any = submit.output
            wait = WaitChunkOperator(
                task_id="wait",
                chunk=sent,
                on_needs_review="wait" if quality.on_needs_review == "wait" else "land",
                missing_after=execution.missing_after,
                timeout=execution.timeout.total_seconds(),
                on_timeout=execution.on_timeout,
                cancel_on_kill=execution.cancel_on_kill,
                poke_interval=execution.poke_interval.total_seconds(),
                extend_conn_id=deployment.extend_conn_id or "extend_default",
                pool=extend_pool,
            )
            collect = ExtendCallOperator(
                task_id="collect",
                function=collect_chunk,
                arguments=[sent],
                timeout=execution.timeout,
            )
            wait >> collect
            load = python_task("load", load_chunk, pool=warehouse_pool)
            return load(collect.output)

        landings = task_group(group_id="chunk")(process_chunk).expand(chunk=chunks)
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        # Whatever became of the chunks, the run is added up; it fails there if a chunk is missing.
        finish = python_task("finish", finish_run, trigger_rule=TriggerRule.ALL_DONE, outlets=outlets)
        finish(folder, landings)
        if quality.holds:
            # Imported here, because only who asks for it pays for Airflow's human-in-the-loop operators.
            from extend_pipeline.dag.approval import add_approval

            patience = quality.approval_timeout
            add_approval(folder, landings, landed, response_timeout=patience, warehouse_pool=warehouse_pool)
    return group
