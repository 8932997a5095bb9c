"""A DuckDB file is open in one process at a time; readers have a copy that is replaced in one step."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse
from extend_pipeline.warehouse.queries import summary
from extend_pipeline.warehouse.records import WarehouseError
from fixtures.warehouse.files import DATASET, provenance, query
from fixtures.warehouse.runs import document, raw_lines, run

PARTS = 12
SIZE = 20

#: Asks again and again until every document is there; prints what it saw each time.
READER = f"""
import duckdb, json, sys
seen = []
while not seen or seen[-1][0] < {PARTS * SIZE}:
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        seen.append(connection.execute(
            "SELECT (SELECT count(*) FROM extend.documents), (SELECT count(*) FROM extend.invoices), "
            "(SELECT sum(documents) FROM extend.loads)::BIGINT"
        ).fetchall()[0])
    if len(seen) == 1:
        print("reading", flush=True)
print(json.dumps(seen))
"""
OPENER = "import duckdb, sys; duckdb.connect(sys.argv[1])"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    return folder / "warehouse.duckdb"


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return tmp_path / "for readers" / "warehouse.read.duckdb"


def warehouse(file: Path, snapshot: Path | None) -> DuckDBWarehouse:
    return DuckDBWarehouse(file, DATASET, conn_id="warehouse_test", snapshot=snapshot)


def land_part(file: Path, snapshot: Path, number: int) -> None:
    """Land documents that no other part has, and publish them."""
    submission = [document(number * SIZE + position) for position in range(SIZE)]
    with warehouse(file, snapshot) as opened:
        origin = provenance(raw_uri=f"raw/{number}")
        opened.land(submission, raw_lines(*map(run, submission)), provenance=origin)
        opened.publish()


def test_a_reader_queries_all_the_while_and_sees_whole_parts_only(file: Path, snapshot: Path) -> None:
    land_part(file, snapshot, 0)
    with subprocess.Popen(
        [sys.executable, "-c", READER, snapshot], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        for number in range(1, PARTS):
            land_part(file, snapshot, number)
        answer, errors = reader.communicate(timeout=120)
    assert errors == ""
    seen = json.loads(answer)
    assert all(documents == invoices == loaded for documents, invoices, loaded in seen)
    assert all(documents % SIZE == 0 for documents, *_ in seen)
    assert seen == sorted(seen)
    assert seen[0][0] < seen[-1][0] == PARTS * SIZE


def test_who_has_the_copy_open_goes_on_reading_it(file: Path, snapshot: Path) -> None:
    land_part(file, snapshot, 0)
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        land_part(file, snapshot, 1)
        assert connection.execute("SELECT count(*) FROM extend.documents").fetchall() == [(SIZE,)]
    assert query(snapshot, "SELECT count(*) FROM documents") == [(2 * SIZE,)]


def test_nothing_is_copied_if_nothing_has_landed(file: Path, snapshot: Path) -> None:
    land_part(file, snapshot, 0)
    before = snapshot.stat().st_ino
    with warehouse(file, snapshot) as opened:
        opened.publish()
    assert snapshot.stat().st_ino == before
    land_part(file, snapshot, 1)
    assert snapshot.stat().st_ino != before


def test_the_copy_of_a_large_dataset_has_its_counts_and_is_made_once(
    file: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_part(file, snapshot, 0)
    assert (summary.TABLE,) not in query(snapshot, "SELECT table_name FROM duckdb_tables()")
    counted = functools.partial(summary.keep, small=SIZE)
    monkeypatch.setattr(summary, "keep", counted)
    for number in (1, 2):
        land_part(file, snapshot, number)
        kept = f"SELECT sum(documents), count(DISTINCT counted_at) FROM {summary.TABLE}"
        assert query(snapshot, kept) == [((number + 1) * SIZE, 1)]
    before = snapshot.stat().st_ino
    with warehouse(file, snapshot) as opened:
        opened.publish()
    assert snapshot.stat().st_ino == before


def test_counts_that_cannot_be_made_leave_the_copy(
    file: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bool:
        raise WarehouseError("no memory")

    monkeypatch.setattr(summary, "keep", broken)
    land_part(file, snapshot, 0)
    assert query(snapshot, "SELECT count(*) FROM documents") == [(SIZE,)]
    assert "The counts for the page in Airflow are as old as the run before: no memory" in caplog.text


def test_what_a_crash_left_half_copied_is_never_read(file: Path, snapshot: Path) -> None:
    land_part(file, snapshot, 0)
    unfinished = snapshot.with_name(snapshot.name + ".unfinished")
    unfinished.write_bytes(b"half" * 10_000_000)
    land_part(file, snapshot, 1)
    assert query(snapshot, "SELECT count(*) FROM documents") == [(2 * SIZE,)]
    assert [each.name for each in snapshot.parent.iterdir()] == [snapshot.name]


def test_the_copy_is_there_to_be_read_only(file: Path, snapshot: Path) -> None:
    land_part(file, snapshot, 0)
    assert snapshot.stat().st_mode & 0o777 == 0o444


def test_nobody_else_gets_at_the_file_while_it_is_open_after_publishing(file: Path, snapshot: Path) -> None:
    def is_open_to_others() -> bool:
        return subprocess.run([sys.executable, "-c", OPENER, file], capture_output=True).returncode == 0

    with warehouse(file, snapshot) as opened:
        opened.publish()
        assert not is_open_to_others()
        opened.publish()
        assert not is_open_to_others()
    assert is_open_to_others()


def test_a_place_that_cannot_be_written_is_told_of_and_undoes_nothing(file: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is to be")
    with pytest.raises(WarehouseError, match=r"could not be copied to .*They see an earlier state"):
        land_part(file, tmp_path / "taken" / "warehouse.duckdb", 0)
    assert query(file, "SELECT count(*) FROM documents") == [(SIZE,)]


def test_without_a_place_nothing_is_published(file: Path) -> None:
    with warehouse(file, None) as opened:
        opened.counts()
        opened.publish()
    assert list(file.parent.iterdir()) == [file]
