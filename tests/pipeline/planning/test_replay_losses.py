"""Before a plan, the tables are compared with the raw zone: what they have lost is not paid for again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.planning.replay import (
    begin,
    check_whole,
    end,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.storage import raw_index
from extend_pipeline.storage.raw_index import Entry
from extend_pipeline.warehouse.records import WarehouseError
from fixtures.pipeline.raw_parts import entered, entered_run, landed_there, place_of, rebuilt, settings
from fixtures.warehouse.files import query, warehouse
from fixtures.warehouse.runs import document, raw_lines, run


def test_a_plan_is_refused_while_tables_have_lost_what_landed(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    with warehouse(file) as opened:
        check_whole(opened, **place_of(tmp_path))  # nothing has ever landed
    landed_there(tmp_path, tmp_path / "lost.duckdb", 0)
    with warehouse(file) as opened:
        with pytest.raises(WarehouseError, match="does not have 1 parts that have landed there"):
            check_whole(opened, **place_of(tmp_path))
        check_whole(opened, **{**place_of(tmp_path), "dataset": "another"})
        begin(settings(tmp_path))
        replay(opened, parts_of(settings(tmp_path)), settings(tmp_path))
        with pytest.raises(WarehouseError, match="being rebuilt"):
            check_whole(opened, **place_of(tmp_path))
        end(settings(tmp_path))
        check_whole(opened, **place_of(tmp_path))
    with duckdb.connect(str(file)) as connection:
        connection.execute("DROP TABLE extend.documents")
    with warehouse(file) as opened:
        with pytest.raises(WarehouseError, match="does not have 1 parts"):
            check_whole(opened, **place_of(tmp_path))
        assert len(not_landed(parts_of(settings(tmp_path)), whole_parts(opened))) == 1


def test_a_partial_loss_is_seen_and_a_replay_heals_it(tmp_path: Path) -> None:
    """The dataset was dropped, and one part has landed since."""
    file = tmp_path / "new.duckdb"
    landed_there(tmp_path, tmp_path / "dropped.duckdb", 0, 1)
    landed_there(tmp_path, file, 2)
    with warehouse(file) as opened:
        with pytest.raises(
            WarehouseError, match=r"does not have 2 parts .* run 'python -m extend_pipeline repl"
        ):
            check_whole(opened, **place_of(tmp_path))
        replay(opened, not_landed(parts_of(settings(tmp_path)), whole_parts(opened)), settings(tmp_path))
        check_whole(opened, **place_of(tmp_path))
    assert query(file, "SELECT count(*) FROM documents") == [(3,)]


def test_a_part_that_is_landing_or_failed_to_land_is_no_loss(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    landed_there(tmp_path, file, 0)
    failed = entered_run(tmp_path, 1)
    with warehouse(file) as opened:
        check_whole(opened, **place_of(tmp_path))
        opened.land(failed.part.read_documents(), failed.part.read_lines(), provenance=failed.provenance)
        check_whole(opened, **place_of(tmp_path))  # the task was killed before it could mark the part
    (tmp_path / "new.duckdb").unlink()
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 2 parts"):
        check_whole(opened, **place_of(tmp_path))  # the check itself has marked it


def test_deleted_runs_are_no_loss(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    landed_there(tmp_path, file, 0)
    gone = json.dumps({"run_id": run(document(0))["id"]}).encode() + b"\n"
    entry = entered(tmp_path, "gone", [document(0)], [gone], deleted="It is gone.")
    with warehouse(file) as opened:
        raw_index.note_deleted(opened, entry)
        check_whole(opened, **place_of(tmp_path))
    assert [each.deleted for each in parts_of(settings(tmp_path))] == [None, "It is gone."]


def test_the_check_opens_no_entry_of_a_landed_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landed = tmp_path / "warehouse.duckdb"
    landed_there(tmp_path, landed, 0, 1)
    opened_entries: list[str] = []
    original = raw_index._read_entry

    def read(uri: str, *more: Any) -> Entry | None:
        opened_entries.append(uri)
        return original(uri, *more)

    monkeypatch.setattr(raw_index, "_read_entry", read)
    with warehouse(landed) as opened:
        check_whole(opened, **place_of(tmp_path))
        assert opened_entries == []
        entered(tmp_path, "landing", [document(1)], raw_lines(run(document(1))))
        opened_entries.clear()
        check_whole(opened, **place_of(tmp_path))
    assert len(opened_entries) == 1


def test_a_workspace_may_move_to_another_address(tmp_path: Path) -> None:
    landed = tmp_path / "warehouse.duckdb"
    landed_there(tmp_path, landed, 0, 1)
    (tmp_path / "workspace").rename(tmp_path / "moved")
    there = settings(tmp_path, workspace=f"file://{tmp_path}/moved")
    with warehouse(landed) as opened:
        check_whole(opened, **{**place_of(tmp_path), "workspace": there.workspace})
        assert not_landed(parts_of(there), whole_parts(opened)) == []


def test_the_destination_of_a_replay_is_a_dataset_like_any(tmp_path: Path) -> None:
    """Its tables are compared with the raw zone, and replayed, like those that the parts were made for."""
    landed, other = tmp_path / "warehouse.duckdb", tmp_path / "other.duckdb"
    landed_there(tmp_path, landed, 0, 1)
    place = {**place_of(tmp_path), "warehouse_conn_id": "else/where"}
    rebuilt(
        tmp_path, tmp_path / "other.duckdb", parts_of(settings(tmp_path)), into_warehouse_conn_id="else/where"
    )
    with warehouse(other) as opened:
        check_whole(opened, **place)
    there = settings(tmp_path, warehouse_conn_id="else/where")
    assert parts_of(there) == parts_of(settings(tmp_path))
    other.unlink()
    with warehouse(other) as opened:
        with pytest.raises(WarehouseError, match="does not have 2 parts"):
            check_whole(opened, **place)
        replay(opened, not_landed(parts_of(there), whole_parts(opened)), there)
        check_whole(opened, **place)
    with warehouse(landed) as opened:
        check_whole(opened, **place_of(tmp_path))


def as_before(entry: Entry) -> None:
    """Write an entry as the release before wrote it: without a format, and with no marks beside it."""
    path = Path(entry.part.uri.removeprefix("file://").replace(".jsonl.gz", ".json"))
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in plain.items() if k not in ("format", "marked", "others")}))
    for mark in path.parent.glob(f"{path.stem}.*ed.*"):
        mark.unlink()


def test_parts_without_marks_of_an_earlier_release_count_as_landed(tmp_path: Path) -> None:
    file, other = tmp_path / "new.duckdb", tmp_path / "other.duckdb"
    landed_there(tmp_path, file, 0, 1)
    elsewhere = {"into_warehouse_conn_id": "elsewhere"}
    rebuilt(tmp_path, tmp_path / "other.duckdb", parts_of(settings(tmp_path)), **elsewhere)
    for entry in parts_of(settings(tmp_path)):
        as_before(entry)
    with warehouse(other) as opened:  # a replay of the release before is known by the ledger it left
        check_whole(opened, **{**place_of(tmp_path), "warehouse_conn_id": "elsewhere"})
    file.unlink()
    for _ in range(2):
        with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 2 parts"):
            check_whole(opened, **place_of(tmp_path))
    for entry in parts_of(settings(tmp_path)):
        as_before(entry)
    entered_run(tmp_path, 0)  # its load was cleared
    rebuilt(tmp_path, tmp_path / "third.duckdb", parts_of(settings(tmp_path)), into_dataset="third")
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 2 parts"):
        check_whole(opened, **place_of(tmp_path))
