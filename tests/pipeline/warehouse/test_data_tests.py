"""The data tests hold for whatever lands, and each kind of them tells when it is broken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

from fixtures.engines.postgres import Database
from fixtures.warehouse.data_tests import Ask, broken
from fixtures.warehouse.files import Place, land, provenance, warehouse
from fixtures.warehouse.runs import classify_step, document, extract_step, raw_lines, run

BUNDLE = {"id": "file_1", "name": "a.pdf"}


@pytest.fixture
def landed(new_place: Callable[[str], Place]) -> Place:
    """Documents with every kind of row: runs, steps, lists in lists, problems, attempts, a skipped one."""
    file = new_place("landed")
    submission = [document(number) for number in range(4)]
    skipped = document(9, status="SKIPPED", reason="EMPTY_FILE")
    validation = {"id": "s2", "stepType": "VALIDATION", "result": {"valid": True, "blocks": [{"id": "b"}]}}
    unknown = extract_step({"invoice_number": "INV-7", "more": 1, "pages": "many"})
    runs = [
        run(submission[0], files=[BUNDLE]),
        run(submission[1], steps=[classify_step(), unknown, validation], files=[BUNDLE]),
        run(submission[2], id="first", status="FAILED", steps=[]),
        run(submission[2], id="second", startTime="2026-11-22T00:00:00Z"),
        run(None, id="stray"),
    ]
    land(file, [*submission, skipped], raw_lines(*runs), origin=provenance(raw_uri="raw/1"))
    return file


@contextlib.contextmanager
def asking(place: Place) -> Iterator[Ask]:
    """Yield what runs a statement on one connection, and returns its rows."""
    with place.connect() if isinstance(place, Database) else duckdb.connect(str(place)) as connection:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            answer = connection.execute(sql)
            return answer.fetchall() if answer.description else []

        yield ask


def names_of_broken(place: Place) -> list[str]:
    with asking(place) as ask:
        return [each.partition(":")[0] for each in broken(ask)]


def test_what_has_landed_is_sound(landed: Place) -> None:
    assert names_of_broken(landed) == []


#: What is done to the data, and the data test that tells of it.
DAMAGES = [
    (
        "INSERT INTO extend.fields SELECT * FROM extend.fields LIMIT 1",
        "unique fields (document_id, workflow_id, workflow_version_requested, run_id, extractor, "
        "result_idx, path)",
    ),
    ("UPDATE extend.runs SET status = NULL", "not null runs.status"),
    (
        "DELETE FROM extend.steps",
        "related invoices (document_id, workflow_id, workflow_version_requested, run_id, result_idx) "
        "to steps",
    ),
    (
        "DELETE FROM extend.invoices_line_items",
        "related invoices_line_items_taxes (document_id, workflow_id, workflow_version_requested, "
        "run_id, result_idx, line_items_idx) to invoices_line_items",
    ),
    ("UPDATE extend.documents SET status = 'LOST'", "accepted documents.status"),
    ("UPDATE extend.documents SET approval = 'WAITING'", "nothing of a held document in invoices"),
    ("DELETE FROM extend.runs WHERE run_id = 'first'", "documents.attempts counts the runs"),
    ("ALTER TABLE extend.invoices DROP COLUMN pages", "every declared column exists"),
    (
        "DELETE FROM extend.dictionary WHERE table_name = 'invoices_tags' AND column_name = ''",
        "every declared table is declared itself",
    ),
]


def test_each_data_test_tells_what_is_broken(landed: Place) -> None:
    with asking(landed) as ask:
        for damage, told in DAMAGES:
            ask("BEGIN")
            ask(damage)
            assert told in [each.partition(":")[0] for each in broken(ask)], damage
            ask("ROLLBACK")


def test_a_load_that_is_repeated_and_renewed_stays_sound(landed: Place) -> None:
    changes: list[Any] = [
        {"updatedAt": "2026-11-23T00:00:00Z", "steps": [extract_step({"line_items": [{"taxes": [{}, {}]}]})]},
        {"updatedAt": "2026-11-24T00:00:00Z", "status": "REJECTED", "steps": []},
    ]
    for number, change in enumerate(changes):
        origin = provenance("batch_2", raw_uri=f"raw/2/{number}")
        land(landed, [document(1)], raw_lines(run(document(1), **change)), origin=origin)
        assert names_of_broken(landed) == []
    with warehouse(landed) as opened:
        assert opened.counts()["documents"] == 5
