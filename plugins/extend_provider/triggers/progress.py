"""Shows the progress of a deferred task in Airflow's UI, as XComs that the trigger writes."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

#: Seconds that the last write may take; the worker that resumes pushes the final values anyway.
FLUSH_SECONDS = 2.0


class TaskProgress:
    """Writes XComs in the background: the wait does not block on them, and only the latest values count.

    The first XCom that a triggerer ever writes takes it seconds, because Airflow builds its in-process API
    server then (measured on 3.3.2: more than ten on a busy machine).

    :param ti: the deferred task's instance; None (``dag.test()``) shows nothing.
    :param log: for failures, which have no other effect.
    """

    def __init__(self, ti: Any, log: Any) -> None:
        self._ti = ti
        self._log = log
        self._pending: dict[str, Any] = {}
        self._writer: asyncio.Task[None] | None = None

    def show(self, **values: Any) -> None:
        """Write values by XCom key, as soon as earlier values are written."""
        if self._ti is None:
            return
        self._pending.update(values)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def flush(self) -> None:
        """Wait briefly for the last values to be written."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=FLUSH_SECONDS)

    def stop(self) -> None:
        """Write nothing more."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        while self._pending:
            values, self._pending = self._pending, {}
            for key, value in values.items():
                try:
                    await asyncio.to_thread(self._set, key, value)
                except Exception as error:  # noqa: BLE001  # the wait matters more than its progress
                    self._log.debug("Could not show %s: %s", key, type(error).__name__)

    def _set(self, key: str, value: Any) -> None:
        BaseXCom.set(
            key=key,
            value=value,
            dag_id=self._ti.dag_id,
            task_id=self._ti.task_id,
            run_id=self._ti.run_id,
            map_index=-1 if self._ti.map_index is None else self._ti.map_index,
        )
