"""What landing a part costs, in figures that do not depend on the machine: statements and rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.warehouse import invoices
from extend_pipeline.warehouse.session import Session
from fixtures.warehouse.files import land, provenance, warehouse

#: Statements that land a part in tables that are there: each costs a millisecond or more, however few rows.
MOST_STATEMENTS = 48
#: What DuckDB keeps of a document until the part has landed, as a multiple of its raw line.
MOST_KEPT = 2.8


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return what counts the statements that are run, by name."""
    counted: Counter[str] = Counter()
    original = Session.pages

    def pages(self: Session, statement: str, *arguments: Any) -> Any:
        counted[statement] += 1
        return original(self, statement, *arguments)

    monkeypatch.setattr(Session, "pages", pages)
    return counted


def test_the_number_of_statements_does_not_grow_with_the_part(tmp_path: Path, ran: Counter[str]) -> None:
    file = tmp_path / "warehouse.duckdb"
    counts = []
    for first, documents in ((0, 10), (10, 10), (20, 200)):
        ran.clear()
        origin = provenance(raw_uri=f"raw/{first}")
        lines = invoices.lines(first, documents)
        landing = land(file, invoices.documents(first, documents), lines, origin=origin)
        counts.append(ran.total())
        assert landing.rows["documents"] == landing.rows["invoices"] == documents
    assert counts[1] == counts[2] <= MOST_STATEMENTS, ran


def test_a_long_list_is_broken_up_in_as_many_statements_as_it_is_deep(
    tmp_path: Path, ran: Counter[str]
) -> None:
    for items in (1000, 4000):
        ran.clear()
        file = tmp_path / f"{items}.duckdb"
        landing = land(file, invoices.documents(0, 1), invoices.lines(0, 1, items))
        assert landing.rows["invoices_line_items"] == items
        assert ran["break up large parts"] == 2  # the value, and the list in it


def test_metadata_that_lands_is_not_copied_by_a_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB would build its hash table of the metadata, which is most of a page."""
    plans: list[str] = []
    original = Session.pages

    def pages(self: Session, statement: str, sql: str, *arguments: Any) -> Any:
        if statement == "stage _evidence":
            plans.append(self._connection.execute(f"EXPLAIN {sql}").fetchall()[0][1])
        return original(self, statement, sql, *arguments)

    monkeypatch.setattr(Session, "pages", pages)
    land(tmp_path / "warehouse.duckdb", invoices.documents(0, 10), invoices.lines(0, 10))
    assert len(plans) == 1
    assert "READ_CSV" in plans[0]
    assert "JOIN" not in plans[0].upper()


def test_evidence_of_runs_that_do_not_land_is_not_looked_at(tmp_path: Path, ran: Counter[str]) -> None:
    file = tmp_path / "warehouse.duckdb"
    newer = [line.replace(b"workflow_run_", b"workflow_run_x") for line in invoices.lines(0, 5)]
    land(file, invoices.documents(0, 5), newer, origin=provenance(raw_uri="raw/newer"))
    ran.clear()
    landing = land(
        file, invoices.documents(0, 10), invoices.lines(0, 10), origin=provenance(raw_uri="raw/older")
    )
    assert landing.rows["invoices"] == 5
    assert "problems" not in landing.rows
    assert not ran["name absent fields"]  # what looks for fields of evidence that has none in its extraction


def test_a_part_of_some_size_is_written_into_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    log = file.with_name(f"{file.name}.wal")
    with warehouse(file) as opened:
        opened.land(invoices.documents(0, 10), invoices.lines(0, 10), provenance=provenance(raw_uri="raw/0"))
        assert log.stat().st_size > 0
        lines = invoices.lines(10, 200)
        opened.land(invoices.documents(10, 200), lines, provenance=provenance(raw_uri="raw/10"))
        assert not log.exists()


def test_a_transaction_keeps_little_of_the_pages_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB frees a temporary table that was replaced when the transaction ends."""
    kept: list[int] = []
    original = Session.pages

    def pages(self: Session, statement: str, *arguments: Any) -> Any:
        if statement == "commit":
            memory = "SELECT sum(memory_usage_bytes + temporary_storage_bytes) FROM duckdb_memory()"
            kept.append(int(self._connection.execute(memory).fetchall()[0][0]))
        return original(self, statement, *arguments)

    monkeypatch.setattr(Session, "pages", pages)
    for documents in (5000, 10_000):
        land(tmp_path / f"{documents}.duckdb", invoices.documents(0, documents), invoices.lines(0, documents))
    of_one = (max(kept) - kept[1]) / 5000
    assert of_one < MOST_KEPT * sum(map(len, invoices.lines(0, 1000))) / 1000
