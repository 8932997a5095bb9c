"""A task instance and a context as small as operators need them, keeping what Airflow would keep."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import importlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger


class TaskStateStore:
    """Airflow's task state store, in a dict."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        self.values[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@dataclasses.dataclass
class TaskInstance:
    """One attempt of a task; ``xcoms`` is what the attempt has pushed, in order."""

    try_number: int = 1
    max_tries: int = 0
    first_reschedule: datetime | None = None
    pushed: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    dag_id: str = "dag"
    task_id: str = "task"
    run_id: str = "run"
    map_index: int = -1
    context_carrier: dict[str, str] = dataclasses.field(default_factory=dict)
    start_date: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed.append((key, value))

    @property
    def xcoms(self) -> dict[str, Any]:
        return dict(self.pushed)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


@dataclasses.dataclass
class Task:
    """A task over its attempts: the store lasts, the attempts do not.

    :param retries: as the operator has it.
    :param traced: its instance has a trace context, as it has on Airflow 3.3.
    """

    retries: int = 0
    traced: bool = True
    store: TaskStateStore = dataclasses.field(default_factory=TaskStateStore)
    attempts: list[TaskInstance] = dataclasses.field(default_factory=list)
    _max_tries: int | None = None
    _clears: int = 0
    _run_after: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))

    def attempt(self) -> Any:
        """Return the context of the next attempt."""
        if self._max_tries is None:
            self._max_tries = self.retries
        trace = {"traceparent": f"00-{self._clears:032x}-{1:016x}-00"} if self.traced else {}
        number = len(self.attempts) + 1
        ti = TaskInstance(try_number=number, max_tries=self._max_tries, context_carrier=trace)
        self.attempts.append(ti)
        dag_run = SimpleNamespace(run_after=self._run_after)
        return {"ti": ti, "task_state_store": self.store, "dag_run": dag_run}

    def clear(self, *, keeps_state: bool = True, keeps_trace: bool = False, running: bool = False) -> None:
        """Do what clearing the task does: Airflow 3.3 keeps the store's content, 3.4 does not.

        :param keeps_trace: tracing is off, and the clear does not reset the run: the task gets the trace
            context of the run, which it had before.
        :param running: in a worker, whose end Airflow learns of by a missed heartbeat: it counts as a retry.
        """
        if not keeps_trace:
            self._clears += 1
        if not running:
            self._max_tries = len(self.attempts) + self.retries
        if not keeps_state:
            self.store.values.clear()

    @property
    def xcoms(self) -> dict[str, Any]:
        """XComs of the last attempt."""
        return self.attempts[-1].xcoms


def carried_over(trigger: BaseTrigger) -> Any:
    """Return the trigger as another process makes it from what Airflow stored of it."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))


def run_deferred(operator: BaseOperator, context: Any) -> Any:
    """Execute an operator that defers, at least once: worker, triggerer, worker, each with what it would get.

    The trigger and its event go through JSON, and the worker that resumes gets the event alone.
    """
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    return resume(operator, deferred.value, context)


def run_on(operator: BaseOperator, context: Any) -> Any:
    """Execute an operator that may defer."""
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        return resume(operator, deferred, context)


def resume(operator: BaseOperator, deferred: TaskDeferred, context: Any) -> Any:
    """Let a deferred operator go on to its end, however often it defers again."""
    event = event_of(deferred)
    resumed = copy.copy(operator)
    try:
        return resumed.resume_execution(deferred.method_name, {"event": event}, context)
    except TaskDeferred as again:
        return resume(resumed, again, context)


def event_of(deferred: TaskDeferred) -> Any:
    """Run the trigger of a deferred task; return the payload of its event."""
    trigger = carried_over(deferred.trigger)

    async def first_event() -> Any:
        async for event in trigger.run():
            return json.loads(json.dumps(event.payload))
        return None

    return asyncio.run(first_event())
