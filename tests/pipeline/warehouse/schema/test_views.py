"""The views, each asked in the warehouse that it stands in, about documents that have landed there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import sqlglot

from extend_pipeline.documents import RUN_DELETED, Document
from extend_pipeline.warehouse.records import LandingPolicy, Provenance
from extend_pipeline.warehouse.schema.views import VIEWS, statements
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import DATASET, Place, land, provenance, query, warehouse
from fixtures.warehouse.runs import document, extract_step, raw_lines, run

FIRST, SECOND, THIRD = document(1), document(2), document(3)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}


def ask(place: Place, sql: str) -> list[tuple[Any, ...]]:
    """Ask the warehouse itself, in words that all of them know."""
    return place.rows(sql) if isinstance(place, Database) else query(place, sql)


def test_latest_documents_has_one_row_for_each_address(file: Place) -> None:
    later = document(1, etag="etag-new", last_modified="2026-11-22T08:00:00Z")
    old_version = provenance("batch_0", version="6", raw_uri="raw/0")
    land(file, [FIRST], raw_lines(run(FIRST, id="run_1")), origin=provenance(raw_uri="raw/1"))
    land(file, [later], raw_lines(run(later, id="run_2")), origin=provenance("batch_2", raw_uri="raw/2"))
    land(file, [SECOND], raw_lines(run(SECOND, id="run_3")), origin=provenance("batch_3", raw_uri="raw/3"))
    earlier = run(SECOND, id="run_0", startTime="2026-11-20T09:00:00Z", initialRunAt="2026-11-20T09:00:00Z")
    land(file, [SECOND], raw_lines(earlier), origin=old_version)
    other = Provenance(workflow_id="workflow_other", batch_id="batch_4", raw_uri="raw/4")
    land(file, [SECOND], raw_lines(run(SECOND, id="run_4")), origin=other)

    rows = ask(file, f"SELECT uri, workflow_id, etag, run_id FROM {DATASET}.latest_documents ORDER BY run_id")
    assert rows == [
        (FIRST.uri, "workflow_invoices", "etag-new", "run_2"),
        (SECOND.uri, "workflow_invoices", "etag-2", "run_3"),
        (SECOND.uri, "workflow_other", "etag-2", "run_4"),
    ]


def unsure(each: Document, **confidences: dict[str, float | None]) -> dict[str, Any]:
    value = dict.fromkeys(confidences, "x")
    return run(each, steps=[extract_step(value, schema=SCHEMA, metadata=confidences)])


def test_low_confidence_fields_has_what_is_below_the_threshold_that_was_asked_for(file: Place) -> None:
    doubts: dict[Document, Any] = {
        FIRST: {"a": {"ocrConfidence": 0.7, "logprobsConfidence": 0.9}, "b": {"ocrConfidence": 0.95}},
        SECOND: {"a": {"logprobsConfidence": 0.6}, "b": {"reviewAgentScore": 1}},
    }
    for number, (each, policy) in enumerate([(FIRST, LandingPolicy(0.99)), (SECOND, LandingPolicy())]):
        with warehouse(file) as opened:
            opened.land(
                [each],
                raw_lines(unsure(each, **doubts[each])),
                provenance=provenance(raw_uri=f"raw/{number}"),
                policy=policy,
            )
    rows = ask(
        file,
        f"""SELECT uri, path, value, confidence, min_confidence FROM {DATASET}.low_confidence_fields
            ORDER BY uri, path""",
    )
    assert rows == [
        (FIRST.uri, "a", "x", 0.7, 0.99),
        (FIRST.uri, "b", "x", 0.95, 0.99),
        (SECOND.uri, "a", "x", 0.6, 0.8),
    ]


def test_dead_letters_has_what_was_sent_and_failed(file: Place) -> None:
    skipped = document(9, status="SKIPPED", reason="EMPTY_FILE")
    failed = run(FIRST, status="FAILED", failureReason="FAILED_TO_PROCESS_FILE", steps=[])
    land(file, [FIRST, SECOND, THIRD, skipped], raw_lines(failed, run(SECOND)))
    rows = ask(file, f"SELECT uri, reason, attempts, resending FROM {DATASET}.dead_letters ORDER BY uri")
    assert rows == [
        (FIRST.uri, "FAILED_TO_PROCESS_FILE", 1, False),
        (THIRD.uri, "RUN_MISSING", 0, False),
    ]
    with warehouse(file) as opened:
        opened.claim([(FIRST, "chunk")], workflow_id="workflow_invoices", version=None)
    assert ask(file, f"SELECT uri FROM {DATASET}.dead_letters WHERE resending") == [(FIRST.uri,)]


def test_in_review_says_for_whom_each_document_waits_and_since_when(file: Place) -> None:
    now = dt.datetime.now(dt.UTC)
    since = (now - dt.timedelta(hours=30)).isoformat()
    waiting = run(FIRST, status="NEEDS_REVIEW", endTime=since, updatedAt=since)
    land(file, [FIRST, SECOND], raw_lines(waiting, run(SECOND)), origin=provenance(raw_uri="raw/1"))
    with warehouse(file) as opened:
        opened.land(
            [THIRD],
            raw_lines(unsure(THIRD, a={"ocrConfidence": 0.1})),
            provenance=provenance(raw_uri="raw/2"),
            policy=LandingPolicy(0.5, hold=True),
        )
    rows = ask(
        file, f"SELECT uri, waits_for, waiting_since, waiting_hours FROM {DATASET}.in_review ORDER BY uri"
    )
    assert [row[:2] for row in rows] == [
        (FIRST.uri, "review at Extend"),
        (THIRD.uri, "approval in Airflow"),
    ]
    assert abs(rows[0][2] - dt.datetime.fromisoformat(since)) < dt.timedelta(seconds=1)
    assert 29.9 < rows[0][3] < 35
    assert now <= rows[1][2]
    with warehouse(file) as opened:
        opened.note_deleted_runs([waiting["id"]], "gone")
    assert ask(file, f"SELECT reason FROM {DATASET}.documents WHERE status = 'NEEDS_REVIEW'") == [
        (RUN_DELETED,)
    ]
    assert ask(file, f"SELECT uri FROM {DATASET}.in_review") == [(THIRD.uri,)]


def test_costs_add_up_to_what_every_attempt_was_charged(file: Place) -> None:
    elsewhere = document(4, uri="s3://inbox/2026-11-22/x.pdf")
    runs = [
        run(FIRST, id="r1", usage={"credits": 2}),
        run(FIRST, id="r2", usage={"credits": 3}, startTime="2026-11-22T00:30:00+01:00"),
        run(SECOND, id="r3", usage={"credits": 4}, startTime="2026-11-22T23:59:59Z"),
        run(elsewhere, id="r4", usage={"credits": 5.5}, startTime="2026-11-22T12:00:00Z"),
        run(THIRD, id="r5", usage=None, startTime="2026-11-22T12:00:00Z"),
        run(None, id="r6", usage={"credits": 7}, startTime="2026-11-22T12:00:00Z"),
    ]
    land(file, [FIRST, SECOND, THIRD, elsewhere], raw_lines(*runs))
    rows = ask(
        file,
        f"""SELECT day, workflow_id, workflow_version, source_prefix, documents, runs, credits
            FROM {DATASET}.costs ORDER BY day, source_prefix NULLS LAST""",
    )
    first, second = dt.date(2026, 11, 21), dt.date(2026, 11, 22)
    assert rows == [
        (first, "workflow_invoices", "7", "s3://inbox/2026-11-21/", 1, 2, 5),
        (second, "workflow_invoices", "7", "s3://inbox/2026-11-21/", 2, 2, 4),
        (second, "workflow_invoices", "7", "s3://inbox/2026-11-22/", 1, 1, 5.5),
        (second, "workflow_invoices", "7", None, 0, 1, 7),
    ]
    charged = ask(file, f"SELECT sum(credits) FROM {DATASET}.runs")
    assert ask(file, f"SELECT sum(credits) FROM {DATASET}.costs") == charged == [(21.5,)]


def test_daily_throughput_counts_each_document_once(new_place: Callable[[str], Place]) -> None:
    file = new_place("with a status that nobody knows")
    skipped = document(9, status="SKIPPED", reason="EMPTY_FILE")
    on = "2026-10-01T09:00:01Z"  # days before anything can have landed
    runs = [
        run(FIRST, startTime=on, endTime="2026-10-01T09:01:01Z"),
        run(SECOND, startTime=on, status="FAILED", endTime=None),
        run(THIRD, status="DREAMING", startTime="2026-10-02T00:00:00Z", endTime="2026-10-02T00:00:10Z"),
    ]
    land(file, [FIRST, SECOND, THIRD, skipped], raw_lines(*runs))
    rows = ask(
        file,
        f"""SELECT documents, processed, failed, skipped, other, attempts, average_seconds
            FROM {DATASET}.daily_throughput ORDER BY day""",
    )
    assert rows == [
        (2, 1, 1, 0, 0, 2, 60),
        (1, 0, 0, 0, 1, 1, 10),
        (1, 0, 0, 1, 0, 0, None),
    ]
    days = ask(file, f"SELECT day FROM {DATASET}.daily_throughput ORDER BY day")
    assert days[:2] == [(dt.date(2026, 10, 1),), (dt.date(2026, 10, 2),)]


@pytest.mark.parametrize("dialect", ["postgres", "snowflake", "bigquery", "redshift", "databricks"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_said_in_every_dialect(view: str, dialect: str) -> None:
    (statement,) = sqlglot.transpile(
        statements(DATASET)[view], read="duckdb", write=dialect, unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    (tree,) = sqlglot.parse(statement, read=dialect)
    assert tree is not None
    assert tree.key == "create"
