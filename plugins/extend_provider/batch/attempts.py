"""Values that one attempt of a task stores for the next, so that a retry continues instead of starting over.

Airflow deletes a task's XComs when an attempt begins; its task state store survives a retry. On 3.3 it
survives a clear as well, on 3.4 it does not. So attempts have a generation, which changes with a clear, and
an attempt never reads values of an earlier generation.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Key, in the stored value, of the generation of the attempt that stored it.
_GENERATION = "generation"


def first_try(ti: Any, retries: int) -> int:
    """Return the number of the first attempt since the task was started or, last, cleared.

    :param retries: the task's ``retries``; ``max_tries`` grows by them with every clear, with one exception:
        a task that is cleared while it runs in a worker, if Airflow notices its end by a missed heartbeat
        (3.3.2, ``SchedulerJobRunner.process_executor_events``).
    """
    return int(ti.max_tries) - retries + 1


def generation(ti: Any) -> str:
    """Return an id that the attempts since the task's start, or its last clear, share with no others.

    No retry changes ``max_tries`` or the trace context of the task instance. A clear changes ``max_tries``
    unless the task is running (see :func:`first_try`), and the trace context unless tracing is off and the
    run is not reset (``reset_dag_runs=false``): then it is the run's. Only a clear to which both exceptions
    apply looks like a retry, and a retry pays nothing again. (Measured on 3.3.2; 3.4 is the same in this.)
    """
    return f"{_digest(_trace(ti))}-{ti.max_tries}"


def is_generation_of(ti: Any, retries: int, written: object) -> bool:
    """Return True if an attempt of the same generation wrote this id.

    :param retries: the task's ``retries``; an older release used them if there was no trace context.
    """
    return written in (generation(ti), _digest(_trace(ti) or str(first_try(ti, retries))))


def _trace(ti: Any) -> str:
    return (getattr(ti, "context_carrier", None) or {}).get("traceparent") or ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class AttemptMemory:
    """One value of a task instance, shared by the attempts since it was started or last cleared.

    :param context: the task's context; without a task state store in it, nothing is remembered.
    :param retries: the task's ``retries``.
    :param key: the value's key in the task state store.
    """

    def __init__(self, context: Context, *, retries: int, key: str) -> None:
        self._store = context.get("task_state_store")
        self._key = key
        self._ti, self._retries = context["ti"], retries

    def recall(self) -> dict[str, Any] | None:
        """Return the value that an earlier attempt stored; None if there is none."""
        value = None if self._store is None else self._store.get(self._key)
        if not isinstance(value, dict):
            return None
        same = is_generation_of(self._ti, self._retries, value.pop(_GENERATION, None))
        return value if same else None

    def remember(self, value: dict[str, Any]) -> None:
        """Store a small JSON object for the next attempt."""
        if self._store is not None:
            self._store.set(self._key, {**value, _GENERATION: generation(self._ti)})

    def forget(self) -> None:
        """Delete the value."""
        if self._store is not None:
            self._store.delete(self._key)
