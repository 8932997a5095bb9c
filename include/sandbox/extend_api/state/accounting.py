"""What was asked of the emulator, counted and written down: proof of what a client sent and did not send."""

from __future__ import annotations

import collections
from typing import Any

from sandbox.extend_api.state.model import iso, now_ms

JOURNAL_LENGTH = 10_000


class Accounting:
    """Counters per endpoint and per input, and a journal of the last requests."""

    def __init__(self) -> None:
        self.requests: collections.Counter[str] = collections.Counter()
        self.responses: collections.Counter[str] = collections.Counter()
        self.journal: collections.deque[dict[str, Any]] = collections.deque(maxlen=JOURNAL_LENGTH)

    def asked(self, endpoint: str) -> None:
        """Count a request when it arrives: whoever sent it may be dead before it is answered.

        :param endpoint: method and path template, e.g. ``GET /workflow_runs/{id}``.
        """
        self.requests[endpoint] += 1

    def answered(self, endpoint: str, method: str, path: str, status: int | None) -> None:
        """Write down what became of a request.

        :param status: None if the connection was cut.
        """
        self.responses[f"{endpoint} {status or 'dropped'}"] += 1
        self.journal.append({"at": iso(now_ms()), "method": method, "path": path, "status": status})
