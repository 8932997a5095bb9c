"""Evidence: what Extend reports about the runs of a round, kept in the workspace across looks and releases.

    <folder of the round>/evidence.json

What one look has found is not forgotten at the next one. Runs that are missing count as gone only in small
numbers, or after a person has accepted that they are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import shlex
from collections.abc import Collection, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.ledger import WorkspaceLedger, documents_of
from extend_pipeline.batches.runs import ReceivedRun, find_runs
from extend_pipeline.batches.sending.attempts import Evidence, RunEnd, documents_without_run, merged
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.formats import read, write
from extend_pipeline.storage.workspace import read_json
from extend_provider.batch.waiting.progress import SETTLED_STATUSES
from extend_provider.client.models import RunStatus

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

#: Statuses of runs that did not end well; the list does not include the reason.
_UNSUCCESSFUL: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What Extend reports about a batch's runs.

    :ivar statuses: of the runs that are listed or of which a webhook has arrived, by id.
    :ivar gone: the listed runs that cannot be fetched because they do not exist any more.
    :ivar ends: how the unsuccessful runs ended; every run's end if ``whole``.
    """

    statuses: Mapping[str, str]
    gone: Set[str]
    ends: Sequence[RunEnd]
    whole: bool

    @property
    def present(self) -> int:
        """How many runs exist."""
        return len(self.statuses) - len(self.gone)

    @property
    def unsettled(self) -> int:
        """How many runs have not settled."""
        return sum(
            self.statuses[run_id] not in SETTLED_STATUSES for run_id in self.statuses.keys() - self.gone
        )

    @property
    def failed(self) -> int:
        """How many runs failed or were cancelled."""
        return sum(end.status in _UNSUCCESSFUL for end in self.ends)

    @property
    def not_failed(self) -> frozenset[str]:
        """Ids of the runs that are at work, in review or ended well."""
        ids = self.statuses.keys() - self.gone
        return frozenset(run_id for run_id in ids if self.statuses[run_id] not in _UNSUCCESSFUL)

    def evidence(self, sent: Sequence[str], submitted: int) -> Evidence:
        """Return the facts to keep.

        :param sent: ids of the documents in the batch.
        :param submitted: how many inputs the batch was submitted with.
        """
        return Evidence(
            listed=len(self.statuses),
            missing=max(submitted - self.present, 0),
            gone=tuple(sorted(self.gone)),
            ends=tuple(self.ends),
            without_run=documents_without_run(sent, self.ends) if self.whole else (),
        )


def inspect(hook: ExtendAsyncHook, batch_id: str, expected: int, *, thorough: bool = False) -> Inspection:
    """List a batch and read each unsuccessful run for its reason; one request per 1,000 listed runs.

    If there are not exactly as many runs as expected, every run is read: only a run itself tells which
    document it is for. A run is read out of the inbox of webhooks if it has arrived there, else fetched. The
    list is asked for in any case, because documents are sent again, and paid again, on what is found here.

    :param thorough: read every run in any case.
    """
    return asyncio.run(_inspect(hook, batch_id, expected, thorough))


async def _inspect(hook: ExtendAsyncHook, batch_id: str, expected: int, thorough: bool) -> Inspection:
    ends: list[RunEnd] = []

    def take(received: ReceivedRun) -> None:
        run = received.run
        statuses[run.id] = run.status
        document_id = run.metadata.get("document_id")
        known = document_id if isinstance(document_id, str) else None
        ends.append(RunEnd(known, run.status, run.failure_reason, run.started_at or run.ended_at, run.id))

    async with hook:
        runs = await find_runs(hook, batch_id, submitted=expected, listing=True)
        statuses = dict(runs.statuses)
        others = {run_id for run_id, status in statuses.items() if status not in _UNSUCCESSFUL}
        gone = await runs.read(hook, statuses.keys() - others, take)
        whole = thorough or len(statuses) != expected or bool(gone)
        if whole:
            gone |= await runs.read(hook, others, take)
    return Inspection(statuses, gone, ends, whole)


def read_evidence(folder: ObjectStoragePath) -> Evidence | None:
    """Return what is known of a round; None before its runs were first inspected.

    :raises PipelineInputError: if the file cannot be read, e.g. because a newer release has written it.
    """
    if (stored := read(folder / "evidence.json", Evidence)) is not None:
        return stored
    verdict = read_json(folder / "verdict.json")
    if verdict is None:
        return None
    # An older release kept its decision. Whatever it did not send again had a run, or counted as gone.
    missing = verdict.get("missing", 0)
    return Evidence(missing=missing, accepted=missing, without_run=tuple(verdict.get("again", ())))


def note(folder: ObjectStoragePath, found: Evidence, *, not_failed: Collection[str] = ()) -> Evidence:
    """Add what another look at a round has found; return all that is known now.

    :param not_failed: see :func:`~extend_pipeline.batches.sending.attempts.merged`.
    """
    known = merged(read_evidence(folder), found, not_failed=not_failed)
    known = msgspec.structs.replace(known, seen_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    write(folder / "evidence.json", known)
    return known


class MissingRuns(NamedTuple):
    """A batch as Extend has it.

    :ivar lost: how many of the submitted runs are missing; each counts as gone once it is accepted.
    """

    batch_id: str
    present: int
    submitted: int
    lost: int


def missing_runs(hook: ExtendAsyncHook, folder: ObjectStoragePath, *, accept: bool) -> MissingRuns:
    """Look for the runs of the batch that is recorded in a folder.

    :param accept: keep in the evidence that the missing runs are gone for good.
    :raises PipelineInputError: if no batch is recorded there, or runs have not settled.
    """
    state = WorkspaceLedger(folder).read()
    if state.batch_id is None or state.intent is None:
        raise PipelineInputError(f"{folder} records no batch. Use the address that the failed task names.")
    submitted = state.intent.run_count
    found = inspect(hook, state.batch_id, submitted, thorough=True)
    if found.unsettled:
        raise PipelineInputError(
            f"{found.unsettled:,} runs of batch {state.batch_id} are at work. Clear the wait task, which "
            "waits for them."
        )
    sent = [document.id for document in documents_of(state.intent.details) if document.status is None]
    evidence = found.evidence(sent, submitted)
    lost = max(evidence.missing, len(evidence.without_run))
    if accept:
        note(folder, msgspec.structs.replace(evidence, accepted=lost), not_failed=found.not_failed)
    return MissingRuns(state.batch_id, found.present, submitted, lost)


def acceptance_advice(folder: ObjectStoragePath, conn_id: str) -> str:
    """Return how to accept that runs of the batch that is recorded in a folder are gone for good."""
    command = ["python", "-m", "extend_pipeline", "missing", str(folder), "--accept", "--conn-id", conn_id]
    return (
        f"If they are gone for good: {shlex.join(command)}; then clear this task. Their documents land as "
        'RUN_MISSING, and reprocess="failed" sends them again.'
    )
