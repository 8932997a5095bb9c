"""Selects the fault of a request, and limits the rate of requests."""

from __future__ import annotations

import dataclasses
import email.utils
import time
from collections.abc import Iterable
from typing import Generic, TypeVar

from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.settings import Fault, Settings, WebhookFault

AnyFault = TypeVar("AnyFault", Fault, WebhookFault)


@dataclasses.dataclass(slots=True)
class Armed(Generic[AnyFault]):
    """A fault, the number of matches that it lets pass, and of those that it then hits (None: all)."""

    fault: AnyFault
    skip: int
    left: int | None

    def strikes(self) -> bool:
        """Count a match; return True if the fault hits it."""
        if self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The configured faults with their remaining counts."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._armed = [Armed(fault, fault.skip, fault.count) for fault in faults]

    def strike(self, endpoint: str) -> Fault | None:
        """Return the fault of this request, if any, and count it.

        :param endpoint: method and path template.
        """
        for armed in self._armed:
            if armed.fault.endpoint in ("*", endpoint) and armed.strikes():
                return armed.fault
        return None


class RateLimiter:
    """A token bucket for one period, a second or a minute."""

    def __init__(self, period_seconds: float = 1.0) -> None:
        self._period = period_seconds
        self._tokens: float | None = None
        self._at = 0.0

    def admit(self, limit: float, amount: int = 1) -> bool:
        """Take ``amount`` from the bucket; return False and take nothing if it has less.

        :param limit: tokens per period.
        """
        now, full = time.monotonic(), max(limit, 1.0)
        held = full if self._tokens is None else self._tokens + (now - self._at) * limit / self._period
        self._tokens, self._at = min(full, held), now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True


def rate_limited(settings: Settings, message: str) -> ApiError:
    """Return a 429 with the configured ``Retry-After``."""
    headers = {}
    if settings.retry_after == "seconds":
        headers["Retry-After"] = f"{settings.retry_after_seconds:g}"
    elif settings.retry_after == "date":
        moment = time.time() + settings.retry_after_seconds
        headers["Retry-After"] = email.utils.formatdate(moment, usegmt=True)
    return ApiError(429, "RATE_LIMIT_EXCEEDED", message, headers=headers)
