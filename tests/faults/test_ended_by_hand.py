"""A person clears tasks, marks them as failed or success, or deletes runs while work is under way.

Several pieces of work reach the same state, and each is ended in another way. Then everything continues, and
one more run over the same documents completes them: paid once, unless they were cancelled.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import duckdb
import pytest

from fixtures.airflow.lanes import BATCHES, OPERATORS
from fixtures.airflow.scenario import CHUNK, DAY, RUN, Scenario, fault
from fixtures.airflow.timing import LOOK_SECONDS, RUN_SECONDS
from fixtures.tiers import FULL
from sandbox.stack.client import DagRun
from sandbox.stack.nightly.progress import PROGRESS_KEY

Ending = Literal["clear", "failed", "success"]
#: What meets the chunks of one run, in their order.
ENDINGS: tuple[Ending, ...] = ("clear", "failed", "success")
NEXT_DAY = DAY + dt.timedelta(days=1)
CHUNK_SIZE = 2
#: A command in a log, whose lines are JSON, and for how many seconds it may turn out not to be needed.
TOLD, PATIENCE = (
    re.compile(r"(?:its end|finish|cancel it|has not settled): airflow extend (cancel [^\"\\]+)"),
    60,
)
DOCUMENTS = CHUNK_SIZE * (len(ENDINGS) + 1)
#: When a submission goes on, by its log; and how long ending all of them takes, at the most.
GOING_ON, ENDING_SECONDS = re.compile(r"Continuing at (\S+), without a worker"), 15


def end(scenario: Scenario, run: DagRun, ending: Ending, task_id: str, index: int = -1) -> None:
    """End a task as the UI's buttons do."""
    where = (run.dag_id, run.dag_run_id)
    if ending == "clear":
        scenario.client.clear_tasks(*where, [task_id if index < 0 else (task_id, index)])
    else:
        scenario.client.set_task_state(*where, task_id, ending, index)


def delete(scenario: Scenario, run: DagRun) -> None:
    """Delete a run as the UI does; Airflow deletes none that is running.

    A person takes longer for the second click than the scheduler for a loop. In that loop, the scheduler
    of 3.3.2 ends with an ``ObjectDeletedError`` if the run goes; how long it is, a busy machine decides.
    """
    scenario.client.set_run_state(run.dag_id, run.dag_run_id, "failed")
    heartbeats = set[str]()

    def has_left_it() -> bool:
        """A loop ends with a heartbeat: between the second and the third, a whole one has gone by."""
        scheduler = scenario.client.get("monitor/health")["scheduler"]
        heartbeats.add(scheduler["latest_scheduler_heartbeat"])
        return len(heartbeats) > 2

    scenario.wait_until(has_left_it, "the scheduler has left the run")
    scenario.client.delete_run(run.dag_id, run.dag_run_id)


# The pipeline, whose tasks of a chunk are mapped: three chunks of one run are ended one by one, and another
# run with a chunk is deleted.


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """A place on a chunk's way where it can be ended.

    :param task: of the chunk group.
    :param state: that the task is in.
    :param cancelled: how many chunks this cancels at Extend.
    :param marks: of the test.
    """

    task: str
    state: str
    cancelled: int = 0
    marks: tuple[pytest.MarkDecorator, ...] = ()

    def __str__(self) -> str:
        return f"{self.task} {self.state}"


QUEUED, LONG = pytest.mark.held, pytest.mark.long
POINTS = [
    Point("submit", "scheduled", marks=(FULL,)),
    Point("submit", "queued", marks=(FULL, QUEUED)),
    Point("submit", "running", cancelled=3, marks=(FULL,)),  # the answer would come when the worker is gone
    Point("submit", "deferred", cancelled=3, marks=(FULL, LONG)),  # the answer is lost, the list is late
    # A queued task has no worker that could cancel its batch.
    Point("wait", "queued", marks=(FULL, QUEUED)),
    Point("wait", "deferred", cancelled=3, marks=(LONG,)),
    Point("collect", "running", marks=(FULL,)),
    Point("load", "running", marks=(FULL,)),
]


