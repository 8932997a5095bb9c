"""The mailroom: a workflow whose steps split, merge, check and route, in the official SDK's own models."""

from __future__ import annotations

import datetime as dt
import io
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pypdf
import pytest
from extend_ai import Extend
from extend_ai.errors import BadRequestError
from extend_ai.types import (
    StepRun_Classify,
    StepRun_ConditionalExtract,
    StepRun_Extract,
    StepRun_MergeExtract,
    StepRun_Parse,
    StepRun_Router,
    StepRun_RuleValidation,
    StepRun_Split,
)
from extend_ai.wrapper.polling import PollingOptions

from fixtures.extend.api import ExtendApi
from sandbox.documents import TruthPart, bundle

WORKFLOW = "workflow_mailroom"
DAY = dt.date(2026, 11, 19)
MODELS: Mapping[str, Any] = {
    "PARSE": StepRun_Parse,
    "CLASSIFY": StepRun_Classify,
    "SPLIT": StepRun_Split,
    "EXTRACT": StepRun_Extract,
    "CONDITIONAL_EXTRACT": StepRun_ConditionalExtract,
    "MERGE_EXTRACT": StepRun_MergeExtract,
    "RULE_VALIDATION": StepRun_RuleValidation,
    "ROUTER": StepRun_Router,
}
OF_AN_INVOICE = ("EXTRACT", "EXTRACT", "MERGE_EXTRACT", "RULE_VALIDATION", "ROUTER")
STEPS = {
    "invoice": OF_AN_INVOICE,
    "receipt": ("CONDITIONAL_EXTRACT",),
    "bank_statement": ("CONDITIONAL_EXTRACT", "RULE_VALIDATION"),
    "other": (),
}
INVOICE = """INVOICE
Vendor: Acme GmbH
Invoice number: INV-7
Invoice date: 2026-11-02
Currency: EUR
Description    Qty  Unit price  Amount
Hammer           2       50.00  100.00
Subtotal: 100.00
VAT 19%: 19.00
Total: 119.00
"""


@pytest.fixture(scope="module")
def mail() -> tuple[bytes, tuple[TruthPart, ...]]:
    """A file with a document of every kind."""
    for seed in range(1000):
        data, parts = bundle(random.Random(seed), DAY)
        if {part.type for part in parts} == STEPS.keys():
            return data, parts
    raise AssertionError("no seed gives a document of every kind")


def sent(extend_api: ExtendApi, data: bytes, name: str = "mail.pdf", **form: Any) -> dict[str, Any]:
    uploaded = extend_api.call("POST", "/files/upload", files={"file": (name, data)}, **form).json()
    [run] = extend_api.runs(extend_api.submit_batch([{"file": {"id": uploaded["id"]}}], WORKFLOW))
    return run


def text_sent(extend_api: ExtendApi, text: str = INVOICE) -> dict[str, Any]:
    [run] = extend_api.runs(extend_api.submit_batch([{"file": {"text": text}}], WORKFLOW))
    return run


def types_of(steps: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(step["stepType"] for step in steps)


def result(run: dict[str, Any], step_type: str) -> Any:
    return next(step["result"] for step in run["stepRuns"] if step["stepType"] == step_type)


def test_each_document_of_a_bundle_gets_its_own_steps_and_values(
    extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]
) -> None:
    data, parts = mail
    run = sent(extend_api, data)
    parse, classify, split, *rest = run["stepRuns"]
    chunks = parse["result"]["parseRun"]["output"]["chunks"]
    assert [chunk["metadata"]["pageRange"]["end"] for chunk in chunks] == [*range(1, parts[-1].last_page + 1)]
    assert classify["result"]["classifyRun"]["output"]["type"] == "several_documents"
    splits = split["result"]["splitRun"]["output"]["splits"]
    assert [(each["type"], each["startPage"], each["endPage"]) for each in splits] == [
        (part.type, part.first_page, part.last_page) for part in parts
    ]
    for each, part in zip(splits, parts, strict=True):
        steps = [step for step in rest if [file["id"] for file in step["files"]] == [each["fileId"]]]
        rest = rest[len(steps) :]
        assert types_of(steps) == STEPS[part.type]
        if part.value is None:
            continue
        extraction = next(
            step["result"]["extractRun"]
            for step in steps
            if step["stepType"] in ("MERGE_EXTRACT", "CONDITIONAL_EXTRACT")
        )
        assert extraction["output"]["value"] == part.value
        assert extraction["file"]["id"] == each["fileId"]
        cited = [
            citation for about in extraction["output"]["metadata"].values() for citation in about["citations"]
        ]
        assert {citation["fileId"] for citation in cited} == {each["fileId"]}
        assert {citation["page"]["number"] for citation in cited} <= set(
            range(1, part.last_page - part.first_page + 2)
        )
    assert rest == []


