"""The plan: every document is in a chunk, unsent with a reason, or left for later; none twice, none lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extend_pipeline.documents import EMPTY_FILE, Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning import Plan, chunk_path, chunk_references, unsent_path, write_plan
from extend_pipeline.workspace import read_documents


def documents(sendable: list[bool]) -> list[Document]:
    return [
        Document(
            uri=f"s3://b/{number}.pdf",
            etag=str(number),
            size_bytes=10,
            last_modified="2026-11-21T00:00:00+00:00",
            **({} if good else {"status": "SKIPPED", "reason": EMPTY_FILE, "message": "no bytes"}),  # type: ignore[arg-type]
        )
        for number, good in enumerate(sendable)
    ]


def folder_at(path: Path) -> ObjectStoragePath:
    return ObjectStoragePath(f"file://{path}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 7), st.none() | st.integers(1, 20))
def test_every_document_is_accounted_for_once(
    tmp_path: Path, sendable: list[bool], chunk_size: int, limit: int | None
) -> None:
    found = documents(sendable)
    folder = folder_at(tmp_path)
    plan = write_plan(found, folder, chunk_size=chunk_size, limit=limit)

    chunks = [list(read_documents(chunk_path(folder, index))) for index in range(plan.chunks)]
    sent = [document for chunk in chunks for document in chunk]
    unsent = list(read_documents(unsent_path(folder)))
    assert plan.discovered == len(found) == plan.to_send + plan.unsent.total() + plan.beyond_limit
    assert sent == [d for d in found if d.status is None][: limit or None]
    assert unsent == [d for d in found if d.status is not None]
    assert all(len(chunk) == chunk_size for chunk in chunks[:-1])
    references = chunk_references(folder, plan, chunk_size)
    assert [reference["documents"] for reference in references] == [len(chunk) for chunk in chunks]


def test_nothing_found_is_said_plainly(tmp_path: Path) -> None:
    plan = write_plan([], folder_at(tmp_path), chunk_size=10)
    assert plan.chunks == 0
    assert plan.describe().startswith("0 documents")


def test_more_chunks_than_airflow_maps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match="max_map_length"):
        write_plan(documents([True] * 5), folder_at(tmp_path), chunk_size=2, max_chunks=2)


def test_a_plan_survives_the_workspace(tmp_path: Path) -> None:
    plan = write_plan(documents([True, False, True]), folder_at(tmp_path), chunk_size=1)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_reference_stays_small_whatever_the_chunk(tmp_path: Path) -> None:
    plan = write_plan(documents([True] * 100), folder_at(tmp_path), chunk_size=100)
    assert len(json.dumps(chunk_references(folder_at(tmp_path), plan, 100))) < 300
