"""Wait: the task that waits until a chunk's documents are final, and sends transient failures again."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from extend_pipeline.batches.chunk_state import ChunkRound, SentChunk, check_handed_over, urls_end
from extend_pipeline.batches.evidence import acceptance_advice, note
from extend_pipeline.batches.sending.attempts import Evidence, tolerated_missing
from extend_pipeline.dag.conventions import retry_later
from extend_pipeline.exceptions import is_outage
from extend_provider.batch.ownership import (
    Waiter,
    add_waiter,
    manual_cancel_advice,
    other_waiters,
    remove_waiter,
)
from extend_provider.batch.submission import RetryAt, Submission
from extend_provider.batch.waiting.polling import Outcome, PollResult, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress
from extend_provider.client import validation
from extend_provider.exceptions import ExtendBatchError, ExtendError, ExtendNotFoundError
from extend_provider.sensors.batch import LEFT_RUNNING, ExtendBatchSensor, ExtendBatchTimeoutError
from extend_provider.triggers.submission import defer_until

if TYPE_CHECKING:
    from airflow.sdk import Context

#: A batch that Extend does not know is polled as rarely as after this many failures: a person has to act.
UNKNOWN_BATCH_FAILURES: Final = 3


class WaitChunkOperator(ExtendBatchSensor):
    """Waits for a chunk's batch, sends the transient failures again as a batch of their own, waits for that.

    Deferred, unless every run has settled when it begins. Its state is in the workspace, see
    :mod:`extend_pipeline.batches.chunk_state`: a retry, a cleared task and another run with the same chunk
    continue from there. ``timeout`` covers all rounds.

    :param chunk: the chunk with its batch, as ``submit`` returns it.
    :param missing_after: how long a batch may list fewer runs than were submitted, while all listed runs have
        settled and nothing changes, before the missing runs count as gone; at most half of ``timeout``.
    """

    template_fields: Sequence[str] = ("chunk", "on_needs_review", "extend_conn_id")

    def __init__(
        self, *, chunk: SentChunk, missing_after: dt.timedelta = dt.timedelta(hours=1), **kwargs: Any
    ) -> None:
        # Batch and number of runs come with the chunk, when the task runs.
        super().__init__(batch_id=None, run_count=0, deferrable=True, **kwargs)
        self.chunk = chunk
        self.missing_after = missing_after

    @property
    def _name(self) -> str:
        return f"Batch {self.batch_id}"

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for the chunk's current round."""
        self._take_chunk()
        if not validation.run_count(self.run_count):
            return super().execute(context)
        self.dashboard_url = ""
        missing_after = validation.positive_seconds(self.missing_after, "missing_after")
        missing_after = min(missing_after, self.timeout / 2)
        policy = dataclasses.replace(self._policy(context), missing_after=missing_after)
        # Start at the first round: Extend may have lost runs of any round since the last inspection.
        current = ChunkRound.first(self.chunk)
        self._use_connection_and_waiters_of(current, context)
        add_waiter(current.waiters_folder, Waiter.of(context["ti"]))
        return self._wait_for(context, current, policy, begins=True)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral, with the chunk's connection and waiters."""
        self._take_chunk()
        self._use_connection_and_waiters_of(ChunkRound.first(self.chunk), context)
        return super().resume_execution(next_method, next_kwargs, context)

    def _take_chunk(self) -> None:
        check_handed_over(self.chunk, by="submit")
        self.batch_id, self.run_count = self.chunk["batch_id"], self.chunk["run_count"]

    def _use_connection_and_waiters_of(self, current: ChunkRound, context: Context) -> None:
        # The connection as `discover` rendered it: a batch is polled where it was sent.
        self.extend_conn_id = current.settings.extend_conn_id
        self.waiters, self._waiter = current.waiters_folder, Waiter.of(context["ti"])

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Process the end of a wait: inspect the round, and send and await the next one if any."""
        ended = PollResult.from_event(event)
        if ended.batch_id is not None:
            self.batch_id = ended.batch_id
        if ended.progress is not None:
            self.run_count = ended.progress["expected"]
        policy = WaitPolicy(**ended.policy) if ended.policy else self._policy(context)
        if _is_unknown(ended):
            self._retry_later(context, ended.failure(self._name, ""), policy, ended, UNKNOWN_BATCH_FAILURES)
        super().execute_complete(context, event)
        return self._process_end(context, ended, policy)

    def look_again(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Process the end of a round again, after Extend did not answer the inspection."""
        ended, policy = PollResult.from_event(event["ended"]), WaitPolicy(**event["policy"])
        self.batch_id = ended.batch_id
        if _is_unknown(ended):
            return self._wait_for(context, ChunkRound.of_batch(self.chunk, ended.batch_id), policy)
        return self._process_end(context, ended, policy, event["failures"])

    def _process_end(
        self, context: Context, ended: PollResult, policy: WaitPolicy, failures: int = 0
    ) -> dict[str, Any]:
        current = ChunkRound.of_batch(self.chunk, ended.batch_id)
        sent = current.sent()
        if sent is None or sent.batch_id != ended.batch_id:
            return self._wait_for(context, current, policy)
        try:
            evidence = self._inspect(current, sent, given_up=ended.outcome is Outcome.RUNS_MISSING)
        except ExtendError as error:
            if not is_outage(error) and not isinstance(error, ExtendNotFoundError):
                raise
            self._retry_later(context, error, policy, ended, failures)
        if evidence is None:
            if time.time() >= policy.deadline:
                raise ExtendBatchTimeoutError(f"{self._name} has not settled. {LEFT_RUNNING}")
            # Extend's list contradicts what ended the wait, so the list has to end it the next time.
            return self._wait_for(context, current, policy, by_webhooks=False)
        following = current.following()
        if following is not None:
            return self._wait_for(context, following, policy)
        remove_waiter(current.waiters_folder, Waiter.of(context["ti"]))
        return dict(ended.progress or {})

    def _retry_later(
        self, context: Context, error: ExtendError, policy: WaitPolicy, ended: PollResult, failures: int = 0
    ) -> NoReturn:
        unknown = self._nothing_listed(ended) if isinstance(error, ExtendNotFoundError) else ""
        retry_later(
            self,
            error,
            self.look_again,
            context["ti"],
            deadline=policy.deadline,
            explanation=f"{unknown} {self._name}: nothing was sent again. {LEFT_RUNNING}".lstrip(),
            failures=failures,
            ended=ended.as_event(),
            policy=policy.as_dict(),
        )

    def go_on_sending(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Continue the submission of a round that was deferred."""
        policy = WaitPolicy(**event["policy"])
        return self._wait_for(context, ChunkRound.latest(self.chunk), policy, event["turned_away"])

    def _wait_for(
        self,
        context: Context,
        current: ChunkRound,
        policy: WaitPolicy,
        failed_attempts: int = 0,
        *,
        by_webhooks: bool = True,
        begins: bool = False,
    ) -> dict[str, Any]:
        sent = current.sent(required=current.number == 1) or self._submit(context, current, failed_attempts)
        if isinstance(sent, RetryAt):
            defer_until(
                self,
                sent,
                self.go_on_sending,
                context["ti"],
                cancel_on_kill=self.cancel_on_kill,
                policy=policy.as_dict(),
            )
        expected = current.expected(sent)
        if sent.batch_id is not None and expected:
            self.batch_id, self.run_count = sent.batch_id, expected
            # The webhooks of a round that was inspected before may have landed and be gone; a poll ends it.
            by_webhooks = by_webhooks and current.evidence() is None
            policy = dataclasses.replace(policy, by_webhooks=by_webhooks)
            if begins:
                return self._complete_or_defer(context, policy)
            # Looked at without a pause, a list that contradicts the inspection would go round in circles.
            self._defer(context, policy)
        following = current.following()
        if following is not None:
            return self._wait_for(context, following, policy)
        remove_waiter(current.waiters_folder, Waiter.of(context["ti"]))
        self.log.info("Round %s: no document was sent, so there is nothing to wait for.", current.number)
        return BatchProgress(0, {}).as_dict()

    def _submit(self, context: Context, current: ChunkRound, failed_attempts: int) -> Submission | RetryAt:
        from extend_provider.hooks.extend import ExtendHook

        self.log.info(
            "Round %s of at most %s: %s documents are sent once more.",
            current.number,
            current.settings.max_attempts,
            f"{len(current.documents):,}",
        )
        with ExtendHook(extend_conn_id=self.extend_conn_id) as hook:
            return current.submit(hook, self, context, failed_attempts)

    def _inspect(self, current: ChunkRound, sent: Submission, *, given_up: bool) -> Evidence | None:
        """Fetch the unsuccessful runs; return what is known of the round, None if it has not settled yet.

        :param given_up: runs that are not listed count as gone, unless none of them exists.
        :raises ExtendBatchError: so many runs are gone that a person has to decide about them.
        """
        from extend_pipeline.batches.evidence import inspect
        from extend_provider.hooks.extend import ExtendAsyncHook

        found = inspect(
            ExtendAsyncHook(extend_conn_id=self.extend_conn_id), str(sent.batch_id), sent.run_count
        )
        if found.gone and not found.present:
            raise ExtendNotFoundError(f"{len(found.gone):,} runs are listed, and none of them exists.")
        short = len(found.statuses) < current.expected(sent) and not given_up
        if found.unsettled or short or not found.present:
            self.log.info("%s has not settled yet; continuing to wait.", self._name)
            return None
        documents = [document.id for document in current.sent_documents()]
        evidence = note(
            current.folder, found.evidence(documents, sent.run_count), not_failed=found.not_failed
        )
        if late := sum(end.url_may_have_expired(urls_end(sent)) for end in found.ends):
            self.log.warning(
                "%s: Extend started %s of the documents after their presigned URLs had expired (expires_in="
                "%s s). Raise expires_in, or set transfer='upload'.",
                self._name,
                f"{late:,}",
                f"{current.settings.expires_in:,}",
            )
        self.log.info(
            "%s, round %s: %s of %s runs failed or were cancelled, %s are gone (max_attempts=%s).",
            self._name,
            current.number,
            f"{found.failed:,}",
            f"{sent.run_count:,}",
            f"{evidence.missing:,}",
            current.settings.max_attempts,
        )
        if evidence.is_doubtful(sent.run_count) and not current.has_next():
            raise ExtendBatchError(
                f"{self._name}: {len(evidence.without_run):,} of {sent.run_count:,} documents have no run at "
                f"Extend, and at most {tolerated_missing(sent.run_count):,} are sent again automatically: if "
                "more are missing, the list is more likely to be wrong. Nothing was sent again. Clear this "
                "task to check again. "
                f"{acceptance_advice(current.folder, self.extend_conn_id)}"
            )
        return evidence

    def _apply_on_timeout(self) -> str:
        """Do not cancel a batch that other tasks wait for, although ``timeout`` has passed here."""
        others = (
            other_waiters(self.waiters, self._waiter) if self.on_timeout == "cancel" and self.waiters else []
        )
        if not others:
            return super()._apply_on_timeout()
        return (
            f"on_timeout='cancel', but other tasks wait for it, e.g. {others[0]}. "
            f"{manual_cancel_advice(self._work)}"
        )

    def _conclude(self, ended: PollResult) -> dict[str, Any]:
        if ended.outcome is Outcome.TIMED_OUT and not (ended.progress or {}).get("listed"):
            ended = dataclasses.replace(ended, message=f"{ended.message} {self._nothing_listed(ended)}")
        if ended.outcome is Outcome.RUNS_MISSING and ended.progress is not None:
            self.log.warning("%s: %s The missing runs count as gone.", self._name, ended.message)
            return ended.progress
        return super()._conclude(ended)

    def _judge_failures(self, counts: dict[str, Any], *, gone: bool) -> None:
        """Accept any number of failures here: `finish` applies the limits to the whole run."""

    def _nothing_listed(self, ended: PollResult) -> str:
        current = ChunkRound.of_batch(self.chunk, ended.batch_id)
        listed = "is listed any more" if current.evidence() else "was ever listed"
        return (
            f"Not one run {listed}: check that connection {self.extend_conn_id!r} is for the workspace and "
            "region that the batch was sent to, and correct it. Nothing was sent again. "
            f"{acceptance_advice(current.folder, self.extend_conn_id)}"
        )


def _is_unknown(ended: PollResult) -> bool:
    """Return True if the wait ended because Extend does not know the batch."""
    error = ended.error or {}
    return ended.outcome is Outcome.GAVE_UP and error.get("type") == ExtendNotFoundError.__name__
