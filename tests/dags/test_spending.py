"""Bounded spend in whole runs: what is refused is neither sent nor claimed, and the way on is open."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.airflow.dag_runs import Outside

RunDag = Callable[..., Any]
PREFIX = "documents/2026-11-19/"


def test_credits_are_bounded_by_what_was_charged_before(
    outside: Outside, run_dag: RunDag, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10):
        outside.put(f"{PREFIX}{number}.txt", f"Receipt {number}\nTotal: 3.00 EUR\n".encode())

    def run(**conf: Any) -> tuple[str, int]:
        """Return the run's state and how many documents were sent up to then."""
        conf = {"source": f"s3://{outside.bucket}/{PREFIX}", **conf}
        state = run_dag("extend_on_demand", logical_date=None, run_conf=conf).state
        return state, sum(outside.extend.stats()["runs_created"].values())

    # Nothing is known of the cost: refused, and a first run with a limit tells it.
    assert run(max_credits=1000) == ("failed", 0)
    assert outside.rows("SELECT count(*) FROM duckdb_tables()") == [(0,)]
    assert run(limit=4, max_documents=4) == ("success", 4)
    ((charged,),) = outside.rows("SELECT sum(credits)::DOUBLE FROM extend.documents")
    assert charged > 0

    rest = charged / 4 * 6
    assert run(max_credits=rest * 0.99) == ("failed", 4)
    assert run(max_documents=5) == ("failed", 4)
    assert outside.rows("SELECT count(*) FROM extend.claims") == [(0,)]

    with caplog.at_level(logging.INFO, logger="extend_pipeline.dag.tasks"):
        assert run(max_documents=5, dry_run=True) == ("success", 4)
    for line in ("Plan of a dry run", "6 to send", f"about {rest:.10g}", "Refused:", "max_documents=5"):
        assert line in caplog.text

    assert run(max_credits=rest, max_documents=6) == ("success", 10)
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert len(outside.statuses()) == 10
