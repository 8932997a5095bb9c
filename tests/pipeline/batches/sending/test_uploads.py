"""Uploads: streamed, once per document, and one file that cannot go stops no other."""

from __future__ import annotations

import datetime as dt
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from botocore.exceptions import ClientError, ReadTimeoutError

from extend_pipeline.batches.sending.inputs import Checked, file_inputs
from extend_pipeline.batches.sending.uploads import LIFETIME, Uploads
from extend_pipeline.documents import OBJECT_ARCHIVED, OBJECT_DELETED, OBJECT_FORBIDDEN, OBJECT_REPLACED
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.settings import Settings
from extend_pipeline.sources import Located
from extend_pipeline.sources.contents import Content, UnreadableError
from extend_pipeline.sources.objects import ObjectChangedError
from extend_pipeline.sources.s3.store import S3Store, _unread
from extend_provider.client.models import FileInput
from extend_provider.client.pacing.retries import Backoff
from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.exceptions import ExtendAuthError, ExtendCreditsError
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.scripted_server import Reply, ScriptedServer
from fixtures.pipeline.chunk_tasks import BATCH, Chunk

UPLOAD = "POST /files/upload"
LARGE = b"Receipt\nTotal: 1.00 EUR\n" + b" " * 200


@pytest.mark.parametrize(("api_version", "status"), [("2026-02-09", 400), ("2025-04-21", 422)])
def test_a_file_over_extends_limit_ends_and_the_others_are_sent(
    chunk: Chunk, api_version: str, status: int
) -> None:
    chunk.api_version = api_version
    chunk.api.configure(max_file_bytes=100, validation_status=status)
    chunk.replace(1, body=LARGE)
    assert chunk.submit(transfer="upload") is not None
    reason = "FILE_SIZE_TOO_LARGE" if api_version == "2025-04-21" else "INVALID_REQUEST"
    assert chunk.ends() == [(None, None), ("FAILED", reason), (None, None)]
    assert "larger than 100 bytes" in (chunk.submission()[1].message or "")
    assert chunk.sent["run_count"] == 2
    assert chunk.times_paid() == {1}


@pytest.mark.parametrize("of_the_file", [True, False])
def test_files_that_are_all_refused_end_only_for_reasons_of_the_file(chunk: Chunk, of_the_file: bool) -> None:
    chunk.api_version = "2025-04-21" if of_the_file else "2026-02-09"
    chunk.api.configure(max_file_bytes=3)
    if of_the_file:
        assert chunk.submit(transfer="upload") is None
        assert chunk.ends() == [("FAILED", "FILE_SIZE_TOO_LARGE")] * 3
    else:
        with pytest.raises(PipelineSourceError, match="refuses all of 3 files") as failure:
            chunk.submit(transfer="upload")
        assert not failure.value.retryable
    assert chunk.api.requests_to(BATCH) == 0


