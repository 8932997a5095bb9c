"""Files between tasks: whole or not there, on disk and in S3."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batch_ledger import BatchRecord, batch_key, read_record, write_record
from extend_pipeline.documents import Document
from extend_pipeline.workspace import (
    compressed_writer,
    read_compressed_lines,
    read_documents,
    read_json,
    write_documents,
    write_json,
    written_whole,
)
from fixtures.s3 import S3


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


def test_what_is_absent_is_none_and_what_is_broken_raises(folder: ObjectStoragePath) -> None:
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


def test_a_batch_record_is_replaced_as_a_whole(folder: ObjectStoragePath) -> None:
    path = folder / "record.json"
    assert read_record(path) is None
    intent = BatchRecord(key="k", intended_at="2026-11-21T02:00:00+00:00", run_count=2)
    write_record(path, intent)
    assert read_record(path) == intent
    sent = BatchRecord(key="k", intended_at=intent.intended_at, run_count=2, batch_id="batch_1")
    write_record(path, sent)
    assert read_record(path) == sent


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
