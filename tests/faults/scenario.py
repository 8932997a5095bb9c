"""A fault test's scenario: documents with a known truth, ways to break things, and the checks at the end."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from faults.lanes import PIPELINE, PREFIX, Lane
from fixtures.extend_api import ExtendApi
from fixtures.timing import LOOK_SECONDS, RUN_SECONDS, SEEN_SECONDS, TASK_SECONDS
from sandbox.airflow_settings import AirflowSettings, VariableSettings
from sandbox.documents import Truth, expected_result
from sandbox.stack.client import AirflowClient, DagRun, TaskInstance
from sandbox.stack.landed import LandedWarehouse
from sandbox.stack.samples import SOURCE_VARIABLE, seed_documents
from sandbox.stack.supervisor import Stack
from sandbox.stack.verify import differences

GROUP = "documents_to_warehouse"
CHUNK = f"{GROUP}.chunk"
WORKFLOW = "workflow_mixed"

BATCH = "POST /workflow_runs/batch"
LIST = "GET /workflow_runs"
RUN = "GET /workflow_runs/{id}"

#: What a run of the emulator is in while it is still paid work under way.
UNSETTLED = frozenset(("PENDING", "PROCESSING", "CANCELLING"))

DAY = dt.date(2026, 10, 1)

#: Airflow's own parts, its database first: the order in which they start.
AIRFLOW = ("postgres", "api-server", "scheduler", "dag-processor", "triggerer")

#: The tasks of a run that nothing disturbs: each once.
UNDISTURBED = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """One line of the table at the end: a scenario's requests to Extend and its tasks' tries."""

    name: str
    documents: int
    posts: int
    lists: int
    gets: int
    runs_per_document: str
    attempts: str
    seconds: float


@dataclasses.dataclass(slots=True)
class Scenario:
    """One scenario in a lane of its own.

    :param name: the test's.
    :ivar counts: the lines that the finished scenario has for the table.
    """

    name: str
    lane: Lane
    counts: list[Counts] = dataclasses.field(default_factory=list)
    bucket: str = dataclasses.field(init=False)
    began: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.bucket = f"inbox-{uuid.uuid4().hex[:8]}"
        self.lane.clean(self.bucket)

    @property
    def extend(self) -> ExtendApi:
        """The lane's own emulator."""
        return self.lane.extend

    @property
    def client(self) -> AirflowClient:
        """Airflow's REST API."""
        return self.lane.client

    def end(self) -> None:
        """Fail the runs that are still active."""
        for run in (run for dag_id in self.lane.dag_ids() for run in self.client.runs(dag_id)):
            if not run.ended:
                self.client.set_run_state(run.dag_id, run.dag_run_id, "failed")

    # Beginning

    def seed(self, per_day: int = 16, *days: dt.date) -> list[Truth]:
        """Upload documents, from 16 a day on with the awkward ones; return their truth."""
        source = VariableSettings(
            variable_name=SOURCE_VARIABLE, variable_value=f"s3://{self.bucket}/{PREFIX}"
        )
        settings = AirflowSettings(variables=[source])
        return seed_documents(self.lane.s3.endpoint_url, settings, days or (DAY,), per_day, 7)

    def start(self, day: dt.date | None = DAY, **params: Any) -> DagRun:
        """Start a run over the seeded documents of a day, or of all days."""
        source = f"s3://{self.bucket}/{PREFIX}/" + ("" if day is None else f"{day}/")
        conf = {"source": source, **params}
        return self.client.trigger(self.lane.dag_id(PIPELINE), conf=conf)

    def failpoint(
        self, task: str, function: str, when: str = "before", skip: int = 0, room: int | None = None
    ) -> Path:
        """Have the first process of a task that reaches a function kill itself there; return the proof.

        :param task: e.g. ``submit``.
        :param function: ``package.module:Class.method``.
        :param when: ``before`` the call or ``after`` it.
        :param skip: so many calls pass first.
        :param room: instead of being killed, the process can write no more than these bytes to any file.
        :return: the file that exists once the failpoint has struck.
        """
        folder = self.lane.failpoints
        name = function.replace(":", ".")
        failpoint = {"task": task, "function": function, "when": when, "skip": skip, "room": room}
        (folder / f"{name}.json").write_text(json.dumps(failpoint))
        return folder / f"{name}.struck"

    # While it runs

    def task(
        self, run: DagRun, name: str, *states: str, index: int = 0, timeout: float = TASK_SECONDS
    ) -> TaskInstance:
        """Wait until a task of a chunk, or ``discover``, ``plan`` or ``finish``, is in a state."""
        alone = name in {"discover", "plan", "finish"}
        task_id, index = (f"{GROUP}.{name}", -1) if alone else (f"{CHUNK}.{name}", index)
        return self.client.wait_for_task(
            run.dag_id,
            run.dag_run_id,
            task_id,
            states,
            map_index=index,
            timeout=timeout,
            interval=LOOK_SECONDS,
        )

    def processes(self, task: TaskInstance) -> list[psutil.Process]:
        """Return the task's process and the one that supervises it."""
        index = "" if task.map_index < 0 else f"/{task.map_index}"
        path = f"dags/{task.dag_id}/dagRuns/{task.dag_run_id}/taskInstances/{task.task_id}{index}"
        process = psutil.Process(self.client.get(path)["pid"])
        parent = process.parent()
        return [process] if parent is None else [parent, process]

    def created(self) -> dict[str, int]:
        """Return the number of runs that Extend has made of each input."""
        created: dict[str, int] = self.extend.stats()["runs_created"]
        return created

    def under_way(self) -> dict[str, int]:
        """Return how many runs Extend works on, by status."""
        by_status = self.extend.stats()["runs"]
        return {status: count for status, count in by_status.items() if status in UNSETTLED and count}

    def wait_until(self, condition: Callable[[], object], what: str, timeout: float = SEEN_SECONDS) -> None:
        """Wait for a condition outside of Airflow."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
            time.sleep(LOOK_SECONDS)

    # The end

    def succeed(self, *runs: DagRun, timeout: float = RUN_SECONDS) -> list[DagRun]:
        """Wait until the runs have succeeded; fail with the logs of failed tasks."""
        ended = [self._ended(run, timeout) for run in runs]
        for run in ended:
            logs = "" if run.state == "success" else self.client.failed_logs(run.dag_id, run.dag_run_id)
            assert run.state == "success", logs
        return ended

    def fail(self, run: DagRun, timeout: float = RUN_SECONDS) -> str:
        """Wait until the run has failed; return the logs of its failed tasks."""
        assert self._ended(run, timeout).state == "failed"
        return self.client.failed_logs(run.dag_id, run.dag_run_id)

    def _ended(self, run: DagRun, timeout: float) -> DagRun:
        return self.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=timeout, interval=LOOK_SECONDS)

    def verdict(
        self,
        truths: Sequence[Truth],
        *runs: DagRun,
        posts: int | None = 1,
        attempts: Mapping[str, int] = MappingProxyType({}),
        runs_of: Callable[[Truth], int] = lambda _: 1,
    ) -> None:
        """Check the invariants: paid once, one row each as in its file, nothing left under way.

        :param posts: the number of requests for a batch, failed ones included.
        :param attempts: the tries that tasks must have had.
        :param runs_of: the right number of runs of a document.
        """
        self.record(len(truths), *runs)
        self.assert_landed(truths)
        paid = collections.Counter(self.created().values())
        assert paid == collections.Counter(runs_of(truth) for truth in truths if truth.status != "SKIPPED")
        self.assert_nothing_under_way()
        if posts is not None:
            assert self.extend.requests_to(BATCH) == posts
        tries = self.attempts(*runs) if attempts else {}
        assert {name: tries.get(name) for name in attempts} == dict(attempts)

    def assert_landed(self, truths: Sequence[Truth]) -> None:
        """Fail unless each document has one row with what is in its file."""
        expected = [expected_result(truth, WORKFLOW) for truth in truths]
        with LandedWarehouse(self.lane.warehouse) as warehouse:
            found = list(differences(expected, warehouse.documents(WORKFLOW, "")))
        assert not found, "\n".join(map(str, found))

    def assert_nothing_under_way(self) -> None:
        """Fail if Extend still works on a run."""
        assert not self.under_way()

    def attempts(self, *runs: DagRun) -> dict[str, int]:
        """Return the tries of each task, the most of its instances in all runs."""
        tries: collections.Counter[str] = collections.Counter()
        for run in runs:
            for task in self.client.tasks(run.dag_id, run.dag_run_id):
                name = task.task_id.rpartition(".")[2]
                tries[name] = max(tries[name], task.try_number)
        return dict(tries)

    def record(self, documents: int, *runs: DagRun) -> None:
        """Write the scenario's line of the table."""
        stats = self.extend.stats()
        per_document = collections.Counter(stats["runs_created"].values())
        again = {name: tries for name, tries in self.attempts(*runs).items() if tries > UNDISTURBED}
        self.counts.append(
            Counts(
                name=self.name,
                documents=documents,
                posts=stats["requests"].get(BATCH, 0),
                lists=stats["requests"].get(LIST, 0),
                gets=stats["requests"].get(RUN, 0),
                runs_per_document=", ".join(
                    f"{runs}×{count}" for runs, count in sorted(per_document.items())
                ),
                attempts=", ".join(f"{name} {tries}" for name, tries in again.items()),
                seconds=time.monotonic() - self.began,
            )
        )


def fault(kind: str, endpoint: str = BATCH, **fields: Any) -> dict[str, Any]:
    """Return a fault for the emulator's settings; see :class:`sandbox.extend_api.settings.Fault`."""
    return {"kind": kind, "endpoint": endpoint, **fields}


@contextlib.contextmanager
def gone(stack: Stack, names: Collection[str]) -> Iterator[None]:
    """Kill components for the block; each is started again afterwards, whatever happens in it."""
    for name in names:
        stack.kill(name)
    try:
        yield
    finally:
        for name in names:
            stack.start(name)
