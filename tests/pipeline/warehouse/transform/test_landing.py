from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.documents import EMPTY_FILE, OBJECT_DELETED, RUN_MISSING
from extend_pipeline.warehouse.records import WarehouseError
from fixtures.warehouse.files import DATASET, Place, but, contents, land, provenance, query, warehouse
from fixtures.warehouse.parts import parts_of_one_document
from fixtures.warehouse.runs import INVOICE, document, raw_lines, run, run_of_2025

FIRST, SECOND, THIRD = document(1), document(2), document(3)
SKIPPED = document(4, status="SKIPPED", reason=EMPTY_FILE, message="It has 0 bytes.")
DELETED = document(5, status="FAILED", reason=OBJECT_DELETED, message="It is gone.")


def test_every_submitted_document_has_one_row_whatever_became_of_it(file: Place) -> None:
    failed = run(
        SECOND, status="FAILED", steps=[], failureReason="INTERNAL_ERROR", failureMessage="Try again."
    )
    landing = land(file, [FIRST, SECOND, THIRD, SKIPPED, DELETED], raw_lines(run(FIRST), failed))
    rows = query(
        file, "SELECT name, status, reason, message, run_id IS NOT NULL FROM documents ORDER BY name"
    )
    assert rows == [
        ("invoice 001.pdf", "PROCESSED", None, None, True),
        ("invoice 002.pdf", "FAILED", "INTERNAL_ERROR", "Try again.", True),
        (
            "invoice 003.pdf",
            "FAILED",
            RUN_MISSING,
            "The document was sent, but its batch has no run of it. It may have been paid for, so it is "
            "sent again by reprocessing only.",
            False,
        ),
        ("invoice 004.pdf", "SKIPPED", EMPTY_FILE, "It has 0 bytes.", False),
        ("invoice 005.pdf", "FAILED", OBJECT_DELETED, "It is gone.", False),
    ]
    assert landing.documents == 5
    assert landing.by_status == {"PROCESSED": 1, "FAILED": 3, "SKIPPED": 1}
    assert landing.by_reason == {"INTERNAL_ERROR": 1, RUN_MISSING: 1, OBJECT_DELETED: 1, EMPTY_FILE: 1}
    assert landing.credits == 5.0
    assert landing.rows["documents"] == 5
    assert landing.as_dict()["by_status"] == landing.by_status


def test_a_documents_row_tells_of_the_object_the_run_and_the_load(file: Place) -> None:
    origin = provenance(
        version="7",
        raw_uri="s3://workspace/raw/part-00000.jsonl.gz",
        dag_id="extend_nightly",
        run_id="scheduled__2026-11-21",
        task_id="chunk.load",
        map_index=3,
    )
    land(file, [FIRST], raw_lines(run(FIRST)), origin=origin)
    ((*row,),) = query(
        file,
        """SELECT document_id, workflow_id, workflow_version_requested, uri, bucket, key, etag, size_bytes,
                  last_modified::VARCHAR, workflow_name, workflow_version, batch_id, credits::VARCHAR,
                  started_at::VARCHAR, ended_at::VARCHAR, reviewed, dag_id, dag_run_id, task_id, map_index,
                  raw_uri, landed_at IS NOT NULL
           FROM documents""",
    )
    assert row == [
        FIRST.id,
        "workflow_invoices",
        "7",
        "s3://inbox/2026-11-21/invoice 001.pdf",
        "inbox",
        "2026-11-21/invoice 001.pdf",
        "etag-1",
        1001,
        "2026-11-21 08:00:00+00",
        "Invoices",
        "7",
        "batch_1",
        "2.500000000",
        "2026-11-21 09:00:01+00",
        "2026-11-21 09:00:11.285+00",
        False,
        "extend_nightly",
        "scheduled__2026-11-21",
        "chunk.load",
        3,
        "s3://workspace/raw/part-00000.jsonl.gz",
        True,
    ]


@pytest.mark.parametrize(
    "key", ["with space/ü.pdf", "a#b?c=d%20+e.pdf", "no-folder.pdf", "日本/請求書.pdf"], ids=str
)
def test_a_key_is_taken_from_the_address_as_it_is(duckdb_first: Place, key: str) -> None:
    land(duckdb_first, [document(uri=f"s3://inbox/{key}")], ())
    assert query(duckdb_first, "SELECT bucket, key, name FROM documents") == [
        ("inbox", key, key.rsplit("/", 1)[-1])
    ]


def test_an_empty_part_leaves_only_its_ledger_row(file: Place) -> None:
    landing = land(file, [], [])
    assert (landing.documents, landing.by_status) == (0, {})
    assert {table for table, rows in contents(file).items() if rows} == {"loads"}


