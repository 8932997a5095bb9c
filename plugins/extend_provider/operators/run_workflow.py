"""Runs a workflow on single files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import TaskDeferralTimeout

from extend_provider import validation
from extend_provider.attempts import AttemptMemory, create_once, created_before
from extend_provider.batch_progress import ON_NEEDS_REVIEW, FollowedRuns, OnNeedsReview, Outcome
from extend_provider.cancellation import ON_TIMEOUT, OnTimeout, RemoteWork, cancel_from_worker
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.kill import CancelsOnKillMixin
from extend_provider.links.dashboard import ExtendDashboardLink, push_dashboard_url
from extend_provider.models import RunInput, RunStatus
from extend_provider.redaction import Sealed, SealedFieldsMixin, show_inputs, show_secrets, show_texts
from extend_provider.triggers.base import REPORT_GRACE_SECONDS
from extend_provider.triggers.run import ExtendRunTrigger
from extend_provider.waiting import Ended, Wait, WaitPolicy, first_deadline

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: XCom key of the ids of the runs, there as soon as they are known.
RUN_IDS_KEY = "run_ids"
#: Key in the task state store of the runs that an earlier attempt has created.
RUNS_KEY = "extend_runs"
FATE = (
    "Nothing was cancelled: the runs go on at Extend. A retry waits for the same runs; clearing this task "
    "creates new ones, which are paid again."
)
FAILED_STATUSES = (RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED)
#: How many failed runs an error tells one by one.
TOLD_FAILURES = 10


class ExtendRunWorkflowOperator(CancelsOnKillMixin, SealedFieldsMixin, BaseOperator):
    """Sends up to 50 files or raw texts to a workflow and waits until every run has settled.

    Returns ``[{"id", "status", "dashboard_url", "name"}]``, one per file in their order; ``name`` is the
    file's. The runs' ids are pushed as XCom ``run_ids`` as soon as they are known. On API version 2026-02-09
    one request per file is made, on 2025-04-21 a single one.

    A retry never creates the runs again: it goes on waiting for those that an earlier attempt has created,
    and fails if it is unknown whether there are any. Clearing the task is the way to send the files again.

    The files' URLs and passwords, the texts and the secrets are redacted in the rendered template.

    :param workflow_id: the workflow, e.g. ``workflow_…``.
    :param files: mappings ``{"url" | "file_id", "name"?, "password"?, "outputs"?}`` or
        :class:`~extend_provider.models.RunInput`. ``outputs`` are results that are known beforehand:
        ``[{"processorId": …, "output": {…}}]``; the processor is not run, its output is taken.
    :param raw_texts: texts instead of files; either, not both, not neither.
    :param name: name of the runs.
    :param version: version number or ``draft``; None: the latest deployed one.
    :param priority: 1 to 100, lower first; None: Extend's default, 50.
    :param metadata: comes back with each run; up to 10 KB of JSON.
    :param secrets: passed to the workflow's steps.
    :param wait_for_completion: False returns as soon as the runs exist.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param on_needs_review: what a run that waits for a human reviewer means: ``land`` counts it as settled,
        ``wait`` goes on until the reviewer has decided, ``fail`` lets the rest settle and fails then.
    :param timeout: how long to wait, in seconds; ``execution_timeout`` bounds it too, if that is shorter.
    :param on_timeout: what becomes of the runs when ``timeout`` has passed: ``leave`` lets them go on, and a
        retry waits for them again; ``cancel`` cancels those that have not settled. ``execution_timeout`` ends
        an attempt and cancels nothing.
    :param cancel_on_kill: cancel the runs that have not settled when the task is marked failed or success, or
        its DAG run is deleted, while it waits. Restarts of Airflow never cancel anything.
    :param poll_interval: longest time between two looks at the runs, in seconds.
    :param max_poll_errors: how many failed looks in a row are tolerated if they may pass by themselves; None:
        any number until the deadline.
    :param extend_conn_id: connection to Extend.
    :raises ExtendInputError: an argument is refused; nothing was sent.
    :raises ExtendBatchError: a run failed, was rejected or cancelled, or the deadline has passed.
    :raises ExtendError: Extend refused a run, or gave no answer.
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
        self.deferrable = deferrable
        self.on_needs_review = on_needs_review
        self.timeout = validation.positive_seconds(timeout, "timeout")
        self.on_timeout = on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.poll_interval = validation.positive_seconds(poll_interval, "poll_interval")
        self.max_poll_errors = max_poll_errors
        self.extend_conn_id = extend_conn_id
        self.dashboard_url: str | None = None
        self._check_literals()

    def _check_literals(self) -> None:
        validation.check_literal(validation.workflow_id, self.workflow_id)
        validation.check_literal(validation.version, self.version)
        validation.check_literal(validation.priority, self.priority)
        validation.check_literal(validation.metadata, self.metadata)
        validation.check_literal(validation.secrets, self.secrets)
        validation.check_literal(validation.choice, self.on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        validation.choice(self.on_timeout, "on_timeout", ON_TIMEOUT)
        validation.check_one_kind(self.files, self.raw_texts)
        validation.check_literal_elements(self.files, "files", validation.MAX_RUN_FILES, validation.run_input)
        validation.check_literal_elements(
            self.raw_texts, "raw_texts", validation.MAX_RUN_FILES, validation.raw_text
        )

    @cached_property
    def hook(self) -> ExtendHook:
        """The hook; its session is closed when the task ends or is deferred."""
        from extend_provider.hooks.extend import ExtendHook

        return ExtendHook(extend_conn_id=self.extend_conn_id)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Create the runs, unless an earlier attempt has; wait for them, or hand over to the triggerer."""
        started_at = time.time()
        self.dashboard_url = ""
        validation.choice(self.on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        with self.hook:
            runs = self._create(context)
            if self.wait_for_completion:  # first of all: a kill lets no XCom through any more
                self.take_in_hand(self._work(runs.records), context["ti"])
            context["ti"].xcom_push(key=RUN_IDS_KEY, value=[record["id"] for record in runs.records])
            push_dashboard_url(self, context, runs.progress().dashboard_url)
            if not self.wait_for_completion:
                return _results(runs.records)
            policy = self._policy(started_at)
            if self.deferrable:
                self._defer(runs, policy)
            return self._conclude(self._wait(runs, policy))

    def _create(self, context: Context) -> FollowedRuns:
        """Return the runs, of an earlier attempt or new."""
        memory = AttemptMemory(context, retries=self.retries or 0, key=RUNS_KEY)
        if earlier := created_before(memory, f"runs of workflow {self.workflow_id}"):
            self.log.info("An earlier attempt has created %s runs; waiting for those.", len(earlier["runs"]))
            return FollowedRuns(earlier["runs"])
        workflow_id = validation.workflow_id(self.workflow_id)
        inputs = validation.run_inputs(Sealed.open(self.files), Sealed.open(self.raw_texts))
        options: dict[str, Any] = {
            "version": validation.version(self.version),
            "priority": validation.priority(self.priority),
            "metadata": validation.metadata(Sealed.open(self.metadata)),
            "secrets": validation.secrets(Sealed.open(self.secrets)),
            "name": validation.optional_text(self.name, "name"),
        }
        self.log.info("%s files go to workflow %s (API %s).", len(inputs), workflow_id, self.hook.api_version)

        def create() -> dict[str, Any]:
            runs = self.hook.create_runs(workflow_id, inputs, **options)
            names = (given.file.name for given in inputs)
            return {
                "runs": [
                    FollowedRuns.record(run, next(iter(run.file_names), name))
                    for run, name in zip(runs, names, strict=False)
                ]
            }

        try:
            return FollowedRuns(create_once(memory, create)["runs"])
        except ExtendError as error:
            if created := list(error.created_run_ids):
                context["ti"].xcom_push(key=RUN_IDS_KEY, value=created)
                error.retryable = False
                error.message += (
                    f" The first {len(created)} of the {len(inputs)} files have runs, the others have none. "
                    "A retry creates nothing: send the other files by themselves, or delete these runs and "
                    "clear this task."
                )
            raise

    def _policy(self, started_at: float) -> WaitPolicy:
        deadline, limit = first_deadline(
            started_at,
            self.timeout,
            attempt_started_at=started_at,
            execution_timeout=self.execution_timeout,
        )
        return WaitPolicy(deadline, self.poll_interval, self.on_needs_review, self.max_poll_errors, limit)

    def _defer(self, runs: FollowedRuns, policy: WaitPolicy) -> NoReturn:
        self.defer(
            trigger=ExtendRunTrigger(
                runs=runs.records,
                extend_conn_id=self.extend_conn_id,
                policy=dataclasses.asdict(policy),
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name=self.execute_complete.__name__,
            # The trigger's own deadline comes first and says more than Airflow's.
            timeout=timedelta(seconds=max(policy.deadline - time.time(), 0.0) + REPORT_GRACE_SECONDS),
        )
        raise AssertionError("defer() raises")

    def _wait(self, runs: FollowedRuns, policy: WaitPolicy) -> Ended:
        """Wait in the worker, deciding as the trigger does."""
        wait = Wait(policy)
        while True:
            try:
                for run_id in runs.unsettled(policy.on_needs_review):
                    runs.take(self.hook.get_run(run_id))
            except ExtendError as error:
                step = wait.failed(error, now=time.time())
                self.log.warning("%s", step.decision.message)
            else:
                step = wait.seen(runs.progress(), now=time.time())
            if step.changed:
                self.log.info("%s", step.decision.message)
            if step.ended is not None:
                return dataclasses.replace(step.ended, runs=runs.records)
            time.sleep(step.delay)

    def execute_complete(self, context: Context, event: Any = None) -> list[dict[str, Any]]:
        """Take up what the trigger reports."""
        return self._conclude(Ended.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; a triggerer that never reported gets a clear word."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            silence = "The triggerer did not report on the runs by the deadline; is one running?"
            left = context["task_state_store"].get(RUNS_KEY)
            created = left.get("result") if isinstance(left, dict) else None
            runs = created.get("runs") if isinstance(created, dict) else None
            fate = self._fate(self._work(cast("list[dict[str, Any]]", runs))) if runs else FATE
            raise ExtendBatchError(f"{silence} {fate}") from error

    def _work(self, records: Iterable[Mapping[str, Any]]) -> RemoteWork:
        return RemoteWork(self.extend_conn_id, run_ids=tuple(record["id"] for record in records))

    def _conclude(self, ended: Ended) -> list[dict[str, Any]]:
        work = self._work(ended.runs)
        if ended.outcome is Outcome.TIMED_OUT and ended.limit == "timeout":
            raise ended.failure(str(work), self._fate(work))
        if ended.outcome is not Outcome.DONE:
            raise ended.failure(str(work), FATE)
        if failed := [record for record in ended.runs if record["status"] in FAILED_STATUSES]:
            raise ExtendBatchError(_told(failed, len(ended.runs)))
        return _results(ended.runs)

    def _fate(self, work: RemoteWork) -> str:
        """Do to the runs what is to be done after ``timeout``, and say what became of them."""
        if self.on_timeout == "leave":
            return FATE
        return f"on_timeout='cancel': {cancel_from_worker(work)}"


def _results(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: record[key] for key in ("id", "status", "dashboard_url", "name")} for record in records]


def _told(failed: Sequence[Mapping[str, Any]], total: int) -> str:
    """Say which runs failed and why."""
    told = [
        f"{record['id']} ({record['name']}) {record['status']}: {record['failure'] or 'no reason given'}"
        for record in failed[:TOLD_FAILURES]
    ]
    more = f"; and {len(failed) - TOLD_FAILURES} more" if len(failed) > TOLD_FAILURES else ""
    return (
        f"{len(failed)} of {total} runs did not succeed: {'; '.join(told)}{more}. All have ended. Clear this "
        "task to send the files again."
    )
