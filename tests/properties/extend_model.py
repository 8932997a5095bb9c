"""A model of Extend as a submitter meets it, and of processes that may stop, or die, at any step.

Whoever submits runs as a greenlet that hands over control before and after everything it does to the world.
So a test decides who goes on, who dies where, how Extend answers and how time passes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

from greenlet import getcurrent, greenlet

from extend_provider.batch.ledger import Intent, Ledger, LedgerState
from extend_provider.batch.orphans import CLOCK_SKEW
from extend_provider.batch.submission import Submission
from extend_provider.client.models import BatchInput, RunSummary, WorkflowRun
from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.exceptions import (
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendRateLimitError,
    ExtendServerError,
    ExtendUnclearSubmissionError,
)

#: What comes of a submitting request: accepted or not, and answered or not.
Answer = Literal[
    "accepted", "accepted unclear", "lost unclear", "refused", "refused for one", "429", "unreachable"
]
ANSWERS: tuple[Answer, ...] = (
    "accepted",
    "accepted unclear",
    "lost unclear",
    "refused",
    "refused for one",
    "429",
    "unreachable",
)
BEGINNING = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)


class Crash(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclasses.dataclass
class Batch:
    """An accepted submission. ``accepted_at`` may be in the future: the request is still on its way."""

    id: str
    metadata: list[Mapping[str, Any]]
    accepted_at: dt.datetime
    listed_from: dt.datetime


@dataclasses.dataclass
class Conduct:
    """How the world behaves at the next step.

    :ivar answer: to a submitting request.
    :ivar late: when an unanswered request is accepted, as a part of the time in which Extend may accept it.
    :ivar lag: when an accepted batch can be listed, as a part of the grace that Extend has for it.
    :ivar listing_fails: whether the next look at the list gets no answer.
    :ivar order: seed of the order in which runs are listed.
    """

    answer: Answer = "accepted"
    late: float = 0.0
    lag: float = 0.0
    listing_fails: bool = False
    order: int = 0


class World:
    """Extend, the time, and everything that was asked of it.

    :param acceptance: seconds in which it may accept a request whose client has given up long before.
    :param skew: how far Extend's clock is ahead of everybody else's.
    """

    def __init__(self, *, acceptance: float = 300, grace: float = 120, skew: float = 0) -> None:
        self.now = BEGINNING
        self.acceptance, self.grace, self.skew = acceptance, grace, dt.timedelta(seconds=skew)
        self.conduct = Conduct()
        self.batches: list[Batch] = []
        self.posts: list[Intent] = []

    def clock(self) -> dt.datetime:
        """Tell the time."""
        return self.now

    def accept(self, inputs: Sequence[BatchInput], at: dt.datetime) -> str:
        """Take a submission in."""
        lag = dt.timedelta(seconds=self.grace * self.conduct.lag)
        metadata = [each.metadata or {} for each in inputs]
        self.batches.append(Batch(f"batch_{len(self.batches)}", metadata, at, at + lag))
        return self.batches[-1].id


def pause(step: str) -> None:
    """Hand over control, until the test lets this process go on, or kills it."""
    getcurrent().parent.switch(step)


class Process:
    """A process that submits: runs from pause to pause when it is told to.

    :param submit: what it does; called with the process itself.
    """

    def __init__(self, world: World, submit: Callable[[Process], Submission]) -> None:
        self.world = world
        self.step = "start"
        self.wakes_at: dt.datetime | None = None
        self.intent: Intent | None = None
        self.submission: Submission | None = None
        self.error: Exception | None = None
        self._greenlet = greenlet(lambda: self._run(submit))
        self.go_on()

    def _run(self, submit: Callable[[Process], Submission]) -> None:
        try:
            pause("start")
            self.submission = submit(self)
        except Crash:
            pass
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    @property
    def ended(self) -> bool:
        """Whether it has returned, raised or died."""
        return bool(self._greenlet.dead)

    def go_on(self) -> None:
        """Let it run to its next pause; one that sleeps stays asleep until its time has come."""
        if self.wakes_at is None or self.world.now >= self.wakes_at:
            self.wakes_at = None
            self.step = self._greenlet.switch() or "ended"

    def die(self) -> None:
        """Kill it where it stands."""
        self._greenlet.throw(Crash)

    def sleep(self, seconds: float) -> None:
        """Sleep in the world's time."""
        self.wakes_at = self.world.now + dt.timedelta(seconds=seconds)
        pause("sleep")


class PausingLedger:
    """A ledger, with a pause before and after each of its steps."""

    def __init__(self, process: Process, ledger: Ledger) -> None:
        self._process, self._ledger = process, ledger

    def read(self) -> LedgerState:
        pause("read")
        state = self._ledger.read()
        pause("has read")
        return state

    def begin(self, intent: Intent) -> bool:
        pause("begin")
        begun = self._ledger.begin(intent)
        if begun:
            self._process.intent = intent
        pause("has begun")
        return begun

    def withdraw(self, intent: Intent) -> None:
        pause("withdraw")
        self._ledger.withdraw(intent)
        pause("has withdrawn")

    def record(self, intent: Intent, batch_id: str) -> None:
        pause("record")
        self._ledger.record(intent, batch_id)
        pause("has recorded")


