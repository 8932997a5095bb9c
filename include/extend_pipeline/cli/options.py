"""What the commands have in common: how they are declared, and the options that several of them take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from extend_pipeline.exceptions import PipelineInputError


def add_parser(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], *, summary: str, epilog: str
) -> argparse.ArgumentParser:
    """Add a command to those of ``python -m extend_pipeline``; ``run`` is called with its options."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the workspace, see :func:`workspace_of`."""
    parser.add_argument("--workspace", help="(the Variable extend_workspace)")


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the tables, and a workflow version in them."""
    parser.add_argument("--warehouse-conn-id", default="warehouse_default", help="(%(default)s)")
    parser.add_argument("--dataset", default="extend", help="schema of the tables (%(default)s)")
    parser.add_argument("--workflow-id", help="only those of this workflow")
    parser.add_argument(
        "--version", help="with --workflow-id: the version that was requested; the latest if left out"
    )


def workspace_of(options: argparse.Namespace) -> str:
    """Return the workspace, from the option or the Variable.

    :raises PipelineInputError: if neither is set.
    """
    if options.workspace:
        return str(options.workspace)
    from airflow.sdk import Variable

    try:
        return str(Variable.get("extend_workspace"))
    except KeyError:
        raise PipelineInputError(
            "Name the workspace: use --workspace, or set the Variable extend_workspace."
        ) from None
