"""What the page answers before anything has landed, of a large dataset, and if the warehouse hangs."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.page import questions, reading
from extend_pipeline.page.pipelines import KnownPipeline
from extend_pipeline.planning.record import PipelineRecord
from extend_pipeline.warehouse.queries import seen, summary
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import DATASET, land, provenance, warehouse
from fixtures.warehouse.runs import document, raw_lines, run

HANGS = "SELECT count(*) FROM generate_series(1, 100000) AS a(x), generate_series(1, 100000) AS b(y)"


@pytest.fixture
def question(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., questions.Question]:
    """Return a question of a user who may read all DAGs, to the warehouse of a connection."""

    def asked(connection: dict[str, Any]) -> questions.Question:
        monkeypatch.setenv("AIRFLOW_CONN_PAGE", json.dumps(connection))
        record = PipelineRecord(warehouse_conn_id="page", dataset=DATASET, kind=connection["conn_type"])
        return questions.Question(KnownPipeline("dag_of_this_test", "group", "run", record), set)

    return asked


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_warehouse_without_documents_says_so(
    kind: str, question: Callable[..., questions.Question], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    connection: dict[str, Any]
    if kind == "duckdb":
        duckdb.connect(str(tmp_path / "copy.duckdb")).close()
        connection = {
            "conn_type": "duckdb",
            "host": "none.duckdb",
            "extra": {"snapshot": f"{tmp_path}/copy.duckdb"},
        }
    else:
        connection = request.getfixturevalue("new_database")().connection()
    counts = questions.overview(question(connection), days=3)
    assert counts["state"] == "nothing_landed"
    assert str(counts["notice"]).startswith("Nothing has landed yet.")
    assert (counts["total"], len(counts["days"])) == ({}, 3)


def test_of_a_large_dataset_the_counts_that_a_run_has_kept_are_shown(
    question: Callable[..., questions.Question],
    new_database: Callable[[], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = new_database()
    lines = raw_lines(run(document(1)), run(document(2), status="FAILED"))
    land(place, [document(1), document(2)], lines, origin=provenance(dag_id="dag_of_this_test"))
    with warehouse(place) as opened:
        session = opened.session("Keep")
        assert summary.keep(session, DATASET, session.columns(DATASET), small=0)
    live = questions.overview(question(place.connection()), days=1)
    monkeypatch.setattr(summary, "kept", functools.partial(summary.kept, small=0))
    monkeypatch.setattr(seen, "counts", None)
    monkeypatch.setattr(seen, "credits_by_day", None)
    kept = questions.overview(question(place.connection()), days=1)
    assert kept["total"] == live["total"] == {"PROCESSED": 1, "FAILED": 1}
    assert kept["credits"] == live["credits"]
    assert kept["as_of"] is not None
    assert dt.datetime.fromisoformat(kept["as_of"]) <= dt.datetime.now(dt.UTC)


def test_a_warehouse_that_hangs_is_given_up_in_words(
    question: Callable[..., questions.Question],
    new_database: Callable[[], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = new_database()
    land(place, [document(1)], raw_lines(run(document(1))))
    monkeypatch.setattr(reading, "STATEMENT_SECONDS", 0.5)
    asked = question(place.connection())
    assert asked.ask(lambda opened, _: opened.session.rows("hang", HANGS)) is None
    assert asked.condition["state"] == "unreadable"
    assert "has not answered within 0.5 seconds" in (asked.condition["notice"] or "")
