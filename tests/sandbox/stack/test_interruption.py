"""Signals are obeyed in pauses only: never between two instructions of something that must not be torn."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, time
from sandbox.stack.processes.interruption import obey_signals_in_pauses, pause

obey_signals_in_pauses()
os.kill(os.getpid(), signal.{name})
print("not torn", flush=True)
try:
    pause(0.01)
finally:
    os.kill(os.getpid(), signal.SIGINT)
    print("tidied", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_ends_the_program_at_its_next_pause(name: str) -> None:
    program = PROGRAM.format(name=name)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout == "not torn\ntidied\n"
    assert done.returncode == 128 + signal.Signals[name]
    assert done.stderr == ""
