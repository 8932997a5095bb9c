"""What all ways have in common: one Airflow with Extend's emulator and S3, the documents, and the counts.

Each measurement begins with an empty warehouse, an empty workspace and an emulator as if just started; the
objects in S3 stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from bench.usage import Usage
from fixtures.extend.api import ExtendApi
from fixtures.sources.s3 import S3
from sandbox.airflow_settings import load_settings
from sandbox.stack.places import located
from sandbox.stack.processes.network import free_ports
from sandbox.stack.supervisor import AIRFLOW_PARTS, Stack
from sandbox.stack.webhooks import connected

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
SETTINGS = HERE / "airflow_settings.yaml"

BUCKET, PREFIX = "bench-inbox", "documents"
#: Documents of a batch, the most that Extend takes.
BATCH = 1000
#: How Extend is: it answers at once, and each run takes five seconds, however many there are.
EXTEND = {"synthetic": True, "latency_seconds": 5, "max_concurrent_runs": 1_000_000}

#: Tasks are forked from a process that has imported what they import, as the guide has it, for each way.
AIRFLOW_OPTIONS = {"scheduler": {"mp_forkserver_preload": "extend_pipeline.preload"}}

RUN_SECONDS = 1200
UPLOADS = 8
POST, LIST, RUN = "POST /workflow_runs/batch", "GET /workflow_runs", "GET /workflow_runs/{id}"

#: Groups of processes whose CPU seconds are counted apart.
AIRFLOW, DATABASE, EXTEND_GROUP, S3_GROUP = "Airflow", "its database", "Extend", "S3"


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """What one way took for one number of documents; flat, as ``--json`` prints it.

    :param seconds: from the start of the run to its end, by the wall clock.
    :param extend_requests: all requests at Extend; ``posts``, ``lists`` and ``gets`` are the most frequent.
    :param s3_requests: all requests at S3, the pages of the listing included.
    :param rows: documents in the warehouse.
    :param paid_again: documents for which Extend has more than one run.
    :param cpu_seconds: of the way itself: Airflow with its tasks and its database, or the script.
    :param extend_cpu: what the emulator used of one core, 1.0 being all of it; it must not be the bottleneck.
    :param s3_cpu: the same for S3.
    :param peak_mb: the most memory of the way itself, without Airflow's database.
    :param runs: of how many runs these figures are the medians.
    :param times: the seconds as a multiple of the HTTP DAG's, the median of what each repetition had.
    """

    way: str
    documents: int
    seconds: float
    extend_requests: int
    posts: int
    lists: int
    gets: int
    s3_requests: int
    rows: int
    paid_again: int
    cpu_seconds: float
    extend_cpu: float
    s3_cpu: float
    peak_mb: int
    runs: int = 1
    times: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Ran:
    """What a way says of itself; without CPU seconds and memory it has run in Airflow."""

    seconds: float
    cpu_seconds: float | None = None
    peak_mb: float | None = None


class World:
    """A running stack for measurements.

    :param stack: it.
    :ivar extend_options: how Extend answers from the next :meth:`clean` on.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.extend = ExtendApi(stack.extend_url, pid=stack.component("extend-api").pid or 0)
        self.s3 = S3(stack.s3_url)
        self.extend_options: dict[str, Any] = dict(EXTEND)
        self._keys: list[str] = []

    @property
    def source(self) -> str:
        """The prefix that holds the documents."""
        return f"s3://{BUCKET}/{PREFIX}/"

    @property
    def addresses(self) -> list[str]:
        """The documents one by one."""
        return [f"s3://{BUCKET}/{key}" for key in self._keys]

    @property
    def warehouse(self) -> Path:
        """The DuckDB file, whatever writes it."""
        return self.stack.home.warehouse

    def seed(self, documents: int) -> None:
        """Have so many documents in S3 and no others."""
        if len(self._keys) > documents:
            self.s3.reset()
            self._keys.clear()
        self.s3.client.create_bucket(Bucket=BUCKET)
        wanted = [f"{PREFIX}/{number:08}.pdf" for number in range(len(self._keys), documents)]
        with ThreadPoolExecutor(UPLOADS) as pool:
            for _ in pool.map(lambda key: self.s3.put(BUCKET, key, key.encode()), wanted):
                pass
        self._keys += wanted

    def clean(self, *, webhooks: bool) -> None:
        """Begin anew: nothing has been sent, nothing has landed.

        :param webhooks: True if Extend is to deliver events to the receiver in Airflow.
        """
        self.extend.reset()
        self.extend.configure(**self.extend_options)
        home = self.stack.home
        for path in home.path.glob(f"{home.warehouse.name}*"):
            path.unlink()
        shutil.rmtree(home.workspace, ignore_errors=True)
        home.workspace.mkdir()
        urls = {"extend_url": self.stack.extend_url, "s3_url": self.stack.s3_url}
        settings = located(load_settings(SETTINGS), home.path, **urls)
        if webhooks:
            where = {"extend_url": self.stack.extend_url, "airflow_url": self.stack.airflow_url}
            settings = connected(settings, _refuse, **where)
        self.stack.client.apply(settings)
        self.s3.requests()

    def run_dag(self, dag_id: str, way: str, documents: int, **conf: Any) -> Measured:
        """Run a DAG to its end and count.

        :raises RuntimeError: it has failed; the text has the ends of its logs.
        """
        client = self.stack.client
        client.wait_for_dag(dag_id)

        def run() -> Ran:
            started = time.time()
            begun = client.trigger(dag_id, conf=conf)
            try:
                ended = client.wait_for_run(dag_id, begun.dag_run_id, timeout=RUN_SECONDS, interval=0.5)
            except Exception:
                client.set_run_state(dag_id, begun.dag_run_id, "failed")  # the next way has Airflow to itself
                raise
            if ended.state != "success" or ended.end_date is None:
                raise RuntimeError(f"{way}: {client.failed_logs(dag_id, begun.dag_run_id)}")
            return Ran(ended.end_date.timestamp() - started)

        return self.measured(way, documents, run)

    def run_script(self, module: str, way: str, documents: int) -> Measured:
        """Run a script to its end and count; Airflow is stopped meanwhile, and started again."""
        options = {
            "extend": self.stack.extend_url,
            "key": self.extend.key,
            "s3": self.stack.s3_url,
            "bucket": BUCKET,
            "prefix": f"{PREFIX}/",
            "warehouse": str(self.warehouse),
        }
        switches = [text for name, value in options.items() for text in (f"--{name}", value)]
        path = os.pathsep.join(filter(None, sys.path))

        def run() -> Ran:
            started = time.monotonic()
            script = subprocess.Popen(
                [sys.executable, "-m", module, *switches], env={**os.environ, "PYTHONPATH": path}
            )
            _, status, used = os.wait4(script.pid, 0)
            if status:
                raise RuntimeError(f"{way} has ended with status {status}")
            seconds = time.monotonic() - started
            return Ran(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)

        for part in AIRFLOW_PARTS:
            self.stack.stop(part)
        try:
            return self.measured(way, documents, run)
        finally:
            for part in AIRFLOW_PARTS:
                self.stack.start(part)

    def measured(self, way: str, documents: int, run: Callable[[], Ran]) -> Measured:
        """Count what ``run`` takes."""
        with Usage(self._groups()) as usage:
            ran = run()
        seconds, cpu, peak = ran.seconds, ran.cpu_seconds, ran.peak_mb
        if cpu is None:
            cpu, peak = usage.cpu[AIRFLOW] + usage.cpu[DATABASE], usage.peak[AIRFLOW]
        stats = self.extend.stats()
        requests = {name: count for name, count in stats["requests"].items() if "webhook" not in name}
        shares = {name: usage.cpu[name] / seconds for name in (EXTEND_GROUP, S3_GROUP)}
        return Measured(
            way=way,
            documents=documents,
            seconds=round(seconds, 2),
            extend_requests=sum(requests.values()),
            posts=requests.get(POST, 0),
            lists=requests.get(LIST, 0),
            gets=requests.get(RUN, 0),
            s3_requests=sum(self.s3.requests().values()),
            rows=rows(self.warehouse),
            paid_again=sum(runs > 1 for runs in stats["runs_created"].values()),
            cpu_seconds=round(cpu, 2),
            extend_cpu=round(shares[EXTEND_GROUP], 2),
            s3_cpu=round(shares[S3_GROUP], 2),
            peak_mb=round(peak or 0),
        )

    def tasks(self, dag_id: str) -> list[dict[str, Any]]:
        """Return where the seconds of the last run of a DAG went: one row for each of its tasks."""
        client = self.stack.client
        run = client.runs(dag_id)[-1]
        began = run.start_date or dt.datetime.now(dt.UTC)
        spans: dict[str, list[tuple[float, float]]] = {}
        for task in client.tasks(dag_id, run.dag_run_id):
            if task.start_date and task.end_date:
                span = ((task.start_date - began).total_seconds(), (task.end_date - began).total_seconds())
                spans.setdefault(task.task_id, []).append(span)
        return [
            {
                "task": name,
                "count": len(found),
                "first start": round(min(start for start, _ in found), 1),
                "last end": round(max(end for _, end in found), 1),
                "mean seconds": round(sum(end - start for start, end in found) / len(found), 2),
            }
            for name, found in sorted(spans.items(), key=lambda item: min(item[1]))
        ]

    def _groups(self) -> dict[str, list[int]]:
        parts = {
            AIRFLOW: AIRFLOW_PARTS,
            DATABASE: ("postgres",),
            EXTEND_GROUP: ("extend-api",),
            S3_GROUP: ("s3",),
        }
        pids = {name: [self.stack.component(part).pid for part in each] for name, each in parts.items()}
        return {name: [pid for pid in found if pid is not None] for name, found in pids.items()}


@contextlib.contextmanager
def running_world(say: Callable[[str], None] = lambda _: None) -> Iterator[World]:
    """Run a stack for the block: LocalExecutor, Postgres as Airflow's database, a home of its own.

    :param say: called with a message after each step of the start.
    """
    home = Path(tempfile.mkdtemp(prefix="extend-bench-"))
    (port,) = free_ports(1)
    stack = Stack(
        home,
        project=PROJECT,
        dags=[HERE / "dags"],
        settings=SETTINGS,
        airflow_options=AIRFLOW_OPTIONS,
        ui_port=port,
        on_step=say,
    )
    try:
        with stack:
            yield World(stack)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def rows(warehouse: Path) -> int:
    """Return the number of documents in the warehouse, whichever way has landed them."""
    if not warehouse.exists():
        return 0
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.execute(
            "SELECT schema_name FROM duckdb_tables() WHERE table_name = 'documents'"
        ).fetchall()
        return sum(
            connection.execute(f"SELECT count(*) FROM {schema}.documents").fetchall()[0][0]
            for (schema,) in found
        )


def _refuse(reason: str) -> None:
    raise RuntimeError(reason)
