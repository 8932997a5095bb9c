"""Collect: the settled runs of a chunk's batches, exactly as Extend returns them, into the raw zone.

What is in the raw zone can be landed again at any time without a request to Extend, so it is written before
any table.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.attempts import tolerated_missing
from extend_pipeline.batches.chunk_state import ChunkRound
from extend_pipeline.batches.evidence import acceptance_advice, fetch_runs
from extend_pipeline.batches.ledger import PIPELINE_KEY, documents_of
from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.documents import Document
from extend_pipeline.storage.kept_parts import KeptPart, digest, find_part
from extend_pipeline.storage.raw_zone import PartWriter, RawPart, part_path, run_line
from extend_provider.batch.progress import SETTLED_STATUSES
from extend_provider.client.models import WorkflowRun
from extend_provider.exceptions import ExtendError

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

log = logging.getLogger(__name__)


def collect_chunk(chunk: ChunkReference, batch_id: str | None) -> list[dict[str, Any]]:
    """Write the settled runs of all rounds of a chunk into the raw zone; return the parts, first round first.

    :param batch_id: the first round's batch; None if nothing of the chunk could be sent.
    """
    if batch_id is None:
        log.info("Chunk %s: no document could be sent, so there is nothing to collect.", chunk["key"])
        return []
    from extend_provider.hooks.extend import ExtendAsyncHook

    parts = []
    for each in ChunkRound.all(chunk):
        sent, settings = each.sent(required=each.number == 1), each.settings
        if sent is None or sent.batch_id is None:
            continue
        part = collect(
            ExtendAsyncHook(extend_conn_id=settings.extend_conn_id),
            sent.batch_id,
            documents_of(sent.details),
            part_path(
                settings.workspace,
                pipeline=sent.details.get(PIPELINE_KEY, settings.pipeline),
                workflow_id=settings.workflow_id,
                version=settings.version,
                batch=sent.batch_id,
                name="part-00000",
            ),
            expected=each.expected(sent),
            accepting=acceptance_advice(each.folder, settings.extend_conn_id),
        )
        found = f"{part.runs:,} runs of batch {part.batch_id}"
        log.info("Chunk %s, round %s: %s are in the raw zone.", chunk["key"], each.number, found)
        parts.append(dataclasses.asdict(part))
    return parts


def collect(
    hook: ExtendAsyncHook,
    batch_id: str,
    documents: Iterable[Document],
    destination: ObjectStoragePath,
    *,
    expected: int,
    accepting: str = "",
) -> RawPart:
    """Write every run of a batch into the raw zone, and the documents that it accounts for.

    What was collected before stays where Extend says less by now: Extend deletes runs after some time, and
    the raw zone keeps them. A few listed runs that do not exist any more are left out.

    :param documents: of the batch, those that were not sent with their status.
    :param expected: how many runs the batch has, without those that are known to be gone.
    :param accepting: how to accept that runs are gone for good, in a sentence.
    :raises ExtendError: if runs are missing or have not settled; nothing was written then.
    """
    run_ids = asyncio.run(_list(hook, batch_id))
    kept = find_part(destination, batch_id)
    runs = kept.runs if kept is not None else {}
    if len(run_ids | runs.keys()) < expected:
        raise ExtendError(
            f"Extend lists {len(run_ids):,} of the {expected:,} runs of batch {batch_id}, so nothing of the "
            "batch was collected. A retry collects it once all are listed. If the others were deleted at "
            "Extend, clear the wait task of this chunk: after missing_after it counts them as gone, and "
            "their documents land as RUN_MISSING.",
            retryable=True,
        )
    fresh: set[str] = set()
    changed: set[str] = set()

    def take(run: WorkflowRun) -> None:
        before = runs.get(run.id)
        if before is not None and before.is_richer_than(run):
            return
        if run.status not in SETTLED_STATUSES:
            raise ExtendError(
                f"Run {run.id} of batch {batch_id} is {run.status}, so nothing of the batch was collected: "
                "its wait task was marked as success before it had finished. A retry collects the batch once "
                "it has settled; to wait for that, clear the wait task.",
                retryable=True,
            )
        line = run_line(hook.api_version, run.received)
        part.add_run(line)
        fresh.add(run.id)
        if before is None or before.digest != digest(line):
            changed.add(run.id)

    accounted = list(documents)
    try:
        with PartWriter(destination, batch_id) as part:
            for document in accounted:
                part.add_document(document)
            gone = asyncio.run(_fetch_all(hook, run_ids, take))
            _check_present(batch_id, len(gone), len(fresh | runs.keys()), expected, accepting)
            if kept is not None:
                _keep(kept, part, {document.id for document in accounted}, fresh, changed)
    except _NothingNewError as nothing:
        return nothing.part
    return part.part


class _NothingNewError(Exception):
    """What was collected before, as ``part``, has everything that Extend returns now."""

    def __init__(self, part: RawPart) -> None:
        super().__init__()
        self.part = part


def _keep(kept: KeptPart, part: PartWriter, documents: set[str], fresh: set[str], changed: set[str]) -> None:
    """Copy what only the part that was collected before has."""
    if not changed and documents <= kept.documents:
        raise _NothingNewError(kept.part)
    if lost := len(kept.runs.keys() - fresh):
        log.warning("Extend returns less of %s runs by now; they stay as they were collected.", f"{lost:,}")
    for document in kept.part.read_documents():
        if document.id not in documents:
            part.add_document(document)
    for line in kept.read_others(fresh):
        part.add_run(line)


def _check_present(batch_id: str, gone: int, present: int, expected: int, accepting: str) -> None:
    """Check that so few runs are missing that they can be left out without asking."""
    if expected - present > tolerated_missing(expected):
        raise ExtendError(
            f"{gone:,} listed runs of batch {batch_id} do not exist, so Extend has {present:,} of its "
            f"{expected:,} runs. Nothing of the batch was collected; what was collected before is unchanged. "
            "Check that the connection is of the workspace that the batch was sent to, and clear this task. "
            f"{accepting}".rstrip(),
            retryable=True,
        )


async def _list(hook: ExtendAsyncHook, batch_id: str) -> set[str]:
    async with hook:
        return {run.id async for page in hook.iter_run_pages(batch_id=batch_id) for run in page}


async def _fetch_all(
    hook: ExtendAsyncHook, run_ids: Iterable[str], take: Callable[[WorkflowRun], object]
) -> set[str]:
    async with hook:
        return await fetch_runs(hook, run_ids, take)
