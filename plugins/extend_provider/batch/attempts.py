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


def generation(ti: Any) -> str:
    """Return what the attempts since the task was started or, last, cleared have in common, and no others.

    No retry changes ``max_tries`` or the trace context of the task instance. A clear changes the one unless
    the task is running (see :func:`first_try`), and the other unless tracing is off and the run is not reset
    (``reset_dag_runs=false``): then it is the run's. So only a clear that is all of this looks like a retry,
    which pays nothing again. (Measured on 3.3.2; 3.4 is the same in this.)
    """
    return f"{_digest(_trace(ti))}-{ti.max_tries}"


def is_generation_of(ti: Any, retries: int, written: object) -> bool:
    """Return True if an attempt of the same generation has written this.

    :param retries: the task's ``retries``; the release before went by them where there was no trace context.
    """
    return written in (generation(ti), _digest(_trace(ti) or str(first_try(ti, retries))))


def _trace(ti: Any) -> str:
    return (getattr(ti, "context_carrier", None) or {}).get("traceparent") or ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class AttemptMemory:
    """One value of a task instance, shared by the attempts since it was started or cleared.

    :param context: the task's context; without a task state store in it, nothing is remembered.
    :param retries: the task's ``retries``.
    :param key: the value's key in the task state store.
    """

    def __init__(self, context: Context, *, retries: int, key: str) -> None:
        self._store = context.get("task_state_store")
        self._key = key
        self._ti, self._retries = context["ti"], retries

    def recall(self) -> dict[str, Any] | None:
        """Return what an earlier attempt has left, None if nothing."""
        value = None if self._store is None else self._store.get(self._key)
        if not isinstance(value, dict):
            return None
        same = is_generation_of(self._ti, self._retries, value.pop(_GENERATION, None))
        return value if same else None

    def remember(self, value: dict[str, Any]) -> None:
        """Leave a small JSON object to the next attempt."""
        if self._store is not None:
            self._store.set(self._key, {**value, _GENERATION: generation(self._ti)})

    def forget(self) -> None:
        """Leave nothing."""
        if self._store is not None:
            self._store.delete(self._key)
