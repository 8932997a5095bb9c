"""What ``make bench`` runs: parts, each one module with its arguments and its own time limit."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence

END_TO_END = "stack.end_to_end"


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A module as one run calls it; it prints a JSON list of flat rows with ``--json``.

    :param name: how the command line and the file of its results call it.
    :param module: module of this package.
    :param heading: its section in the page; parts of :data:`END_TO_END` share one table, with its own text.
    :param text: one or two sentences about the rows.
    :param whole: arguments of a whole run.
    :param quick: arguments of a quick run; None if it takes no part in one.
    :param minutes: after so many minutes it is stopped; what it has kept until then is shown.
    """

    name: str
    module: str
    heading: str = ""
    text: str = ""
    whole: Sequence[str] = ()
    quick: Sequence[str] | None = ("--quick",)
    minutes: float = 6


def _end_to_end(name: str, minutes: float, *whole: str, quick: Sequence[str] | None = None) -> Part:
    return Part(name, END_TO_END, whole=whole, quick=quick, minutes=minutes)


#: All parts, in the order in which they run and stand in the page; the longest one runs last.
PARTS: Sequence[Part] = (
    _end_to_end(
        "figures",
        32,
        *("--documents", "1000", "10000", "--ways", "script", "http", "ours", "webhooks"),
        *("--repeat", "3", "--minutes", "24"),
        quick=("--documents", "100", "--ways", "script", "http", "ours", "webhooks", "mapped"),
    ),
    _end_to_end("variants", 10, "--documents", "10000", "--ways", "http", "sdk", "listed"),
    _end_to_end("mapped", 8, "--documents", "100", "--ways", "mapped", "ours"),
    Part(
        "overhead",
        "stack.overhead",
        "Airflow's own cost",
        "`documents_to_warehouse` with one document in each chunk, and a DAG of the same shape whose tasks "
        "do nothing, in one Airflow (LocalExecutor). What the empty DAG costs is Airflow's.",
    ),
    Part(
        "landing",
        "warehouse.landing",
        "Landing",
        "`land()` beside the barest SQL that ends in the same rows. `cpu` is in seconds, `peak` in MB. "
        "`land()` has 256 MB and one thread, by default. The SQL has a gigabyte and two threads. Each "
        "also has a row with the memory of the other. Medians of three runs.",
        whole=("--documents", "1000", "100000", "--items", "1000", "100000", "--repeat", "3"),
        minutes=20,
    ),
    Part(
        "discovery",
        "single.discovery",
        "Discovery",
        "A prefix is listed and planned. The bare listing of boto3 keeps nothing and checks nothing.",
        minutes=15,
    ),
    Part(
        "rate",
        "single.rate",
        "The rate limit",
        "How much of a server's limit is used, and how many requests it refuses. The server counts the last "
        "second (sliding), or from one second to the next (fixed). A collector reads in one task after "
        "another, of up to 1,000 runs each, as `collect` does, on one machine. With fixed windows, one "
        "collector at 75 per second used 0.89 to 0.96 in simulations: it depends on the moment of Extend's "
        "second in which it begins.",
        whole=("--windows", "sliding", "fixed", "--seconds", "107"),
        minutes=25,
    ),
    Part(
        "rate-in-airflow",
        "stack.rate",
        "The rate limit in Airflow",
        "`documents_to_warehouse` with its defaults at such a limit, of which it is not told. `used` is "
        "its share from the first request for a run to the last one.",
        whole=("--limits", "75", "--windows", "sliding", "fixed"),
        quick=None,
        minutes=10,
    ),
    Part(
        "triggerer",
        "single.triggerer",
        "The triggerer",
        "Deferred batches in one process.",
        whole=("--seconds", "30"),
    ),
    Part(
        "latency",
        "stack.latency",
        "Latency",
        "Seconds from the last run that settles at Extend until its wait has ended, and until its row has "
        "landed: 100 documents, while nothing else is at work.",
        minutes=8,
    ),
    Part(
        "parsing",
        "single.parsing",
        "Parsing",
        "Each DAG file in a process of its own, beside a DAG of one empty task. Airflow itself is imported "
        "before the clock starts, because Airflow's DAG processor has it already.",
    ),
    Part(
        "webhooks",
        "single.webhooks",
        "Webhooks",
        "A receiver on one core.",
        whole=("--inbox", "file", "s3", "--events", "2000"),
        quick=("--events", "500", "--at-a-time", "1"),
    ),
    Part(
        "page",
        "warehouse.page",
        "The page in Airflow",
        "Its answers over many documents.",
        whole=("--times", "10"),
        minutes=10,
    ),
    _end_to_end("growth", 30, "--documents", "100000", "--ways", "script", "ours"),
)


def available(names: Sequence[str], *, quick: bool) -> list[Part]:
    """Return the parts of these names whose module is there."""
    return [
        part
        for part in PARTS
        if part.name in names
        and not (quick and part.quick is None)
        and importlib.util.find_spec(f"bench.{part.module}")
    ]
