"""Runs a workflow on single files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.configuration import conf

from extend_provider.batch.cancellation import OnTimeout, RemoteWork
from extend_provider.batch.ledger import (
    ON_CHANGED_INPUTS,
    ON_CLEAR,
    OnChangedInputs,
    OnClear,
    TaskStateLedger,
)
from extend_provider.batch.run_submission import RunsOfTask, fetch_unknown_runs
from extend_provider.batch.waiting.polling import Outcome, Poller, PollResult, WaitPolicy
from extend_provider.batch.waiting.progress import (
    FAILED_STATUSES,
    ON_NEEDS_REVIEW,
    BatchProgress,
    OnNeedsReview,
    RunRecords,
)
from extend_provider.client import input_validation, validation
from extend_provider.client.models import RunInput
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.links.dashboard import ExtendDashboardLink, push_dashboard_url
from extend_provider.security import Sealed, SealedFieldsMixin, show_inputs, show_secrets, show_texts
from extend_provider.triggers.deferral import WaitsForRunsMixin
from extend_provider.triggers.run import ExtendRunTrigger
from extend_provider.triggers.submission import defer_until

if TYPE_CHECKING:
    from airflow.sdk import Context

#: XCom key of the ids of the runs, there as soon as they are known.
RUN_IDS_KEY = "run_ids"
LEFT_RUNNING = (
    "Nothing was cancelled: the runs continue at Extend. A retry, or clearing this task, waits for the same "
    "runs; nothing is sent a second time."
)
#: How many failed runs an error names.
NAMED_FAILURES = 10


class ExtendRunWorkflowOperator(WaitsForRunsMixin, SealedFieldsMixin, BaseOperator):
    """Sends up to 50 files or raw texts to a workflow and waits until every run has settled.

    Returns ``[{"id", "status", "dashboard_url", "name"}]``, one per file in their order; ``name`` is the
    file's. The runs' ids are pushed as XCom ``run_ids`` as soon as they are known. On API version 2026-02-09
    one request per file is made, on 2025-04-21 a single one.

    Each run is recorded as soon as it is created, so a retry creates none twice: it continues with the first
    file that has no run, and waits for all. If an attempt lost Extend's answer, or its worker died, the run
    is searched for among the workflow's runs, and its file is sent again only once the run's absence is
    proven, as in :class:`~extend_provider.operators.submit_batch.ExtendSubmitBatchOperator`. To be found,
    each run carries ``airflow_submission`` in its metadata.

    The files' URLs and passwords, the texts and the secrets are redacted in the rendered template.

    :param workflow_id: the workflow, e.g. ``workflow_…``.
    :param files: mappings ``{"url" | "file_id", "name"?, "password"?, "outputs"?}`` or
        :class:`~extend_provider.client.models.RunInput`. ``outputs`` are results that are known beforehand:
        ``[{"processorId": …, "output": {…}}]``; the processor does not run, and this output is used.
    :param raw_texts: texts instead of files; give exactly one of the two.
    :param name: name of the runs.
    :param version: version number or ``draft``; None: the latest deployed one.
    :param priority: 1 to 100, lower first; None: Extend's default, 50.
    :param metadata: comes back with each run; up to 10 KB of JSON, the 100 bytes of ``airflow_submission``
        included.
    :param secrets: passed to the workflow's steps.
    :param wait_for_completion: False returns as soon as the runs exist.
    :param on_clear: what clearing the task means: ``reattach`` waits for the existing runs, and creates
        those that are missing or were cancelled; ``resubmit`` sends, and pays for, all
        files again.
    :param on_changed_inputs: if the files, texts or metadata differ from those of the existing runs: ``fail``
        sends nothing and leaves the runs alone; ``reattach`` uses the runs anyway, and sends the files that
        have no run as they are now. URLs are compared without their query.
    :param deferrable: wait in the triggerer, without a worker slot: for the runs, and before the next request
        is possible. The default is Airflow's, ``[operators] default_deferrable``.
    :param on_needs_review: what a run that waits for a human reviewer means: ``land`` counts it as settled,
        ``wait`` goes on until the reviewer has decided, ``fail`` lets the rest settle and fails then.
    :param timeout: how long an attempt waits once the runs exist, in seconds; ``execution_timeout`` bounds it
        too, if that is shorter.
    :param on_timeout: what happens to the runs when ``timeout`` has passed: ``leave`` lets them continue, and
        a retry waits for them again; ``cancel`` cancels those that have not settled. ``execution_timeout``
        ends an attempt and cancels nothing. In either case, Extend is polled once more first: if the
        runs have settled by then, the task succeeds.
    :param cancel_on_kill: cancel the runs that have not settled when the task is marked failed or success, or
        its DAG run is deleted, while it creates them or waits. Clearing it, and restarts of Airflow, never
        cancel anything.
    :param poll_interval: longest time between two polls of the runs, in seconds. In a triggerer that waits
        for so much that its polls would exceed 15 % of the connection's rate, it may be longer.
    :param max_poll_errors: how many failed polls in a row are tolerated if the error is transient; None:
        any number until the deadline.
    :param extend_conn_id: connection to Extend.
    :raises ExtendInputError: an argument is refused, or the files have changed; nothing was sent.
    :raises ExtendBatchError: a run failed, was rejected or cancelled, or ``timeout`` has passed.
    :raises ExtendError: Extend refused a file; those before it have runs.
    """

    template_fields: Sequence[str] = (
        "workflow_id",
        "files",
        "raw_texts",
        "name",
        "version",
        "priority",
        "metadata",
        "secrets",
        "on_needs_review",
        "extend_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"files": "json", "metadata": "json"}
    operator_extra_links = (ExtendDashboardLink(),)
    left_running: ClassVar[str] = LEFT_RUNNING
    sealed_fields: ClassVar = {
        "files": show_inputs,
        "raw_texts": show_texts,
        "metadata": show_inputs,
        "secrets": show_secrets,
    }

    def __init__(
        self,
        *,
        workflow_id: str,
        files: Sequence[Mapping[str, Any] | RunInput] | XComArg | None = None,
        raw_texts: Sequence[str] | XComArg | None = None,
        name: str | None = None,
        version: str | int | None = None,
        priority: int | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
        wait_for_completion: bool = True,
        on_clear: OnClear = "reattach",
        on_changed_inputs: OnChangedInputs = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_needs_review: OnNeedsReview = "land",
        timeout: timedelta | float = timedelta(days=1),
        on_timeout: OnTimeout = "leave",
        cancel_on_kill: bool = True,
        poll_interval: timedelta | float = 30,
        max_poll_errors: int | None = None,
        extend_conn_id: str = "extend_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.files = files
        self.raw_texts = raw_texts
        self.name = name
        self.version = version
        self.priority = priority
        self.metadata = metadata
        self.secrets = secrets
        self.wait_for_completion = wait_for_completion
        self.on_clear = on_clear
        self.on_changed_inputs = on_changed_inputs
        self.deferrable = deferrable
        self.on_needs_review = on_needs_review
        self.timeout = validation.positive_seconds(timeout, "timeout")
        self.on_timeout = on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.poll_interval = validation.positive_seconds(poll_interval, "poll_interval")
        self.max_poll_errors = max_poll_errors
        self.extend_conn_id = extend_conn_id
        self._runs = RunRecords([])
        self._check_literals()

    def _check_literals(self) -> None:
        self._check_wait_arguments()
        validation.flag(self.wait_for_completion, "wait_for_completion")
        validation.check_literal(validation.optional_text, self.name, "name")
        validation.check_literal(validation.workflow_id, self.workflow_id)
        validation.check_literal(validation.version, self.version)
        validation.check_literal(validation.priority, self.priority)
        validation.check_literal(validation.metadata, self.metadata)
        validation.check_literal(validation.secrets, self.secrets)
        validation.choice(self.on_clear, "on_clear", ON_CLEAR)
        validation.choice(self.on_changed_inputs, "on_changed_inputs", ON_CHANGED_INPUTS)
        input_validation.check_one_kind(self.files, self.raw_texts)
        input_validation.check_literal_elements(
            self.files, "files", input_validation.MAX_RUN_FILES, input_validation.run_input
        )
        input_validation.check_literal_elements(
            self.raw_texts, "raw_texts", input_validation.MAX_RUN_FILES, input_validation.raw_text
        )

    @property
    def _work(self) -> RemoteWork:
        ids = tuple(record["id"] for record in self._runs.records)
        return RemoteWork(self.extend_conn_id, run_ids=ids)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Create the missing runs; wait for all, or hand over to the triggerer."""
        return self._run(context)

    def go_on_creating(self, context: Context, event: Any = None) -> list[dict[str, Any]]:
        """Continue the creation of runs after a deferral."""
        return self._run(context, event["turned_away"])

    def _run(self, context: Context, failed_attempts: int = 0) -> list[dict[str, Any]]:
        self.dashboard_url = ""
        validation.choice(self.on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        with self.hook:
            self._runs = runs = self._create(context, failed_attempts)
            push_dashboard_url(self, context, runs.progress().dashboard_url)
            if not self.wait_for_completion:
                fetch_unknown_runs(self.hook, runs)
                return _results(runs.records)
            self.own_work(self._work, context["ti"])
            policy = self._policy_from(time.time(), self.poll_interval)
            if self.deferrable:
                self._defer(context, policy)
            return self._conclude(self._wait(policy))

    def _create(self, context: Context, failed_attempts: int) -> RunRecords:
        """Return the runs: existing ones of an earlier attempt, and new ones."""
        workflow_id, version = validation.workflow_id(self.workflow_id), validation.version(self.version)
        runs = RunsOfTask(
            hook=self.hook,
            workflow_id=workflow_id,
            files=input_validation.run_inputs(Sealed.open(self.files), Sealed.open(self.raw_texts)),
            metadata=validation.metadata(Sealed.open(self.metadata)),
            options={
                "version": version,
                "priority": validation.priority(self.priority),
                "secrets": validation.secrets(Sealed.open(self.secrets)),
                "name": validation.optional_text(self.name, "name"),
            },
            ledger=TaskStateLedger.open(
                context,
                self.hook,
                workflow_id=workflow_id,
                version=version,
                retries=self.retries or 0,
                on_clear=self.on_clear,
            ),
            compare_inputs=self.on_changed_inputs == "fail",
            sender=self,
            ti=context["ti"],
            log=self.log,
        )
        try:
            retry = runs.create(deferrable=self.deferrable, failed_attempts=failed_attempts)
        except ExtendError as error:
            if runs.records:
                error.message += (
                    f" The first {len(runs.records)} of the {len(runs.files)} files have runs, which "
                    f"continue: {', '.join(runs.work.run_ids)}. A retry, or clearing this task, continues "
                    "with the next file."
                )
            raise
        finally:
            if runs.records:
                context["ti"].xcom_push(key=RUN_IDS_KEY, value=list(runs.work.run_ids))
        if retry is not None:
            defer_until(self, retry, self.go_on_creating, context["ti"], cancel_on_kill=self.cancel_on_kill)
        return RunRecords(runs.records)

    def _trigger(self, policy: WaitPolicy) -> ExtendRunTrigger:
        return ExtendRunTrigger(
            runs=self._runs.records,
            extend_conn_id=self.extend_conn_id,
            policy=policy.as_dict(),
            cancel_on_kill=self.cancel_on_kill,
        )

    def _wait(self, policy: WaitPolicy) -> PollResult:
        """Wait in the worker, deciding as the trigger does."""
        poller, runs = Poller(policy), self._runs

        def poll() -> BatchProgress:
            for run_id in runs.unsettled(policy.on_needs_review):
                runs.take(self.hook.get_run(run_id))
            return runs.progress()

        while True:
            result = self._poll_with(poller, poll)
            if result.changed:
                self.log.info("%s", result.message)
            if result.is_final:
                return dataclasses.replace(result, runs=runs.records)
            time.sleep(result.delay)

    def _conclude(self, result: PollResult) -> list[dict[str, Any]]:
        self._runs = RunRecords(result.runs)
        if result.outcome is not Outcome.DONE:
            self._give_up(result)
        if failed := [record for record in result.runs if record["status"] in FAILED_STATUSES]:
            raise ExtendBatchError(_describe_failures(failed, len(result.runs)))
        return _results(result.runs)


def _results(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: record[key] for key in ("id", "status", "dashboard_url", "name")} for record in records]


def _describe_failures(failed: Sequence[Mapping[str, Any]], total: int) -> str:
    """Return which runs failed and why."""
    reasons = [
        f"{record['id']} ({record['name']}) {record['status']}: {record['failure'] or 'no reason given'}"
        for record in failed[:NAMED_FAILURES]
    ]
    more = f"; and {len(failed) - NAMED_FAILURES} more" if len(failed) > NAMED_FAILURES else ""
    return (
        f"{len(failed)} of {total} runs did not succeed: {'; '.join(reasons)}{more}. All have ended. To "
        "send, and pay for, all files again, set on_clear='resubmit' and clear this task."
    )
