"""Collect: the settled runs of a chunk's batches, exactly as Extend has sent them, into the raw zone.

A run comes out of the inbox of webhooks if it has arrived there, else from the API. What is in the raw zone
can be landed again at any time without a request to Extend, so it is written before any table.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.chunk_state import ChunkRound, CollectedChunk, SentChunk, check_handed_over
from extend_pipeline.batches.evidence import acceptance_advice
from extend_pipeline.batches.inbox import Taken, note_taken, part_note
from extend_pipeline.batches.ledger import PIPELINE_KEY, documents_of
from extend_pipeline.batches.runs import BatchRuns, ReceivedRun, find_runs
from extend_pipeline.batches.sending.attempts import tolerated_missing
from extend_pipeline.documents import Document
from extend_pipeline.storage.kept_parts import KeptPart, digest, find_part
from extend_pipeline.storage.raw_zone import PartWriter, RawPart, part_path
from extend_provider.batch.waiting.progress import SETTLED_STATUSES
from extend_provider.exceptions import ExtendError

if TYPE_CHECKING:
    from extend_provider.client.models import WorkflowRun
    from extend_provider.hooks.extend import ExtendAsyncHook

log = logging.getLogger(__name__)


def collect_chunk(chunk: SentChunk) -> CollectedChunk:
    """Write the settled runs of all rounds of a chunk into the raw zone; return the chunk with these parts.

    :param chunk: as ``submit`` returns it.
    :raises PipelineInputError: ``submit`` was marked as success before it had finished.
    """
    check_handed_over(chunk, by="submit")
    if chunk["batch_id"] is None:
        log.info("Chunk %s: no document could be sent, so there is nothing to collect.", chunk["key"])
        return CollectedChunk(**chunk, parts=[])
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
            submitted=sent.run_count,
            accepting=acceptance_advice(each.folder, settings.extend_conn_id),
        )
        found = f"{part.runs:,} runs of batch {part.batch_id}"
        log.info("Chunk %s, round %s: %s are in the raw zone.", chunk["key"], each.number, found)
        parts.append(dataclasses.asdict(part))
    return CollectedChunk(**chunk, parts=parts)


def collect(
    hook: ExtendAsyncHook,
    batch_id: str,
    documents: Iterable[Document],
    destination: ObjectStoragePath,
    *,
    expected: int,
    submitted: int | None = None,
    accepting: str = "",
) -> RawPart:
    """Write every run of a batch into the raw zone, and the documents that it accounts for.

    What was collected before stays where Extend says less by now: Extend deletes runs after some time, and
    the raw zone keeps them. A few listed runs that do not exist any more are left out.

    :param documents: of the batch, those that were not sent with their status.
    :param expected: how many runs the batch has, without those that are known to be gone.
    :param submitted: how many it was submitted with, if those are more.
    :param accepting: how to accept that runs are gone for good, in a sentence.
    :raises ExtendError: if runs are missing or have not settled; nothing was written then.
    """
    accounted = list(documents)
    for listing in (False, True):
        runs = asyncio.run(_find(hook, batch_id, submitted or expected, listing))
        try:
            part = _collect(hook, runs, accounted, destination, expected, accepting)
        except _NothingNewError as nothing:
            part = nothing.part
        except _DoubtfulInboxError as doubt:
            log.warning("%s, so Extend is asked for the batch.", doubt)
            continue
        break
    if runs.inbox is not None and runs.names:
        taken = Taken(inbox=runs.inbox.address, batch_id=batch_id, names=runs.names)
        note_taken(part_note(part.uri), [taken])
    return part


def _collect(
    hook: ExtendAsyncHook,
    runs: BatchRuns,
    accounted: Sequence[Document],
    destination: ObjectStoragePath,
    expected: int,
    accepting: str,
) -> RawPart:
    batch_id, found = runs.batch_id, runs.statuses
    kept_part = find_part(destination, batch_id)
    kept = kept_part.runs if kept_part is not None else {}
    if len(found.keys() | kept.keys()) < expected:
        raise ExtendError(
            f"Extend lists {len(found):,} of the {expected:,} runs of batch {batch_id}, so nothing of the "
            "batch was collected. A retry collects it once all are listed. If the others were deleted at "
            "Extend, clear the wait task of this chunk: after missing_after it counts them as gone, and "
            "their documents land as RUN_MISSING.",
            retryable=True,
        )
    fresh: set[str] = set()
    changed: set[str] = set()
    awaited = None if runs.is_listed else {document.id for document in accounted if document.status is None}

    def take(received: ReceivedRun) -> None:
        run = received.run
        if awaited is not None:
            _check_awaited(run, awaited)
        before = kept.get(run.id)
        if before is not None and before.is_richer_than(run):
            return
        if run.status not in SETTLED_STATUSES:
            raise ExtendError(
                f"Run {run.id} of batch {batch_id} is {run.status}, so nothing of the batch was collected: "
                "its wait task was marked as success before it had finished. A retry collects the batch once "
                "it has settled; to wait for that, clear the wait task.",
                retryable=True,
            )
        part.add_run(received.line)
        fresh.add(run.id)
        if before is None or before.digest != digest(received.line):
            changed.add(run.id)

    with PartWriter(destination, batch_id) as part:
        for document in accounted:
            part.add_document(document)
        gone = asyncio.run(_read(hook, runs, take))
        _check_present(batch_id, len(gone), len(fresh | kept.keys()), expected, accepting)
        if kept_part is not None:
            _keep(kept_part, part, {document.id for document in accounted}, fresh, changed)
    return part.part


class _DoubtfulInboxError(Exception):
    """The inbox is complete by number, and a run in it is of no document that was sent, or of one twice."""


def _check_awaited(run: WorkflowRun, awaited: set[str]) -> None:
    """Check that a run is of one more document of the batch, and tick it off."""
    document_id = run.metadata.get("document_id")
    if document_id not in awaited:
        raise _DoubtfulInboxError(f"The webhook of run {run.id} is of no other document of its batch")
    awaited.discard(document_id)


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


async def _find(hook: ExtendAsyncHook, batch_id: str, submitted: int, listing: bool) -> BatchRuns:
    async with hook:
        return await find_runs(hook, batch_id, submitted=submitted, listing=listing)


async def _read(hook: ExtendAsyncHook, runs: BatchRuns, take: Callable[[ReceivedRun], object]) -> set[str]:
    async with hook:
        return await runs.read(hook, runs.statuses, take)
