"""How long a plan takes: its requests at the connection's rate, and Extend at the pace that it has shown."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.planning.duration import Duration, LandedBatch, Pace
from fixtures.warehouse_files import land, provenance, warehouse
from fixtures.warehouse_runs import WORKFLOW, document, raw_lines, run

NIGHT = dt.datetime(2026, 11, 21, 2, tzinfo=dt.UTC)


def batch(documents: int, begin: float, end: float) -> LandedBatch:
    return LandedBatch(documents, NIGHT + dt.timedelta(seconds=begin), NIGHT + dt.timedelta(seconds=end))


def estimate(**given: Any) -> Duration:
    defaults = {"documents": 1010, "uploads": 0, "batches": 2, "poke_interval": 60.0, "pace": None}
    return Duration.of(**{**defaults, "requests_per_second": None, **given})


def test_every_result_and_every_upload_is_a_request() -> None:
    assert estimate().requests == 1010 + 2 * 4
    assert estimate(uploads=10).requests == 1020 + 2 * 4
    # A batch that is at work for ten minutes is looked at ten times.
    assert estimate(pace=Pace(5, 1.0, 600.0)).requests == 1010 + 2 * 13


@pytest.mark.parametrize(
    ("batches", "pace"),
    [
        pytest.param([], None, id="nothing has landed"),
        pytest.param([batch(1, 0, 0)], None, id="in no time at all"),
        pytest.param([batch(100, 0, 200)], Pace(100, 0.5, 200.0), id="one batch"),
        pytest.param([batch(100, 0, 100), batch(100, 0, 100)], Pace(200, 2.0, 100.0), id="two at a time"),
        pytest.param(
            [batch(100, 0, 100), batch(100, 50, 150)], Pace(200, 200 / 150, 100.0), id="overlapping"
        ),
        pytest.param([batch(100, 0, 100), batch(10, 20, 30)], Pace(110, 1.1, 1010 / 11), id="one in another"),
        pytest.param([batch(50, 86400, 86450), batch(50, 0, 50)], Pace(100, 1.0, 50.0), id="a night between"),
    ],
)
def test_the_pace_is_what_extend_settles_while_it_is_at_work(
    batches: list[LandedBatch], pace: Pace | None
) -> None:
    assert Pace.of(batches) == pytest.approx(pace)


def test_a_plan_takes_as_long_as_the_slower_of_requests_and_work() -> None:
    by_rate = estimate(requests_per_second=1.0, pace=Pace(10, 100.0, 30.0))
    assert by_rate.seconds == by_rate.requests == 1018
    by_work = estimate(requests_per_second=1000.0, pace=Pace(10, 0.5, 30.0))
    assert by_work.seconds == 2020
    assert by_work.describe() == (
        "about 0:33:40 (1,018 requests at 1000 per second take 0:00:01; Extend 0:33:40, going by 10 landed "
        "documents)"
    )


def test_what_is_not_known_is_said() -> None:
    assert estimate().describe() == (
        "at least 0:00:00 (1,018 requests, for which the connection sets no rate); how long Extend takes is "
        "not known yet"
    )
    assert (
        estimate(requests_per_second=2.0).describe().startswith("at least 0:08:29 (1,018 requests at 2 per")
    )
    assert estimate(documents=0, batches=0).describe() == "nothing to wait for"


def test_the_warehouse_tells_how_long_batches_were_at_work(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    with warehouse(file) as opened:
        assert opened.landed_batches(WORKFLOW) == []
    for number, (begin, end) in enumerate([("02:00:00", "02:00:30"), ("02:00:10", "02:01:00")]):
        times = {"createdAt": f"2026-11-21T{begin}Z", "endTime": f"2026-11-21T{end}Z"}
        runs = [run(document(2 * number + n), batchId=f"batch_{number}", **times) for n in range(2)]
        sent = [document(2 * number + n) for n in range(2)]
        land(file, sent, raw_lines(*runs), origin=provenance(f"batch_{number}"))
    with warehouse(file) as opened:
        assert Pace.of(opened.landed_batches(WORKFLOW)) == pytest.approx(Pace(4, 4 / 60, 40.0))
        assert opened.landed_batches("another") == []
