"""What commands have in common: the result goes to standard output, everything else to standard error."""

from __future__ import annotations

import sys


def log_to_stderr() -> None:
    """Send Airflow's log lines to standard error, so that a command's output may be piped.

    It is for a process of its own: Airflow's logging is set up anew.
    """
    from airflow.sdk.log import configure_logging

    configure_logging(output=sys.stderr)
