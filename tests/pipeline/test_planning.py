"""The plan: every document is in a chunk, unsent with a reason, or left for later; none twice, none lost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extend_pipeline.batch_ledger import batch_key
from extend_pipeline.documents import EMPTY_FILE, Document
from extend_pipeline.duration import Duration
from extend_pipeline.planning import Plan, chunk_path, newly_planned, unsent_path, write_plan
from extend_pipeline.spending import Estimate
from extend_pipeline.warehouse.records import Candidate
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


def key_of(documents: Sequence[Document]) -> str:
    return batch_key(documents, workflow_id="w", version=None)


def free(found: list[Document]) -> list[Candidate]:
    return [Candidate(document, None) for document in found]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 7), st.none() | st.integers(1, 20))
def test_every_document_is_accounted_for_once(
    tmp_path: Path, sendable: list[bool], chunk_size: int, limit: int | None
) -> None:
    found = documents(sendable)
    folder = folder_at(tmp_path)
    plan = write_plan(free(found), folder, key_of=key_of, chunk_size=chunk_size, limit=limit)

    chunks = [list(read_documents(chunk_path(chunk))) for chunk in plan.chunks]
    sent = [document for chunk in chunks for document in chunk]
    unsent = list(read_documents(unsent_path(folder)))
    assert plan.discovered == len(found) == plan.to_send + plan.unsent.total() + plan.beyond_limit
    assert sent == [d for d in found if d.status is None][: limit or None]
    assert unsent == [d for d in found if d.status is not None]
    assert all(len(chunk) == chunk_size for chunk in chunks[:-1])
    assert [chunk["documents"] for chunk in plan.chunks] == [len(chunk) for chunk in chunks]
    assert [document for document, _ in newly_planned(plan)] == sent


def test_documents_that_another_run_holds_bring_its_chunk_and_no_new_one(tmp_path: Path) -> None:
    found = documents([True] * 6)
    theirs = write_plan(free(found[:4]), folder_at(tmp_path / "theirs"), key_of=key_of, chunk_size=2)
    holders = [json.dumps(chunk) for chunk in theirs.chunks for _ in range(2)] + [None, None]
    mine = folder_at(tmp_path / "mine")
    plan = write_plan(map(Candidate, found, holders), mine, key_of=key_of, chunk_size=2, limit=2)
    assert (plan.held, plan.to_send, plan.beyond_limit) == (4, 2, 0)
    assert plan.chunks[1:] == theirs.chunks
    assert [document for document, _ in newly_planned(plan)] == found[4:]
    assert "4 on their way" in plan.describe()


def test_a_repeated_plan_keeps_its_chunks_and_counts_them_against_the_limit(tmp_path: Path) -> None:
    found, folder = documents([True] * 6), folder_at(tmp_path)
    first = write_plan(free(found), folder, key_of=key_of, chunk_size=2, limit=4)
    holders = [json.dumps(chunk) for chunk in first.chunks for _ in range(2)] + [None, None]
    again = write_plan(map(Candidate, found, holders), folder, key_of=key_of, chunk_size=2, limit=4)
    assert again.chunks == first.chunks
    assert list(newly_planned(again)) == []
    assert (again.to_send, again.held, again.beyond_limit) == (4, 0, 2)


def test_nothing_found_is_said_plainly(tmp_path: Path) -> None:
    plan = write_plan([], folder_at(tmp_path), key_of=key_of, chunk_size=10)
    assert plan.chunks == []
    assert plan.describe().startswith("0 documents")


@pytest.mark.parametrize("limit", [None, 3])
def test_what_airflow_maps_no_chunk_for_is_left_for_the_next_run(tmp_path: Path, limit: int | None) -> None:
    found = documents([True] * 9)
    plan = write_plan(
        free(found), folder_at(tmp_path), key_of=key_of, chunk_size=2, max_chunks=2, limit=limit
    )
    assert (len(plan.chunks), plan.to_send) == (2, limit or 4)
    assert (plan.beyond_map, plan.beyond_limit) == ((5, 0) if limit is None else (0, 6))
    assert plan.types_left == {"pdf": plan.left}
    if limit is None:
        assert "2 chunks at the most ([core] max_map_length): about 2 more runs" in plan.describe()
        assert plan.summary()["left"] == 5


@given(st.lists(st.sampled_from([None, "own", "a", "b", "c"]), max_size=30), st.integers(1, 6))
def test_a_run_maps_no_more_than_airflow_does_and_its_own_chunks_come_first(
    holders: list[str | None], max_chunks: int
) -> None:
    # What a run has claimed itself stands before what it had no room for; others come and go as they like.
    own_last = max((n for n, holder in enumerate(holders) if holder == "own"), default=-1)
    holders = [holder for n, holder in enumerate(holders) if holder is not None or n > own_last]
    found = documents([True] * len(holders))
    with tempfile.TemporaryDirectory() as home:
        folder = folder_at(Path(home))
        reference = {"own": str(folder)}
        chunks = [
            holder and json.dumps({"folder": reference.get(holder, holder), "key": holder, "documents": 1})
            for holder in holders
        ]
        plan = write_plan(
            map(Candidate, found, chunks), folder, key_of=key_of, chunk_size=3, max_chunks=max_chunks
        )
    assert len(plan.chunks) <= max_chunks
    assert ("own" in holders) == ("own" in [chunk["key"] for chunk in plan.chunks])
    assert plan.discovered == plan.to_send + plan.held + plan.left
    taken = {chunk["key"] for chunk in plan.chunks[plan.new_chunks :]} - {"own"}
    assert plan.held == sum(holder in taken for holder in holders)


def test_a_plan_survives_the_workspace(tmp_path: Path) -> None:
    plan = write_plan(free(documents([True, False, True])), folder_at(tmp_path), key_of=key_of, chunk_size=1)
    plan.estimate = Estimate(3.5, based_on=12, unseen=1)
    plan.duration = Duration(17, 2.5, 60.0, 12)
    plan.types_left["pdf"] = 3
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_reference_stays_small_whatever_the_chunk(tmp_path: Path) -> None:
    plan = write_plan(free(documents([True] * 100)), folder_at(tmp_path), key_of=key_of, chunk_size=100)
    assert len(json.dumps(plan.chunks)) < 300
