"""Ownership: which attempt owns a task's work at Extend, which other tasks need it, and when to cancel it.

Airflow calls ``on_kill`` in very different cases (measured on 3.3.2): a task was marked failed or success,
its run was deleted, it was cleared, its trigger moved to another triggerer, its worker is shut down, its
``execution_timeout`` has passed. Only in the first two is the work not needed any more, and only if no later
attempt has continued it; in all others a running or future attempt owns it.

Airflow may also call it late: the trigger of a cleared task is killed when the next attempt is running or has
ended; a worker or a triggerer that lost its connection is killed at any later time. The state of the task is
that of another attempt by then. So each process that begins to work on a task, at first or after a deferral,
writes a token to the task's XComs, which Airflow deletes when an attempt begins. The token names the owner:
that process, and the trigger to which it has deferred the task.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import ObjectStoragePath
from airflow.sdk.bases.xcom import BaseXCom

from extend_provider.batch.cancellation import RemoteWork, cancel_from_worker
from extend_provider.batch.disk import on_disk
from extend_provider.exceptions import ExtendError
from extend_provider.security import describe_error

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator as _Operator

    from extend_provider.hooks.extend import ExtendHook
else:
    _Operator = object

#: XCom key of the owner's token.
OWNER_KEY = "extend_owner"
#: States in which a task has ended for good.
ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: Seconds that a worker has for a cancellation; Airflow kills it five seconds after the first signal.
WORKER_SECONDS = 4.5
#: The part of them for finding a batch whose id is not known.
SEARCH_SECONDS = 1.5
#: The part of them in which Airflow must answer whether the task was ended.
ANSWER_SECONDS = 3.0
#: How many other waiters a log line names.
NAMED_WAITERS = 3


def become_owner(ti: Any) -> str:
    """Make this process the owner of a task instance's work; return the token."""
    token = uuid.uuid4().hex
    BaseXCom.set(key=OWNER_KEY, value=token, **_ti_key(ti))
    return token


def has_ended(ti: Any) -> bool:
    """Return True if a task instance has ended for good, or is gone together with its run.

    Asks Airflow, in the triggerer and in a worker alike, and blocks meanwhile. A cleared task's row stays and
    has no state; the row of a run that was deleted is not there.

    :param ti: the task instance, or a :class:`Waiter`.
    """
    return all(state in ENDED_STATES for state in _states(ti))


def ended_while_owned_by(owner: str | None, ti: Any) -> bool:
    """Return True if a task instance has ended, or is gone, and this owner was its last one; blocks.

    :param owner: the token; None: the owner has written none.
    """
    # The state first: an attempt that ends between the two requests has written its token before.
    if not has_ended(ti):
        return False
    # Without a token, an attempt has begun and not written its own yet, or the task does not exist any more.
    present = BaseXCom.get_one(key=OWNER_KEY, **_ti_key(ti))
    return present == owner or (present is None and not _states(ti))


def _states(ti: Any) -> list[str | None]:
    """Return the state of a task instance; nothing if there is none."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    key = _ti_key(ti)
    states = RuntimeTaskInstance.get_task_states(
        dag_id=key["dag_id"],
        task_ids=[key["task_id"]],
        run_ids=[key["run_id"]],
        map_index=key["map_index"],
    )
    return list((states.get(ti.run_id) or {}).values())


def _ti_key(ti: Any) -> dict[str, Any]:
    map_index = -1 if ti.map_index is None else ti.map_index
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": map_index}


@dataclasses.dataclass(frozen=True, slots=True)
class Waiter:
    """A task instance that needs a batch; the tasks of one task group count as one waiter.

    Several runs may need one batch, and the end of one task must not cancel it for the others. So each task
    writes a file with its task key into a shared folder. Whether a waiter still waits is looked up in Airflow
    before a cancellation: the file of a task that has ended, or of a deleted run, prevents nothing.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, ti: Any, sibling: str | None = None) -> Waiter:
        """Return the waiter of a task instance, or of another task in its group.

        :param sibling: the other task's id in the group.
        """
        group, dot, _ = ti.task_id.rpartition(".")
        key = _ti_key(ti)
        return cls(**key) if sibling is None else cls(**{**key, "task_id": f"{group}{dot}{sibling}"})

    def is_of_same_group(self, other: Waiter) -> bool:
        """Return True if both are tasks of one group, so that the end of one ends the wait of the other."""
        return self._group == other._group

    @property
    def _group(self) -> tuple[str, str, str, int]:
        return self.dag_id, self.run_id, self.task_id.rpartition(".")[0], self.map_index

    def __str__(self) -> str:
        index = "" if self.map_index < 0 else f" [{self.map_index}]"
        return f"{self.dag_id}.{self.task_id}{index} of run {self.run_id}"


def add_waiter(folder: str, waiter: Waiter) -> None:
    """Add a waiter; to be called before the work is sent or reattached."""
    path = on_disk(_waiter_path(folder, waiter))
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(waiter)))


def remove_waiter(folder: str, waiter: Waiter) -> None:
    """Remove a waiter."""
    _waiter_path(folder, waiter).unlink(missing_ok=True)


def other_waiters(folder: str, waiter: Waiter) -> list[Waiter]:
    """Return the other tasks that still wait; blocks."""
    return [
        each for each in _read_waiters(folder) if not each.is_of_same_group(waiter) and not has_ended(each)
    ]


