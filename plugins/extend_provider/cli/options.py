"""What the commands share: how an option is written, how a mistake ends, where connections are read."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from airflow.cli.cli_config import Arg


def option(flag: str, **settings: Any) -> Arg:
    """Return an option of a command; ``settings`` are those of ``argparse``."""
    return Arg((flag,), **settings)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped


def conn_id_option() -> Arg:
    """Return the option that names the connection."""
    return option("--conn-id", default="extend_default", help="Connection to Extend")


def refuse(command: str, reason: str) -> NoReturn:
    """End as for any other mistake in the arguments."""
    sys.stderr.write(f"airflow extend {command}: error: {reason}\n")
    sys.exit(2)


def read_connections_of_the_database() -> None:
    """Let hooks find connections in Airflow's own database.

    A process that is neither a server nor a task has them from the environment and from a secrets backend
    alone (task-sdk 1.3.2). Airflow's own ``connections test`` says in this way that it is a server.
    """
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
