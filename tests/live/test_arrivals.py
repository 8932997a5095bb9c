"""Documents that S3 announces, on a real scheduler and triggerer: from the put to the rows, by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extend_pipeline.arrivals.manifests import Bundles
from fixtures.airflow.stack import Live
from fixtures.airflow.timing import RUN_SECONDS
from fixtures.airflow.waiting import eventually
from fixtures.sources.sqs import Sqs
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.samples import QUEUE_VARIABLE, announce_arrivals, source_of
from sandbox.stack.supervisor import Stack

ARRIVALS = "extend_arrivals"
#: What the DAG waits for before it starts a run, unless five minutes have passed.
AT_LEAST = 50


@pytest.fixture
def watching(live: Live) -> Iterator[Live]:
    announce_arrivals(live.s3.endpoint_url, live.settings)
    live.client.wait_for_dag(ARRIVALS)
    live.client.set_paused(ARRIVALS, False)
    # A watcher begins when the file is parsed after the DAG was unpaused: here, ten minutes later by itself.
    live.client.parse_again(ARRIVALS)
    yield live
    live.client.set_paused(ARRIVALS, True)
    live.client.parse_again(ARRIVALS)


def test_documents_start_a_run_and_land_without_anybody(watching: Live) -> None:
    live = watching
    bucket, prefix = source_of(live.settings)
    queue, sqs = live.settings.variable(QUEUE_VARIABLE) or "", Sqs(live.s3.endpoint_url)
    before = len(live.client.runs(ARRIVALS))
    keys = [f"{prefix}2026-11-27/{number} red+blue.txt" for number in range(AT_LEAST)]
    for key in keys:
        live.s3.put(bucket, key, b"Receipt\nTotal: 3.00 EUR\n")

    eventually(lambda: len(live.client.runs(ARRIVALS, run_type="asset_triggered")) > before, True)
    run = live.client.runs(ARRIVALS)[-1]
    ended = live.client.wait_for_run(ARRIVALS, run.dag_run_id, timeout=RUN_SECONDS)
    assert ended.state == "success", live.client.failed_logs(ARRIVALS, run.dag_run_id)
    with LandedWarehouse(live.warehouse) as warehouse:
        rows = warehouse.rows("SELECT uri, status FROM extend.documents")
    assert dict(rows) == {f"s3://{bucket}/{key}": "PROCESSED" for key in keys}
    assert list(live.extend.stats()["runs_created"].values()) == [1] * AT_LEAST
    assert sqs.waiting(queue) == (0, 0)
    assert [path for path in (live.workspace / "arrivals" / ARRIVALS).iterdir() if path.is_file()] == []
    events = live.client.get("assets/events", name_pattern=ARRIVALS)["asset_events"]
    payloads = [event["extra"]["payload"] for event in events if event["extra"].get("from_trigger")]
    assert payloads[-1] == {"arrivals": ARRIVALS, "bundles": payloads[-1]["bundles"], "documents": AT_LEAST}


@pytest.mark.alone
def test_a_killed_triggerer_loses_nothing_of_what_arrives_meanwhile(
    watching: Live, airflow_stack: Stack
) -> None:
    live = watching
    bucket, prefix = source_of(live.settings)
    before = len(live.client.runs(ARRIVALS))
    keys = [f"{prefix}2026-11-28/{number}.txt" for number in range(AT_LEAST)]
    for key in keys[:20]:
        live.s3.put(bucket, key, b"Receipt\nTotal: 3.00 EUR\n")
    eventually(lambda: waiting(live), 20)
    airflow_stack.kill("triggerer")
    for key in keys[20:]:
        live.s3.put(bucket, key, b"Receipt\nTotal: 3.00 EUR\n")
    airflow_stack.start("triggerer")

    eventually(lambda: len(live.client.runs(ARRIVALS, run_type="asset_triggered")) > before, True)
    run = live.client.runs(ARRIVALS)[-1]
    ended = live.client.wait_for_run(ARRIVALS, run.dag_run_id, timeout=RUN_SECONDS)
    assert ended.state == "success", live.client.failed_logs(ARRIVALS, run.dag_run_id)
    with LandedWarehouse(live.warehouse) as warehouse:
        rows = warehouse.rows("SELECT uri FROM extend.documents")
    assert {uri for (uri,) in rows} == {f"s3://{bucket}/{key}" for key in keys}
    assert list(live.extend.stats()["runs_created"].values()) == [1] * AT_LEAST


def waiting(live: Live) -> int:
    """Return how many documents wait in the workspace."""
    found = Bundles(f"file://{live.workspace}", ARRIVALS).waiting()
    return sum(bundle.documents for bundle in found)
