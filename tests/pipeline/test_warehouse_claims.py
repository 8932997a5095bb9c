"""Claims: a document is in one chunk at a time, from the plan until it lands."""

from __future__ import annotations

import pytest

from extend_pipeline.documents import OBJECT_DELETED
from extend_pipeline.warehouse.records import Candidate
from pipeline.warehouse_files import Place, land, provenance, warehouse
from pipeline.warehouse_runs import WORKFLOW, document, raw_lines, run

CHUNK, OTHER = '{"key": "a"}', '{"key": "b"}'


def claim(file: Place, *numbers: int, chunk: str = CHUNK, repetition: str = "") -> None:
    with warehouse(file) as opened:
        claims = [(document(number), chunk) for number in numbers]
        opened.claim(claims, workflow_id=WORKFLOW, version=None, repetition=repetition)


def found(
    file: Place, *numbers: int, version: str | None = None, repetition: str = ""
) -> dict[int, str | None]:
    with warehouse(file) as opened:
        candidates = map(document, numbers)
        listed = list(
            opened.unlanded(candidates, workflow_id=WORKFLOW, version=version, repetition=repetition)
        )
    return {int(each.document.etag[5:]): each.chunk for each in listed}


def test_whoever_plans_next_is_told_the_chunk_that_holds_a_document(file: Place) -> None:
    claim(file, 1, 3)
    claim(file, 4, chunk=OTHER)
    assert found(file, 4, 3, 2, 1) == {4: OTHER, 3: CHUNK, 2: None, 1: CHUNK}


def test_a_claim_ends_when_its_document_lands_whatever_became_of_it(file: Place) -> None:
    claim(file, 1, 2, 3)
    gone = document(2, status="FAILED", reason=OBJECT_DELETED, message="It is gone.")
    land(file, [document(1), gone], raw_lines(run(document(1))))
    assert found(file, 1, 2, 3) == {2: None, 3: CHUNK}


def test_claims_are_written_all_or_none(file: Place) -> None:
    def broken() -> object:
        yield document(1), CHUNK
        raise RuntimeError("the workspace is gone")

    with warehouse(file) as opened, pytest.raises(RuntimeError):
        opened.claim(broken(), workflow_id=WORKFLOW, version=None)  # type: ignore[arg-type]
    assert found(file, 1) == {1: None}


def test_another_version_or_reprocessing_has_claims_of_its_own(file: Place) -> None:
    claim(file, 1)
    assert found(file, 1, version="2") == {1: None}
    assert found(file, 1, repetition="dag/run/group") == {1: None}
    claim(file, 1, chunk=OTHER, repetition="dag/run/group")
    assert found(file, 1, repetition="dag/run/group") == {1: OTHER}
    assert found(file, 1) == {1: CHUNK}


def test_a_reprocessing_leaves_out_only_what_it_has_landed_itself(file: Place) -> None:
    land(file, [document(1), document(2)], raw_lines(run(document(1)), run(document(2))))
    assert found(file, 1, 2, repetition="again") == {1: None, 2: None}
    land(
        file,
        [document(1)],
        raw_lines(run(document(1), id="run_later", startTime="2026-12-01T00:00:00Z")),
        origin=provenance(repetition="again"),
    )
    assert found(file, 1, 2, repetition="again") == {2: None}
    assert found(file, 1, 2) == {}


def test_nothing_to_claim_changes_nothing(file: Place) -> None:
    claim(file)
    assert found(file, 1) == {1: None}
    with warehouse(file) as opened:
        assert list(opened.unlanded([document(1)], workflow_id=WORKFLOW, version=None)) == [
            Candidate(document(1), None)
        ]