def test_split_file_has_its_place_and_its_pages(
    extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]
) -> None:
    data, parts = mail
    run = sent(extend_api, data)
    splits = result(run, "SPLIT")["splitRun"]["output"]["splits"]
    (parent,) = run["files"]
    assert (parent["metadata"]["pageCount"], parent["parentFileId"]) == (parts[-1].last_page, None)
    for each, part in zip(splits, parts, strict=True):
        file = extend_api.call("GET", f"/files/{each['fileId']}").json()
        assert file["parentFileId"] == parent["id"]
        assert file["metadata"] == {
            "pageCount": part.last_page - part.first_page + 1,
            "parentSplit": {key: each[key] for key in ("id", "type", "identifier", "startPage", "endPage")},
        }
        content = extend_api.call("GET", file["presignedUrl"].removeprefix(extend_api.url)).content
        assert len(pypdf.PdfReader(io.BytesIO(content)).pages) == file["metadata"]["pageCount"]
        if part.type == "invoice":
            assert part.value is not None
            assert each["identifier"] == part.value["invoice_number"]


def test_official_models_accept_every_step(
    extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]
) -> None:
    run = sent(extend_api, mail[0])
    assert {step["stepType"] for step in run["stepRuns"]} == MODELS.keys()
    for step in run["stepRuns"]:
        MODELS[step["stepType"]].model_validate(step)
        assert step["step"]["type"] == step["stepType"]
    client: Any = Extend(token=extend_api.key, base_url=extend_api.url)
    read = client.workflow_runs.retrieve(run["id"])
    by_type = {step.step_type: step.result for step in read.step_runs}
    merged = by_type["MERGE_EXTRACT"]
    assert [each.name for each in merged.merged_extractors] == ["Invoice head", "Invoice lines"]
    assert merged.extract_run.config.schema_["properties"].keys() == merged.extract_run.output.value.keys()
    assert by_type["SPLIT"].split_run.splitter.name == "Mail splitter"
    assert by_type["SPLIT"].split_run.config.split_classifications[0].type == "invoice"
    assert by_type["RULE_VALIDATION"].rules
    steps = client.workflows.retrieve(WORKFLOW).draft_version.steps
    assert {step.type for step in steps} == {"TRIGGER", *MODELS}


def test_each_page_read_by_a_processor_is_charged(
    extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]
) -> None:
    data, parts = mail
    pages = {kind: sum(p.last_page - p.first_page + 1 for p in parts if p.type == kind) for kind in STEPS}
    usage = sent(extend_api, data)["usage"]
    read = 3 * parts[-1].last_page + 2 * pages["invoice"] + pages["receipt"] + pages["bank_statement"]
    assert usage["credits"] == sum(entry["credits"] for entry in usage["breakdown"]) == read
    assert {entry["object"] for entry in usage["breakdown"]} == {
        *("parse_run", "classify_run", "split_run", "extract_run")
    }


def test_single_document_is_not_split(extend_api: ExtendApi) -> None:
    run = text_sent(extend_api)
    assert types_of(run["stepRuns"]) == ("PARSE", "CLASSIFY", *OF_AN_INVOICE)
    head, lines = (s["result"]["extractRun"]["output"]["value"] for s in run["stepRuns"][2:4])
    merged = result(run, "MERGE_EXTRACT")["extractRun"]
    assert merged["output"]["value"] == {**head, **lines}
    assert head.keys() & lines.keys() == set()
    assert (merged["extractor"], merged["usage"]["credits"]) == (None, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {"Due after its date": ("RULE_FAILED", None)}, id="no due date"),
        pytest.param(
            {"Invoice date": "Due date: 2026-12-01\nInvoice date", "100.00\nSub": "90.00\nSub"},
            {
                "Positions make the subtotal": ("RULE_FAILED", None),
                "Positions are quantity times price": ("RULE_FAILED", None),
            },
            id="wrong amount",
        ),
        pytest.param(
            {"Invoice date": "Due date: 2026-10-01\nInvoice date", "VAT 19%: 19.00\n": ""},
            {
                "Subtotal and tax make the total": ("VALUE_ERROR", "tax is empty"),
                "Due after its date": ("RULE_FAILED", None),
            },
            id="no tax, due too early",
        ),
    ],
)
def test_rules_check_the_values_of_their_document(
    extend_api: ExtendApi, changes: dict[str, str], expected: dict[str, tuple[str, str | None]]
) -> None:
    text = INVOICE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    validation = result(text_sent(extend_api, text), "RULE_VALIDATION")
    failed = {
        rule["name"]: (rule["failureReason"], rule.get("error"))
        for rule in validation["rules"]
        if not rule["valid"]
    }
    assert failed == expected
    assert not validation["allPassed"]
    (priced,) = (rule["validArray"] for rule in validation["rules"] if "validArray" in rule)
    assert priced == ["Positions are quantity times price" not in expected]


@pytest.mark.parametrize(
    ("total", "branch", "evaluated"),
    [
        ("499.99", "Small amount", [False, True]),
        ("10000.00", "Large amount", [True]),
        ("500.00", None, [False, False]),
    ],
)
def test_router_takes_the_first_matching_branch(
    extend_api: ExtendApi, total: str, branch: str | None, evaluated: list[bool]
) -> None:
    routed = result(text_sent(extend_api, INVOICE.replace("Total: 119.00", f"Total: {total}")), "ROUTER")
    assert (routed["matchedBranch"] or {}).get("name") == branch
    assert [each["matched"] for each in routed["branches"]] == evaluated


