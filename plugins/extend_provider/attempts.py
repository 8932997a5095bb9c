"""What one attempt of a task leaves to the next, so that a retry goes on instead of starting over.

Airflow deletes a task's XComs when an attempt begins; its task state store survives a retry. On 3.3 it
survives a clear as well, on 3.4 it does not: so the first attempt after a clear is told by its number, and
never reads what attempts before the clear have left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


class AttemptMemory:
    """One value of a task instance, shared by the attempts since it was started or cleared.

    :param context: the task's context; without a task state store in it, nothing is remembered.
    :param retries: the task's ``retries``.
    :param key: the value's key in the task state store.
    """

    def __init__(self, context: Context, *, retries: int, key: str) -> None:
        self._store = context.get("task_state_store")
        self._key = key
        ti = context["ti"]
        # max_tries grows by the retries with every clear (measured on 3.3.2).
        self.first_attempt = ti.try_number <= ti.max_tries - retries + 1

    def recall(self) -> dict[str, Any] | None:
        """Return what an earlier attempt has left, None if nothing."""
        if self._store is None or self.first_attempt:
            return None
        value = self._store.get(self._key)
        return value if isinstance(value, dict) else None

    def remember(self, value: dict[str, Any]) -> None:
        """Leave a small JSON object to the next attempt."""
        if self._store is not None:
            self._store.set(self._key, value)

    def forget(self) -> None:
        """Leave nothing."""
        if self._store is not None:
            self._store.delete(self._key)
