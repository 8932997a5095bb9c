"""How large an installation has to be for so many documents, and how long they take: arithmetic, without I/O.

Each figure that was measured is a constant here, with what it was measured on; ``docs/operations.md`` repeats
them. They are upper bounds where a bound was measured, so the result is careful rather than exact.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

from extend_pipeline.config import Execution
from extend_pipeline.exceptions import PipelineInputError

#: Documents of a batch: the default of ``Execution.chunk_size``, and the most that Extend takes
#: (docs/api-contract.md, section 4).
BATCH: Final = 1000
#: Batches that a run of the DAG maps at the most: the default of ``[core] max_map_length``.
BATCHES_PER_RUN: Final = 1024
#: Share of the requests per second to plan with: other DAGs and people use the same organization's limit.
USABLE_SHARE: Final = 0.9
#: Seconds for which one batch occupies a worker's slot, all its tasks together. 10,000 documents in ten
#: batches took 32 to 42 s through four slots on two cores (LocalExecutor, DuckDB; S3 and Extend's emulator,
#: which answer at once, on the same machine): 4 × 42 / 10. Collecting at Extend's pace comes on top.
WORKER_SECONDS: Final = 17.0
#: Seconds that one batch takes to land, the start of its process included. The ten load tasks of such a run,
#: cleared together, took 7.3 s. The SQL alone takes 0.44 to 0.62 s
#: (CONTRIBUTING.md, 1,000 documents; the latter after 1,000,000 others).
LANDING_SECONDS: Final = 0.8
#: Task slots of a worker with two cores: as many as that run had.
SLOTS_PER_WORKER: Final = 4
#: Megabytes of a task's process: the most that was measured (docs/warehouses.md, "How a part lands").
TASK_MEGABYTES: Final = 390
#: Triggers of a triggerer: the default of ``[triggerer] capacity``. With 1,000 deferred batches one triggerer
#: took 6 % of a core and 161 MB, and its loop was late by 2.1 ms (p99).
TRIGGERS_PER_TRIGGERER: Final = 1000
#: Seconds after which the end of a batch is noticed by webhook: the longest time between two looks into the
#: inbox (``extend_provider.batch.waiting.watching``). By polling it is the poke interval.
NOTICED_BY_WEBHOOK: Final = 15.0
#: Requests that list a batch when webhooks bring its results (docs/webhooks.md, "What they change").
LISTS_BY_WEBHOOK: Final = 1
#: Kilobytes of a document in the raw zone, compressed (docs/tables.md, "The raw zone and replay").
RAW_KILOBYTES: Final = 2.2
#: Kilobytes of a document in a DuckDB file: 5,000 invoices of ``make bench``, 4 kB each as JSON.
TABLE_KILOBYTES: Final = 2.4

DAY: Final = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be processed, and what Extend allows.

    :param documents: how many.
    :param pages_per_document: on average; only the credits depend on it.
    :param requests_per_second: of the plan at Extend, for reads and for writes each.
    :param runs_per_minute: of the plan at Extend; a document is a run.
    :param seconds_per_run: how long Extend works on one document, on average, without its queue.
    :param webhooks: whether Extend delivers its events, results included.
    :param credits_per_page: what a page has cost before; None if it is not known.
    :param poke_interval: ``Execution.poke_interval``, in seconds.
    :raises PipelineInputError: if a number is not above 0, or not finite.
    """

    documents: int
    requests_per_second: float
    runs_per_minute: float
    seconds_per_run: float
    pages_per_document: float = 1.0
    webhooks: bool = False
    credits_per_page: float | None = None
    poke_interval: float = Execution.poke_interval.total_seconds()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "webhooks" and value is not None and not 0 < value < math.inf:
                option = f"--{field.name.replace('_', '-')}"
                raise PipelineInputError(f"{option} is {value:g}: give a finite number above 0.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests to Extend, by kind."""

    submit: int
    list_runs: int
    get_run: int

    @property
    def reads(self) -> int:
        """Those that Extend counts as reads; ``submit`` is a write."""
        return self.list_runs + self.get_run


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What the load needs.

    :ivar slots: of the pool ``extend``: the batches in flight that keep Extend busy.
    :ivar batch_seconds: from the submission of a batch to the end of its last run, if the others in flight
        come first.
    :ivar limits: seconds that everything takes by each limit alone.
    :ivar seconds: that everything takes.
    :ivar worker_slots: tasks that run at the same time.
    :ivar raw_bytes: of the raw zone, in the workspace.
    :ivar table_bytes: of the tables in DuckDB.
    """

    batches: int
    dag_runs: int
    slots: int
    batch_seconds: float
    requests: Requests
    limits: Mapping[str, float]
    seconds: float
    worker_slots: int
    raw_bytes: float
    table_bytes: float
    credits: float | None

    @property
    def binding(self) -> str:
        """The limit that decides how long it takes."""
        return max(self.limits, key=self.limits.__getitem__)

    @property
    def triggerers(self) -> int:
        """Triggerers that hold all waits."""
        return math.ceil(self.slots / TRIGGERS_PER_TRIGGERER)

    @property
    def workers(self) -> int:
        """Workers of :data:`SLOTS_PER_WORKER` slots."""
        return math.ceil(self.worker_slots / SLOTS_PER_WORKER)


def size(load: Load) -> Size:
    """Return what a load needs.

    The slowest of three limits sets the pace. By Little's law, as many documents are at Extend as it starts
    in the time for which one of them is there. One batch more drains while the next one fills.
    """
    batches = math.ceil(load.documents / BATCH)
    requests_per_second = load.requests_per_second * USABLE_SHARE
    gets_per_document = 0 if load.webhooks else 1
    noticed = NOTICED_BY_WEBHOOK if load.webhooks else load.poke_interval

    # Documents per second, before the lists, whose number depends on it.
    pace = min(
        load.runs_per_minute / 60,
        BATCH / LANDING_SECONDS,
        requests_per_second / gets_per_document if gets_per_document else math.inf,
    )
    occupied = WORKER_SECONDS + load.seconds_per_run + noticed
    slots = min(batches, math.ceil(pace * occupied / BATCH) + 1)
    batch_seconds = load.seconds_per_run + min(load.documents, slots * BATCH) / pace

    lists = LISTS_BY_WEBHOOK if load.webhooks else 1 + math.ceil(batch_seconds / load.poke_interval)
    requests = Requests(submit=batches, list_runs=batches * lists, get_run=load.documents * gets_per_document)
    limits = {
        "runs per minute": load.documents * 60 / load.runs_per_minute,
        # Writes have a limit of their own, and are never more: a list at least for each submission.
        "requests per second": requests.reads / requests_per_second,
        "landing": batches * LANDING_SECONDS,
    }
    slowest = max(limits.values())
    collecting = BATCH * gets_per_document / requests_per_second
    return Size(
        batches=batches,
        dag_runs=math.ceil(batches / BATCHES_PER_RUN),
        slots=slots,
        batch_seconds=batch_seconds,
        requests=requests,
        limits=limits,
        # The last batch ends after the limit has let its last document pass.
        seconds=slowest + load.seconds_per_run + noticed + WORKER_SECONDS + collecting,
        worker_slots=min(batches, math.ceil(batches / slowest * (WORKER_SECONDS + collecting))),
        raw_bytes=load.documents * RAW_KILOBYTES * 1e3,
        table_bytes=load.documents * TABLE_KILOBYTES * 1e3,
        credits=(
            None
            if load.credits_per_page is None
            else load.documents * load.pages_per_document * load.credits_per_page
        ),
    )