class MemoryLedger:
    """The ledger's contract in its shortest form."""

    def __init__(self) -> None:
        self.intents: list[Intent] = []
        self.withdrawn: set[int] = set()
        self.batch: tuple[Intent, str] | None = None

    def read(self) -> LedgerState:
        if not self.intents:
            return LedgerState()
        if self.batch is not None:
            return LedgerState(*self.batch)
        return LedgerState(self.intents[-1], withdrawn=self.intents[-1].number in self.withdrawn)

    def begin(self, intent: Intent) -> bool:
        if intent.number <= len(self.intents):
            return False
        self.intents.append(intent)
        return True

    def withdraw(self, intent: Intent) -> None:
        self.withdrawn.add(intent.number)

    def record(self, intent: Intent, batch_id: str) -> None:
        self.batch = (intent, batch_id)


def hook_of(process: Process) -> Any:
    """Return what a submitter needs of a hook, for this process in its world."""
    world = process.world

    class Hook:
        extend_conn_id = "extend_default"
        settings = ExtendSettings(
            "extend_default",
            base_url="https://extend.test",
            api_key=Secret("sk-of-a-model"),
            timeout=(10.0, 1.0),
            acceptance_window=world.acceptance,
            listing_grace=world.grace,
        )

        def __init__(self, extend_conn_id: str, max_attempts: int = 5) -> None:
            self._max_attempts = max_attempts

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *exc_info: object) -> None:
            return None

        def wait_for_turn(self) -> None:
            pause("turn")

        def create_batch(
            self,
            workflow_id: str,
            inputs: Sequence[BatchInput],
            *,
            version: Any,
            priority: Any,
            leave_by: dt.datetime,
        ) -> str:
            assert self._max_attempts == 1
            assert process.intent is not None
            pause("post")
            return _posted(world, process.intent, inputs, leave_by)

        def iter_run_pages(self, **how: Any) -> Iterator[list[RunSummary]]:
            pause("list")
            if world.conduct.listing_fails:
                raise ExtendServerError("Extend failed to list runs", status=503, retryable=True)
            runs = _listed(world)
            for first in range(0, len(runs), 3):
                yield runs[first : first + 3]
                pause("list on")

        def get_run(self, run_id: str) -> WorkflowRun:
            pause("get")
            batch, _, number = run_id.partition("/")
            found = [each for each in world.batches if each.id == batch]
            metadata = found[0].metadata[int(number)] if found else {"chunk": "another"}
            return WorkflowRun(id=run_id, status="PENDING", metadata=metadata)

    return Hook("extend_default")


def _posted(world: World, intent: Intent, inputs: Sequence[BatchInput], leave_by: dt.datetime) -> str:
    if world.now > leave_by:
        raise ExtendConnectionError("too late to leave", retryable=True)
    world.posts.append(intent)
    match world.conduct.answer:
        case "accepted":
            batch_id = world.accept(inputs, world.now)
            pause("has posted")
            return batch_id
        case "accepted unclear":
            world.accept(inputs, world.now + dt.timedelta(seconds=world.acceptance) * world.conduct.late)
            pause("has posted")
            raise ExtendUnclearSubmissionError("the connection broke")
        case "lost unclear":
            raise ExtendUnclearSubmissionError("the connection broke")
        case "refused":
            raise ExtendBadRequestError("refused", status=400)
        case "refused for one":
            raise ExtendBadRequestError("refused", status=400, said="CORRUPT_FILE; Path: inputs[0].file")
        case "429":
            raise ExtendRateLimitError("too many requests", status=429, retryable=True)
        case "unreachable":
            raise ExtendConnectionError("nothing was sent", retryable=True)


def _listed(world: World) -> list[RunSummary]:
    """All runs that are listed now, some twice; the recent ones in any order, then what is long past."""
    recent = [
        _summary(f"{batch.id}/{number}", batch.id, batch.accepted_at + world.skew)
        for batch in world.batches
        if batch.listed_from <= world.now
        for number in range(len(batch.metadata))
    ]
    recent += [_summary(f"other/{number}", "other", world.now + world.skew) for number in range(2)]
    recent += recent[:2]
    random.Random(world.conduct.order).shuffle(recent)
    past = BEGINNING + world.skew - 3 * CLOCK_SKEW
    return [*recent, _summary("old/0", "old", past), _summary("older/0", None, past)]


def _summary(run_id: str, batch_id: str | None, created_at: dt.datetime) -> RunSummary:
    return RunSummary(id=run_id, status="PENDING", batch_id=batch_id, created_at=created_at.isoformat())
