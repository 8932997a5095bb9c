"""Submitting work at most once, a batch or single runs, although Extend takes no idempotency key.

Invariants: an intent is written before the request and the batch's id right after the answer; between the
two nobody else submits the same work; after an unclear answer, or none, the batch is looked for at Extend, by
the attempt that met it or by any other, and only a proven absence, or a refusal, leads to another request.
Whoever crashes at any line leaves a ledger from which the next one, in the same task or another, goes on.
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
from extend_provider.client.refusals import MAX_LEFT_OUT, named, refused_inputs
from extend_provider.client.retries import Backoff
from extend_provider.exceptions import (
    ExtendConnectionError,
    ExtendError,
    ExtendRateLimitError,
    ExtendUnclearSubmissionError,
)

if TYPE_CHECKING:
    from extend_provider.batch.ownership import CancelsOnKillMixin
    from extend_provider.client.refusals import RefusedInput
    from extend_provider.hooks.extend import ExtendHook

log = logging.getLogger(__name__)

#: Seconds between two searches for a batch whose absence is not proven yet, at the least. Searches get rarer
#: as the intent gets older: the next one is due when it is half as old again.
LOOK_INTERVAL = 1.0
#: Seconds between two searches, at the most, while Extend cannot be asked.
OUTAGE_INTERVAL = 60.0
#: Seconds that a worker waits itself before it hands over to the triggerer, which takes as long to come back.
PATIENCE = 5.0
#: How often a submission is begun before the task gives up: each time it was turned away with 429, it could
#: not leave, or it came to nothing without an answer.
SUBMISSION_ATTEMPTS = 10

_RANDOM = SystemRandom()


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be sent, made at the last moment.

    :param inputs: 1 to 1,000 :class:`~extend_provider.client.models.BatchInput`; each carries the idempotency
        key of the work in its metadata. Empty: there is nothing to send any more.
    :param details: kept with the intent.
    :param without: makes the same without inputs that Extend has refused; None, or if it returns None: they
        are not to be left out.
    """

    inputs: Sequence[Any]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    without: Callable[[Sequence[RefusedInput]], Prepared | None] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """The batch that the work has become.

    :param batch_id: None if there was nothing to send.
    :param taken_up: it had been submitted before.
    """

    batch_id: str | None
    run_count: int
    details: Mapping[str, Any]
    taken_up: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class RetryAt:
    """Nothing can be done before a moment; whoever comes then goes on from what the ledger says.

    :param at: timezone-aware.
    :param turned_away: how often this submission has come to nothing so far.
    :param work: what may be at Extend already; None: nothing.
    """

    at: dt.datetime
    turned_away: int = 0
    work: RemoteWork | None = None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclasses.dataclass(kw_only=True)
