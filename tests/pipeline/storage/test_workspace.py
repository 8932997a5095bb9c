"""Files between tasks: whole or not there, on disk and in S3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.lineage import HookLineageCollector

from extend_pipeline.batches.inbox import note_taken, part_note, remove_taken
from extend_pipeline.batches.ledger import Void, WorkspaceLedger, batch_key
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import ChunkVoidedError, PipelineInputError
from extend_pipeline.storage.kept_parts import find_part
from extend_pipeline.storage.raw_zone import write_part
from extend_pipeline.storage.workspace import (
    check_write_once,
    compressed_writer,
    copy_whole,
    read_compressed_lines,
    read_documents,
    read_json,
    write_documents,
    write_json,
    written_whole,
)
from extend_provider.batch.ledger import Intent, LedgerState
from fixtures.sources.s3 import S3


def document(number: int) -> Document:
    return Document(
        uri=f"s3://b/n {number} é%+#.pdf", etag="e", size_bytes=1, last_modified="2026-11-21T00:00:00Z"
    )


@pytest.fixture(params=["disk", "s3"])
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStoragePath:
    if request.param == "disk":
        return ObjectStoragePath(f"file://{tmp_path}")
    s3: S3 = request.getfixturevalue("s3")
    monkeypatch.setenv("AIRFLOW_CONN_WORKSPACE_S3", s3.connection_json())
    return ObjectStoragePath(f"s3://workspace_s3@{s3.bucket('workspace')}/extend")


def test_documents_survive_with_any_name(folder: ObjectStoragePath) -> None:
    documents = [document(number) for number in range(3)]
    path = folder / "runs" / "scheduled__2026-11-21T02:00:00+00:00" / "documents.jsonl"
    assert write_documents(path, documents) == 3
    assert list(read_documents(path)) == documents
    assert list(read_documents(ObjectStoragePath(str(path)))) == documents


def test_a_file_that_failed_half_way_never_appears(folder: ObjectStoragePath) -> None:
    path = folder / "whole.json"
    write_json(path, {"state": "before"})

    def fail_half_way() -> None:
        with written_whole(path) as file:
            file.write(b"{")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    assert read_json(path) == {"state": "before"}
    assert [entry.name for entry in folder.iterdir()] == ["whole.json"]


def test_an_absent_file_is_none_and_a_broken_one_raises(folder: ObjectStoragePath) -> None:
    assert read_json(folder / "absent.json") is None
    with written_whole(folder / "broken.json") as file:
        file.write(b"{")
    with pytest.raises(ValueError):
        read_json(folder / "broken.json")


def test_compressed_lines_come_back_in_order(folder: ObjectStoragePath) -> None:
    lines = [f"line {number}\n".encode() for number in range(1000)]
    with compressed_writer(folder / "part.jsonl.gz") as file:
        file.writelines(lines)
    assert list(read_compressed_lines(folder / "part.jsonl.gz")) == lines


def intent(number: int = 1, begun_at: str = "2026-11-21T02:00:00+00:00") -> Intent:
    return Intent(number, begun_at, window=70.0, run_count=2, details={"submission": "somewhere"})


def test_a_ledger_returns_the_state_of_a_submission(folder: ObjectStoragePath) -> None:
    ledger = WorkspaceLedger(folder)
    assert ledger.read() == LedgerState()
    assert ledger.begin(intent())
    assert ledger.read() == LedgerState(intent())
    ledger.withdraw(intent())
    assert ledger.read() == LedgerState(intent(), withdrawn=True)
    assert ledger.begin(intent(2))
    assert ledger.read() == LedgerState(intent(2))
    ledger.record(intent(2), "batch_1")
    assert ledger.read() == LedgerState(intent(2), batch_id="batch_1")


def test_one_of_several_simultaneous_intents_is_written(folder: ObjectStoragePath) -> None:
    rivals = [intent(begun_at=f"2026-11-21T02:00:{second:02d}+00:00") for second in range(12)]
    with ThreadPoolExecutor(len(rivals)) as pool:
        won = list(pool.map(WorkspaceLedger(folder).begin, rivals))
    assert won.count(True) == 1
    assert WorkspaceLedger(folder).read().intent == rivals[won.index(True)]


def test_a_withdrawn_number_is_not_given_again(folder: ObjectStoragePath) -> None:
    ledger = WorkspaceLedger(folder)
    ledger.begin(intent())
    ledger.withdraw(intent())
    assert not ledger.begin(intent())


def test_a_batch_key_depends_on_what_is_sent_where_and_on_nothing_else() -> None:
    first, second = document(1), document(2)
    key = batch_key([first, second], workflow_id="w", version=None)
    assert key == batch_key([second, first], workflow_id="w", version=None)
    others = [
        batch_key([first], workflow_id="w", version=None),
        batch_key([first, second], workflow_id="w2", version=None),
        batch_key([first, second], workflow_id="w", version="1"),
        batch_key([first, second], workflow_id="w", version=None, repetition="run 2"),
    ]
    assert len({key, *others}) == 5


def test_a_store_without_conditional_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = f"file://{tmp_path}"
    check_write_once(workspace)

    def overwrites(path: Path, data: bytes) -> None:  # as a look-alike of S3 that ignores If-None-Match
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr("extend_pipeline.storage.workspace._link_new", overwrites)
    with pytest.raises(PipelineInputError, match="If-None-Match"):
        check_write_once(workspace)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "the probe is taken away"


def test_only_the_plan_that_has_voided_a_chunk_may_send_it(tmp_path: Path) -> None:
    folder = ObjectStoragePath(f"file://{tmp_path}/key")
    ours = WorkspaceLedger(folder, "ours")
    assert ours.void(ours.standing(), Void(0, "ours", "our run", "2026-11-22T00:00:00+00:00"))
    assert ours.read().withdrawn
    with pytest.raises(ChunkVoidedError):
        WorkspaceLedger(folder, "theirs").read()


@pytest.mark.usefixtures("closed_object_storage")
def test_a_workspace_on_disk_needs_no_object_storage(tmp_path: Path) -> None:
    folder = ObjectStoragePath(f"file://{tmp_path}")
    check_write_once(str(folder))
    assert not list((tmp_path / "probes").iterdir())
    assert read_json(folder / "absent.json") is None
    assert write_documents(folder / "documents.jsonl", [document(1)]) == 1
    copy_whole(folder / "documents.jsonl", folder / "copy.jsonl")
    assert list(read_documents(folder / "copy.jsonl")) == [document(1)]
    destination = folder / "raw" / "part-00000.jsonl.gz"
    assert find_part(destination, "batch_1") is None
    written = write_part(destination, "batch_1", [document(1)])
    kept = find_part(destination, "batch_1")
    assert kept is not None
    assert kept.documents == {document(1).id}
    assert written.size_bytes == (tmp_path / "raw" / "part-00000.jsonl.gz").stat().st_size
    note_taken(part_note(written.uri), [])
    remove_taken(part_note(written.uri))
    assert not list((tmp_path / "raw").glob("*taken*"))


def test_files_of_the_workspace_are_in_no_lineage(
    folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = HookLineageCollector()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
    monkeypatch.setattr("airflow.sdk.lineage.get_hook_lineage_collector", lambda: collector)
    write_json(folder / "settings.json", {"a": 1})
    assert read_json(folder / "settings.json") == {"a": 1}
    assert not collector.has_collected
