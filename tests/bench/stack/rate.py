"""Measure how much of a rate limit the DAG uses: ``python -m bench.stack.rate --help``.

``documents_to_warehouse`` is not told of the limit. Chunks are collected in several tasks at once, with what
Airflow needs between two of them. The emulator counts answers, from the first request for a run to the last.
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from typing import Any

from rich.console import Console

from bench.rows import tell
from bench.single.rate import counts
from bench.stack.end_to_end import polling
from bench.stack.world import EXTEND, World, running_world
from fixtures.extend.api import ExtendApi

console = Console(stderr=True, highlight=False)


class Span(threading.Thread):
    """The time in which runs are read, watched until the block is left."""

    def __init__(self, api: ExtendApi) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._over = threading.Event()
        self.began = self.ended = math.nan

    def run(self) -> None:
        """Look ten times a second whether something was read."""
        before, _ = counts(self._api)
        while not self._over.wait(0.1):
            read, _ = counts(self._api)
            if read > before:  # it is less after a reset
                self.ended = time.monotonic()
                self.began = self.ended if math.isnan(self.began) else self.began
            before = read

    def __enter__(self) -> Span:
        """Begin to watch."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Watch no longer."""
        self._over.set()
        self.join()


def measure(world: World, documents: int, limit: float, window: str) -> dict[str, Any]:
    """Run the DAG at a limit; return the figures."""
    world.extend_options = {**EXTEND, "requests_per_second": limit, "rate_window": window}
    with Span(world.extend) as span:
        measured = polling(world, documents)
    answers, refused = counts(world.extend)
    seconds = span.ended - span.began
    return {
        "documents": documents,
        "limit": limit,
        "window": window,
        "seconds": measured.seconds,
        "of these, reading": round(seconds, 1),
        "used": round((answers - refused) / limit / seconds, 3),
        "turned_away": refused,
        "refused": round(refused / answers, 4),
        "documents landed": measured.rows,
        "paid more than once": measured.paid_again,
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.stack.rate", description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--limits", type=float, nargs="+", default=[75], help="requests per second")
    parser.add_argument("--windows", nargs="+", default=["sliding"], help="bucket, fixed, sliding")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    with running_world(lambda step: console.print(f"[dim]{step}[/]")) as world:
        world.seed(asked.documents)
        cases = [(limit, window) for limit in asked.limits for window in asked.windows]
        tell([measure(world, asked.documents, *case) for case in cases], as_json=asked.json)


if __name__ == "__main__":
    main()
