"""Files that the release before has written: they are read, landed again and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.ledger import WorkspaceLedger
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.plan import keep_plan, read_plan
from extend_pipeline.planning.replay import (
    ReplaySettings,
    check_whole,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.settings import read_settings, write_settings
from extend_pipeline.storage.raw_index import read_index
from extend_pipeline.storage.workspace import read_documents
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema.migrations import MIGRATIONS
from fixtures.pipeline.release_before import run_folder, unpacked, without_new_columns
from fixtures.warehouse.files import contents, query, warehouse

PLACE = {"warehouse_conn_id": "warehouse_default", "dataset": "extend"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return unpacked(tmp_path)


def workspace(tmp_path: Path) -> str:
    return f"file://{tmp_path}/workspace"


def settings(tmp_path: Path, **changes: Any) -> ReplaySettings:
    return ReplaySettings.from_rendered({"workspace": workspace(tmp_path), **changes})


def folder(tmp_path: Path, run_id: str = "manual__1") -> ObjectStoragePath:
    return ObjectStoragePath(f"file://{run_folder(tmp_path, run_id)}")


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_its_tables_are_brought_to_this_release_and_keep_their_rows(tmp_path: Path, file: Path) -> None:
    before = contents(file)
    assert [len(before[table]) for table in ("documents", "claims", "loads")] == [4, 1, 3]
    documents = list(read_documents(folder(tmp_path, "manual__3") / "chunks" / next_chunk(tmp_path)))
    with warehouse(file) as opened:
        (candidate,) = opened.unlanded(documents, workflow_id="workflow_mixed", version=None)
    assert candidate.document.name == "sent.txt"
    assert next_chunk(tmp_path).removesuffix(".jsonl") in str(candidate[1])  # it is still reserved
    assert contents(without_new_columns(file)) == before
    assert query(file, "SELECT max(version) FROM _schema_version") == [(MIGRATIONS[-1].version,)]


def next_chunk(tmp_path: Path) -> str:
    (chunk,) = (run_folder(tmp_path, "manual__3") / "chunks").iterdir()
    return chunk.name


def test_its_tables_are_whole_and_a_loss_is_seen(tmp_path: Path, file: Path) -> None:
    with warehouse(file) as opened:
        check_whole(opened, workspace=workspace(tmp_path), **PLACE)
    with duckdb.connect(str(file)) as connection:
        connection.execute("DELETE FROM extend.loads WHERE documents = 3")
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 1 parts"):
        check_whole(opened, workspace=workspace(tmp_path), **PLACE)


def test_its_raw_zone_is_replayed_into_the_same_rows(tmp_path: Path, file: Path) -> None:
    before = contents(file)
    other = tmp_path / "other.duckdb"
    with warehouse(other) as opened:
        with pytest.raises(WarehouseError, match="does not have 3 parts"):
            check_whole(opened, workspace=workspace(tmp_path), **PLACE)
        replay(opened, parts_of(settings(tmp_path)), settings(tmp_path))
        check_whole(opened, workspace=workspace(tmp_path), **PLACE)
    after = contents(without_new_columns(other))
    for name in ("loads", "claims"):  # what was sent and has not landed is not in the raw zone
        before.pop(name)
        after.pop(name)
    assert after == before
    assert query(other, "SELECT name, status, reason, attempts FROM documents ORDER BY name") == [
        ("empty.txt", "SKIPPED", "EMPTY_FILE", 0),
        ("passing.txt", "PROCESSED", None, 2),
        ("plain.txt", "PROCESSED", None, 1),
        ("review.txt", "NEEDS_REVIEW", "RUN_DELETED", 1),
    ]


def test_its_settings_and_plan_are_read(tmp_path: Path, file: Path) -> None:
    read = read_settings(folder(tmp_path))
    assert (read.workflow_id, read.version, read.workspace) == ("workflow_mixed", None, workspace(tmp_path))
    planned = read_plan(folder(tmp_path))
    assert planned is not None
    plan, unsent = planned
    assert (plan.discovered, plan.to_send, plan.unsent) == (4, 3, {"EMPTY_FILE": 1})
    assert plan.unsent.total() == unsent["documents"] == 1
    assert plan.describe()
    write_settings(folder(tmp_path), read)
    keep_plan(folder(tmp_path), plan, unsent)
    assert (read_settings(folder(tmp_path)), read_plan(folder(tmp_path))) == (read, planned)


def test_its_ledger_knows_what_was_sent(tmp_path: Path, file: Path) -> None:
    home = ObjectStoragePath(workspace(tmp_path)) / "batches" / "workflow_mixed" / "latest"
    chunk = home / next_chunk(tmp_path).removesuffix(".jsonl")
    sent = WorkspaceLedger(chunk).read()
    assert sent.intent is not None
    assert sent.batch_id == json.loads((chunk / "batch.json").read_bytes())["batch_id"]
    assert [
        document.name for document in read_documents(ObjectStoragePath(sent.intent.details["submission"]))
    ] == ["sent.txt"]


def test_unknown_keys_of_a_newer_release_are_no_obstacle(tmp_path: Path, file: Path) -> None:
    run = run_folder(tmp_path, "manual__1")
    read, planned = read_settings(folder(tmp_path)), read_plan(folder(tmp_path))
    edited(run / "settings.json", colour="red")
    plan = json.loads((run / "plan.json").read_text())
    plan["plan"] |= {"colour": "red", "duration": {**plan["plan"]["duration"], "colour": "red"}}
    edited(run / "plan.json", plan=plan["plan"], colour="red")
    assert (read_settings(folder(tmp_path)), read_plan(folder(tmp_path))) == (read, planned)
    (entry, *_) = (tmp_path / "workspace" / "raw").rglob("part-*.json")
    plain = json.loads(entry.read_text())
    edited(entry, colour="red", provenance={**plain["provenance"], "region": "EU"})
    with warehouse(tmp_path / "other.duckdb") as opened:
        asked = settings(tmp_path, schema_contract="discard")
        replay(opened, not_landed(parts_of(asked), whole_parts(opened)), asked)
    again = json.loads(entry.read_text())  # written once more, as the contract has changed
    assert (again["policy"]["schema_contract"], again["colour"]) == ("discard", "red")
    assert again["provenance"]["region"] == "EU"


def test_a_file_of_a_newer_form_is_refused_by_name(tmp_path: Path, file: Path) -> None:
    run = run_folder(tmp_path, "manual__1")
    refusal = r"{} is of format 2, and this release .* a newer release has written it"
    edited(run / "settings.json", format=2)
    with pytest.raises(PipelineInputError, match=refusal.format("settings.json")):
        read_settings(folder(tmp_path))
    edited(run / "plan.json", format=2)
    with pytest.raises(PipelineInputError, match=refusal.format("plan.json")):
        read_plan(folder(tmp_path))
    (entry, *_) = (tmp_path / "workspace" / "raw").rglob("part-*.json")
    edited(entry, format=2)
    with pytest.raises(PipelineInputError, match=refusal.format(entry.name)):
        read_index(workspace(tmp_path))
