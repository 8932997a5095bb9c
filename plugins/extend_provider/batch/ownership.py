"""Who answers for a task's work at Extend, who else needs it, and what becomes of it when the task is killed.

Airflow calls ``on_kill`` on very different occasions (measured on 3.3.2): a task was marked failed or
success, its run was deleted, it was cleared, its trigger moved to another triggerer, its worker is shut down,
its ``execution_timeout`` has passed. Only the first two end the need for the work, and only if nobody else
has gone on with it since; in all others an attempt that is running already, or will, owns it.

Airflow also kills late: the trigger of a cleared task hears of it when the next attempt is at work, or has
ended already; a worker or a triggerer that lost its connection hears of it any time later. The state of the
task is another attempt's by then. So each process that begins to work on a task, at first or after a
deferral, leaves a token in the task's XComs, which Airflow deletes as an attempt begins. The token that is
there names the owner: that process, and the trigger to which it has handed over.
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
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import ObjectStoragePath
from airflow.sdk.bases.xcom import BaseXCom

from extend_provider.batch.cancellation import RemoteWork, cancel_from_worker
from extend_provider.exceptions import ExtendError
from extend_provider.security import describe_error

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator as _Operator

    from extend_provider.hooks.extend import ExtendHook
else:
    _Operator = object

#: XCom key of the owner's token.
OWNER_KEY = "extend_owner"
#: States in which nobody goes on with a task.
ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: Seconds that a worker has for a cancellation; Airflow kills it five seconds after the first signal.
WORKER_SECONDS = 4.5
#: How many of them may go by in looking for a batch whose id is not known: it may still arrive.
LOOK_SECONDS = 1.5
#: Seconds of them in which Airflow must have answered whether the task was ended.
ANSWER_SECONDS = 3.0
#: How many other waiters a log line names.
NAMED_WAITERS = 3


def become_owner(ti: Any) -> str:
    """Answer for a task instance from here on; returns the token."""
    token = uuid.uuid4().hex
    BaseXCom.set(key=OWNER_KEY, value=token, **_place(ti))
    return token


def has_ended(ti: Any) -> bool:
    """Return True if a task instance has ended for good, or is gone together with its run.

    Asks Airflow, in the triggerer and in a worker alike, and blocks meanwhile. A cleared task's row stays and
    has no state; the row of a run that was deleted is not there.

    :param ti: the task instance, or a :class:`Waiter`.
    """
    return all(state in ENDED_STATES for state in _states(ti))


def has_ended_under(owner: str | None, ti: Any) -> bool:
    """Return True if a task instance has ended, or is gone, while this owner answered for it; blocks.

    :param owner: None: it has left no token.
    """
    # The state first: an attempt that ends between the two questions has left its token before.
    if not has_ended(ti):
        return False
    # Without a token, an attempt has begun and has not left its own yet, or there is no task any more.
    present = BaseXCom.get_one(key=OWNER_KEY, **_place(ti))
    return present == owner or (present is None and not _states(ti))


def _states(ti: Any) -> list[str | None]:
    """Return the state of a task instance; nothing if there is none."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    place = _place(ti)
    states = RuntimeTaskInstance.get_task_states(
        dag_id=place["dag_id"],
        task_ids=[place["task_id"]],
        run_ids=[place["run_id"]],
        map_index=place["map_index"],
    )
    return list((states.get(ti.run_id) or {}).values())


def _place(ti: Any) -> dict[str, Any]:
    map_index = -1 if ti.map_index is None else ti.map_index
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": map_index}