def test_landing_a_part_twice_changes_nothing(file: Place) -> None:
    part = [FIRST, SECOND, SKIPPED], raw_lines(run(FIRST), run(SECOND, {"unknown": 1, "pages": "x"}))
    land(file, *part)
    once = contents(file)
    land(file, *part)
    assert contents(file) == once


def test_values_are_replaced_although_the_tables_that_tell_of_them_were_dropped(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    part = [FIRST, SECOND], raw_lines(run(FIRST), run(SECOND))
    land(file, *part)
    once = contents(file)
    with duckdb.connect(str(file)) as connection:
        for table in ("documents", "runs", "loads"):
            connection.execute(f"DROP TABLE {DATASET}.{table}")
    land(file, *part)
    assert contents(file) == once


def test_a_replay_restores_the_row_of_a_document_that_was_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    origin = provenance(landed_at=datetime(2026, 11, 22, tzinfo=UTC))
    land(file, [SKIPPED], [], origin=origin)
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"UPDATE {DATASET}.documents SET message = 'changed by hand'")
    land(file, [SKIPPED], [], origin=origin)
    assert query(file, "SELECT message FROM documents") == [("It has 0 bytes.",)]


def test_a_later_snapshot_with_fewer_items_leaves_none_of_the_old_ones(file: Place) -> None:
    land(file, [FIRST], raw_lines(run(FIRST)))
    fewer: dict[str, Any] = {**INVOICE, "line_items": INVOICE["line_items"][1:], "tags": []}
    reviewed = run(
        FIRST, fewer, reviewed=True, reviewedAt="2026-11-22T10:00:00Z", reviewedByUser="jane@acme.example"
    )
    land(file, [FIRST], raw_lines(reviewed), origin=provenance(raw_uri="raw/2"))
    assert query(file, "SELECT idx, amount::DOUBLE FROM invoices_line_items") == [(0, 20.25)]
    for table in ("invoices_tags", "invoices_line_items_taxes"):
        assert query(file, f"FROM {table}") == []
    assert query(file, "SELECT reviewed_by FROM documents") == [("jane@acme.example",)]
    assert query(file, "SELECT count(*) FROM runs") == [(1,)]


def test_the_order_of_the_loads_changes_nothing(new_place: Callable[[str], Place]) -> None:
    def landed(order: Sequence[int]) -> Place:
        place = new_place(str(order))
        with warehouse(place) as opened:
            for number in order:
                submission, raw, origin = parts_of_one_document()[number]
                opened.land(submission, raw, provenance=origin)
        return place

    def without_ledger(place: Place) -> dict[str, list[tuple[Any, ...]]]:
        """The ledger tells what each load found, which is what the order is about."""
        return {table: rows for table, rows in contents(place).items() if table != "loads"}

    first = landed(range(4))
    straight = without_ledger(first)
    rows = query(first, "SELECT run_id, pages FROM documents JOIN invoices USING (document_id, run_id)")
    assert ("workflow_run_2", 4) in rows
    assert query(first, "SELECT count(*) FROM runs") == [(3,)]
    # What decides is worked out by DuckDB for either: of Postgres, its own statements are of interest.
    orders = list(itertools.permutations(range(4)))[3 :: 4 if isinstance(first, Path) else 12]
    for order in orders:
        assert without_ledger(landed(order)) == straight, order


def test_of_several_runs_in_a_part_the_settled_and_latest_one_is_the_documents(file: Place) -> None:
    older = run(FIRST, {"pages": 1}, id="run_a", startTime="2026-11-21T01:00:00Z", initialRunAt=None)
    latest = run(FIRST, {"pages": 2}, id="run_b", startTime="2026-11-21T02:00:00Z", initialRunAt=None)
    under_way = run(FIRST, {"pages": 3}, id="run_c", status="PROCESSING", startTime="2026-11-21T03:00:00Z")
    landing = land(file, [FIRST], raw_lines(latest, under_way, older))
    assert query(file, "SELECT run_id FROM documents") == [("run_b",)]
    assert query(file, "SELECT pages FROM invoices") == [(2,)]
    assert query(file, "SELECT run_id, status FROM runs ORDER BY ALL") == [
        ("run_a", "PROCESSED"),
        ("run_b", "PROCESSED"),
        ("run_c", "PROCESSING"),
    ]
    assert landing.credits == 7.5


def test_a_document_that_was_paid_for_is_not_overwritten_by_one_that_was_skipped(file: Place) -> None:
    land(file, [FIRST], raw_lines(run(FIRST)))
    gone = document(1, status="FAILED", reason=OBJECT_DELETED, message="It is gone.")
    landing = land(file, [gone], [], origin=provenance("batch_2"))
    assert landing.by_status == {"PROCESSED": 1}
    assert query(file, "SELECT count(*) FROM invoices") == [(1,)]