def test_synthetic_result_is_an_invoice_with_the_name_of_the_file(extend_api: ExtendApi) -> None:
    extend_api.configure(synthetic=True)
    uploaded = extend_api.call("POST", "/files/upload", files={"file": ("a.pdf", b"%PDF-")}).json()
    [run] = extend_api.runs(extend_api.submit_batch([{"file": {"id": uploaded["id"]}}], WORKFLOW))
    assert types_of(run["stepRuns"]) == ("CLASSIFY", "EXTRACT", "EXTRACT", "MERGE_EXTRACT")
    values = [step["result"]["extractRun"]["output"]["value"] for step in run["stepRuns"][1:]]
    assert values[2] == {**values[0], **values[1]}
    assert values[0] == {"invoice_number": "a.pdf"}


def test_given_splits_are_used(extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]) -> None:
    client: Any = Extend(token=extend_api.key, base_url=extend_api.url)
    given = {"classificationId": "class_other", "type": "other", "startPage": 2, "endPage": 99}
    outputs = [
        {"processor_id": "cl_mail", "output": {"id": "class_several_documents", "type": "several_documents"}},
        {"processor_id": "spl_mail", "output": {"splits": [given]}},
    ]
    order = {"workflow": {"id": WORKFLOW}, "file": {"id": client.files.upload(file=("m.pdf", mail[0])).id}}
    polling = PollingOptions(max_wait_ms=20_000, fast_poll_interval_ms=50)
    run = client.workflow_runs.create_and_poll(**order, outputs=outputs, polling_options=polling)
    (split,) = run.step_runs[2].result.split_run.output.splits
    assert (split.type, split.start_page, split.end_page) == ("other", 2, mail[1][-1].last_page)
    assert [step.step_type for step in run.step_runs] == ["PARSE", "CLASSIFY", "SPLIT"]
    with pytest.raises(BadRequestError, match="Each split needs pages and one of"):
        client.workflow_runs.create(
            **order, outputs=[{"processor_id": "spl_mail", "output": {"splits": [{**given, "type": "poem"}]}}]
        )


def test_failures_reviews_and_edits_work_as_in_other_workflows(
    extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]
) -> None:
    broken = sent(extend_api, b"%PDF-1.7\nnot really")
    assert (broken["status"], broken["failureReason"]) == ("FAILED", "FAILED_TO_PROCESS_FILE")
    assert types_of(broken["stepRuns"]) == ("PARSE",)
    assert result(broken, "PARSE")["parseRun"]["failureReason"] == "CORRUPT_FILE"
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW"}], review_steps=True)
    waiting = sent(extend_api, mail[0])
    assert (waiting["status"], types_of(waiting["stepRuns"])[-1]) == ("NEEDS_REVIEW", "HUMAN_REVIEW")
    statement = result(waiting, "CONDITIONAL_EXTRACT")["extractRun"]
    edits = {next(iter(statement["output"]["value"])): "Edited"}
    run = extend_api.review(waiting["id"], "approve", edits=edits, extraction=statement["id"])
    edited = [
        step["result"]["extractRun"]["id"]
        for step in run["stepRuns"]
        if "extractRun" in (step["result"] or {}) and step["result"]["extractRun"]["edited"]
    ]
    assert edited == [statement["id"]]
    again = extend_api.review(sent(extend_api, mail[0])["id"], "reclassify", type="other")
    assert again["status"] == "PROCESSING"


def test_older_version_returns_the_same_steps(
    extend_api: ExtendApi, mail: tuple[bytes, tuple[TruthPart, ...]]
) -> None:
    run = sent(extend_api, mail[0])
    answer = extend_api.call("GET", f"/workflow_runs/{run['id']}", version="2025-04-21").json()
    older = answer["workflowRun"]
    others = ("PARSE", "RULE_VALIDATION", "ROUTER")
    newer = [step for step in run["stepRuns"] if step["stepType"] not in others]
    told = [[{k: v for k, v in file.items() if v is not None} for file in step["files"]] for step in newer]
    assert [output["files"] for output in older["outputs"]] == told
    merged = [output for output in older["outputs"] if output["mergedProcessors"]]
    assert len(merged) == types_of(run["stepRuns"]).count("MERGE_EXTRACT")
    assert [each["processorName"] for each in merged[0]["mergedProcessors"]] == [
        "Invoice head",
        "Invoice lines",
    ]
    assert [output["type"] for output in older["outputs"]][:3:2] == ["CLASSIFY", newer[2]["stepType"][-7:]]
    checks = [step["result"]["rules"] for step in run["stepRuns"] if step["stepType"] == "RULE_VALIDATION"]
    assert [step["output"]["rules"] for step in older["stepRuns"]] == checks