@pytest.mark.parametrize("point", [pytest.param(point, id=str(point), marks=point.marks) for point in POINTS])
def test_next_run_completes_chunks_that_were_ended_by_hand(scenario: Scenario, point: Point) -> None:
    truths = [*scenario.seed(DOCUMENTS - CHUNK_SIZE, DAY), *scenario.seed(CHUNK_SIZE, NEXT_DAY)]
    given_back = CHUNK_SIZE * point.cancelled
    with HELD[str(point)](scenario) as bring_to:
        run, deleted = scenario.start(chunk_size=CHUNK_SIZE), scenario.start(NEXT_DAY)
        bring_to(run, deleted)
        for index in range(len(ENDINGS)):
            scenario.task(run, point.task, point.state, index=index)
        scenario.task(deleted, point.task, point.state)
        for index, ending in enumerate(ENDINGS):
            end(scenario, run, ending, f"{CHUNK}.{point.task}", index)
        delete(scenario, deleted)
        ended = [(run, index) for index, ending in enumerate(ENDINGS) if ending != "clear"]
        see_cancelled(scenario, given_back, *ended, (deleted, None))
    scenario.extend.configure(hold=False)
    scenario.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS, interval=LOOK_SECONDS)
    again = scenario.start(None)
    scenario.succeed(again)
    if given_back:  # what was marked as success has landed as it was: cancelled
        scenario.succeed(scenario.start(None, reprocess="failed"))
    scenario.record(DOCUMENTS, run, again)
    scenario.assert_landed(truths)
    paid = collections.Counter(scenario.created().values())
    assert paid == +collections.Counter({1: DOCUMENTS - given_back, 2: given_back})
    assert cancelled(scenario) == given_back
    scenario.assert_nothing_under_way()


def cancelled(scenario: Scenario) -> int:
    return int(scenario.extend.stats()["runs"].get("CANCELLED", 0))


def see_cancelled(scenario: Scenario, number: int, *ended: tuple[DagRun, int | None]) -> None:
    """Wait until so many runs are cancelled, by hand where a worker's time was up and its log says so.

    On a busy machine the log of a cleared task, too, may say that Airflow gave no answer in time, and how to
    cancel its work. A person who has cleared it does not.

    :param ended: the DAG runs with tasks that were ended for good, and their map index; None: all of them.
    """
    by_hand_from, done = time.monotonic() + PATIENCE, set[str]()

    def all_are() -> bool:
        if cancelled(scenario) < number and time.monotonic() > by_hand_from:
            for command in told_commands(scenario, *ended) - done:
                done.add(command)
                scenario.lane.finish_by_hand(command)
        assert cancelled(scenario) <= number, "a run was cancelled that somebody needs"
        return cancelled(scenario) == number

    scenario.wait_until(all_are, f"{number} runs are cancelled")


def logs_of(scenario: Scenario, run: DagRun, index: int | None = None) -> Iterator[Path]:
    """Yield the logs of a run's tasks, the triggerer's part of them too; those of a deleted run stay.

    :param index: the map index of the tasks; None: all of them.
    """
    logs = scenario.lane.airflow.home.logs / "tasks" / f"dag_id={run.dag_id}" / f"run_id={run.dag_run_id}"
    yield from logs.glob("**/*.log*" if index is None else f"**/map_index={index}/*.log*")


def told_commands(scenario: Scenario, *ended: tuple[DagRun, int | None]) -> set[str]:
    """Return the commands that finish a cancellation, from the logs of what was ended."""
    texts = (file.read_text() for run, index in ended for file in logs_of(scenario, run, index))
    return {command for text in texts for command in TOLD.findall(text)}


def looked_at(scenario: Scenario, run: DagRun, task_id: str, index: int = -1) -> None:
    """Wait until a task has polled its runs: a trigger that has not begun is not told of its end."""
    where = (run.dag_id, run.dag_run_id, task_id, PROGRESS_KEY, index)
    scenario.wait_until(lambda: scenario.client.xcom(*where), f"a look of {task_id} [{index}]")


def waited_for(scenario: Scenario, run: DagRun, deleted: DagRun) -> None:
    for index in range(len(ENDINGS)):
        looked_at(scenario, run, f"{CHUNK}.wait", index)
    looked_at(scenario, deleted, f"{CHUNK}.wait", 0)


#: Called with the run whose chunks are ended and the one that is deleted, has them come to the point.
BringTo = Callable[[DagRun, DagRun], None]


@contextlib.contextmanager
def submit_scheduled(scenario: Scenario) -> Iterator[BringTo]:
    scenario.lane.open_pools(batches=0)
    yield lambda *_: None
    scenario.lane.open_pools()


@contextlib.contextmanager
def submit_running(scenario: Scenario) -> Iterator[BringTo]:
    scenario.lane.connect(answer_seconds=60)
    scenario.extend.configure(hold=True, faults=[fault("slow", seconds=40, accepted=True, count=None)])
    yield lambda *_: scenario.wait_until(lambda: len(scenario.created()) == DOCUMENTS, "Extend has it all")
    scenario.extend.configure(faults=[])


@contextlib.contextmanager
def submit_queued(scenario: Scenario) -> Iterator[BringTo]:
    with scenario.lane.queued("submit"):
        yield lambda *_: None