def test_a_run_of_a_document_that_was_not_submitted_is_kept_and_told_of(file: Place) -> None:
    land(file, [FIRST], raw_lines(run(FIRST), run(SECOND), run(None)))
    assert query(file, "SELECT count(*) FROM documents") == [(1,)]
    assert query(file, "SELECT count(*) FROM runs") == [(3,)]
    stray = query(
        file, "SELECT document_id, run_id FROM problems WHERE code = 'RUN_WITHOUT_DOCUMENT' ORDER BY ALL"
    )
    assert stray == [(SECOND.id, f"workflow_run_{SECOND.id[:8]}"), (None, "workflow_run_x")]


def test_a_document_submitted_twice_in_a_part_has_one_row(duckdb_first: Place) -> None:
    replaced = document(1, status="SKIPPED", reason="OBJECT_REPLACED", message="x")
    landing = land(duckdb_first, [FIRST, replaced, FIRST], raw_lines(run(FIRST)))
    assert (landing.documents, landing.by_status) == (1, {"PROCESSED": 1})


def test_workflows_and_versions_do_not_touch_each_other(file: Place) -> None:
    for number, version in enumerate((None, "7", "draft")):
        changed = run(FIRST, {"pages": number}, id=f"run_{version}")
        land(file, [FIRST], raw_lines(changed), origin=provenance(version=version, raw_uri=str(version)))
    rows = query(file, "SELECT workflow_version_requested, pages FROM invoices ORDER BY ALL")
    assert rows == [("", 0), ("7", 1), ("draft", 2)]


def test_a_rejection_carries_the_reviewers_note(duckdb_first: Place) -> None:
    land(duckdb_first, [FIRST], raw_lines(run(FIRST, status="REJECTED", rejectionNote="Not an invoice.")))
    assert query(duckdb_first, "SELECT status, message FROM documents") == [("REJECTED", "Not an invoice.")]


def test_runs_of_the_older_api_version_land_in_the_same_tables(duckdb_first: Place) -> None:
    land(duckdb_first, [FIRST], raw_lines(run_of_2025(FIRST), api_version="2025-04-21"))
    land(duckdb_first, [SECOND], raw_lines(run(SECOND)), origin=provenance("batch_2"))
    columns = but("document_id", "run_id")
    for table in ("invoices", "invoices_line_items", "invoices_line_items_taxes", "invoices_tags"):
        old, new = (
            query(
                duckdb_first, f"SELECT {columns} FROM {table} WHERE document_id = ? ORDER BY ALL", [each.id]
            )
            for each in (FIRST, SECOND)
        )
        assert old == new
        assert new
    evidence = query(duckdb_first, "SELECT page, reference_text FROM fields WHERE citations = 1")
    assert evidence == [(2, "INV-1")]


@pytest.mark.parametrize(
    "line",
    [
        b'{"api_version": "2026-02-09", "run": {"secret": "4111-1111"',
        b'{"run": {"id": "4111-1111"}}',
        b'{"api_version": "1999-01-01", "run": {"id": "4111-1111"}}',
        b'{"api_version": "2026-02-09", "run": {"name": "4111-1111"}}',
        b"[" * 100_000,
    ],
    ids=["cut off", "no version", "unknown version", "no run id", "nested too deeply"],
)
def test_a_raw_line_that_is_no_run_stops_the_load_and_is_not_quoted(duckdb_first: Place, line: bytes) -> None:
    with pytest.raises(WarehouseError, match="Line 2 of part batch_1") as caught:
        land(duckdb_first, [FIRST], [*raw_lines(run(FIRST)), line])
    assert "4111" not in str(caught.value)
    assert caught.value.__context__ is None
    with warehouse(duckdb_first) as opened:
        assert opened.counts() == {}


def test_the_ledger_says_what_each_part_brought(file: Place) -> None:
    land(
        file,
        [FIRST, SKIPPED],
        raw_lines(run(FIRST)),
        origin=provenance(raw_uri="raw/1", extend_conn_id="extend"),
    )
    rows = query(
        file,
        """SELECT part, batch_id, extend_conn_id, documents, runs, credits::DOUBLE,
                  (by_status ->> 'SKIPPED')::INT, (rows_by_table ->> 'invoices')::INT,
                  started_at <= ended_at FROM loads""",
    )
    assert rows == [("raw/1", "batch_1", "extend", 2, 1, 2.5, 1, 1, True)]


def test_counts_tell_every_tables_rows(file: Place) -> None:
    land(file, [FIRST, SECOND], raw_lines(run(FIRST)))
    with warehouse(file) as opened:
        counts = opened.counts()
    assert counts == {table: len(rows) for table, rows in contents(file).items()}
    assert counts["documents"] == 2
