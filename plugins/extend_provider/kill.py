"""What a killed task means for its remote work: whether it was given up, and outlasting the kill.

Airflow calls ``on_kill`` on very different occasions (measured on 3.3.2): a task was marked failed or
success, its run was deleted, it was cleared, its trigger moved to another triggerer, its worker is shut down,
its ``execution_timeout`` has passed. Only the first two give the work up; in all others an attempt that is
running already, or will, owns it. The task's state at that moment tells them apart.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from typing import Any

from extend_provider.cancellation import RemoteWork, cancel_from_worker
from extend_provider.exceptions import ExtendError
from extend_provider.followers import Follower, given_up, others, unfollow
from extend_provider.redaction import describe_error

#: Seconds that a worker has for a cancellation; Airflow kills it five seconds after the first signal.
WORKER_SECONDS = 3.0
#: How many of them may go by in looking for a batch whose id is not known: it may still arrive.
LOOK_SECONDS = 1.5
#: Seconds in which the questions for the states of tasks must have been answered, in a worker.
ANSWER_SECONDS = 1.0
#: How many others that wait for the same work are named.
TOLD_FOLLOWERS = 3


def stays(work: RemoteWork, ti: Any, log: Any) -> bool:
    """Whether a killed task's work goes on; says why. Asks Airflow, and blocks meanwhile."""
    if not given_up(ti):
        log.info("%s: the wait goes on elsewhere, so nothing is cancelled.", work)
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


def release_from_worker(work: RemoteWork, ti: Any, log: Any) -> None:
    """Cancel a killed worker task's work if the task was given up; says in the log what became of it."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            answers.append(stays(work, ti, log))
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
        outcome = cancel_from_worker(work, seconds=WORKER_SECONDS, look_seconds=LOOK_SECONDS)
        log.warning("%s: %s", outcome.work, outcome)


class CancelsOnKillMixin:
    """For an operator that has work at Extend in its worker: cancels it when the task is ended there.

    :ivar cancel_on_kill: whether it does.
    :ivar in_hand: the work and the task instance, once there is any.
    :ivar killed: Airflow has sent its signal; the process goes on for a few seconds.
    """

    cancel_on_kill: bool
    in_hand: tuple[RemoteWork, Any] | None = None
    killed: bool = False
    log: Any

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
        if self.cancel_on_kill and self.in_hand is not None:
            release_from_worker(*self.in_hand, self.log)


def left_alone(work: RemoteWork) -> str:
    """Say that nothing was cancelled, and how to do it."""
    return f"Nothing was cancelled. To cancel what has not settled: {work.command}"
