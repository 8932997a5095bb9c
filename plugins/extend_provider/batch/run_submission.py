"""Submitting single runs at most once: one request after the other, each like a batch, in the same ledger.

On API version 2026-02-09 a request creates one run, on 2025-04-21 it takes several files. Another
attempt, even with another API version, uses the requests that the ledger has, and sends the rest.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.ledger import (
    INPUTS_KEY,
    Intent,
    TaskStateLedger,
    check_inputs,
    complete_intent,
    fingerprint,
)
from extend_provider.batch.orphans import Orphan
from extend_provider.batch.submission import Prepared, RetryAt, Submission, Submitter
from extend_provider.batch.waiting.progress import CANCELLED_STATUSES, RunRecords
from extend_provider.client.models import RunInput, RunStatus
from extend_provider.exceptions import ExtendError, ExtendInputError, ExtendNotFoundError

if TYPE_CHECKING:
    from extend_provider.batch.ownership import CancelsOnKillMixin
    from extend_provider.hooks.extend import ExtendHook


@dataclasses.dataclass(kw_only=True)
class RunSubmitter(Submitter):
    """Submits files in one request; the recorded id is the comma-separated list of its runs' ids.

    :param metadata: of each run, with the idempotency key of this request.
    :param earlier_run_ids: the runs that earlier requests of the same task created.
    :ivar records: the runs of the answer, see :class:`~extend_provider.batch.waiting.progress.RunRecords`.
    """

    files: Sequence[RunInput]
    metadata: Mapping[str, Any]
    secrets: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)
    name: str | None = None
    earlier_run_ids: Sequence[str] = ()
    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def _post(self, hook: ExtendHook, prepared: Prepared, leave_by: dt.datetime) -> str:
        runs = hook.create_runs(
            self.workflow_id,
            self.files,
            version=self.version,
            priority=self.priority,
            metadata=self.metadata,
            secrets=self.secrets,
            name=self.name if hook.wire.names_runs_at_creation else None,
            leave_by=leave_by,
        )
        self.records = [
            RunRecords.record(run, next(iter(run.file_names), given.file.name))
            for run, given in zip(runs, self.files, strict=False)
        ]
        return ",".join(run.id for run in runs)

    def _orphan(self, intent: Intent) -> Orphan:
        return dataclasses.replace(super()._orphan(intent), runs=intent.run_count or len(self.files))

    def _work(self, intent: Intent, batch_id: str) -> RemoteWork:
        return RemoteWork(self.hook.extend_conn_id, run_ids=(*self.earlier_run_ids, *batch_id.split(",")))

    def _possible_work(self, intent: Intent, orphan: Orphan) -> RemoteWork:
        return RemoteWork(self.hook.extend_conn_id, run_ids=tuple(self.earlier_run_ids), orphan=orphan)

    def _own(self, work: RemoteWork | None) -> None:
        run_ids = tuple(self.earlier_run_ids)
        earlier = RemoteWork(self.hook.extend_conn_id, run_ids=run_ids) if run_ids else None
        super()._own(work or earlier)


@dataclasses.dataclass(kw_only=True)
class RunsOfTask:
    """The runs of all files of a task.

    :param ledger: the task's; each request is a part of it.
    :param files: in the order in which they get their runs.
    :param options: ``version``, ``priority``, ``secrets`` and ``name`` of each run.
    :param metadata: of each run, without the idempotency key.
    :param compare_inputs: whether existing runs must have been sent for the present files.
    :ivar records: the runs that there are, see :class:`~extend_provider.batch.waiting.progress.RunRecords`.
    """

    hook: ExtendHook
    ledger: TaskStateLedger
    workflow_id: str
    files: Sequence[RunInput]
    metadata: Mapping[str, Any] | None
    options: Mapping[str, Any]
    sender: CancelsOnKillMixin
    ti: Any
    log: Any
    compare_inputs: bool = True
    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def work(self) -> RemoteWork:
        """The runs that exist at Extend."""
        ids = tuple(record["id"] for record in self.records)
        return RemoteWork(self.hook.extend_conn_id, run_ids=ids)

    def create(self, *, deferrable: bool, failed_attempts: int = 0) -> RetryAt | None:
        """Use the existing runs and create the missing ones; return None once each file has its run.

        :param deferrable: return a long wait instead of waiting here.
        :param failed_attempts: from an earlier :class:`~extend_provider.batch.submission.RetryAt`.
        :raises ExtendInputError: the files are not those that were sent, or their metadata is too large.
        :raises ExtendError: Extend refused a file; those before it have runs, and a retry continues with it.
        """
        inputs = fingerprint(self.files, self.metadata)
        self._check(inputs)
        position = number = 0
        while position < len(self.files):
            number += 1
            submitter = self._submitter(number, position, inputs)
            submission = submitter.submit(failed_attempts, deferrable=deferrable)
            if isinstance(submission, RetryAt):
                work = submission.work or (self.work if self.records else None)
                return dataclasses.replace(submission, work=work)
            if not submission.reattached:
                failed_attempts = 0
                self._name_runs(submitter)
            elif self.ledger.is_cleared(self.ti) and self._is_cancelled(submission):
                self.log.warning("Runs %s were cancelled; created again.", submission.batch_id)
                self.ledger.part(number).renewed()
                number -= 1
                continue
            elif self.compare_inputs:
                check_inputs(submission.details, inputs, f"Runs {submission.batch_id}")
            ids = str(submission.batch_id).split(",")
            self.records += submitter.records or [RunRecords.created(run_id) for run_id in ids]
            position += submission.run_count
        return None

    def _name_runs(self, submitter: RunSubmitter) -> None:
        """Name new runs if the creating request cannot; a failure is only logged."""
        if submitter.name is None or self.hook.wire.names_runs_at_creation:
            return
        for record in submitter.records:
            try:
                self.hook.update_run(record["id"], name=submitter.name)
            except ExtendError as error:
                self.log.warning("Run %s was not named %r: %s", record["id"], submitter.name, error)

    def _submitter(self, number: int, position: int, inputs: str) -> RunSubmitter:
        ledger = self.ledger.part(number)
        state = ledger.read()
        count = len(self.files) - position if self.hook.wire.several_files_per_request else 1
        if state.intent is not None and state.intent.run_count and not state.withdrawn:
            count = state.intent.run_count
        files = self.files[position : position + count]
        return RunSubmitter(
            hook=self.hook,
            ledger=ledger,
            workflow_id=self.workflow_id,
            key=lambda: ledger.key,
            complete_intent=complete_intent,
            prepare=lambda: Prepared(files, {INPUTS_KEY: inputs}),
            files=files,
            metadata=ledger.with_key(self.metadata, len(files), inputs),
            earlier_run_ids=self.work.run_ids,
            sender=self.sender,
            ti=self.ti,
            log=self.log,
            **self.options,
        )

    def _check(self, inputs: str) -> None:
        """Check, before anything is sent, the metadata's size and that the files are those sent before."""
        self.ledger.part(len(self.files)).with_key(self.metadata, len(self.files), inputs)
        if not self.compare_inputs:
            return
        sent = [
            Submission(state.batch_id, state.intent.run_count, state.intent.details, reattached=True)
            for state in self.ledger.parts()
            if state.intent is not None and not state.withdrawn
        ]
        try:
            for each in sent:
                check_inputs(each.details, inputs, f"Runs {each.batch_id or 'not known yet'}")
        except ExtendInputError:
            if not self.ledger.is_cleared(self.ti) or not all(map(self._is_cancelled, sent)):
                raise
            self.ledger = self.ledger.renewed()

    def _is_cancelled(self, submission: Submission) -> bool:
        """Return True if each run of a request was cancelled and will have no result."""
        if submission.batch_id is None:
            return False
        try:
            runs = [self.hook.get_run(run_id) for run_id in submission.batch_id.split(",")]
        except ExtendNotFoundError:
            return False
        return {run.status for run in runs} <= CANCELLED_STATUSES


def fetch_unknown_runs(hook: ExtendHook, runs: RunRecords) -> None:
    """Fetch the runs whose id is all that is known."""
    for record in runs.records:
        if record["dashboard_url"] is None and record["status"] == RunStatus.PENDING:
            runs.take(hook.get_run(record["id"]))
