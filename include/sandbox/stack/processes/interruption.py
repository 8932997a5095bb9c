"""Makes signals that end the command take effect only where that is safe.

Python raises KeyboardInterrupt between any two instructions, also while ``subprocess`` holds the lock of a
child process; the stack would then wait for that child forever (seen). So a signal is only recorded, and
every waiting loop uses :func:`pause`, which raises.
"""

from __future__ import annotations

import signal
import time

_noted: list[int] = []


def obey_signals_in_pauses() -> None:
    """Record SIGINT, SIGTERM and SIGHUP from now on; without this call they have their usual effect."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: _noted.append(received))


def pause(seconds: float) -> None:
    """Wait; raises SystemExit(128 + n), once, if signal n was recorded by the end of the wait."""
    time.sleep(seconds)
    if _noted:
        number = _noted[0]
        _noted.clear()
        raise SystemExit(128 + number)
