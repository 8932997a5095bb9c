"""A piece of work is at Extend once, however rivals interleave, whoever dies where, whatever is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extend_provider.batch.ledger import Ledger
from extend_provider.batch.orphans import IdempotencyKey
from extend_provider.batch.refusals import RefusedInput
from extend_provider.batch.submission import Prepared, Submission, Submitter
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendError
from properties.extend_model import (
    ANSWERS,
    Conduct,
    MemoryLedger,
    PausingLedger,
    Process,
    World,
    hook_of,
    pause,
)

RIVALS = 3
WHO = st.integers(0, RIVALS - 1)
#: Between these, everything is decided: who dies or is overtaken here must not cost a document twice.
STEPS = ("begin", "has begun", "post", "has posted", "record", "has recorded", "withdraw", "sleep", "ended")
CONDUCT = st.builds(
    Conduct,
    answer=st.sampled_from(ANSWERS),
    late=st.floats(0, 1),
    lag=st.floats(0, 1),
    listing_fails=st.integers(0, 5).map(lambda number: number == 5),
    order=st.integers(0, 3),
)


class Submitting(RuleBasedStateMachine):
    """Rivals over one piece of work; the scheduler, the network and the clock are hypothesis's."""

    new_ledger: ClassVar[type[MemoryLedger]] = MemoryLedger

    @initialize(skew=st.sampled_from([0, -290, 290]))
    def begin(self, skew: float) -> None:
        self.world = World(skew=skew)
        self.ledger = self.new_ledger()
        self.processes: list[Process] = []

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.processes if not process.ended]

    def start(self) -> Process:
        self.processes.append(Process(self.world, lambda process: submit(process, self.ledger)))
        return self.processes[-1]

    @precondition(lambda self: len(self.alive) < RIVALS)
    @rule()
    def arrive(self) -> None:
        self.start()

    @precondition(lambda self: self.alive)
    @rule(who=WHO, steps=st.integers(1, 5), conduct=CONDUCT)
    def go_on(self, who: int, steps: int, conduct: Conduct) -> None:
        self.world.conduct = conduct
        process = self.alive[who % len(self.alive)]
        for _ in range(steps):
            if not process.ended:
                process.go_on()

    @precondition(lambda self: self.alive)
    @rule(who=WHO, step=st.sampled_from(STEPS), conduct=CONDUCT)
    def go_on_to(self, who: int, step: str, conduct: Conduct) -> None:
        """Let one go on, and time with it, up to a step that matters; others stand still meanwhile."""
        self.world.conduct = conduct
        self.run(self.alive[who % len(self.alive)], step)

    def run(self, process: Process, step: str = "") -> None:
        for _ in range(500):
            if process.wakes_at is not None:
                self.pass_time((process.wakes_at - self.world.now).total_seconds())
            if not process.ended:
                process.go_on()
            if process.ended or process.step == step:
                return

    @precondition(lambda self: self.alive)
    @rule(who=WHO)
    def die(self, who: int) -> None:
        self.alive[who % len(self.alive)].die()

    @rule(seconds=st.sampled_from([0.5, 5, 19, 31, 121, 311, 900]))
    def pass_time(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=max(seconds, 0))

    @invariant()
    def the_work_is_at_extend_once(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.batches) <= 1
            assert all(count == 1 for count in Counter(each.number for each in self.world.posts).values())

    @invariant()
    def whoever_returns_has_the_batch(self) -> None:
        for process in getattr(self, "processes", []):
            if process.submission is not None:
                assert [process.submission.batch_id] == [batch.id for batch in self.world.batches]
            assert process.error is None or isinstance(process.error, ExtendError)

    def teardown(self) -> None:
        """In the end somebody comes whom nothing disturbs, and has the batch: nothing is stuck."""
        if not hasattr(self, "world"):
            return
        for process in self.alive:
            process.die()
        self.world.conduct = Conduct()
        last = self.start()
        self.run(last)
        assert last.submission is not None, last.error
        assert [last.submission.batch_id] == [batch.id for batch in self.world.batches]


def submit(process: Process, ledger: Ledger) -> Submission:
    def prepare() -> Prepared:
        pause("prepare")
        return prepared([BatchInput(FileInput(text=str(n)), {"chunk": "this", "n": n}) for n in range(4)])

    submission = Submitter(
        hook=hook_of(process),
        ledger=PausingLedger(process, ledger),
        workflow_id="workflow_1",
        key=lambda: IdempotencyKey({"chunk": "this"}),
        prepare=prepare,
        clock=process.world.clock,
        sleep=process.sleep,
    ).submit(deferrable=False)
    assert isinstance(submission, Submission)
    return submission


def prepared(inputs: list[BatchInput]) -> Prepared:
    """Return what is sent; whom Extend refuses is left out, but not the last one."""

    def without(refused: Sequence[RefusedInput]) -> Prepared | None:
        gone = {each.index for each in refused}
        rest = [each for index, each in enumerate(inputs) if index not in gone]
        return prepared(rest) if rest else None

    return Prepared(inputs, without=without)


def go_on_to(process: Process, step: str) -> None:
    while process.step != step:
        assert not process.ended, process.error
        process.go_on()


@pytest.mark.parametrize("late", [False, True], ids=["in time", "too late"])
def test_what_leaves_is_accepted_and_is_listed_as_late_as_can_be_is_not_sent_again(late: bool) -> None:
    world, ledger = World(), MemoryLedger()
    world.conduct = Conduct(answer="accepted unclear", late=1.0, lag=1.0)
    first = Process(world, lambda process: submit(process, ledger))
    go_on_to(first, "post")
    assert first.intent is not None
    world.now = first.intent.begun + timedelta(seconds=20, microseconds=late)
    go_on_to(first, "has posted" if not late else "withdraw")
    first.die()
    second = Process(world, lambda process: submit(process, ledger))
    world.conduct = Conduct()
    while not second.ended:
        world.now = second.wakes_at or world.now
        second.go_on()
    assert len(world.batches) == len(world.posts) == 1
    assert world.posts[0].number == (1 if not late else 2)
    assert second.submission is not None


TestSubmitting = Submitting.TestCase
TestSubmitting.settings = settings(max_examples=250, stateful_step_count=40, deadline=None, derandomize=True)
