"""``python -m sandbox.documents --out DIR``: write sample documents and ``truth.jsonl`` to a folder."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sandbox.documents.generator import generate, generate_mail


def main() -> None:
    """Write the documents of the days that the arguments name."""
    arguments = _arguments()
    days = [arguments.end_date - dt.timedelta(days=ago) for ago in reversed(range(arguments.days))]
    total = arguments.days * arguments.per_day
    arguments.out.mkdir(parents=True, exist_ok=True)
    truth_path = arguments.out / "truth.jsonl"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console()
    with Progress(*columns, console=console) as progress, truth_path.open("wb") as truth:
        task = progress.add_task("Writing documents", total=total)
        make = generate_mail if arguments.mail else generate
        for sample in make(days, arguments.per_day, arguments.seed, arguments.prefix):
            path = arguments.out / sample.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.data)
            truth.write(msgspec.json.encode(sample.truth) + b"\n")
            progress.advance(task)
    console.print(
        f"{total:,} documents of {days[0]} to {days[-1]} are in {arguments.out}, their truth in {truth_path}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.documents", description="Write sample documents and their truth."
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write to; created if missing"
    )
    parser.add_argument("--days", type=_positive, default=3, help="number of days (default: %(default)s)")
    parser.add_argument(
        "--per-day", type=_positive, default=40, help="documents per day (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=7, help="random seed (default: %(default)s)")
    parser.add_argument(
        "--end-date",
        type=dt.date.fromisoformat,
        default=dt.datetime.now(dt.UTC).date(),
        metavar="YYYY-MM-DD",
        help="the last day (default: today, UTC)",
    )
    parser.add_argument(
        "--mail", action="store_true", help="every third file is a PDF with several documents"
    )
    parser.add_argument("--prefix", default="documents/", help="prefix of all keys (default: %(default)s)")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


if __name__ == "__main__":
    main()