def test_a_413_without_a_body_ends_the_document_as_too_large(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": UPLOAD, "kind": "error", "status": 413, "count": 1}])
    assert chunk.submit(transfer="upload") is not None
    assert sorted(chunk.ends(), key=str) == [("FAILED", "FILE_SIZE_TOO_LARGE"), (None, None), (None, None)]


@pytest.fixture
def before_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Have something happen to an object after it was looked at, right before it is read."""

    def happens(key: str, event: Callable[[], object]) -> None:
        read = S3Store.read

        def late(self: S3Store, place: Located, *more: Any) -> Any:
            if place.key == key:
                event()
            return read(self, place, *more)

        monkeypatch.setattr(S3Store, "read", late)

    return happens


@pytest.mark.parametrize(
    ("event", "end"),
    [
        ("delete_object", ("FAILED", OBJECT_DELETED)),
        ("put_object", ("SKIPPED", OBJECT_REPLACED)),
        ("archive", ("SKIPPED", OBJECT_ARCHIVED)),
    ],
)
def test_an_object_that_changes_before_it_is_read_ends_only_its_document(
    chunk: Chunk,
    before_read: Callable[[str, Callable[[], object]], None],
    event: str,
    end: tuple[str, str],
) -> None:
    def happen() -> None:
        if event == "archive":
            body = chunk.s3.client.get_object(Bucket=chunk.bucket, Key="in/1.txt")["Body"].read()
            chunk.s3.client.put_object(Bucket=chunk.bucket, Key="in/1.txt", Body=body, StorageClass="GLACIER")
        else:
            getattr(chunk.s3.client, event)(Bucket=chunk.bucket, Key="in/1.txt")

    before_read("in/1.txt", happen)
    assert chunk.submit(transfer="upload") is not None
    assert chunk.ends() == [(None, None), end, (None, None)]
    assert chunk.times_paid() == {1}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", UnreadableError),
        (400, "InvalidRequest", UnreadableError),  # SSE-C
        (403, "InvalidObjectState", UnreadableError),
        (404, "NoSuchKey", ObjectChangedError),
        (404, "NoSuchVersion", ObjectChangedError),
        (412, "PreconditionFailed", ObjectChangedError),
        (400, "ExpiredToken", PipelineSourceError),
        (403, "SignatureDoesNotMatch", PipelineSourceError),
        (429, "TooManyRequests", PipelineSourceError),
        (503, "SlowDown", PipelineSourceError),
        (500, "InternalError", PipelineSourceError),
    ],
)
def test_an_error_of_s3_becomes_the_matching_error_of_the_pipeline(
    status: int, code: str, kind: type[Exception]
) -> None:
    told: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = _unread(Located("s3://b", "k"), ClientError(told, "GetObject"))
    assert type(error) is kind
    assert getattr(error, "reason", None) in (None, OBJECT_FORBIDDEN, OBJECT_ARCHIVED)


def test_a_rate_limited_batch_is_sent_with_the_uploaded_files(chunk: Chunk) -> None:
    chunk.api.configure(
        faults=[{"endpoint": BATCH, "kind": "rate_limit", "count": 1, "retry_after": 0}],
    )
    assert chunk.submit(transfer="upload") is not None
    assert (chunk.api.requests_to(BATCH), chunk.api.requests_to(UPLOAD)) == (2, 3)


def test_another_attempt_goes_on_with_the_files_that_are_there(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "error", "status": 402}])
    with pytest.raises(ExtendCreditsError):
        chunk.submit(transfer="upload")
    chunk.api.configure(faults=[])
    assert chunk.of_another_run().submit(transfer="upload") is not None
    assert chunk.api.requests_to(UPLOAD) == 3
    assert chunk.times_paid() == {1}


def test_an_error_in_the_middle_of_uploads_keeps_the_ids_of_finished_ones(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": UPLOAD, "kind": "error", "status": 401, "skip": 2}])
    with pytest.raises(ExtendAuthError):
        chunk.submit(transfer="upload")
    assert chunk.api.requests_to(BATCH) == 0
    before = chunk.api.requests_to(UPLOAD)
    chunk.api.configure(faults=[])
    assert chunk.submit(transfer="upload") is not None
    assert chunk.api.requests_to(UPLOAD) == before + 1


@pytest.mark.parametrize("fault", [{"kind": "error", "status": 503}, {"kind": "rate_limit"}])
def test_a_server_error_repeats_only_the_failed_upload(chunk: Chunk, fault: dict[str, Any]) -> None:
    chunk.api.configure(faults=[{"endpoint": UPLOAD, "count": 1, **fault}])
    assert chunk.submit(transfer="upload") is not None
    assert chunk.api.requests_to(UPLOAD) == 4
    assert chunk.times_paid() == {1}


def connection(key: str = "sk_1", **more: Any) -> ExtendSettings:
    return ExtendSettings("c", "https://extend.test", Secret(key), **more)


@pytest.mark.parametrize(
    ("age", "by", "is_known"),
    [
        (0.9, connection(), True),
        (1.1, connection(), False),
        (0, connection("sk_2"), False),
        (0, connection(workspace_id="ws_2"), False),
    ],
)
def test_a_file_is_known_for_a_while_and_to_its_workspace(
    tmp_path: Path, age: float, by: ExtendSettings, is_known: bool
) -> None:
    folder = ObjectStoragePath(f"file://{tmp_path}")
    with Uploads(folder, connection()) as uploads:
        uploads.add("d1", "file_1")
    stored = json.loads((tmp_path / "uploads.json").read_bytes())
    assert "sk_1" not in json.dumps(stored)
    at = dt.datetime.fromisoformat(stored["files"]["d1"]["at"])
    stored["files"]["d1"]["at"] = (at - age * LIFETIME).isoformat()
    (tmp_path / "uploads.json").write_text(json.dumps(stored))
    with Uploads(folder, by) as uploads:
        assert uploads.known("d1") == ("file_1" if is_known else None)


class Breaking(io.BytesIO):
    """Content that its store stops sending after so many bytes."""

    after = 0

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.after:
            raise ReadTimeoutError(endpoint_url="s3")
        return super().read(16_384)


@pytest.mark.parametrize("after", [0, 40_000])
def test_content_that_breaks_off_is_read_again_and_arrives_whole(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    data = bytes(range(256)) * 400
    breaking = Breaking(data)
    breaking.after = after
    anew: list[io.BytesIO] = []

    def reopen() -> io.BytesIO:
        anew.append(io.BytesIO(data))
        return anew[-1]

    with ScriptedServer(Reply(body={"object": "file", "id": "file_1", "name": "a.pdf"})) as server:
        extra = {"conn_type": "extend", "host": server.url, "password": "sk_test"}
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", json.dumps(extra))
        hook = ExtendHook(backoff=Backoff(initial=0.01))
        with hook, Content("s3://b/k", len(data), breaking, reopen) as content:
            assert hook.upload_file("a.pdf", content).id == "file_1"  # type: ignore[arg-type]
        assert data in server.requests[-1].body
    assert len(anew) == 1
    assert anew[0].closed


def test_content_that_ends_early_is_an_error_and_not_a_shorter_file() -> None:
    content = Content("s3://b/k", 10, io.BytesIO(b"short"), lambda: io.BytesIO(b"short"))
    assert content.read(100) == b"short"
    with pytest.raises(PipelineSourceError, match="s3://b/k could not be read to its end") as failure:
        content.read(100)
    assert failure.value.retryable


def test_large_files_are_uploaded_with_bounded_memory(chunk: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", chunk.api.connection_json())
    megabytes, count = 8, 8
    chunk.documents *= count
    chunk.replace(*range(count), body=b"Receipt\n" + bytes(megabytes << 20))
    checked = [Checked(document) for document in chunk.documents[:count]]
    wanted = {"source": "s3://inbox/", "workflow_id": "w", "workspace": str(chunk.folder)}
    stores = Settings.from_rendered(wanted).stores()
    with ExtendHook() as hook:
        uploads = Uploads(chunk.folder, hook.settings)
        stores.of("s3://inbox")
        tracemalloc.start()
        files = file_inputs(stores, checked, hook, uploads, transfer="upload", expires_in=300)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len({file.file_id for file in files if isinstance(file, FileInput)} - {None}) == count
    assert peak < 4 << 20, f"{peak:,} bytes for {count} files of {megabytes} MB"
