"""Submitting work at most once, a batch or single runs, although Extend takes no idempotency key.

Invariants: an intent is written before the request and the batch's id right after the answer; between the
two nobody else submits the same work; after an unclear answer, or none, this attempt or any later one
searches for the batch at Extend; only a proven absence, or a refusal, leads to another request. After a crash
at any line, the next attempt, in the same task or another one, continues from the ledger.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.ledger import Intent, Ledger, LedgerState
from extend_provider.batch.orphans import IdempotencyKey, Orphan, find_orphan
from extend_provider.batch.refusals import MAX_LEFT_OUT, named, refused_inputs
from extend_provider.client.pacing.retries import Backoff
from extend_provider.exceptions import (
    ExtendConnectionError,
    ExtendError,
    ExtendRateLimitError,
    ExtendUnclearSubmissionError,
)

if TYPE_CHECKING:
    from extend_provider.batch.ownership import CancelsOnKillMixin
    from extend_provider.batch.refusals import RefusedInput
    from extend_provider.hooks.extend import ExtendHook

log = logging.getLogger(__name__)

#: Shortest time between two searches for a batch whose absence is not proven yet, in seconds. The time grows
#: with the intent's age: the next search is due when the intent is 1.5 times as old.
SEARCH_INTERVAL = 1.0
#: Longest time between two searches during an outage of Extend, in seconds.
OUTAGE_INTERVAL = 60.0
#: Longest wait in the worker, in seconds; a longer one is deferred. A deferral itself costs about as much.
MAX_WORKER_WAIT = 5.0
#: How many attempts a submission has before the task fails. An attempt fails if Extend answers 429, if the
#: request could not be sent, or if it provably created nothing after an unclear answer.
SUBMISSION_ATTEMPTS = 10

_RANDOM = SystemRandom()


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of a submission, made right before it is sent.

    :param inputs: 1 to 1,000 :class:`~extend_provider.client.models.BatchInput`; each carries the idempotency
        key of the work in its metadata. Empty: nothing is left to send.
    :param details: kept with the intent.
    :param without: returns the same without the inputs that Extend refused. If it is None, or returns None,
        refused inputs are an error.
    """

    inputs: Sequence[Any]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    without: Callable[[Sequence[RefusedInput]], Prepared | None] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """The batch of a piece of work.

    :param batch_id: None if there was nothing to send.
    :param reattached: the batch had been submitted before.
    """

    batch_id: str | None
    run_count: int
    details: Mapping[str, Any]
    reattached: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class RetryAt:
    """The submission continues at a later time, from the state in the ledger.

    :param at: timezone-aware.
    :param failed_attempts: how many attempts of this submission have failed so far.
    :param work: what may exist at Extend already; None: nothing.
    """

    at: dt.datetime
    failed_attempts: int = 0
    work: RemoteWork | None = None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclasses.dataclass(kw_only=True)
