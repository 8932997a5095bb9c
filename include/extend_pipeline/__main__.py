"""Commands for a terminal: ``python -m extend_pipeline <command>``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from airflow.sdk.log import configure_logging
from rich.console import Console

from extend_pipeline.cli import dead_letters, missing, replay, reservations, size
from extend_pipeline.warehouse.records import WarehouseError
from extend_provider.exceptions import ExtendError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 1 if it failed."""
    options = _parser().parse_args(arguments)
    # Only in a process with this mark Airflow reads connections from its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        options.run(options)
    except (WarehouseError, ExtendError) as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m extend_pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (dead_letters, missing, replay, reservations, size):
        command.add_command(commands)
    return parser


if __name__ == "__main__":
    # The result goes to standard output, everything else to standard error, so that it may be piped.
    configure_logging(output=sys.stderr)
    sys.exit(main())