@contextlib.contextmanager
def submit_deferred(scenario: Scenario) -> Iterator[BringTo]:
    """Extend has accepted the chunks, answers with an error, and lists them late: their absence is proven.

    Looks get rarer by and by, so there comes a time in which all of them are far from the next one.
    """
    scenario.lane.connect(grace_seconds=240)
    lost = fault("error", accepted=True, status=500, count=None)
    scenario.extend.configure(hold=True, listing_lag_seconds=100, faults=[lost])

    def bring_to(run: DagRun, deleted: DagRun) -> None:
        def all_wait() -> bool:
            left = [*seconds_without_worker(scenario, run), *seconds_without_worker(scenario, deleted)]
            return len(left) == len(ENDINGS) + 1 and min(left) > ENDING_SECONDS

        scenario.wait_until(all_wait, "triggers wait")

    yield bring_to
    scenario.extend.configure(faults=[], listing_lag_seconds=0)


def seconds_without_worker(scenario: Scenario, run: DagRun) -> list[float]:
    """Return for how long each submission still has no worker, if its trigger is at work."""
    moments: dict[Path, dt.datetime] = {}
    written: dict[Path, dict[bool, float]] = collections.defaultdict(dict)
    for file in logs_of(scenario, run):
        last = written[file.parent]
        of_trigger = ".trigger." in file.name
        last[of_trigger] = max(last.get(of_trigger, 0), file.stat().st_mtime)
        for moment in map(dt.datetime.fromisoformat, GOING_ON.findall(file.read_text())):
            moments[file.parent] = max(moments.get(file.parent, moment), moment)
    now = dt.datetime.now(dt.UTC)
    return [
        (moment - now).total_seconds()
        for place, moment in moments.items()
        if written[place].get(True, 0) > written[place].get(False, 0)
    ]


@contextlib.contextmanager
def wait_queued(scenario: Scenario) -> Iterator[BringTo]:
    scenario.extend.configure(hold=True)
    with scenario.lane.queued("wait"):
        yield lambda *_: None


@contextlib.contextmanager
def wait_deferred(scenario: Scenario) -> Iterator[BringTo]:
    scenario.extend.configure(hold=True)
    yield lambda run, deleted: waited_for(scenario, run, deleted)


@contextlib.contextmanager
def collect_running(scenario: Scenario) -> Iterator[BringTo]:
    scenario.lane.connect(answer_seconds=90)
    scenario.extend.configure(faults=[fault("slow", RUN, seconds=60, count=None)])
    yield lambda *_: None
    scenario.extend.configure(faults=[])


@contextlib.contextmanager
def load_running(scenario: Scenario) -> Iterator[BringTo]:
    scenario.lane.connect(lock_seconds=90)
    scenario.lane.open_pools(writers=8)
    scenario.extend.configure(hold=True)
    with contextlib.ExitStack() as lock:

        def bring_to(run: DagRun, deleted: DagRun) -> None:
            waited_for(scenario, run, deleted)
            lock.enter_context(duckdb.connect(str(scenario.lane.warehouse)))
            scenario.extend.configure(hold=False)

        yield bring_to
    scenario.lane.open_pools()


HELD = {
    "submit scheduled": submit_scheduled,
    "submit queued": submit_queued,
    "submit running": submit_running,
    "submit deferred": submit_deferred,
    "wait queued": wait_queued,
    "wait deferred": wait_deferred,
    "collect running": collect_running,
    "load running": load_running,
}


# The operators that stand alone: a task and one of two mapped ones are ended, the other one goes on.

HOW = ("running", "deferred")
PLACES = ("plain", "mapped/0", "mapped/1")


@dataclasses.dataclass(frozen=True, slots=True)
class Alone:
    """Tasks that stand alone: the plain one, and those that are mapped.

    :param dag: the DAG, by how its tasks wait.
    :param marked: how many runs at Extend a place has after its task was marked; cleared, it has one.
    """

    dag: dict[str, str]
    plain: str
    mapped: str
    marked: int = 1

    @property
    def tasks(self) -> tuple[tuple[str, int], ...]:
        """The tasks that are ended."""
        return ((self.plain, -1), (self.mapped, 0))

    @property
    def all(self) -> tuple[tuple[str, int], ...]:
        """The same, and the one that goes on."""
        return (*self.tasks, (self.mapped, 1))


