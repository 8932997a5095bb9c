"""Submitting work at most once, a batch or single runs, although Extend has no idempotency key.

Invariants: an intent is written before the request and the batch's id right after the answer; between the
two nobody else submits the same work; after an unclear answer, or none, the batch is looked for at Extend, by
the attempt that met it or by any other, and only a proven absence, or a refusal, leads to another request.
Whoever crashes at any line leaves a ledger from which the next one, in the same task or another, goes on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Protocol

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.orphans import Mark, Sought, find_batch
from extend_provider.client.refusals import MAX_LEFT_OUT, named, refused_inputs
from extend_provider.client.retries import Backoff
from extend_provider.exceptions import (
    ExtendConnectionError,
    ExtendError,
    ExtendRateLimitError,
    ExtendUnclearSubmissionError,
)

if TYPE_CHECKING:
    from extend_provider.batch.on_kill import CancelsOnKillMixin
    from extend_provider.client.refusals import RefusedInput
    from extend_provider.hooks.extend import ExtendHook

log = logging.getLogger(__name__)

#: Seconds between two looks for a batch whose absence is not proven yet, at the least. Looks get rarer as the
#: intent gets older: the next one is due when it is half as old again.
LOOK_INTERVAL = 1.0
#: Seconds between two looks, at the most, while Extend cannot be asked.
OUTAGE_INTERVAL = 60.0
#: Seconds that a worker waits itself before it hands over to the triggerer, which takes as long to come back.
PATIENCE = 5.0
#: How often a submission is begun before the task gives up: each time it was turned away with 429, it could
#: not leave, or it came to nothing without an answer.
SUBMISSION_ATTEMPTS = 10

_RANDOM = SystemRandom()


@dataclasses.dataclass(frozen=True, slots=True)
class Intent:
    """A submission that was about to be made.

    :param number: 1 for the first submission of this work, 2 for the one after a proven absence, …
    :param begun_at: RFC 3339 with offset, right before the request.
    :param window: seconds after ``begun_at`` in which the request may still be accepted.
    :param run_count: how many inputs it has.
    :param details: what the ledger's owner wants to find again with it; small and plain.
    """

    number: int
    begun_at: str
    window: float
    run_count: int
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def begun(self) -> dt.datetime:
        """When the request was about to be made."""
        return dt.datetime.fromisoformat(self.begun_at)


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerState:
    """What is known of one piece of work: its latest intent, and what it led to.

    :param batch_id: the batch, once its id has been recorded; of single runs their ids, see
        :mod:`extend_provider.batch.run_submission`.
    :param withdrawn: the intent's request provably created nothing.
    """

    intent: Intent | None = None
    batch_id: str | None = None
    withdrawn: bool = False


class Ledger(Protocol):
    """Where intents and batch ids are kept. What cannot be read raises; it is never taken for "nothing"."""

    def read(self) -> LedgerState:
        """Return what is known."""
        ...

    def begin(self, intent: Intent) -> bool:
        """Write the intent, atomically, unless one of its number exists: then somebody else was first."""
        ...

    def withdraw(self, intent: Intent) -> None:
        """Write down that an intent's request provably created nothing; its number stays taken."""
        ...

    def record(self, intent: Intent, batch_id: str) -> None:
        """Write down the batch that an intent led to."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be sent, made at the last moment.

    :param inputs: 1 to 1,000 :class:`~extend_provider.client.models.BatchInput`; each carries the mark of
        the work in its metadata. Empty: there is nothing to send any more.
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
class Later:
    """Before a moment there is nothing to be done; whoever comes then goes on from what the ledger says.

    :param at: timezone-aware.
    :param turned_away: how often this submission has come to nothing so far.
    :param work: what may be at Extend already; None: nothing.
    """

    at: dt.datetime
    turned_away: int = 0
    work: RemoteWork | None = None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _may_be_begun_again(error: ExtendError) -> bool:
    """Whether a submission may be begun again: later, or once its fate is known."""
    if isinstance(error, ExtendUnclearSubmissionError):
        return True
    return error.retryable and isinstance(error, ExtendRateLimitError | ExtendConnectionError)


@dataclasses.dataclass(kw_only=True)
class Submitter:
    """Brings one piece of work to Extend as one batch.

    :param hook: its connection is used, and says how long to look for a batch; the submitting request itself
        is made exactly once per intent.
    :param mark: tells by what the metadata of this work's runs is known.
    :param prepare: makes the inputs; called only when they are going to be sent.
    :param recall: completes an intent from the metadata of one of its runs; for a ledger whose intents may
        not know how many inputs there were.
    :param sender: the operator that sends: it answers for what may be at Extend if it is killed.
    :param ti: its task instance.
    :param followers: where others that wait for the same work are marked, see
        :mod:`extend_provider.batch.waiters`.
    :param clock: tells the present, timezone-aware.
    :param sleep: waits so many seconds.
    """

    hook: ExtendHook
    ledger: Ledger
    workflow_id: str
    mark: Callable[[], Mark]
    prepare: Callable[[], Prepared]
    recall: Callable[[Intent, Mapping[str, Any]], Intent] | None = None
    version: str | None = None
    priority: int | None = None
    sender: CancelsOnKillMixin | None = None
    ti: Any = None
    followers: str | None = None
    log: logging.Logger | Any = log
    clock: Callable[[], dt.datetime] = _now
    sleep: Callable[[float], None] = time.sleep

    def submit(self) -> Submission:
        """Return the work's batch: the recorded one, the one found at Extend, or a new one; waits here.

        While Extend cannot be asked for a batch that it may have, that is waited out, too.

        :raises ExtendError: Extend refused the batch, or may not be asked; nothing is sent any more.
        """
        outcome = self._step()
        while isinstance(outcome, Later):
            outcome = self._step_at(outcome)
        return outcome

    def advance(self, turned_away: int = 0) -> Submission | Later:
        """Do the same as far as it goes without waiting longer than :data:`PATIENCE` at a time.

        :param turned_away: what an earlier :class:`Later` has told.
        :raises ExtendError: as :meth:`submit`.
        """
        outcome = self._step(turned_away)
        while isinstance(outcome, Later) and self._seconds_until(outcome) <= PATIENCE:
            outcome = self._step_at(outcome)
        return outcome

    def _seconds_until(self, later: Later) -> float:
        return max((later.at - self.clock()).total_seconds(), 0.0)

    def _step_at(self, later: Later) -> Submission | Later:
        self.sleep(self._seconds_until(later))
        return self._step(later.turned_away)

    def _step(self, turned_away: int = 0) -> Submission | Later:
        # What is left of inputs some of which Extend has refused, and how many those were.
        rest: Prepared | None = None
        left_out = 0
        while True:
            self._stop_if_killed()
            state = self.ledger.read()
            if state.batch_id is not None and state.intent is not None:
                return self._taken_up(state.intent, state.batch_id)
            if state.intent is not None and not state.withdrawn:
                found = self._look_for(state.intent, turned_away)
                if found is not None:
                    return found
            prepared, rest = rest or self.prepare(), None
            if not prepared.inputs:
                return Submission(None, 0, prepared.details)
            once = type(self.hook)(extend_conn_id=self.hook.extend_conn_id, max_attempts=1)
            # Before the intent: what waits behind it runs into the time in which the request must leave.
            once.wait_for_turn()
            intent = self._intent(state, prepared)
            self._stop_if_killed()
            if not self.ledger.begin(intent):
                self.log.info("Somebody else is submitting the same work at this moment.")
                continue
            try:
                return self._send(once, intent, prepared)
            except ExtendError as error:
                if (rest := self._rest(error, prepared, left_out)) is not None:
                    left_out += len(prepared.inputs) - len(rest.inputs)
                    continue
                turned_away += 1
                if (later := self._again(error, turned_away)) is not None:
                    return later

    def _again(self, error: ExtendError, turned_away: int) -> Later | None:
        """Say when to begin again: None is now, to look for the batch; raises what rules that out."""
        if turned_away >= SUBMISSION_ATTEMPTS or not _may_be_begun_again(error):
            raise error
        if isinstance(error, ExtendUnclearSubmissionError):
            self.log.warning("The batch is looked for now: %s", error)
            return None
        pause = Backoff().delay(turned_away, error.retry_after, chance=_RANDOM.random())
        self.log.warning("No batch was created; next try in %.0f s: %s", pause, error)
        return Later(self.clock() + dt.timedelta(seconds=pause), turned_away)

    def _rest(self, error: ExtendError, prepared: Prepared, left_out: int) -> Prepared | None:
        """Return what is sent in the place of a batch that was refused for some of its inputs.

        None if something else is wrong, or if they are not to be left out; the error then names them.
        """
        refused = refused_inputs(error, prepared.inputs)
        if not refused:
            return None
        which = named(refused, prepared.inputs)
        if left_out + len(refused) > MAX_LEFT_OUT:
            error.message += (
                f" Extend had refused {left_out:,} inputs of this batch before, one after the other, and "
                f"refuses {which} now. Nothing was created. Look for what they have in common."
            )
            return None
        rest = None if prepared.without is None else prepared.without(refused)
        if rest is None:
            error.message += (
                f" The batch is refused for {which}; nothing was created. Mend or remove what is wrong "
                "there, or have such inputs left out: on_refused_input='leave_out'."
            )
        else:
            self.log.warning("Extend refuses the batch for %s; it is sent without: %s", which, error)
        return rest

    def _intent(self, state: LedgerState, prepared: Prepared) -> Intent:
        return Intent(
            number=1 if state.intent is None else state.intent.number + 1,
            begun_at=self.clock().isoformat(),
            window=self.hook.settings.submission_window,
            run_count=len(prepared.inputs),
            details=prepared.details,
        )

    def _send(self, once: ExtendHook, intent: Intent, prepared: Prepared) -> Submission:
        leave_by = intent.begun + dt.timedelta(seconds=self.hook.settings.departure_window)
        try:
            self._stop_if_killed()
            self._answer_for(self._unclear(intent, self._sought(intent)))
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
        work = self._batch(intent, batch_id)
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

    def _stop_if_killed(self) -> None:
        if self.sender is not None:
            self.sender.send_nothing_if_killed()

    def _answer_for(self, work: RemoteWork | None) -> None:
        """Have the operator cancel this if it is killed from here on, or has been."""
        if self.sender is not None:
            self.sender.take_in_hand(work, self.ti)

    def _batch(self, intent: Intent, batch_id: str) -> RemoteWork:
        return RemoteWork(self.hook.extend_conn_id, batch_id, intent.run_count, followers=self.followers)

    def _sought(self, intent: Intent) -> Sought:
        """Say how to find what an intent may have led to."""
        until = intent.begun + dt.timedelta(seconds=intent.window + self.hook.settings.listing_grace)
        return Sought(self.workflow_id, self.mark(), intent.begun_at, until.isoformat())

    def _unclear(self, intent: Intent, sought: Sought) -> RemoteWork:
        count = intent.run_count or None
        return RemoteWork(self.hook.extend_conn_id, run_count=count, followers=self.followers, sought=sought)

    def _taken_up(self, intent: Intent, batch_id: str) -> Submission:
        work = self._batch(intent, batch_id)
        self.log.info("%s: submitted on %s; taken up, and nothing is sent again.", work, intent.begun_at)
        self._answer_for(work)
        return Submission(batch_id, intent.run_count, intent.details, taken_up=True)

    def _look_for(self, intent: Intent, turned_away: int) -> Submission | Later | None:
        """Look for an intent's batch once; None if its absence is proven."""
        sought = self._sought(intent)
        work = self._unclear(intent, sought)
        self._answer_for(work)
        proven_from, asked_at = sought.proven_from, self.clock()
        age = asked_at - intent.begun
        pause = max(age / 2, dt.timedelta(seconds=LOOK_INTERVAL))
        try:
            found = find_batch(self.hook, sought)
        except ExtendError as error:
            if not error.retryable:
                raise
            again = self.clock() + min(pause, dt.timedelta(seconds=OUTAGE_INTERVAL))
            self.log.warning(
                "Whether the submission begun on %s has a batch could not be found out; nothing is sent "
                "until then. Next look at %s: %s",
                intent.begun_at,
                again.isoformat(timespec="seconds"),
                error,
            )
            return Later(again, turned_away, work)
        if found is not None:
            if self.recall is not None:
                intent = self.recall(intent, found.metadata)
            self.ledger.record(intent, found.batch_id)
            return self._taken_up(intent, found.batch_id)
        if asked_at >= proven_from:
            self.log.info(
                "The submission begun on %s has no batch at Extend, which did not accept it: it is sent now.",
                intent.begun_at,
            )
            return None
        again = min(asked_at + pause, proven_from)
        self.log.warning(
            "A submission of this work was begun on %s, and its answer is not known. Its batch is not among "
            "the runs of workflow %s so far. Next look at %s; it counts as never accepted if it is not there "
            "at %s.",
            intent.begun_at,
            self.workflow_id,
            again.isoformat(timespec="seconds"),
            proven_from.isoformat(timespec="seconds"),
        )
        return Later(again, turned_away, work)
