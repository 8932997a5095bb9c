"""Look after dead letters by hand: ``python -m extend_pipeline dead-letters``."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from extend_pipeline.warehouse import WarehouseError, open_warehouse
from extend_pipeline.warehouse.records import DeadLetter

EPILOG = """examples:
  python -m extend_pipeline dead-letters --warehouse-conn-id warehouse_default
  python -m extend_pipeline dead-letters --resend | sh

Dead letters are documents that were sent, failed or were cancelled, and will not be sent by themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 if the warehouse could not be read."""
    options = _parser().parse_args(arguments)
    # Airflow reads connections from its database in a process that says that it is one of its own.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        with open_warehouse(options.warehouse_conn_id, options.dataset) as warehouse:
            letters = warehouse.dead_letters(workflow_id=options.workflow_id, version=options.version)
            if options.resend:
                for command in resend_commands(letters, options.dag_id):
                    print(command)  # noqa: T201  # for a shell to read
            else:
                _show(letters, options.limit, Console())
    except WarehouseError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False)
        return 1
    return 0


def resend_commands(letters: Iterable[DeadLetter], dag_id: str) -> Iterator[str]:
    """Yield the commands that send these again: one per workflow and version."""
    for workflow_id, version in dict.fromkeys((letter.workflow_id, letter.version) for letter in letters):
        conf = {"reprocess": "failed", "workflow_id": workflow_id, "version": version}
        yield shlex.join(["airflow", "dags", "trigger", dag_id, "--conf", json.dumps(conf)])


def _show(letters: Iterator[DeadLetter], limit: int, console: Console) -> None:
    shown = list(itertools.islice(letters, limit))
    counts = Counter((letter.status, letter.reason or "") for letter in itertools.chain(shown, letters))
    table = Table(title="Dead letters")
    for heading in ("document", "workflow", "version", "status", "reason", "attempts", "landed", "resending"):
        table.add_column(heading, overflow="fold")
    for letter in shown:
        table.add_row(
            letter.document.uri,
            letter.workflow_id,
            letter.version or "latest",
            letter.status,
            letter.reason or "",
            str(letter.attempts),
            f"{letter.landed_at:%Y-%m-%d %H:%M}",
            "yes" if letter.resending else "",
        )
    if shown:
        console.print(table, markup=False)
    if counts.total() > len(shown):
        console.print(f"The first {len(shown):,}; --limit shows more.")
    reasons = ", ".join(f"{count:,} {' '.join(kind).strip()}" for kind, count in counts.most_common())
    console.print(f"{counts.total():,} dead letters{': ' if reasons else ''}{reasons}.", markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m extend_pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "dead-letters",
        help="list what failed and will not be sent by itself, or say how to send it again",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--warehouse-conn-id", default="warehouse_default", help="(%(default)s)")
    command.add_argument("--dataset", default="extend", help="schema of the tables (%(default)s)")
    command.add_argument("--workflow-id", help="only those of this workflow")
    command.add_argument(
        "--version", help="with --workflow-id: the version asked for; the latest if left out"
    )
    command.add_argument("--limit", type=int, default=50, help="rows to show (%(default)d)")
    command.add_argument(
        "--resend", action="store_true", help="print the commands that send them again, one per workflow"
    )
    command.add_argument("--dag-id", default="extend_on_demand", help="DAG that sends them (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
