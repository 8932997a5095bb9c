"""Run all benchmarks and write ``docs/benchmarks.md``: ``python -m bench --help``.

Each module prints a JSON list of flat rows with ``--json``, and has ``--quick`` for a small run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import Progress

DOCS = Path(__file__).parents[2] / "docs"
Row = Mapping[str, Any]

#: The modules in the order of the page, each with its heading and what its rows say.
MODULES: Mapping[str, tuple[str, str]] = {
    "end_to_end": (
        "From S3 to the warehouse",
        "`documents_to_warehouse` beside what one would write instead, in one Airflow (LocalExecutor), with "
        "the same API and S3. Extend answers at once and a run takes five seconds. `extend_cpu` and "
        "`s3_cpu` are shares of one core that the stand-ins used. The others land the values alone: no "
        "columns, no evidence, no problems; they pay again on a retry and keep presigned URLs in XCom.",
    ),
    "overhead": ("Airflow's own cost", "The same tasks without work, beside ours."),
    "landing": ("Landing", "`land()` beside the barest SQL that ends in the same rows."),
    "discovery": ("Discovery", "Listing and planning of many keys."),
    "rate": ("The rate limit", "The share of the limit that is used, and the share of refused requests."),
    "triggerer": ("The triggerer", "Deferred batches in one process."),
    "latency": ("Latency", "From the last run that settles to the landed row."),
    "parsing": ("Parsing", "Each DAG file beside an empty DAG."),
    "webhooks": ("Webhooks", "A receiver on one core."),
}
#: Arguments of a module: of a whole run, and of a quick one if it does not take ``--quick``.
WHOLE: Mapping[str, Sequence[str]] = {
    "end_to_end": ("--documents", "100", "1000", "10000", "100000", "--repeat", "3"),
    "webhooks": ("--inbox", "file", "s3"),
}
QUICK: Mapping[str, Sequence[str]] = {"webhooks": ("--events", "500", "--at-a-time", "1")}


def run(module: str, *, quick: bool) -> list[Row]:
    """Run one module in a process of its own and return its rows.

    :raises subprocess.CalledProcessError: it has failed; what it says went to stderr.
    """
    arguments = QUICK.get(module, ("--quick",)) if quick else WHOLE.get(module, ())
    answer = subprocess.run(
        [sys.executable, "-m", f"bench.{module}", *arguments, "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    rows: list[Row] = json.loads(answer.stdout)
    return rows


def table(rows: Iterable[Row]) -> str:
    """Return rows as a table in Markdown; a column for each key, in the order in which keys appear."""
    found = [*rows]
    columns = [*dict.fromkeys(name for row in found for name in row)]
    lines = [columns, ["---"] * len(columns), *([shown(row.get(name)) for name in columns] for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: Any) -> str:
    """Return a figure as people read it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value).replace("|", "\\|")


def page(results: Mapping[str, list[Row]], *, command: str, picture: str | None) -> str:
    """Return the page: the machine, then a section for each module that has run."""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("apache-airflow", "duckdb", "moto", "aiohttp")
    )
    parts = [
        "# Benchmarks",
        f"`{command}`, {dt.datetime.now(dt.UTC):%Y-%m-%d}, on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, {versions}. Compare figures of one table with one another: "
        "they come from one run on one machine.",
    ]
    for module, rows in results.items():
        heading, text = MODULES[module]
        parts += [f"## {heading}", text, table(rows)]
        if module == "end_to_end" and picture is not None:
            parts.append(f"![Seconds by the number of documents]({picture})")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run the modules, and write the page and the picture of growth."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--quick", action="store_true", help="small runs, for a look")
    parser.add_argument("--to", type=Path, default=DOCS, help="folder of the page (default: docs)")
    asked = parser.parse_args()
    there = [name for name in asked.only if importlib.util.find_spec(f"bench.{name}")]
    results: dict[str, list[Row]] = {}
    with Progress() as progress:
        task = progress.add_task("benchmarks", total=len(there))
        for module in there:
            progress.update(task, description=module)
            results[module] = run(module, quick=asked.quick)
            progress.advance(task)
    from bench.chart import growth

    drawn = growth(results.get("end_to_end", []))
    if drawn is not None:
        (asked.to / "benchmarks.svg").write_bytes(drawn)
    command = "make bench QUICK=1" if asked.quick else "make bench"
    picture = None if drawn is None else "benchmarks.svg"
    (asked.to / "benchmarks.md").write_text(page(results, command=command, picture=picture))


if __name__ == "__main__":
    main()
