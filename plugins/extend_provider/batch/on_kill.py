"""What a killed task means for its remote work: whether it was given up, and outlasting the kill.

Airflow calls ``on_kill`` on very different occasions (measured on 3.3.2): a task was marked failed or
success, its run was deleted, it was cleared, its trigger moved to another triggerer, its worker is shut down,
its ``execution_timeout`` has passed. Only the first two give the work up, and only if nobody else has gone on
with it since; in all others an attempt that is running already, or will, owns it.
:mod:`extend_provider.batch.ownership` tells them apart.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from extend_provider.batch.cancellation import RemoteWork, cancel_from_worker
from extend_provider.batch.ownership import ENDED_STATES, become_owner, is_ended_under
from extend_provider.batch.waiters import Follower, others, unfollow
from extend_provider.exceptions import ExtendError
from extend_provider.security import describe_error

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator as _Operator
else:
    _Operator = object

#: Seconds that a worker has for all of it; Airflow kills it five seconds after the first signal.
WORKER_SECONDS = 4.5
#: How many of them may go by in looking for a batch whose id is not known: it may still arrive.
LOOK_SECONDS = 1.5
#: Seconds of them in which Airflow must have answered whether the task was ended.
ANSWER_SECONDS = 3.0
#: How many others that wait for the same work are named.
TOLD_FOLLOWERS = 3


def stays(work: RemoteWork, ti: Any, owner: str | None, log: Any) -> bool:
    """Whether a killed task's work goes on; says why. Asks Airflow, and blocks meanwhile.

    :param owner: the mark of whoever was killed.
    """
    if not is_ended_under(owner, ti):
        log.info("%s: the wait goes on elsewhere, or did, so nothing is cancelled.", work)
        return True
    if work.followers is None:
        return False
    follower = Follower.of(ti)
    unfollow(work.followers, follower)
    rest = others(work.followers, follower)
    if rest:
        told = ", ".join(map(str, rest[:TOLD_FOLLOWERS]))
        message = "%s: the task was ended, but others wait for the same work (%s; %s). %s"
        log.warning(message, work, len(rest), told, left_alone(work))
    return bool(rest)


async def outlast(task: asyncio.Task[None]) -> None:
    """Wait for a task although we are being cancelled: the triggerer repeats it about once a second."""
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue


def release_from_worker(work: RemoteWork, ti: Any, owner: str | None, log: Any) -> None:
    """Cancel a killed worker task's work if the task was given up; says in the log what became of it."""
    begun = time.monotonic()
    answers: list[bool] = []

    def ask() -> None:
        try:
            answers.append(stays(work, ti, owner, log))
        except Exception as error:  # noqa: BLE001  # no answer is an answer too: nothing is cancelled
            log.warning("Whether the task's work is to be cancelled: %s", describe_error(error))

    # A signal handler must not wait for the connection to the supervisor itself: who holds it may be the
    # very thread that was interrupted.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not answers:
        log.error("%s: whether the task was ended is not known. %s", work, left_alone(work))
    elif not answers[0]:
        # Said first, because the process is about to be killed.
        log.warning(
            "%s: the task was ended; cancelling. Should it not get to its end: %s", work, work.command
        )
        seconds = round(WORKER_SECONDS - (time.monotonic() - begun), 1)
        outcome = cancel_from_worker(work, seconds=seconds, look_seconds=LOOK_SECONDS)
        log.warning("%s: %s", outcome.work, outcome)


class CancelsOnKillMixin(_Operator):
    """For an operator that has work at Extend: cancels it when the task is ended while it is the owner.

    :ivar cancel_on_kill: whether it does.
    :ivar in_hand: the work and the task instance, once there is any.
    :ivar killed: Airflow has sent its signal; the process goes on for a few seconds.
    :ivar work_owner: the mark of this process, see :mod:`extend_provider.batch.ownership`.
    """

    cancel_on_kill: bool
    in_hand: tuple[RemoteWork, Any] | None = None
    killed: bool = False
    work_owner: str | None = None

    def pre_execute(self, context: Any) -> None:
        """Become the owner of the task's work; Airflow calls this before an attempt and before it resumes."""
        self.work_owner = become_owner(context["ti"])

    def defer(self, *, trigger: Any, **how: Any) -> NoReturn:
        """Hand the work over to the trigger."""
        trigger.owner = self.work_owner
        super().defer(trigger=trigger, **how)

    def take_in_hand(self, work: RemoteWork | None, ti: Any) -> None:
        """Answer for work from here on; if the kill came while it was being sent, answer for it now.

        :param work: None: there is none any more.
        """
        # Now, because a kill may interrupt an import, and whoever cancels would wait for it in vain.
        importlib.import_module("extend_provider.hooks.extend")
        self.in_hand = None if work is None else (work, ti)
        if self.killed:
            self.on_kill()

    def send_nothing_if_killed(self) -> None:
        """See that nothing is sent in the last seconds of a process.

        :raises ExtendError: if it has been told to end.
        """
        if self.killed:
            raise ExtendError("This process is being ended, so nothing was sent.", retryable=True)

    def on_kill(self) -> None:
        """Cancel the work if the task was ended; not if it was cleared or its worker is shut down."""
        self.killed = True
        if self.cancel_on_kill and self.in_hand is not None and not _has_told_its_end(self.in_hand[1]):
            release_from_worker(*self.in_hand, self.work_owner, self.log)


def _has_told_its_end(ti: Any) -> bool:
    """Whether a task has ended by itself, and its process has only callbacks left to do."""
    return getattr(ti, "end_date", None) is not None or getattr(ti, "state", None) in ENDED_STATES


def left_alone(work: RemoteWork) -> str:
    """Say that nothing was cancelled, and how to do it."""
    return f"Nothing was cancelled. To cancel what has not settled: {work.command}"
