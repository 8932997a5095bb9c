"""Signals that end the command take effect only where that is safe.

Python raises KeyboardInterrupt between any two instructions, also while ``subprocess`` holds the lock of a
child that has to be waited for next: the stack would then wait for ever (seen). So a signal is only recorded,
and every waiting loop uses :func:`pause`, which raises.
"""

from __future__ import annotations

import signal
import time

_noted: list[int] = []


def obey_signals_in_pauses() -> None:
    """Note SIGINT, SIGTERM and SIGHUP from now on; without this call they do what they do in any program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: _noted.append(received))


def pause(seconds: float) -> None:
    """Wait.

    :raises SystemExit: with 128 + n, once, if signal n was noted until the end of the wait.
    """
    time.sleep(seconds)
    if _noted:
        number = _noted[0]
        _noted.clear()
        raise SystemExit(128 + number)
