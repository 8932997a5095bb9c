"""``missing``: count a batch's runs that are missing at Extend, and accept that they are gone for good."""

from __future__ import annotations

import argparse
from typing import Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.evidence import missing_runs
from extend_pipeline.cli.options import add_parser

EPILOG = """examples:
  python -m extend_pipeline missing s3://aws_default@bucket/extend/batches/workflow_1/latest/0a1b…
  python -m extend_pipeline missing s3://aws_default@bucket/extend/batches/workflow_1/latest/0a1b… --accept

Nothing is sent. Documents whose runs were accepted as gone land as RUN_MISSING when the failed task is
cleared; reprocess="failed" sends them again."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    parser = add_parser(
        commands,
        "missing",
        run,
        summary="count the runs of a batch that are missing at Extend, or accept that they are gone for good",
        epilog=EPILOG,
    )
    parser.add_argument("folder", help="where the batch is recorded; the failed task names it")
    parser.add_argument("--conn-id", default="extend_default", help="connection to Extend (%(default)s)")
    parser.add_argument("--accept", action="store_true", help="count what is missing as gone for good")


def run(options: argparse.Namespace) -> None:
    """Print what Extend lists of the batch; with ``--accept``, count what is missing as gone for good."""
    from extend_provider.hooks.extend import ExtendAsyncHook

    found = missing_runs(
        ExtendAsyncHook(options.conn_id), ObjectStoragePath(options.folder), accept=options.accept
    )
    print(f"Extend has {found.present:,} of the {found.submitted:,} runs of batch {found.batch_id}.")  # noqa: T201
    if options.accept:
        print(f"{found.lost:,} count as gone for good. Clear the task that has failed.")  # noqa: T201
