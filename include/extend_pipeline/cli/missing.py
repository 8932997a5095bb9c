"""Missing runs from a terminal: what Extend has of a batch, and accepting that the rest is gone for good."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.ledger import WorkspaceLedger
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.workspace import read_documents

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


def advice(folder: ObjectStoragePath, conn_id: str) -> str:
    """Say how to accept that runs of the batch that is recorded there are gone for good."""
    command = ["python", "-m", "extend_pipeline", "missing", str(folder), "--accept", "--conn-id", conn_id]
    return (
        f"If they are gone for good: {shlex.join(command)}; then clear this task. Their documents land as "
        'RUN_MISSING, and reprocess="failed" sends them again.'
    )


def run(options: argparse.Namespace) -> None:
    """Look at the batch, and write down what was found, accepted or not."""
    from extend_pipeline.batches.chunk_state import SUBMISSION_KEY
    from extend_pipeline.batches.collection import inspect
    from extend_pipeline.batches.evidence import note
    from extend_provider.hooks.extend import ExtendAsyncHook

    folder = ObjectStoragePath(options.folder)
    state = WorkspaceLedger(folder).read()
    if state.batch_id is None or state.intent is None:
        raise PipelineInputError(f"{folder} records no batch. Take the address that the failed task names.")
    submitted = state.intent.run_count
    found = inspect(ExtendAsyncHook(options.conn_id), state.batch_id, submitted, thorough=True)
    if found.unsettled:
        raise PipelineInputError(
            f"{found.unsettled:,} runs of batch {state.batch_id} are at work. Clear the wait task, which "
            "waits for them."
        )
    documents = read_documents(ObjectStoragePath(state.intent.details[SUBMISSION_KEY]))
    sent = [document.id for document in documents if document.status is None]
    evidence = found.evidence(sent, submitted)
    print(f"Extend has {found.present:,} of the {submitted:,} runs of batch {state.batch_id}.")  # noqa: T201
    if options.accept:
        lost = max(evidence.missing, len(evidence.without_run))
        note(folder, msgspec.structs.replace(evidence, accepted=lost), fine=found.fine)
        print(f"{lost:,} count as gone for good. Clear the task that has failed.")  # noqa: T201