class Submitter:
    """Brings one piece of work to Extend as one batch.

    :param hook: its connection is used, and says how long to look for a batch; the submitting request itself
        is made exactly once per intent.
    :param key: returns the idempotency key that the metadata of this work's runs has.
    :param prepare: makes the inputs; called only when they are going to be sent.
    :param recall: completes an intent from the metadata of one of its runs; for a ledger whose intents may
        not know how many inputs there were.
    :param sender: the operator that sends: it answers for what may be at Extend if it is killed.
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
    recall: Callable[[Intent, Mapping[str, Any]], Intent] | None = None
    version: str | None = None
    priority: int | None = None
    sender: CancelsOnKillMixin | None = None
    ti: Any = None
    waiters: str | None = None
    log: logging.Logger | Any = log
    clock: Callable[[], dt.datetime] = _now
    sleep: Callable[[float], None] = time.sleep

    def advance(self, turned_away: int = 0, *, deferrable: bool = True) -> Submission | RetryAt:
        """Return the work's batch: the recorded one, the one found at Extend, or a new one.

        While Extend cannot be asked for a batch that it may have, that is waited out, too.

        :param turned_away: from an earlier :class:`RetryAt`.
        :param deferrable: wait here for at most :data:`PATIENCE` at a time; False: however long it takes.
        :raises ExtendError: Extend refused the batch, or may not be asked; nothing is sent any more.
        """
        patience = PATIENCE if deferrable else math.inf
        result = self._attempt(turned_away)
        while isinstance(result, RetryAt):
            seconds = max((result.at - self.clock()).total_seconds(), 0.0)
            if seconds > patience:
                break
            self.sleep(seconds)
            result = self._attempt(result.turned_away)
        return result

    def _attempt(self, turned_away: int) -> Submission | RetryAt:
        """Go on from what the ledger says: take the batch up, look for it, or send it."""
        # What is left of inputs some of which Extend has refused, and how many those were.
        remaining: Prepared | None = None
        left_out = 0
        while True:
            self._stop_if_killed()
            state = self.ledger.read()
            if state.intent is not None and state.batch_id is not None:
                return self._take_up(state.intent, state.batch_id)
            if state.intent is not None and not state.withdrawn:
                found = self._find(state.intent, turned_away)
                if found is not None:
                    return found
            prepared, remaining = remaining or self.prepare(), None
            if not prepared.inputs:
                return Submission(None, 0, prepared.details)
            once = type(self.hook)(extend_conn_id=self.hook.extend_conn_id, max_attempts=1)
            # Before the intent: what waits behind it runs into the time in which the request must leave.
            once.wait_for_turn()
            intent = self._intent(state, prepared)
            self._stop_if_killed()
            if not self.ledger.begin(intent):
                self.log.info("Another process is submitting the same work at this moment.")
                continue
            try:
                return self._send(once, intent, prepared)
            except ExtendError as error:
                if (remaining := self._without_refused(error, prepared, left_out)) is not None:
                    left_out += len(prepared.inputs) - len(remaining.inputs)
                    continue
                turned_away += 1
                if (retry := self._retry(error, turned_away)) is not None:
                    return retry

    def _take_up(self, intent: Intent, batch_id: str) -> Submission:
        """Return what an intent has become; nothing is sent."""
        work = self._work(intent, batch_id)
        self.log.info("%s: submitted on %s; taken up, and nothing is sent again.", work, intent.begun_at)
        self._answer_for(work)
        return Submission(batch_id, intent.run_count, intent.details, taken_up=True)

    def _find(self, intent: Intent, turned_away: int) -> Submission | RetryAt | None:
        """Look for an intent's batch once; None if its absence is proven."""
        orphan = self._orphan(intent)
        work = self._possible_work(intent, orphan)
        self._answer_for(work)
        asked_at = self.clock()
        pause = max((asked_at - intent.begun) / 2, dt.timedelta(seconds=LOOK_INTERVAL))
        try:
            found = find_orphan(self.hook, orphan)
        except ExtendError as error:
            if not error.retryable:
                raise
            again = self.clock() + min(pause, dt.timedelta(seconds=OUTAGE_INTERVAL))
            self.log.warning(
                "Extend could not be asked for the batch of the submission begun on %s; nothing is sent "
                "until then. Next search at %s: %s",
                intent.begun_at,
                again.isoformat(timespec="seconds"),
                error,
            )
            return RetryAt(again, turned_away, work)
        if found is not None:
            if self.recall is not None:
                intent = self.recall(intent, found.metadata)
            self.ledger.record(intent, found.batch_id)
            return self._take_up(intent, found.batch_id)
        if asked_at >= orphan.proven_from:
            self.log.info(
                "The submission begun on %s has no batch at Extend, which did not accept it: it is sent now.",
                intent.begun_at,
            )
            return None
        again = min(asked_at + pause, orphan.proven_from)
        self.log.warning(
            "A submission of this work was begun on %s, and its answer is not known. Its batch is not among "
            "the runs of workflow %s so far. Next search at %s; it counts as never accepted if it is not "
            "there at %s.",
            intent.begun_at,
            self.workflow_id,
            again.isoformat(timespec="seconds"),
            orphan.proven_from.isoformat(timespec="seconds"),
        )
        return RetryAt(again, turned_away, work)

    def _intent(self, state: LedgerState, prepared: Prepared) -> Intent:
        return Intent(
            number=1 if state.intent is None else state.intent.number + 1,
            begun_at=self.clock().isoformat(),
            window=self.hook.settings.submission_window,
            run_count=len(prepared.inputs),
            details=prepared.details,
        )

    def _send(self, once: ExtendHook, intent: Intent, prepared: Prepared) -> Submission:
        """Make the one request of an intent, and record its answer."""
        leave_by = intent.begun + dt.timedelta(seconds=self.hook.settings.departure_window)
        try:
            self._stop_if_killed()
            self._answer_for(self._possible_work(intent, self._orphan(intent)))
            with once:
                self._stop_if_killed()
                batch_id = self._post(once, prepared, leave_by)
        except ExtendUnclearSubmissionError:
            raise
        except ExtendError:
            self._answer_for(None)
            self.ledger.withdraw(intent)
            raise
        self.ledger.record(intent, batch_id)
        work = self._work(intent, batch_id)
        self._answer_for(work)
        self.log.info("%s: %s inputs submitted.", work, f"{intent.run_count:,}")
        return Submission(batch_id, intent.run_count, intent.details)

    def _post(self, hook: ExtendHook, prepared: Prepared, leave_by: dt.datetime) -> str:
        """Send the one request; return the id of what it has created.

        :param leave_by: later, others may have taken what it creates for absent already.
        """
        return hook.create_batch(
            self.workflow_id,
            prepared.inputs,
            version=self.version,
            priority=self.priority,
            leave_by=leave_by,
        )

    def _without_refused(self, error: ExtendError, prepared: Prepared, left_out: int) -> Prepared | None:
        """Return what is sent in the place of a batch that was refused for some of its inputs.

        None if something else is wrong, or if they are not to be left out; the error then names them.
        """
        refused = refused_inputs(error, prepared.inputs)
        if not refused:
            return None
        names = named(refused, prepared.inputs)
        if left_out + len(refused) > MAX_LEFT_OUT:
            error.message += (
                f" Extend had refused {left_out:,} inputs of this batch before, one after the other, and "
                f"refuses {names} now. Nothing was created. Look for what they have in common."
            )
            return None
        remaining = None if prepared.without is None else prepared.without(refused)
        if remaining is None:
            error.message += (
                f" The batch is refused for {names}; nothing was created. Mend or remove what is wrong "
                "there, or have such inputs left out: on_refused_input='leave_out'."
            )
        else:
            self.log.warning("Extend refuses the batch for %s; it is sent without: %s", names, error)
        return remaining

    def _retry(self, error: ExtendError, turned_away: int) -> RetryAt | None:
        """Return when to begin again, None to look for the batch at once; raise what rules both out."""
        if isinstance(error, ExtendUnclearSubmissionError) and turned_away < SUBMISSION_ATTEMPTS:
            self.log.warning("The batch is looked for now: %s", error)
            return None
        passing = error.retryable and isinstance(error, ExtendRateLimitError | ExtendConnectionError)
        if not passing or turned_away >= SUBMISSION_ATTEMPTS:
            raise error
        pause = Backoff().delay(turned_away, error.retry_after, chance=_RANDOM.random())
        self.log.warning("No batch was created; next try in %.0f s: %s", pause, error)
        return RetryAt(self.clock() + dt.timedelta(seconds=pause), turned_away)

    def _stop_if_killed(self) -> None:
        if self.sender is not None:
            self.sender.send_nothing_if_killed()

    def _answer_for(self, work: RemoteWork | None) -> None:
        """Have the operator cancel this if it is killed from here on, or has been."""
        if self.sender is not None:
            self.sender.take_in_hand(work, self.ti)

    def _work(self, intent: Intent, batch_id: str) -> RemoteWork:
        return RemoteWork(self.hook.extend_conn_id, batch_id, intent.run_count, waiters=self.waiters)

    def _possible_work(self, intent: Intent, orphan: Orphan) -> RemoteWork:
        count = intent.run_count or None
        return RemoteWork(self.hook.extend_conn_id, run_count=count, waiters=self.waiters, orphan=orphan)

    def _orphan(self, intent: Intent) -> Orphan:
        """Say how to find what an intent may have led to."""
        until = intent.begun + dt.timedelta(seconds=intent.window + self.hook.settings.listing_grace)
        return Orphan(self.workflow_id, self.key(), intent.begun_at, until.isoformat())
