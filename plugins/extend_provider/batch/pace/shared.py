"""The budget and the experience that all waits of a process share, for each connection."""

from __future__ import annotations

import dataclasses
import threading
from typing import Final

from extend_provider.batch.pace.budget import ReadBudget
from extend_provider.batch.pace.experience import Experience
from extend_provider.client.settings import ExtendSettings

#: Reads per second that Extend allows on the largest plan that it publishes.
USUAL_RATE: Final = 75.0


@dataclasses.dataclass(frozen=True, slots=True)
class SharedPace:
    """What the waits of one connection share."""

    budget: ReadBudget
    experience: Experience


_shared: dict[tuple[str, str], SharedPace] = {}
_lock = threading.Lock()


def shared_pace(settings: ExtendSettings) -> SharedPace:
    """Return what the waits of a connection share in this process."""
    key = settings.conn_id, settings.base_url
    with _lock:
        if key not in _shared:
            _shared[key] = SharedPace(ReadBudget(lambda: read_rate(settings)), Experience())
        return _shared[key]


def read_rate(settings: ExtendSettings) -> float:
    """Return how many reads per second the connection is allowed at the moment."""
    return settings.requests_per_second or USUAL_RATE
