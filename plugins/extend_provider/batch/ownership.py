"""Which process answers for what a task has at Extend, and whether somebody has ended the task.

Airflow kills late: the trigger of a cleared task hears of it when the next attempt is at work, or through
already; a worker or a triggerer that lost its connection hears of it any time later. The state of the task
is another attempt's by then. So each process that begins to work on a task, at first or after a deferral,
leaves a mark in the task's XComs, which Airflow deletes as an attempt begins. The mark that is there names
the owner: that process, and the trigger to which it has handed over.
"""

from __future__ import annotations

import uuid
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

#: XCom key of the mark.
OWNER_KEY = "extend_owner"
#: States in which nobody goes on with a task.
ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def become_owner(ti: Any) -> str:
    """Answer for a task instance from here on; returns the mark."""
    mark = uuid.uuid4().hex
    BaseXCom.set(key=OWNER_KEY, value=mark, **_place(ti))
    return mark


def given_up(ti: Any) -> bool:
    """Whether a task instance has ended for good, or is gone together with its run.

    Asks Airflow, in the triggerer and in a worker alike, and blocks meanwhile. A cleared task's row stays and
    has no state; the row of a run that was deleted is not there.

    :param ti: the task instance, or a :class:`~extend_provider.batch.waiters.Follower`.
    """
    return all(state in ENDED_STATES for state in _states(ti))


def is_ended_under(owner: str | None, ti: Any) -> bool:
    """Whether a task instance has ended, or is gone, while this owner answered for it; blocks.

    :param owner: None: it has left no mark.
    """
    # The state first: an attempt that ends between the two questions has left its mark before.
    if not given_up(ti):
        return False
    # Without a mark, an attempt has begun and has not got to leaving its own, or there is no task any more.
    return (present := _owner(ti)) == owner or (present is None and not _states(ti))


def _owner(ti: Any) -> str | None:
    mark: str | None = BaseXCom.get_one(key=OWNER_KEY, **_place(ti))
    return mark


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
