"""Measure the page's answers at a million landed documents: ``python -m bench.warehouse.page --help``.

Airflow's API server runs in this process, with the page and a user who is logged in. A part lands as always,
and SQL copies its rows under other names, all within thirty days: no dataset has more to count. ``cold`` is
a question whose answer is not kept, ``warm`` the same one again.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import logging
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.rows import tell
from bench.warehouse import invoices

DATASET: Final = "extend"
DAG: Final = "extend_nightly"
#: Lands a tenth of the batches in the same dataset; a user who may not read it asks, too.
OTHER: Final = "extend_other"
GROUP: Final = "documents_to_warehouse"
#: Documents of a batch, one in a hundred of which fails and one in two hundred waits for a review.
BATCH: Final = 1000
#: Columns that are other ones in a copy.
_COPIED: Final = {
    "document_id": "md5({column} || copy)",
    "run_id": "{column} || '-' || copy",
    "batch_id": "'batch_' || copy",
    "part": "{column} || '-' || copy",
    "uri": "replace({column}, 'invoices/', 'invoices/' || copy || '/')",
    "key": "replace({column}, 'invoices/', 'invoices/' || copy || '/')",
    "dag_id": f"CASE WHEN copy % 10 = 0 THEN '{OTHER}' ELSE '{DAG}' END",
    **dict.fromkeys(
        ("started_at", "created_at", "ended_at", "landed_at"),
        "CAST('{now}' AS TIMESTAMP WITH TIME ZONE) - copy * CAST('{apart} seconds' AS INTERVAL)",
    ),
}
#: Two fields of each document are copied; what is read of one document does not depend on the others.
_ROWS: Final = {
    "documents": "true",
    "runs": "true",
    "loads": "true",
    "fields": "seed.path IN ('invoice_number', 'total')",
}


def statements(columns: dict[str, Any], documents: int) -> Iterator[str]:
    """Yield what turns a part that has landed into so many documents."""
    reason = "CASE WHEN size_bytes % 300 = 0 THEN 'CORRUPT_FILE' ELSE 'INTERNAL_ERROR' END"
    failed = f"status = 'FAILED', reason = {reason}"
    yield f'UPDATE "{DATASET}".documents SET {failed} WHERE size_bytes % 100 = 0'
    yield f"UPDATE \"{DATASET}\".documents SET status = 'NEEDS_REVIEW' WHERE size_bytes % 200 = 50"
    copies = documents // BATCH - 1
    values = {"now": dt.datetime.now(dt.UTC).isoformat(), "apart": 30 * 86400 // (copies + 1)}
    for table, condition in _ROWS.items():
        names = ", ".join(f'"{column}"' for column in columns[table])
        copied = ", ".join(
            _COPIED.get(column, "{column}").format(column=f'seed."{column}"', **values)
            for column in columns[table]
        )
        target = f'"{DATASET}"."{table}"'
        series = f"generate_series(1, {copies}) AS copies(copy)"
        rows = f"SELECT {copied} FROM {target} AS seed, {series} WHERE {condition} ORDER BY copy"
        yield f"INSERT INTO {target} ({names}) {rows}"


def land(conn_id: str) -> dict[str, Any]:
    """Land the part that is copied; return the columns of the tables."""
    from extend_pipeline.warehouse.open import open_warehouse
    from extend_pipeline.warehouse.records import Provenance

    origin = Provenance(workflow_id=invoices.WORKFLOW, batch_id="batch_0", raw_uri="part", dag_id=DAG)
    with open_warehouse(conn_id, DATASET) as warehouse:
        warehouse.land(invoices.documents(0, BATCH), invoices.lines(0, BATCH), provenance=origin)
        return dict(warehouse.session("Columns").columns(DATASET))


@contextlib.contextmanager
def duckdb_snapshot(folder: Path, documents: int) -> Iterator[None]:
    """Make a DuckDB file and the copy that the page reads."""
    import duckdb

    from extend_pipeline.warehouse.open import publish_snapshot

    file, snapshot = folder / "warehouse.duckdb", folder / "warehouse.read.duckdb"
    connection = {"conn_type": "duckdb", "host": str(file), "extra": {"snapshot": str(snapshot)}}
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(connection)
    columns = land("bench")
    with duckdb.connect(str(file)) as opened:
        for statement in statements(columns, documents):
            opened.execute(statement)
    publish_snapshot("bench", DATASET)  # as a run does at its end
    file.unlink()
    yield
    snapshot.unlink()


@contextlib.contextmanager
def postgres(folder: Path, documents: int) -> Iterator[None]:
    """Make a Postgres as sandbox and tests have it, with its own settings."""
    import psycopg

    from extend_pipeline.warehouse.open import publish_snapshot
    from sandbox.stack.postgres import Postgres
    from sandbox.stack.processes.process import Component

    server = Postgres(folder / "pg")
    component = Component("postgres", server.initialise(os.environ), folder / "postgres.log")
    component.start()
    try:
        while not server.is_ready():
            component.check_alive()
            time.sleep(0.05)
        place = {
            "conn_type": "postgres",
            "host": str(folder / "pg"),
            "login": "postgres",
            "schema": "postgres",
        }
        os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(place)
        columns = land("bench")
        with psycopg.connect(host=str(folder / "pg"), user="postgres", autocommit=True) as opened:
            for statement in statements(columns, documents):
                opened.execute(statement.encode())
            opened.execute(b"VACUUM ANALYZE")  # as autovacuum does, after so many rows
        publish_snapshot("bench", DATASET)  # as a run does at its end
        yield
    finally:
        component.stop()
        server.dispose()


WAREHOUSES: Final[dict[str, Callable[[Path, int], contextlib.AbstractContextManager[None]]]] = {
    "postgres": postgres,
    "duckdb": duckdb_snapshot,
}


def leave_records(database: Path) -> None:
    """Leave what ``plan`` and ``finish`` leave in Airflow's database; the runs themselves are not needed."""
    from extend_pipeline.planning.record import LANDED_KEY, PIPELINE_KEY, PipelineRecord, landed_record
    from extend_pipeline.storage.formats import to_plain

    planned = PipelineRecord(warehouse_conn_id="bench", dataset=DATASET, kind="postgres")
    records = {
        ("plan", PIPELINE_KEY): to_plain(planned),
        ("finish", LANDED_KEY): landed_record({"PROCESSED": BATCH}, 1.0),
    }
    with sqlite3.connect(database) as opened:
        for (task, key), value in records.items():
            row = (1, f"{GROUP}.{task}", -1, key, DAG, "run_1", json.dumps(value), "2026-11-21 00:00:00")
            opened.execute(
                "INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )


def routes(client: Any) -> dict[str, str]:
    """Return what is asked, by route."""
    api = f"extend/page/api/{DAG}"
    letter = client.get(f"/{api}/dead_letters", params={"limit": 1}).json()["rows"][0]
    return {
        "pipelines": "extend/page/api/pipelines",
        "overview": f"{api}/overview",
        "dead_letters": f"{api}/dead_letters",
        "dead_letters, of a reason": f"{api}/dead_letters?reason=INTERNAL_ERROR",
        "dead_letters, last page": f"{api}/dead_letters?after=6000",
        "reviews": f"{api}/reviews",
        "search, document id": f"{api}/search?q={letter['document_id']}",
        "search, prefix": f"{api}/search?q=s3://inbox/invoices/7/",
        "search, substring": f"{api}/search?q=7/00000042",
        "search, nothing found": f"{api}/search?q=no-such-name",
        "documents": f"{api}/documents/{letter['document_id']}",
    }


def measured(client: Any, path: str, times: int) -> dict[str, float]:
    """Ask for an answer that is not kept, and again for the same one."""
    from extend_pipeline.page import app

    cold: list[float] = []
    warm: list[float] = []
    for _ in range(times):
        app._FRESH.clear()
        for seconds in (cold, warm):
            started = time.perf_counter()
            answer = client.get(f"/{path}")
            seconds.append(1000 * (time.perf_counter() - started))
            if answer.status_code != 200 or '"ready"' not in answer.text:
                raise RuntimeError(f"{path}: {answer.text}")
    return {
        "cold p50 ms": round(statistics.median(cold), 1),
        "cold p95 ms": round(statistics.quantiles(cold, n=20, method="inclusive")[-1], 1),
        "warm p50 ms": round(statistics.median(warm), 1),
    }


def measure(kinds: list[str], documents: int, times: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each warehouse, user and route."""
    from fixtures.page.server import PerDag, browser, serving

    with serving(folder) as server:
        leave_records(folder / "airflow.db")
        for kind in kinds:
            home = folder / kind
            home.mkdir()
            with WAREHOUSES[kind](home, documents):
                for user, denied in (("of all DAGs", set[str]()), ("of one DAG", {OTHER})):
                    PerDag.denied["bench"] = denied
                    client = browser(server, "bench")
                    for route, path in routes(client).items():
                        about = {"warehouse": kind, "documents": documents, "route": route, "user": user}
                        row = {**about, **measured(client, path, times)}
                        sys.stderr.write(f"{row}\n")
                        yield row


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.warehouse.page", description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--warehouse", choices=list(WAREHOUSES), nargs="+", default=list(WAREHOUSES))
    parser.add_argument("--quick", action="store_true", help="5,000 documents, each question asked twice")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows instead of a table")
    asked = parser.parse_args()
    documents, times = (5_000, 2) if asked.quick else (asked.documents, asked.times)
    with tempfile.TemporaryDirectory(prefix="extend-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["AIRFLOW_HOME"] = name
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{folder / 'airflow.db'}"
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        with contextlib.redirect_stdout(sys.stderr):
            from airflow.utils.db import initdb

            logging.disable(logging.INFO)
            initdb()
            rows = list(measure(asked.warehouse, documents, times, folder))
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
