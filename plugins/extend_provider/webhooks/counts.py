"""What became of webhooks: counted by reason, for the log and for Airflow's metrics.

The metrics are ``extend.webhooks.<reason>``. The log has a line at once when a reason of trouble comes up,
and the sums once a minute, so that a flood of forged requests does not fill it. Neither has content, URLs or
secrets in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from typing import Any, Final

log = logging.getLogger(__name__)

#: Seconds between two lines of sums.
LOG_INTERVAL: Final = 60.0
#: What is normal, and counted without a line of its own.
_NORMAL: Final = frozenset(("stored", "repeated", "of_no_use"))


class Counts:
    """Counts of one process; safe to use from several threads.

    :ivar totals: all since the process began, by (connection, reason).
    """

    def __init__(self, interval: float = LOG_INTERVAL) -> None:
        self.totals: Counter[tuple[str, str]] = Counter()
        self._interval = interval
        self._new: Counter[tuple[str, str]] = Counter()
        self._said: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, conn_id: str, reason: str, message: str = "") -> None:
        """Count one webhook.

        :param message: the reason in a sentence, without content of the request.
        """
        key = (conn_id, reason)
        with self._lock:
            self.totals[key] += 1
            self._new[key] += 1
            first = reason not in _NORMAL and key not in self._said
            if first:
                self._said[key] = message
            if self._timer is None:
                self._timer = threading.Timer(self._interval, self.report)
                self._timer.daemon = True
                self._timer.start()
        if first:
            log.warning("A webhook for connection %r: %s. %s", conn_id, reason, message)
        increment(f"extend.webhooks.{reason}", conn_id)

    def report(self) -> None:
        """Log what has been counted since the last line."""
        with self._lock:
            new, said = self._new, self._said
            self._new, self._said = Counter(), {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for conn_id in sorted({conn_id for conn_id, _ in new}):
            counts = {reason: count for (each, reason), count in new.items() if each == conn_id}
            parts = (f"{count:,} {reason}" for reason, count in sorted(counts.items()))
            trouble = any(each == conn_id for each, _ in said)
            level = logging.WARNING if trouble else logging.INFO
            log.log(level, "Webhooks for connection %r since the last line: %s.", conn_id, ", ".join(parts))


def increment(name: str, conn_id: str) -> None:
    """Increment a metric of this Airflow process, if it has metrics."""
    with contextlib.suppress(Exception):  # metrics must not cost a webhook
        _stats().incr(name, tags={"conn_id": conn_id})


def _stats() -> Any:
    """Return the module that this kind of process has set up: servers and tasks have one each."""
    if os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "server":
        from airflow.observability import stats as of_servers

        return of_servers
    from airflow.sdk.observability import stats as of_tasks

    return of_tasks
