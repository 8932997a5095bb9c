"""Counts and records requests, so that tests can prove what a client sent."""

from __future__ import annotations

import collections
from typing import Any

from sandbox.extend_api.state.model import iso, now_ms

JOURNAL_LENGTH = 10_000


class Accounting:
    """Counts of requests and answers by endpoint, and a journal of the last requests.

    The journal has no header, query or body, so it cannot contain a secret.
    """

    def __init__(self) -> None:
        self.requests: collections.Counter[str] = collections.Counter()
        self.responses: collections.Counter[str] = collections.Counter()
        self.journal: collections.deque[dict[str, Any]] = collections.deque(maxlen=JOURNAL_LENGTH)

    def count_request(self, endpoint: str) -> None:
        """Count a request when it arrives, because its client may end before the answer.

        :param endpoint: method and path template, e.g. ``GET /workflow_runs/{id}``.
        """
        self.requests[endpoint] += 1

    def record_answer(self, endpoint: str, method: str, path: str, status: int | None) -> None:
        """Record the answer to a request.

        :param status: None if the connection was aborted.
        """
        self.responses[f"{endpoint} {status or 'dropped'}"] += 1
        self.journal.append({"at": iso(now_ms()), "method": method, "path": path, "status": status})
