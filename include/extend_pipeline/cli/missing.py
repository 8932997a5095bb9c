"""Missing runs from a terminal: what Extend has of a batch, and accepting that the rest is gone for good."""

from __future__ import annotations

import argparse
from typing import Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.evidence import missing_runs

EPILOG = """examples:
  python -m extend_pipeline missing s3://aws_default@bucket/extend/batches/workflow_1/latest/0a1b…
  python -m extend_pipeline missing s3://aws_default@bucket/extend/batches/workflow_1/latest/0a1b… --accept

Nothing is sent. What was accepted as gone lands as RUN_MISSING when the failed task is cleared, and is sent
again by reprocess="failed"."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    command = commands.add_parser(
        "missing",
        help="look at a batch of which runs are missing, or accept that they are gone for good",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("folder", help="where the batch is recorded; the failed task names it")
    command.add_argument("--conn-id", default="extend_default", help="connection to Extend (%(default)s)")
    command.add_argument("--accept", action="store_true", help="count what is missing as gone for good")


def run(options: argparse.Namespace) -> None:
    """Print what Extend has of the batch, and accept what is missing if told to."""
    from extend_provider.hooks.extend import ExtendAsyncHook

    found = missing_runs(
        ExtendAsyncHook(options.conn_id), ObjectStoragePath(options.folder), accept=options.accept
    )
    print(f"Extend has {found.present:,} of the {found.submitted:,} runs of batch {found.batch_id}.")  # noqa: T201
    if options.accept:
        print(f"{found.lost:,} count as gone for good. Clear the task that has failed.")  # noqa: T201
