"""A batch that Extend refuses for some of its documents is sent without them, and no document twice."""

from __future__ import annotations

from typing import Any

import pytest

from extend_pipeline.batches.sending.inputs import Checked, Sending
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.sources.s3.store import S3Store
from extend_provider.batch.refusals import MAX_LEFT_OUT, RefusedInput
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendBadRequestError
from extend_provider.hooks.extend import ExtendHook
from fixtures.pipeline.chunk_tasks import BATCH, Chunk, WorkerKilled

REFUSES: dict[str, Any] = {"unreachable_url": "reject_batch"}
TOO_LARGE = b"Receipt\nTotal: 1.00 EUR\n" + b" " * 200


@pytest.mark.parametrize(("api_version", "status"), [("2026-02-09", 400), ("2025-04-21", 422)])
def test_a_document_that_extend_refuses_ends_and_the_others_are_sent_once(
    chunk: Chunk, api_version: str, status: int
) -> None:
    chunk.api_version = api_version
    chunk.api.configure(**REFUSES, max_file_bytes=100, validation_status=status)
    chunk.replace(1, body=TOO_LARGE)
    assert chunk.submit() is not None
    assert chunk.ends() == [(None, None), ("FAILED", "FILE_SIZE_TOO_LARGE"), (None, None)]
    told = chunk.submission()[1].message or ""
    assert "larger than 100 bytes" in told
    assert "inputs[" not in told
    assert chunk.sent["run_count"] == 2
    assert chunk.times_paid() == {1}
    assert chunk.api.requests_to(BATCH) == 2
    assert chunk.submit() is not None
    assert chunk.api.requests_to(BATCH) == 2


