"""Run all benchmarks and write ``docs/benchmarks.md``: ``python -m bench --help``.

The results of each part are kept in an ignored folder. A part that fails is named in the page and stops no
other; after Ctrl-C, or SIGTERM, the page is written with what there is.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.chart import growth
from bench.kept import load, run
from bench.parts import PARTS, Part, available
from bench.report import filled, rows_end_to_end

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "benchmarks.md"
PICTURE = "images/benchmarks.svg"
KEPT = PROJECT / ".sandbox-bench"


def main() -> int:
    """Run the parts, and write the page and the picture of growth; return 1 if a part has failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these parts")
    parser.add_argument("--quick", action="store_true", help=f"small runs; the page goes to {KEPT.name}")
    parser.add_argument(
        "--assemble", action="store_true", help="run nothing, write the page from kept results"
    )
    asked = parser.parse_args()
    # A shell has background jobs ignore SIGINT; a part is stopped by it, and would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    folder = KEPT / ("quick" if asked.quick else "whole")
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    try:
        if not asked.assemble:
            failed = _run(available(asked.only, quick=asked.quick), folder, quick=asked.quick)
    except KeyboardInterrupt:
        failed = True
    assemble(folder, folder / PAGE.name if asked.quick else PAGE)
    return int(failed)


def assemble(folder: Path, page: Path) -> None:
    """Write a page, and the picture beside it, from the results in a folder."""
    results = load(folder, PARTS)
    drawn = growth(rows_end_to_end(results))
    if drawn is not None:
        picture = page.parent / PICTURE
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(drawn)
    page.write_text(filled(PAGE.read_text(), results, None if drawn is None else PICTURE))


def _run(parts: list[Part], folder: Path, *, quick: bool) -> bool:
    """Run parts one after another; return True if one has failed."""
    failed = False
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("benchmarks", total=len(parts))
        for part in parts:

            def tell(line: str, name: str = part.name) -> None:
                progress.update(bar, description=f"{name}: {line[:80]}" if line else name)

            tell("")
            result = run(part, folder, quick=quick, tell=tell)
            said = f"{part.name}: {len(result.rows)} rows, {result.seconds} s"
            if result.error:
                said += f"; it {result.error}, see {part.name}.log in {folder}"
            progress.console.print(said, markup=False)
            failed = failed or result.error is not None
            progress.advance(bar)
    return failed


if __name__ == "__main__":
    sys.exit(main())
