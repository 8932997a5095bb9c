"""Claims: a document is in one chunk at a time, from the plan until it lands."""

from __future__ import annotations

from datetime import UTC

import pytest

from extend_pipeline.documents import OBJECT_DELETED
from extend_pipeline.warehouse.records import UnlandedDocument
from fixtures.warehouse.files import Place, land, provenance, warehouse
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run

CHUNK, OTHER = '{"key": "a"}', '{"key": "b"}'


def claim(file: Place, *numbers: int, chunk: str = CHUNK, repetition: str = "") -> None:
    with warehouse(file) as opened:
        claims = [(document(number), chunk) for number in numbers]
        opened.claim(claims, workflow_id=WORKFLOW, version=None, repetition=repetition, claims_of=repetition)


def found(
    file: Place, *numbers: int, version: str | None = None, repetition: str = ""
) -> dict[int, str | None]:
    with warehouse(file) as opened:
        candidates = map(document, numbers)
        listed = list(
            opened.unlanded(
                candidates,
                workflow_id=WORKFLOW,
                version=version,
                repetition=repetition,
                claims_of=repetition,
            )
        )
    return {int(each.document.etag[5:]): "".join(each.chunks) or None for each in listed}


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
            UnlandedDocument(document(1))
        ]


def test_a_landing_ends_the_claims_of_a_document_in_every_repetition(file: Place) -> None:
    claim(file, 1, 2)
    claim(file, 1, 2, chunk=OTHER, repetition="again")
    land(file, [document(1)], raw_lines(run(document(1))))
    assert found(file, 1, 2, repetition="again") == {1: None, 2: OTHER}
    assert found(file, 1, 2) == {2: CHUNK}


def test_chunks_of_every_repetition_are_told_if_asked_for(file: Place) -> None:
    claim(file, 1)
    claim(file, 1, chunk=OTHER, repetition="again")
    with warehouse(file) as opened:
        ((_, chunks),) = opened.unlanded([document(1)], workflow_id=WORKFLOW, version=None)
    assert chunks == (CHUNK, OTHER)


def test_the_chunks_that_hold_documents_are_listed(file: Place) -> None:
    with warehouse(file) as opened:
        assert list(opened.claims()) == []
    claim(file, 1, 2)
    claim(file, 3, chunk=OTHER, repetition="again")
    land(file, [document(2)], raw_lines(run(document(2))))
    with warehouse(file) as opened:
        told = [(each.repetition, each.chunk, each.documents) for each in opened.claims()]
        assert told == [("", CHUNK, 1), ("again", OTHER, 1)]
        assert list(opened.claims(workflow_id=WORKFLOW, version="2")) == []
        assert {each.claimed_at.tzinfo for each in opened.claims(workflow_id=WORKFLOW)} == {UTC}


def test_claims_of_chunks_end_in_the_transaction_that_claims_their_documents(file: Place) -> None:
    claim(file, 1, 2)
    with warehouse(file) as opened:
        assert opened.claim([(document(1), OTHER)], workflow_id=WORKFLOW, version=None, freed=[CHUNK])
    assert found(file, 1, 2) == {1: OTHER, 2: None}
    with warehouse(file) as opened:
        opened.end_claims([OTHER])
    assert found(file, 1, 2) == {1: None, 2: None}


def test_of_two_that_claim_at_once_where_nobody_is_kept_out_one_is_told(file: Place) -> None:
    claim(file, 1)

    def claims(*numbers: int, repetition: str = "", claims_of: str | None = None, chunk: str = OTHER) -> bool:
        with warehouse(file) as opened:
            return opened.claim(
                [(document(number), chunk) for number in numbers],
                workflow_id=WORKFLOW,
                version=None,
                repetition=repetition,
                claims_of=claims_of,
            )

    assert not claims(1, 2)
    assert claims(2)
    assert claims(1, repetition="again", claims_of="again", chunk="again")
    assert not claims(2, repetition="again", chunk="other")
    assert found(file, 1, 2) == {1: CHUNK, 2: OTHER}