@pytest.mark.parametrize(
    ("name", "url", "reason"),
    [
        pytest.param("{}.exe", None, "FILE_TYPE_NOT_SUPPORTED", id="type"),
        pytest.param("{}.txt", "http:///1.txt", "INVALID_REQUEST", id="no url"),
        pytest.param("{}.txt", "http://127.0.0.1:9/1.txt", "UNABLE_TO_DOWNLOAD_FILE", id="unreachable"),
    ],
)
def test_a_document_is_refused_for_other_reasons_too(
    chunk: Chunk, name: str, url: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk.api.configure(**REFUSES)
    chunk.replace(1, name=name)
    signed = S3Store.signed_url

    def one_is_wrong(store: S3Store, place: Any, *more: Any) -> str:
        return url if url and place.key.endswith("1.txt") else signed(store, place, *more)

    monkeypatch.setattr(S3Store, "signed_url", one_is_wrong)
    assert chunk.submit() is not None
    assert chunk.ends() == [(None, None), ("FAILED", reason), (None, None)]
    assert chunk.times_paid() == {1}


def test_several_documents_are_refused_one_after_the_other(chunk: Chunk) -> None:
    chunk.api.configure(**REFUSES, max_file_bytes=100)
    chunk.replace(0, 2, body=TOO_LARGE)
    assert chunk.submit() is not None
    assert [status for status, _ in chunk.ends()] == ["FAILED", None, "FAILED"]
    assert set(chunk.api.stats()["runs_created"]) == {chunk.documents[1].id}
    assert chunk.times_paid() == {1}


def test_files_that_are_all_too_large_all_end(chunk: Chunk) -> None:
    chunk.api.configure(**REFUSES, max_file_bytes=3)
    assert chunk.submit() is None
    assert chunk.ends() == [("FAILED", "FILE_SIZE_TOO_LARGE")] * 3
    assert chunk.times_paid() == set()


def test_a_batch_whose_urls_all_cannot_be_read_fails_and_ends_no_document(
    chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk.api.configure(**REFUSES)
    monkeypatch.setattr(S3Store, "signed_url", lambda *_: "http://127.0.0.1:9/x.txt")
    with pytest.raises(PipelineSourceError, match=r"refuses all of 3 documents.*UNABLE_TO_DOWNLOAD_FILE"):
        chunk.submit()
    assert chunk.times_paid() == set()


@pytest.mark.parametrize("dies", ["after the refusal", "before the second answer", "after the second answer"])
def test_a_worker_that_dies_between_refusal_and_second_request_pays_once(
    chunk: Chunk, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk.api.configure(**REFUSES, max_file_bytes=100)
    chunk.replace(1, body=TOO_LARGE)
    create, posts = ExtendHook.create_batch, 0

    def dying(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        nonlocal posts
        posts += 1
        if posts == 2 and dies == "before the second answer":
            raise WorkerKilled
        try:
            return create(hook, *args, **kwargs)
        except ExtendBadRequestError:
            if dies == "after the refusal":
                raise WorkerKilled from None
            raise
        finally:
            if posts == 2 and dies == "after the second answer":
                raise WorkerKilled

    with monkeypatch.context() as patched:
        patched.setattr(ExtendHook, "create_batch", dying)
        with pytest.raises(WorkerKilled):
            chunk.submit()
    assert chunk.submit(grace=1) is not None
    assert chunk.ends() == [(None, None), ("FAILED", "FILE_SIZE_TOO_LARGE"), (None, None)]
    assert chunk.times_paid() == {1}


def test_the_run_of_a_lost_second_answer_is_searched_for(chunk: Chunk) -> None:
    fault = {"endpoint": BATCH, "kind": "drop", "accepted": True, "skip": 1}
    chunk.api.configure(**REFUSES, max_file_bytes=100, faults=[fault])
    chunk.replace(1, body=TOO_LARGE)
    assert chunk.submit(grace=30) is not None
    assert chunk.api.requests_to(BATCH) == 2
    assert chunk.sent["run_count"] == 2
    assert chunk.times_paid() == {1}


def test_uploads_are_not_repeated_for_a_refused_file_that_is_gone_at_extend(
    chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = ExtendHook.upload_file

    def forgetting(hook: ExtendHook, name: str, *args: Any, **kwargs: Any) -> Any:
        file = upload(hook, name, *args, **kwargs)
        if name == "1.txt":
            hook.delete_file(file.id)
        return file

    monkeypatch.setattr(ExtendHook, "upload_file", forgetting)
    assert chunk.submit(transfer="upload") is not None
    assert chunk.ends() == [(None, None), ("FAILED", "NOT_FOUND"), (None, None)]
    assert chunk.api.requests_to("POST /files/upload") == 3
    assert chunk.times_paid() == {1}


@pytest.mark.full
def test_a_batch_is_refused_for_good_after_too_many_refused_inputs(
    chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = 0

    def refusing(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        nonlocal posts
        posts += 1
        raise ExtendBadRequestError("No.", status=400, said="CORRUPT_FILE; Path: inputs[0].file")

    chunk.replace(*range(3))
    chunk.documents *= 20
    chunk.documents = [
        Document(each.uri, f"{each.etag}{number}", each.size_bytes, each.last_modified)
        for number, each in enumerate(chunk.documents)
    ]
    monkeypatch.setattr(
        "extend_pipeline.batches.chunk_state.check_objects",
        lambda _, documents: list(map(Checked, documents)),
    )
    monkeypatch.setattr(ExtendHook, "create_batch", refusing)
    with pytest.raises(ExtendBadRequestError, match=f"Extend refused {MAX_LEFT_OUT} inputs"):
        chunk.submit()
    assert posts == MAX_LEFT_OUT + 1


def refused(index: int, reason: str = "CORRUPT_FILE") -> RefusedInput:
    return RefusedInput(index, reason, "No.")


def test_a_refusal_counts_inputs_by_the_batch_that_was_refused() -> None:
    documents = [Document(f"s3://b/{n}", "e", 1, "2026-11-21T00:00:00Z") for n in range(4)]
    sending = Sending(documents, [BatchInput(FileInput(text=str(n))) for n in range(4)])
    left = sending.without([refused(1)]).without([refused(1), refused(2)])
    assert [document.status for document in left.documents] == [None, "FAILED", "FAILED", "FAILED"]
    assert [each.file.text for each in left.inputs] == ["0"]
    assert left.without([refused(0)]).inputs == []
    with pytest.raises(PipelineSourceError, match="refuses all of 4 documents"):
        left.without([refused(0, "UNABLE_TO_DOWNLOAD_FILE")])
