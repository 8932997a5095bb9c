from __future__ import annotations

from pathlib import Path

import pytest

from extend_pipeline.documents import EMPTY_FILE, OBJECT_DELETED, RUN_MISSING, Document
from extend_pipeline.warehouse.records import UnlandedDocument
from fixtures.warehouse.files import Place, land, provenance, warehouse
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run


def unlanded(file: Place, candidates: list[Document], version: str | None = None) -> list[Document]:
    with warehouse(file) as opened:
        found = opened.unlanded(iter(candidates), workflow_id=WORKFLOW, version=version)
        return [each.document for each in found]


def test_in_an_empty_warehouse_nothing_has_landed(file: Place) -> None:
    candidates = [document(number) for number in range(3)]
    assert unlanded(file, candidates) == candidates
    assert unlanded(file, []) == []


def test_what_has_a_run_is_left_out_and_the_rest_keeps_its_order(file: Place) -> None:
    landed = [document(number) for number in (1, 3, 4, 9)]
    land(file, landed, raw_lines(*map(run, landed)))
    candidates = [document(number) for number in (9, 8, 7, 1, 2, 3, 4, 5, 0)]
    assert [int(each.etag[5:]) for each in unlanded(file, candidates)] == [8, 7, 2, 5, 0]


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "REJECTED", "NEEDS_REVIEW", "PROCESSING"])
def test_whatever_became_of_a_run_its_document_was_paid_for(file: Place, status: str) -> None:
    land(file, [document(1)], raw_lines(run(document(1), status=status, failureReason="INTERNAL_ERROR")))
    assert unlanded(file, [document(1)]) == []


def test_what_was_never_paid_for_is_sent_again(file: Place) -> None:
    skipped = document(1, status="SKIPPED", reason=EMPTY_FILE, message="It has 0 bytes.")
    deleted = document(2, status="FAILED", reason=OBJECT_DELETED, message="It is gone.")
    land(file, [skipped, deleted], [])
    candidates = [document(number) for number in (1, 2)]
    assert unlanded(file, candidates) == candidates


def test_what_was_sent_and_has_no_run_may_have_been_paid_for(file: Place) -> None:
    landing = land(file, [document(1)], [], origin=provenance(batch_id="batch_1"))
    assert landing.by_reason == {RUN_MISSING: 1}
    assert unlanded(file, [document(1)]) == []


def test_skipped_candidates_keep_flowing_with_their_reason(file: Place) -> None:
    land(file, [document(1)], raw_lines(run(document(1))))
    skipped = document(1, status="SKIPPED", reason=EMPTY_FILE, message="It has 0 bytes.")
    assert unlanded(file, [skipped, document(1)]) == [skipped]


def test_another_version_workflow_or_content_is_another_matter(file: Place) -> None:
    land(file, [document(1)], raw_lines(run(document(1))), origin=provenance(version="7"))
    assert unlanded(file, [document(1)], version="7") == []
    assert unlanded(file, [document(1)]) == [document(1)]
    assert unlanded(file, [document(1)], version="draft") == [document(1)]
    replaced = document(1, etag="another")
    assert unlanded(file, [replaced], version="7") == [replaced]
    with warehouse(file) as opened:
        found = list(opened.unlanded([document(1)], workflow_id="workflow_other", version="7"))
    assert found == [UnlandedDocument(document(1))]


def test_the_warehouse_can_be_written_while_candidates_are_read(file: Place) -> None:
    land(file, [document(1)], raw_lines(run(document(1))))
    with warehouse(file) as opened:
        candidates = opened.unlanded(
            (document(number) for number in range(1, 5)), workflow_id=WORKFLOW, version=None
        )
        seen = []
        for each, _ in candidates:
            opened.land([each], raw_lines(run(each)), provenance=provenance(raw_uri=each.etag))
            seen.append(each.etag)
    assert seen == ["etag-2", "etag-3", "etag-4"]
    assert unlanded(file, [document(number) for number in range(1, 5)]) == []


def test_a_reader_that_stops_early_leaves_nothing_behind(
    file: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    land(file, [document(1)], raw_lines(run(document(1))))
    with warehouse(file) as opened:
        candidates = opened.unlanded(
            [document(1), document(2), document(3)], workflow_id=WORKFLOW, version=None
        )
        assert next(candidates).document == document(2)
        candidates.close()  # type: ignore[attr-defined]  # a generator, which Iterator does not promise
    assert [path for path in tmp_path.iterdir() if path != file] == []
