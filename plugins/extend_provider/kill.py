"""What a killed task means for its remote work: whether it was given up, and outlasting the kill.

Airflow calls ``on_kill`` on very different occasions (measured on 3.3.2): a task was marked failed or
success, its run was deleted, it was cleared, its trigger moved to another triggerer, its worker is shut down,
its ``execution_timeout`` has passed. Only the first two give the work up; in all others an attempt that is
running already, or will, owns it. The task's state at that moment tells them apart.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from extend_provider.cancellation import RemoteWork, cancel_from_worker
from extend_provider.redaction import describe_error

#: States in which nobody waits for the task's work any more.
ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: Seconds that a worker has for a cancellation; Airflow kills it five seconds after the first signal.
WORKER_SECONDS = 3.0
#: Seconds in which the question for a task's state must have been answered, in a worker.
ANSWER_SECONDS = 1.0


def given_up(ti: Any) -> bool:
    """Whether the task instance has ended for good, or is gone together with its run.

    Asks Airflow, in the triggerer and in a worker alike, and blocks meanwhile. A cleared task's row stays and
    has no state; the row of a run that was deleted is not there.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=-1 if ti.map_index is None else ti.map_index,
    )
    rows = states.get(ti.run_id)
    return not rows or all(state in ENDED_STATES for state in rows.values())


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
            answers.append(given_up(ti))
        except Exception as error:  # noqa: BLE001  # no answer is an answer too: nothing is cancelled
            log.warning("The task's state could not be asked for: %s", describe_error(error))

    # A signal handler must not wait for the connection to the supervisor itself: who holds it may be the
    # very thread that was interrupted.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not answers:
        log.error("%s: whether the task was ended is not known. %s", work, left_alone(work))
    elif not answers[0]:
        log.info("%s: the task has not ended for good, so nothing is cancelled.", work)
    else:
        # Said first, because the process is about to be killed.
        log.warning(
            "%s: the task was ended; cancelling. Should it not get to its end: %s", work, work.command
        )
        log.warning("%s: %s", work, cancel_from_worker(work, seconds=WORKER_SECONDS))


class CancelsOnKillMixin:
    """For an operator that waits in its worker: cancels its work when the task is ended there.

    :ivar cancel_on_kill: whether it does.
    :ivar in_hand: the work that is waited for and the task instance, once there is any.
    """

    cancel_on_kill: bool
    in_hand: tuple[RemoteWork, Any] | None = None
    log: Any

    def on_kill(self) -> None:
        """Cancel the work if the task was ended; not if it was cleared or its worker is shut down."""
        if self.cancel_on_kill and self.in_hand is not None:
            release_from_worker(*self.in_hand, self.log)


def left_alone(work: RemoteWork) -> str:
    """Say that nothing was cancelled, and how to do it."""
    return f"Nothing was cancelled. To cancel what has not settled: {work.command}"
