"""What is done by hand, from a terminal: ``python -m extend_pipeline`` and a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from airflow.sdk.log import configure_logging
from rich.console import Console

from extend_pipeline.cli import dead_letters, missing, replay, reservations
from extend_pipeline.warehouse import WarehouseError
from extend_provider.exceptions import ExtendError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 1 if it could not do what it was told."""
    options = _parser().parse_args(arguments)
    # Airflow reads connections from its database in a process that says that it is one of its own.
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
    dead_letters.add_command(commands)
    missing.add_command(commands)
    replay.add_command(commands)
    reservations.add_command(commands)
    return parser


if __name__ == "__main__":
    # The result goes to standard output, everything else to standard error, so that it may be piped.
    configure_logging(output=sys.stderr)
    sys.exit(main())
