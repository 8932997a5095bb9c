"""What one attempt of a task leaves to the next, so that a retry goes on instead of starting over.

Airflow deletes a task's XComs when an attempt begins; its task state store survives a retry. On 3.3 it
survives a clear as well, on 3.4 it does not: so attempts have a generation, and never read what those of an
earlier one, before a clear, have left.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Beside an attempt's value: the generation of the attempt.
_GENERATION = "generation"


def first_try(ti: Any, retries: int) -> int:
    """Return the number of the first attempt since the task was started or, last, cleared.

    :param retries: the task's ``retries``; ``max_tries`` grows by them with every clear, but one: that of a
        task which is running in a worker, if a missed heartbeat is how Airflow learns that it has been ended
        (3.3.2, ``SchedulerJobRunner.process_executor_events``).
    """
    return int(ti.max_tries) - retries + 1


def generation(ti: Any, retries: int) -> str:
    """Return what the attempts since the task was started or, last, cleared have in common, and no others.

    A clear, whatever the task was doing, gives its instance another trace context, which all retries keep
    (measured on 3.3.2, with tracing switched off); where there is none, the number of the first one serves.
    """
    trace = (getattr(ti, "context_carrier", None) or {}).get("traceparent")
    return hashlib.sha256(str(trace or first_try(ti, retries)).encode()).hexdigest()[:8]


class AttemptMemory:
    """One value of a task instance, shared by the attempts since it was started or cleared.

    :param context: the task's context; without a task state store in it, nothing is remembered.
    :param retries: the task's ``retries``.
    :param key: the value's key in the task state store.
    """

    def __init__(self, context: Context, *, retries: int, key: str) -> None:
        self._store = context.get("task_state_store")
        self._key = key
        self._generation = generation(context["ti"], retries)

    def recall(self) -> dict[str, Any] | None:
        """Return what an earlier attempt has left, None if nothing."""
        value = None if self._store is None else self._store.get(self._key)
        if not isinstance(value, dict) or value.pop(_GENERATION, None) != self._generation:
            return None
        return value

    def remember(self, value: dict[str, Any]) -> None:
        """Leave a small JSON object to the next attempt."""
        if self._store is not None:
            self._store.set(self._key, {**value, _GENERATION: self._generation})

    def forget(self) -> None:
        """Leave nothing."""
        if self._store is not None:
            self._store.delete(self._key)