class Submitter:
    """Submits one piece of work to Extend as one batch, at most once.

    :param hook: for all requests; its connection's settings say how long to search for a batch. The
        submitting request itself is sent exactly once per intent.
    :param key: returns the idempotency key that the metadata of this work's runs has.
    :param prepare: returns the inputs; called only right before they are sent.
    :param complete_intent: completes an intent from the metadata of one of its runs; for a ledger whose
        intents may lack the number of inputs.
    :param sender: the operator that submits; if it is killed, it cancels what may exist at Extend.
    :param ti: its task instance.
    :param waiters: the folder in which the tasks that need the same batch are noted, see
        :mod:`extend_provider.batch.ownership`.
    :param clock: returns the present, timezone-aware.
    :param sleep: waits so many seconds.
    """

    hook: ExtendHook
    ledger: Ledger
    workflow_id: str
    key: Callable[[], IdempotencyKey]
    prepare: Callable[[], Prepared]
    complete_intent: Callable[[Intent, Mapping[str, Any]], Intent] | None = None
    version: str | None = None
    priority: int | None = None
    sender: CancelsOnKillMixin | None = None
    ti: Any = None
    waiters: str | None = None
    log: logging.Logger | Any = log
    clock: Callable[[], dt.datetime] = _now
    sleep: Callable[[float], None] = time.sleep

    def submit(self, failed_attempts: int = 0, *, deferrable: bool = True) -> Submission | RetryAt:
        """Return the work's batch: the recorded one, the one found at Extend, or a new one.

        An outage during the search for a batch is waited for, too.

        :param failed_attempts: from an earlier :class:`RetryAt`.
        :param deferrable: wait here for at most :data:`MAX_WORKER_WAIT`; False: as long as it takes.
        :raises ExtendError: Extend refused the batch or the search; nothing more is sent.
        """
        max_wait = MAX_WORKER_WAIT if deferrable else math.inf
        result = self._attempt(failed_attempts)
        while isinstance(result, RetryAt):
            seconds = max((result.at - self.clock()).total_seconds(), 0.0)
            if seconds > max_wait:
                break
            self.sleep(seconds)
            result = self._attempt(result.failed_attempts)
        return result

    def _attempt(self, failed_attempts: int) -> Submission | RetryAt:
        """Continue from the ledger: return the recorded batch, search for it, or send it."""
        # The inputs without those that Extend refused, and how many were refused.
        remaining: Prepared | None = None
        left_out = 0
        while True:
            self._raise_if_killed()
            state = self.ledger.read()
            if state.intent is not None and state.batch_id is not None:
                return self._reattach(state.intent, state.batch_id)
            if state.intent is not None and not state.withdrawn:
                found = self._find(state.intent, failed_attempts)
                if found is not None:
                    return found
            prepared, remaining = remaining or self.prepare(), None
            if not prepared.inputs:
                return Submission(None, 0, prepared.details)
            once = type(self.hook)(extend_conn_id=self.hook.extend_conn_id, max_attempts=1)
            # Before the intent is written, because the request must be sent within a limited time after it.
            once.wait_for_turn()
            intent = self._intent(state, prepared)
            self._raise_if_killed()
            if not self.ledger.begin(intent):
                self.log.info("Another process is submitting the same work at this moment.")
                continue
            try:
                return self._send(once, intent, prepared)
            except ExtendError as error:
                if (remaining := self._without_refused(error, prepared, left_out)) is not None:
                    left_out += len(prepared.inputs) - len(remaining.inputs)
                    continue
                failed_attempts += 1
                if (retry := self._retry(error, failed_attempts)) is not None:
                    return retry

    def _reattach(self, intent: Intent, batch_id: str) -> Submission:
        """Return the existing batch of an intent; nothing is sent."""
        work = self._work(intent, batch_id)
        self.log.info(
            "%s was submitted on %s. It is reattached; nothing is sent again.", work, intent.begun_at
        )
        self._own(work)
        return Submission(batch_id, intent.run_count, intent.details, reattached=True)

    def _find(self, intent: Intent, failed_attempts: int) -> Submission | RetryAt | None:
        """Search for an intent's batch once; None if its absence is proven."""
        orphan = self._orphan(intent)
        work = self._possible_work(intent, orphan)
        self._own(work)
        asked_at = self.clock()
        pause = max((asked_at - intent.begun) / 2, dt.timedelta(seconds=SEARCH_INTERVAL))
        try:
            found = find_orphan(self.hook, orphan)
        except ExtendError as error:
            if not error.retryable:
                raise
            again = self.clock() + min(pause, dt.timedelta(seconds=OUTAGE_INTERVAL))
            self.log.warning(
                "The search for the batch of the submission begun on %s failed; nothing is sent before a "
                "search succeeds. Next search at %s: %s",
                intent.begun_at,
                again.isoformat(timespec="seconds"),
                error,
            )
            return RetryAt(again, failed_attempts, work)
        if found is not None:
            if self.complete_intent is not None:
                intent = self.complete_intent(intent, found.metadata)
            self.ledger.record(intent, found.batch_id)
            return self._reattach(intent, found.batch_id)
        if asked_at >= orphan.proven_from:
            self.log.info(
                "The submission begun on %s has no batch, so Extend did not accept it: it is sent again now.",
                intent.begun_at,
            )
            return None
        again = min(asked_at + pause, orphan.proven_from)
        self.log.warning(
            "A submission of this work was begun on %s, and its answer is not known. Its batch is not among "
            "the runs of workflow %s so far. Next search at %s; if the batch is not listed at %s, it was "
            "never accepted.",
            intent.begun_at,
            self.workflow_id,
            again.isoformat(timespec="seconds"),
            orphan.proven_from.isoformat(timespec="seconds"),
        )
        return RetryAt(again, failed_attempts, work)

    def _intent(self, state: LedgerState, prepared: Prepared) -> Intent:
        return Intent(
            number=1 if state.intent is None else state.intent.number + 1,
            begun_at=self.clock().isoformat(),
            window=self.hook.settings.submission_window,
            run_count=len(prepared.inputs),
            details=prepared.details,
        )

    def _send(self, once: ExtendHook, intent: Intent, prepared: Prepared) -> Submission:
        """Send the one request of an intent, and record its answer."""
        leave_by = intent.begun + dt.timedelta(seconds=self.hook.settings.departure_window)
        try:
            self._raise_if_killed()
            self._own(self._possible_work(intent, self._orphan(intent)))
            with once:
                self._raise_if_killed()
                batch_id = self._post(once, prepared, leave_by)
        except ExtendUnclearSubmissionError:
            raise
        except ExtendError:
            self._own(None)
            self.ledger.withdraw(intent)
            raise
        self.ledger.record(intent, batch_id)
        work = self._work(intent, batch_id)
        self._own(work)
        self.log.info("%s: %s inputs submitted.", work, f"{intent.run_count:,}")
        return Submission(batch_id, intent.run_count, intent.details)

    def _post(self, hook: ExtendHook, prepared: Prepared, leave_by: dt.datetime) -> str:
        """Send the one request; return the id of what it created.

        :param leave_by: the request must not be sent later: others may consider its batch proven absent then.
        """
        return hook.create_batch(
            self.workflow_id,
            prepared.inputs,
            version=self.version,
            priority=self.priority,
            leave_by=leave_by,
        )

    def _without_refused(self, error: ExtendError, prepared: Prepared, left_out: int) -> Prepared | None:
        """Return the batch without the inputs for which Extend refused it.

        None if it was refused for another reason, or if refused inputs are an error; the error names them.
        """
        refused = refused_inputs(error, prepared.inputs)
        if not refused:
            return None
        names = named(refused, prepared.inputs)
        if left_out + len(refused) > MAX_LEFT_OUT:
            error.message += (
                f" Extend refused {left_out:,} inputs of this batch before, and refuses {names} now. Nothing "
                "was created. Check what these inputs have in common."
            )
            return None
        remaining = None if prepared.without is None else prepared.without(refused)
        if remaining is None:
            error.message += (
                f" The batch is refused because of {names}; nothing was created. Correct or remove these "
                "inputs, or send the batch without such inputs: on_refused_input='leave_out'."
            )
        else:
            self.log.warning("Extend refuses the batch for %s; it is sent without: %s", names, error)
        return remaining

    def _retry(self, error: ExtendError, failed_attempts: int) -> RetryAt | None:
        """Return when to try again, None to search for the batch at once; raise any other error."""
        if isinstance(error, ExtendUnclearSubmissionError) and failed_attempts < SUBMISSION_ATTEMPTS:
            self.log.warning("Searching for the batch now: %s", error)
            return None
        transient = error.retryable and isinstance(error, ExtendRateLimitError | ExtendConnectionError)
        if not transient or failed_attempts >= SUBMISSION_ATTEMPTS:
            raise error
        pause = Backoff().delay(failed_attempts, error.retry_after, chance=_RANDOM.random())
        self.log.warning("No batch was created; next try in %.0f s: %s", pause, error)
        return RetryAt(self.clock() + dt.timedelta(seconds=pause), failed_attempts)

    def _raise_if_killed(self) -> None:
        if self.sender is not None:
            self.sender.raise_if_killed()

    def _own(self, work: RemoteWork | None) -> None:
        """Make the operator cancel this work if it is killed, now or later."""
        if self.sender is not None:
            self.sender.own_work(work, self.ti)

    def _work(self, intent: Intent, batch_id: str) -> RemoteWork:
        return RemoteWork(self.hook.extend_conn_id, batch_id, intent.run_count, waiters=self.waiters)

    def _possible_work(self, intent: Intent, orphan: Orphan) -> RemoteWork:
        count = intent.run_count or None
        return RemoteWork(self.hook.extend_conn_id, run_count=count, waiters=self.waiters, orphan=orphan)

    def _orphan(self, intent: Intent) -> Orphan:
        """Say how to find what an intent may have led to."""
        until = intent.begun + dt.timedelta(seconds=intent.window + self.hook.settings.listing_grace)
        return Orphan(self.workflow_id, self.key(), intent.begun_at, until.isoformat())
