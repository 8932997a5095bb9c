from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.warehouse.files import contents, land, query
from fixtures.warehouse.runs import (
    classify_step,
    document,
    extract_step,
    raw_lines,
    run,
    run_of_2025,
)

FIRST, SECOND = document(1), document(2)
PAGES = {"type": "object", "properties": {"total": {"type": "number"}}}
BUNDLE = {
    "object": "file",
    "id": "file_bundle",
    "name": "bundle.pdf",
    "type": "PDF",
    "metadata": {"pageCount": 9},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def step(step_type: str, result: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": f"workflow_step_run_{step_type}",
        "status": "PROCESSED",
        "stepType": step_type,
        "step": {"name": step_type.title()},
        "result": result,
        **more,
    }


def child(number: int, kind: str, start: int, end: int) -> dict[str, Any]:
    """Return the summary of a file that was split off the bundle."""
    return {
        "object": "file",
        "id": f"file_{number}",
        "name": f"bundle {number}.pdf",
        "type": "PDF",
        "parentFileId": "file_bundle",
        "metadata": {
            "pageCount": end - start + 1,
            "parentSplit": {
                "id": f"split_{number}",
                "type": kind,
                "identifier": f"{kind}_{start}_{end}",
                "startPage": start,
                "endPage": end,
            },
        },
    }


CHILDREN = [child(1, "invoice", 1, 4), child(2, "invoice", 5, 6), child(3, "receipt", 7, 9)]
SPLIT = step(
    "SPLIT",
    {
        "splitRun": {
            "id": "splr_1",
            "status": "PROCESSED",
            "splitter": {"id": "spl_1", "name": "Bundles"},
            "output": {
                "splits": [
                    {
                        "id": each["metadata"]["parentSplit"]["id"],
                        "type": each["metadata"]["parentSplit"]["type"],
                        "classificationId": "c1",
                        "observation": f"a new {each['metadata']['parentSplit']['type']} begins",
                        "identifier": each["metadata"]["parentSplit"]["identifier"],
                        "startPage": each["metadata"]["parentSplit"]["startPage"],
                        "endPage": each["metadata"]["parentSplit"]["endPage"],
                        "fileId": each["id"],
                    }
                    for each in CHILDREN
                ]
            },
        }
    },
    files=[BUNDLE],
)


def of_child(number: int, total: float, **options: Any) -> dict[str, Any]:
    return {
        **extract_step({"total": total}, schema=PAGES, metadata={"total": {"ocrConfidence": 0.9}}, **options),
        "files": [CHILDREN[number - 1]],
    }


def test_each_childs_values_lead_to_its_place_in_the_parent_file(file: Path) -> None:
    steps = [
        SPLIT,
        of_child(1, 10),
        of_child(2, 20),
        of_child(3, 30, extractor="Receipts", extractor_id="ex_2"),
    ]
    land(file, [FIRST], raw_lines(run(FIRST, steps=steps, files=[BUNDLE])))
    rows = query(
        file,
        """SELECT total::INT, child.split_type, child.split_identifier, child.start_page, child.end_page,
                  parent.name, child.observation
           FROM (FROM invoices UNION ALL FROM receipts) AS extracted
           JOIN files AS child USING (document_id, run_id, file_id)
           JOIN files AS parent ON parent.file_id = child.parent_file_id
           ORDER BY total""",
    )
    assert rows == [
        (10, "invoice", "invoice_1_4", 1, 4, "bundle.pdf", "a new invoice begins"),
        (20, "invoice", "invoice_5_6", 5, 6, "bundle.pdf", "a new invoice begins"),
        (30, "receipt", "receipt_7_9", 7, 9, "bundle.pdf", "a new receipt begins"),
    ]
    assert query(file, "SELECT file_id, value FROM fields ORDER BY value") == [
        ("file_1", "10"),
        ("file_2", "20"),
        ("file_3", "30"),
    ]
    assert query(
        file, "SELECT step_idx, step_type, file_id, processor_name, result_idx FROM steps ORDER BY ALL"
    ) == [
        (0, "SPLIT", "file_bundle", "Bundles", None),
        (1, "EXTRACT", "file_1", "Invoices", 0),
        (2, "EXTRACT", "file_2", "Invoices", 1),
        (3, "EXTRACT", "file_3", "Receipts", 0),
    ]
    assert query(file, "SELECT name, page_count FROM files WHERE parent_file_id IS NULL") == [
        ("bundle.pdf", 9)
    ]


def test_a_splitters_word_alone_places_a_file(file: Path) -> None:
    land(file, [FIRST], raw_lines(run(FIRST, steps=[SPLIT], files=[BUNDLE])))
    rows = query(
        file,
        """SELECT file_id, parent_file_id, split_type, start_page, end_page, classification_id
           FROM files WHERE file_id <> 'file_bundle' ORDER BY ALL""",
    )
    assert rows == [
        ("file_1", "file_bundle", "invoice", 1, 4, "c1"),
        ("file_2", "file_bundle", "invoice", 5, 6, "c1"),
        ("file_3", "file_bundle", "receipt", 7, 9, "c1"),
    ]


def test_what_is_split_again_leads_to_its_page_in_the_document(file: Path) -> None:
    again = child(4, "receipt", 2, 3)
    again["parentFileId"] = "file_3"
    inner = {**of_child(1, 1), "files": [again]}
    land(file, [FIRST], raw_lines(run(FIRST, steps=[SPLIT, of_child(3, 30), inner], files=[BUNDLE])))
    assert query(file, "SELECT file_id, start_page, document_page FROM files ORDER BY ALL") == [
        ("file_1", 1, 1),
        ("file_2", 5, 5),
        ("file_3", 7, 7),
        ("file_4", 2, 8),
        ("file_bundle", None, 1),
    ]


@pytest.mark.parametrize("parent", ["file_4", "file_unknown"])
def test_a_file_whose_place_is_not_told_has_no_page_in_the_document(file: Path, parent: str) -> None:
    stray = child(4, "receipt", 2, 3)
    stray["parentFileId"] = parent
    land(file, [FIRST], raw_lines(run(FIRST, steps=[{**of_child(1, 1), "files": [stray]}], files=[BUNDLE])))
    assert query(file, "SELECT document_page FROM files WHERE file_id = 'file_4'") == [(None,)]


def test_a_file_that_was_not_split_is_the_one_of_its_values(file: Path) -> None:
    land(
        file, [FIRST], raw_lines(run(FIRST, steps=[extract_step({"total": 1}, schema=PAGES)], files=[BUNDLE]))
    )
    assert query(file, "SELECT file_id FROM invoices") == [("file_bundle",)]


@pytest.mark.parametrize("file_id", ['a "quoted"', "a\nline", "a\x1fseparator", "é\\", "null", "1"])
def test_a_files_id_is_kept_whatever_is_in_it(file: Path, file_id: str) -> None:
    steps = [extract_step({"total": 1}, schema=PAGES)]
    land(file, [FIRST], raw_lines(run(FIRST, steps=steps, files=[{**BUNDLE, "id": file_id}])))
    for table in ("files", "steps", "invoices", "fields"):
        assert query(file, f"SELECT file_id FROM {table}") == [(file_id,)]


def test_values_of_several_files_together_belong_to_none_of_them_and_each_to_the_one_it_quotes(
    file: Path,
) -> None:
    schema = {"type": "object", "properties": {name: {"type": "number"} for name in ("sum", "tax", "total")}}
    evidence: dict[str, Any] = {
        "sum": {"citations": [{"fileId": "file_1", "page": {"number": 3}}]},
        "tax": {"citations": [{"fileId": "file_2", "page": {"number": 2}}]},
    }
    both = {
        **extract_step({"sum": 1, "tax": 2, "total": 3}, schema=schema, metadata=evidence),
        "files": CHILDREN[:2],
    }
    land(file, [FIRST], raw_lines(run(FIRST, steps=[SPLIT, both], files=[BUNDLE])))
    assert query(file, "SELECT file_id FROM invoices") == [(None,)]
    rows = query(
        file,
        """SELECT path, file_id, document_page + page - 1
           FROM fields LEFT JOIN files USING (document_id, run_id, file_id) ORDER BY path""",
    )
    assert rows == [("sum", "file_1", 3), ("tax", "file_2", 6), ("total", None, None)]


@pytest.mark.parametrize("step_type", ["EXTRACT", "CONDITIONAL_EXTRACT", "EXTRACT_OF_2027"])
def test_whatever_kind_of_step_extracts_its_values_are_in_its_extractors_table(
    file: Path, step_type: str
) -> None:
    land(
        file,
        [FIRST],
        raw_lines(run(FIRST, steps=[{**extract_step({"total": 1}, schema=PAGES), "stepType": step_type}])),
    )
    assert query(file, "SELECT total::INT FROM invoices") == [(1,)]
    assert query(file, "SELECT step_type, result_idx, output FROM steps") == [(step_type, 0, None)]


@pytest.mark.parametrize("extractor", [None, {"id": "ex_1", "name": "Invoices"}])
def test_a_merged_extraction_has_its_steps_table_and_says_which_extractors_it_is_of(
    file: Path, extractor: dict[str, Any] | None
) -> None:
    merged = {**extract_step({"total": 1}, schema=PAGES), "stepType": "MERGE_EXTRACT"}
    merged["step"] = {"name": "Merge totals"}
    merged["result"]["mergedExtractors"] = [{"id": "ex_1", "versionId": "v", "name": "Heads"}]
    merged["result"]["extractRun"]["extractor"] = extractor
    land(file, [FIRST], raw_lines(run(FIRST, steps=[extract_step({"total": 2}, schema=PAGES), merged])))
    assert query(file, "SELECT total::INT, result_idx FROM merge_totals") == [(1, 0)]
    assert query(file, "SELECT total::INT, result_idx FROM invoices") == [(2, 0)]
    ((output,),) = query(file, "SELECT output::VARCHAR FROM steps WHERE step_type = 'MERGE_EXTRACT'")
    assert json.loads(output) == {"mergedExtractors": [{"id": "ex_1", "versionId": "v", "name": "Heads"}]}


def test_a_conditional_extraction_that_was_not_made_leaves_its_step(file: Path) -> None:
    land(file, [FIRST], raw_lines(run(FIRST, steps=[step("CONDITIONAL_EXTRACT", None)])))
    assert query(file, "SELECT step_type, result_idx, output FROM steps") == [
        ("CONDITIONAL_EXTRACT", None, None)
    ]


RULES = {
    "allPassed": False,
    "rules": [
        {"name": "Sum", "valid": True},
        {"name": "Date", "valid": False, "failureReason": "RULE_FAILED", "error": "after today"},
        {"name": "Items", "valid": False, "validArray": [True, False]},
    ],
}
BLOCKS = {
    "valid": True,
    "blocks": [{"id": "b1", "name": "Signed", "valid": True, "reasoning": "there is a signature"}],
}


def test_the_rules_of_validations_are_rows(file: Path) -> None:
    steps = [step("RULE_VALIDATION", RULES), step("VALIDATION", BLOCKS)]
    land(file, [FIRST], raw_lines(run(FIRST, steps=steps)))
    assert query(file, "SELECT step_type, passed FROM steps ORDER BY step_idx") == [
        ("RULE_VALIDATION", False),
        ("VALIDATION", True),
    ]
    assert query(
        file, "SELECT step_idx, check_idx, name, passed, reason, message FROM checks ORDER BY ALL"
    ) == [
        (0, 0, "Sum", True, None, None),
        (0, 1, "Date", False, "RULE_FAILED", "after today"),
        (0, 2, "Items", False, None, None),
        (1, 0, "Signed", True, None, "there is a signature"),
    ]
    outputs = [
        json.loads(output) for (output,) in query(file, "SELECT output::VARCHAR FROM steps ORDER BY step_idx")
    ]
    assert outputs == [RULES, BLOCKS]


@pytest.mark.parametrize(
    "answer",
    [
        {"matchedBranch": {"id": "b2", "name": "Large"}, "branches": []},
        {"branches": [{"name": "Small", "matched": False}, {"name": "Large", "matched": True}]},
    ],
)
def test_a_router_says_which_branch_it_took(file: Path, answer: Any) -> None:
    land(file, [FIRST], raw_lines(run(FIRST, steps=[step("ROUTER", answer)])))
    ((branch, output),) = query(file, "SELECT branch, output::VARCHAR FROM steps")
    assert branch == "Large"
    assert json.loads(output) == answer


@pytest.mark.parametrize("step_type", ["EXTERNAL_DATA_VALIDATION", "WEBHOOK_RESPONSE", "DREAM"])
def test_what_any_other_step_says_is_kept_as_it_is(file: Path, step_type: str) -> None:
    answer = {"response": {"status": 200, "data": {"known": ["x", None]}}}
    land(file, [FIRST], raw_lines(run(FIRST, steps=[step(step_type, answer)])))
    ((output,),) = query(file, "SELECT output::VARCHAR FROM steps")
    assert json.loads(output) == answer


def test_classifications_and_splits_say_what_they_are(file: Path) -> None:
    land(file, [FIRST], raw_lines(run(FIRST, steps=[classify_step(), SPLIT], files=[BUNDLE])))
    rows = query(
        file, "SELECT classification, classification_confidence, output::VARCHAR FROM steps ORDER BY step_idx"
    )
    assert rows[0] == ("invoice", 0.97, '{"id":"c1","type":"invoice","confidence":0.97}')
    assert [each["fileId"] for each in json.loads(rows[1][2])["splits"]] == ["file_1", "file_2", "file_3"]


def test_the_older_api_version_tells_the_same(file: Path) -> None:
    older = run_of_2025(FIRST)
    extraction = older["outputs"][0]
    splitter = {
        "id": "dpr_2",
        "type": "SPLITTER",
        "processorName": "Bundles",
        "status": "PROCESSED",
        "files": [BUNDLE],
        "output": SPLIT["result"]["splitRun"]["output"],
    }
    unknown = {
        "id": "dpr_3",
        "type": "DREAMER",
        "status": "PROCESSED",
        "output": {"dream": "x" * 500, "value": {"y": "z" * 500}},
    }
    older["outputs"] = [
        splitter,
        {**extraction, "files": [CHILDREN[0]], "mergedProcessors": [{"id": "dp_1", "name": "Heads"}]},
        unknown,
    ]
    older["stepRuns"] = [
        {
            "object": "workflow_step_run",
            "id": "workflow_step_run_1",
            "status": "PROCESSED",
            "step": {"object": "workflow_step", "id": "step_1", "name": "Check", "type": "RULE_VALIDATION"},
            "output": {"rules": RULES["rules"]},
        }
    ]
    land(file, [FIRST], raw_lines(older, api_version="2025-04-21"))
    assert query(file, "SELECT step_type, file_id, passed FROM steps ORDER BY step_idx") == [
        ("SPLIT", "file_bundle", None),
        ("MERGE_EXTRACT", "file_1", None),
        ("DREAMER", None, None),
        ("RULE_VALIDATION", None, False),
    ]
    assert query(
        file, "SELECT start_page, end_page FROM invoices JOIN files USING (document_id, file_id)"
    ) == [(1, 4)]
    assert query(file, "SELECT count(*) FROM checks") == [(3,)]
    outputs = [
        output and json.loads(output)
        for (output,) in query(file, "SELECT output::VARCHAR FROM steps ORDER BY step_idx")
    ]
    assert outputs[1:3] == [{"mergedProcessors": [{"id": "dp_1", "name": "Heads"}]}, unknown["output"]]


def test_a_later_snapshot_replaces_steps_checks_and_files(file: Path, tmp_path: Path) -> None:
    land(
        file,
        [FIRST],
        raw_lines(run(FIRST, steps=[SPLIT, step("RULE_VALIDATION", RULES), of_child(1, 10)], files=[BUNDLE])),
    )
    later = raw_lines(
        run(
            FIRST,
            steps=[extract_step({"total": 1}, schema=PAGES)],
            files=[BUNDLE],
            updatedAt="2026-11-23T00:00:00Z",
        )
    )
    land(file, [FIRST], later)
    fresh = tmp_path / "fresh.duckdb"
    land(fresh, [FIRST], later)
    mine, scratch = contents(file), contents(fresh)
    assert mine == scratch
    assert len(mine["files"]) == 1
    assert mine["checks"] == []


def test_every_attempt_says_what_it_cost_and_what_a_reviewer_changed(file: Path) -> None:
    edits = {
        "total": {
            "originalValue": 10,
            "editedValue": 12,
            "notes": "smudged",
            "page": 1,
            "fieldType": "number",
        }
    }
    usage = {
        "credits": 4,
        "totalCredits": 4,
        "breakdown": [
            {
                "object": "extract_run",
                "id": "exr_1",
                "credits": 4,
                "charges": [{"product": "extract", "unit": "page", "quantity": 2, "credits": 4}],
            }
        ],
    }
    reviewed = extract_step({"total": 12}, schema=PAGES)
    reviewed["result"]["extractRun"].update(reviewed=True, edited=True, edits=edits)
    version = {"id": "workflow_version_1", "version": "7", "name": "Production v7"}
    first = run(
        FIRST,
        id="run_a",
        steps=[reviewed],
        usage=usage,
        workflowVersion=version,
        reviewed=True,
        reviewedByUser="jane@example.com",
    )
    second = run(FIRST, id="run_b", startTime="2026-11-22T09:00:00Z", initialRunAt="2026-11-22T09:00:00Z")
    land(file, [FIRST], raw_lines(first, second))
    rows = query(
        file,
        """SELECT run_id, workflow_version, workflow_version_name, reviewed_by, edited, edits::VARCHAR,
                  usage::VARCHAR
           FROM runs ORDER BY run_id""",
    )
    assert rows[0][:5] == ("run_a", "7", "Production v7", "jane@example.com", True)
    assert json.loads(rows[0][5]) == {"exr_1": edits}
    assert json.loads(rows[0][6]) == usage
    assert rows[1][:6] == ("run_b", "7", None, None, False, None)
    assert query(file, "SELECT run_id, edited, attempts FROM documents") == [("run_b", False, 2)]