def _read_waiters(folder: str) -> Iterator[Waiter]:
    place = on_disk(ObjectStoragePath(folder))
    if isinstance(place, ObjectStoragePath):
        # A triggerer lives long, and other processes add files meanwhile.
        place.fs.invalidate_cache(place.path)
    try:
        paths: list[Any] = list(place.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return  # no task has waited yet
    for path in paths:
        try:
            yield Waiter(**json.loads(path.read_text()))
        except FileNotFoundError:
            continue  # it was removed meanwhile


def _waiter_path(folder: str, waiter: Waiter) -> ObjectStoragePath:
    name = hashlib.sha256(str(waiter).encode()).hexdigest()[:32]
    return ObjectStoragePath(folder) / f"{name}.json"


def should_cancel(work: RemoteWork, ti: Any, owner: str | None, log: Any) -> bool:
    """Return True if nobody needs a killed task's work any more; log the reason. Asks Airflow, and blocks.

    :param owner: the token of the process or trigger that was killed.
    """
    if not ended_while_owned_by(owner, ti):
        log.info("%s: another attempt of the task owns it now, so nothing is cancelled.", work)
        return False
    if work.waiters is None:
        return True
    waiter = Waiter.of(ti)
    remove_waiter(work.waiters, waiter)
    others = other_waiters(work.waiters, waiter)
    if others:
        names = ", ".join(map(str, others[:NAMED_WAITERS]))
        message = "%s: the task was ended, but other tasks wait for the same work (%s; %s). %s"
        log.warning(message, work, len(others), names, manual_cancel_advice(work))
    return not others


def manual_cancel_advice(work: RemoteWork) -> str:
    """Return the statement that nothing was cancelled, with the command that cancels."""
    return f"Nothing was cancelled. To cancel what has not settled: {work.command}"


class CancelsOnKillMixin(_Operator):
    """For operators with work at Extend: cancels the work if the task is ended while this process owns it.

    :ivar cancel_on_kill: whether to cancel.
    :ivar owned_work: the work and the task instance, once there is work.
    :ivar killed: Airflow has sent its signal; the process continues for a few seconds.
    :ivar work_owner: the token of this process.
    """

    cancel_on_kill: bool
    extend_conn_id: str
    owned_work: tuple[RemoteWork, Any] | None = None
    killed: bool = False
    work_owner: str | None = None

    @cached_property
    def hook(self) -> ExtendHook:
        """The hook; used as a context manager, it closes its session when the task ends or is deferred."""
        from extend_provider.hooks.extend import ExtendHook

        return ExtendHook(extend_conn_id=self.extend_conn_id)

    def pre_execute(self, context: Any) -> None:
        """Become the owner of the task's work; Airflow calls this before an attempt and before it resumes."""
        self.work_owner = become_owner(context["ti"])

    def defer(self, *, trigger: Any, **how: Any) -> NoReturn:
        """Make the trigger an owner, too, and defer the task."""
        trigger.owner = self.work_owner
        super().defer(trigger=trigger, **how)

    def own_work(self, work: RemoteWork | None, ti: Any) -> None:
        """Set the work to cancel on a kill; if the kill came while it was being sent, cancel it now.

        :param work: None: there is no work any more.
        """
        # Imported now: a kill may interrupt an import, and the cancellation would wait for its lock forever.
        importlib.import_module("extend_provider.hooks.extend")
        self.owned_work = None if work is None else (work, ti)
        if self.killed:
            self.on_kill()

    def raise_if_killed(self) -> None:
        """Check, right before a request, that this process is not being killed.

        :raises ExtendError: if it is.
        """
        if self.killed:
            raise ExtendError("This process is being killed, so nothing was sent.", retryable=True)

    def on_kill(self) -> None:
        """Cancel the work if the task was ended; not if it was cleared or its worker is shut down."""
        self.killed = True
        if self.cancel_on_kill and self.owned_work is not None and not _has_returned(self.owned_work[1]):
            cancel_if_ended(*self.owned_work, self.work_owner, self.log)


def _has_returned(ti: Any) -> bool:
    """Return True if a task has ended normally, and its process has only callbacks left to run."""
    return getattr(ti, "end_date", None) is not None or getattr(ti, "state", None) in ENDED_STATES


def cancel_if_ended(work: RemoteWork, ti: Any, owner: str | None, log: Any) -> None:
    """Cancel a killed worker task's work if the task was ended; log the result."""
    begun = time.monotonic()
    answers: list[bool] = []

    def ask() -> None:
        try:
            answers.append(should_cancel(work, ti, owner, log))
        except Exception as error:  # noqa: BLE001  # without an answer, nothing is cancelled
            log.warning("Airflow could not be asked for the task's state: %s", describe_error(error))

    # In a thread: the signal handler must not wait for the connection to the supervisor, because the
    # interrupted thread may hold its lock.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not answers:
        log.error("%s: it is not known whether the task was ended. %s", work, manual_cancel_advice(work))
    elif answers[0]:
        # Logged first, because the process is about to be killed.
        log.warning(
            "%s: the task was ended; cancelling. If the cancellation does not finish: %s", work, work.command
        )
        seconds = round(WORKER_SECONDS - (time.monotonic() - begun), 1)
        cancellation = cancel_from_worker(work, seconds=seconds, search_seconds=SEARCH_SECONDS)
        log.warning("%s: %s", cancellation.work, cancellation)