SINGLE_RUNS = Alone(OPERATORS, "plain", "mapped")
SUBMISSIONS = Alone(BATCHES, "submit", "submit_mapped")
WAITS = Alone(BATCHES, "wait", "wait_mapped")


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(SINGLE_RUNS, "running", id="single runs running", marks=FULL),
        pytest.param(SINGLE_RUNS, "deferred", id="single runs deferred"),
        pytest.param(SUBMISSIONS, "running", id="batch operator running"),
        pytest.param(WAITS, "running", id="batch sensor running", marks=FULL),
        pytest.param(WAITS, "deferred", id="batch sensor deferred", marks=FULL),
    ],
)
def test_operators_ended_at_work_cancel_their_runs(scenario: Scenario, kind: Alone, how: str) -> None:
    late = [fault("slow", seconds=40, accepted=True, count=None)] if kind is SUBMISSIONS else []
    scenario.lane.connect(answer_seconds=60)
    scenario.extend.configure(hold=True, faults=late)
    dag_id = scenario.lane.dag_id(kind.dag[how])
    runs: dict[Ending, DagRun] = {}
    for ending in ENDINGS:  # one after the other: those that run in workers hold their slots
        runs[ending] = at_work(scenario, scenario.client.trigger(dag_id), kind, how)
        for task_id, index in kind.tasks:
            end(scenario, runs[ending], ending, task_id, index)
    deleted = at_work(scenario, scenario.client.trigger(dag_id), kind, how)
    delete(scenario, deleted)
    scenario.extend.configure(faults=[])
    # Both tasks of two runs, and all three of the one that was deleted; clearing gives nothing back.
    see_cancelled(scenario, 7, *((run, None) for run in (runs["failed"], runs["success"], deleted)))
    conclude(scenario, kind, runs, deleted)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        pytest.param(SINGLE_RUNS, "scheduled", id="single runs scheduled", marks=FULL),
        pytest.param(SUBMISSIONS, "scheduled", id="batch operator scheduled"),
        pytest.param(SINGLE_RUNS, "queued", id="single runs queued", marks=(FULL, QUEUED)),
        pytest.param(SUBMISSIONS, "queued", id="batch operator queued", marks=(FULL, QUEUED)),
    ],
)
def test_operators_ended_before_they_begin_send_nothing(scenario: Scenario, kind: Alone, state: str) -> None:
    with contextlib.ExitStack() as held:
        if state == "queued":
            held.enter_context(scenario.lane.queued(kind.plain, kind.mapped))
        else:
            scenario.lane.open_pools(batches=0)
        dag_id = scenario.lane.dag_id(kind.dag["deferred"])
        runs = {ending: scenario.client.trigger(dag_id) for ending in ENDINGS}
        deleted = scenario.client.trigger(dag_id)
        for run in (*runs.values(), deleted):
            for task_id, index in kind.all:
                scenario.client.wait_for_task(*_where(run), task_id, [state], map_index=index)
        for ending, run in runs.items():
            for task_id, index in kind.tasks:
                end(scenario, run, ending, task_id, index)
        delete(scenario, deleted)
    scenario.lane.open_pools()
    conclude(scenario, dataclasses.replace(kind, marked=0), runs)


def conclude(
    scenario: Scenario, kind: Alone, runs: dict[Ending, DagRun], deleted: DagRun | None = None
) -> None:
    """Let what goes on come to its end; then count what was paid.

    :param deleted: a run that was deleted after all of its places had got their runs at Extend.
    """
    scenario.extend.configure(hold=False)
    gone = cancelled(scenario)
    for run in runs.values():
        scenario.client.wait_for_run(*_where(run), timeout=RUN_SECONDS, interval=LOOK_SECONDS)
    *ended, goes_on = PLACES
    expected = {f"{run.dag_run_id}/{goes_on}": 1 for run in runs.values()}
    for ending, run in runs.items():
        times = 1 if ending == "clear" else kind.marked
        expected |= {f"{run.dag_run_id}/{place}": times for place in ended}
    expected |= {f"{deleted.dag_run_id}/{place}": 1 for place in PLACES} if deleted else {}
    created = scenario.created()
    scenario.record(len(created), *runs.values())
    assert created == {place: times for place, times in expected.items() if times}
    assert cancelled(scenario) == gone
    scenario.assert_nothing_under_way()


def at_work(scenario: Scenario, run: DagRun, kind: Alone, how: str) -> DagRun:
    """Wait until each task of a run has its run at Extend and looks at it."""
    for (task_id, index), place in zip(kind.all, PLACES, strict=True):
        if how == "deferred" or kind is WAITS:
            looked_at(scenario, run, task_id, index)
        else:
            key = f"{run.dag_run_id}/{place}"
            scenario.wait_until(partial(_has, scenario, key), f"Extend has {key}")
    return run


def _has(scenario: Scenario, key: str) -> bool:
    return key in scenario.created()


def _where(run: DagRun) -> tuple[str, str]:
    return run.dag_id, run.dag_run_id