@dataclasses.dataclass(frozen=True, slots=True)
class Waiter:
    """A task instance that needs a batch; those beside it, in one task group, are the same waiter.

    Several runs may need one batch, and the end of one task must not cancel it for the others. So each notes
    its place in Airflow in a folder that all of them share. Whether a waiter still waits is asked of Airflow
    when it matters; the note of a task that has ended, or of a run that was deleted, holds nothing back,
    whatever crash has left it behind.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, ti: Any, beside: str | None = None) -> Waiter:
        """Return the place of a task instance, or of another task in its group.

        :param beside: the other task's id in the group.
        """
        group, dot, _ = ti.task_id.rpartition(".")
        place = _place(ti)
        return cls(**place) if beside is None else cls(**{**place, "task_id": f"{group}{dot}{beside}"})

    def is_beside(self, other: Waiter) -> bool:
        """Return True if both are tasks of one group, so that one of them ends the work for the other."""
        return self._group == other._group

    @property
    def _group(self) -> tuple[str, str, str, int]:
        return self.dag_id, self.run_id, self.task_id.rpartition(".")[0], self.map_index

    def __str__(self) -> str:
        index = "" if self.map_index < 0 else f" [{self.map_index}]"
        return f"{self.dag_id}.{self.task_id}{index} of run {self.run_id}"


def add_waiter(folder: str, waiter: Waiter) -> None:
    """Note a waiter; before the work is sent or taken up."""
    path = _note(folder, waiter)
    if path.protocol in ("", "file"):
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(waiter)))


def remove_waiter(folder: str, waiter: Waiter) -> None:
    """Take the note away."""
    _note(folder, waiter).unlink(missing_ok=True)


def other_waiters(folder: str, waiter: Waiter) -> list[Waiter]:
    """Return who else still waits; blocks."""
    return [each for each in _noted(folder) if not each.is_beside(waiter) and not has_ended(each)]


def _noted(folder: str) -> Iterator[Waiter]:
    place = ObjectStoragePath(folder)
    place.fs.invalidate_cache(place.path)  # a triggerer lives long, and others leave their notes meanwhile
    try:
        paths = list(place.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return  # nobody has ever waited
    for path in paths:
        try:
            yield Waiter(**json.loads(path.read_text()))
        except FileNotFoundError:
            continue  # it was taken away meanwhile


def _note(folder: str, waiter: Waiter) -> ObjectStoragePath:
    name = hashlib.sha256(str(waiter).encode()).hexdigest()[:32]
    return ObjectStoragePath(folder) / f"{name}.json"


def should_cancel(work: RemoteWork, ti: Any, owner: str | None, log: Any) -> bool:
    """Return True if nobody needs a killed task's work any more. Asks Airflow, and blocks; logs the reason.

    :param owner: the token of the process or trigger that was killed.
    """
    if not has_ended_under(owner, ti):
        log.info("%s: another attempt waits for it, or did, so nothing is cancelled.", work)
        return False
    if work.waiters is None:
        return True
    waiter = Waiter.of(ti)
    remove_waiter(work.waiters, waiter)
    rest = other_waiters(work.waiters, waiter)
    if rest:
        names = ", ".join(map(str, rest[:NAMED_WAITERS]))
        message = "%s: the task was ended, but others wait for the same work (%s; %s). %s"
        log.warning(message, work, len(rest), names, left_alone(work))
    return not rest


def left_alone(work: RemoteWork) -> str:
    """Say that nothing was cancelled, and how to do it."""
    return f"Nothing was cancelled. To cancel what has not settled: {work.command}"


class CancelsOnKillMixin(_Operator):
    """For an operator that has work at Extend: cancels it when the task is ended while it is the owner.

    :ivar cancel_on_kill: whether it does.
    :ivar in_hand: the work and the task instance, once there is any.
    :ivar killed: Airflow has sent its signal; the process goes on for a few seconds.
    :ivar work_owner: the token of this process.
    """

    cancel_on_kill: bool
    extend_conn_id: str
    in_hand: tuple[RemoteWork, Any] | None = None
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
        """Hand the work over to the trigger."""
        trigger.owner = self.work_owner
        super().defer(trigger=trigger, **how)

    def take_in_hand(self, work: RemoteWork | None, ti: Any) -> None:
        """Answer for work from here on; if the kill came while it was being sent, cancel it now.

        :param work: None: there is none any more.
        """
        # Now, because a kill may interrupt an import, and whoever cancels would wait for it in vain.
        importlib.import_module("extend_provider.hooks.extend")
        self.in_hand = None if work is None else (work, ti)
        if self.killed:
            self.on_kill()

    def send_nothing_if_killed(self) -> None:
        """Send nothing in the last seconds of a process.

        :raises ExtendError: if it has been told to end.
        """
        if self.killed:
            raise ExtendError("This process is being ended, so nothing was sent.", retryable=True)

    def on_kill(self) -> None:
        """Cancel the work if the task was ended; not if it was cleared or its worker is shut down."""
        self.killed = True
        if self.cancel_on_kill and self.in_hand is not None and not _has_returned(self.in_hand[1]):
            cancel_if_ended(*self.in_hand, self.work_owner, self.log)


def _has_returned(ti: Any) -> bool:
    """Return True if a task has ended by itself, and its process has only callbacks left to run."""
    return getattr(ti, "end_date", None) is not None or getattr(ti, "state", None) in ENDED_STATES


def cancel_if_ended(work: RemoteWork, ti: Any, owner: str | None, log: Any) -> None:
    """Cancel a killed worker task's work if the task was ended; logs what became of it."""
    begun = time.monotonic()
    answers: list[bool] = []

    def ask() -> None:
        try:
            answers.append(should_cancel(work, ti, owner, log))
        except Exception as error:  # noqa: BLE001  # no answer is an answer too: nothing is cancelled
            log.warning("Airflow could not be asked for the task's state: %s", describe_error(error))

    # A signal handler must not wait for the connection to the supervisor itself: who holds it may be the
    # very thread that was interrupted.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not answers:
        log.error("%s: whether the task was ended is not known. %s", work, left_alone(work))
    elif answers[0]:
        # Logged first, because the process is about to be killed.
        log.warning(
            "%s: the task was ended; cancelling. Should it not get to its end: %s", work, work.command
        )
        seconds = round(WORKER_SECONDS - (time.monotonic() - begun), 1)
        cancellation = cancel_from_worker(work, seconds=seconds, look_seconds=LOOK_SECONDS)
        log.warning("%s: %s", cancellation.work, cancellation)
