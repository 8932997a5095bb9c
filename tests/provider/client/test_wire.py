"""Both API versions are written as Extend reads them, and what Extend writes ends in one vocabulary."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_provider.client.models import (
    BatchInput,
    Check,
    FileInput,
    RunInput,
    Split,
    StoredFile,
    WorkflowRun,
)
from extend_provider.client.wire import API_VERSIONS, Wire, wire_for
from extend_provider.client.wire.base import RunOptions
from extend_provider.client.wire.reading import UnreadableAnswerError
from extend_provider.exceptions import ExtendInputError

NEW, OLD = wire_for("2026-02-09"), wire_for("2025-04-21")
URL = FileInput(url="https://bucket/key", name="a.pdf")
BY_ID = FileInput(file_id="file_1")
TEXT = FileInput(text="Invoice 7")

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}}
NEW_CITATION = {"page": {"number": 2, "width": 612, "height": 792}, "referenceText": "12.50"}
OLD_CITATION = {"page": 2, "pageWidth": 612, "pageHeight": 792, "referenceText": "12.50"}


def extracted(citation: Mapping[str, Any]) -> dict[str, Any]:
    """An extractor's output with one citation."""
    return {
        "value": {"total": 12.5},
        "metadata": {"total": {"ocrConfidence": 0.9, "citations": [citation]}},
    }


NEW_RUN: dict[str, Any] = {
    "object": "workflow_run",
    "id": "workflow_run_1",
    "workflow": {"object": "workflow", "id": "workflow_1", "name": "Invoices"},
    "workflowVersion": {"object": "workflow_version", "id": "workflow_version_9", "version": "3"},
    "dashboardUrl": "https://dashboard/1",
    "status": "PROCESSED",
    "metadata": {"document_id": "d1"},
    "batchId": "batch_1",
    "files": [{"id": "file_1", "name": "a.pdf", "type": "PDF", "metadata": {"pageCount": 2}}],
    "failureReason": None,
    "reviewed": True,
    "reviewedByUser": "jane@example.com",
    "reviewedAt": "2026-03-01T00:00:00Z",
    "initialRunAt": "2026-02-28T00:00:00Z",
    "startTime": "2026-02-28T00:00:01Z",
    "endTime": "2026-02-28T00:00:09Z",
    "usage": {"credits": 4.5, "totalCredits": 4.5},
    "dataRetention": {"mode": "none"},
    "stepRuns": [
        {
            "id": "sr_1",
            "status": "PROCESSED",
            "stepType": "CLASSIFY",
            "step": {"id": "step_1", "name": "Which", "type": "CLASSIFY"},
            "result": {
                "classifyRun": {
                    "id": "clr_1",
                    "status": "PROCESSED",
                    "output": {"id": "c", "type": "invoice", "confidence": 0.97},
                    "classifier": {"id": "cl_1", "name": "Kinds"},
                    "classifierVersion": {"id": "clv_1", "version": "2"},
                }
            },
        },
        {
            "id": "sr_2",
            "status": "PROCESSED",
            "stepType": "EXTRACT",
            "step": {"name": "Read"},
            "result": {
                "extractRun": {
                    "id": "exr_1",
                    "status": "PROCESSED",
                    "output": extracted(NEW_CITATION),
                    "config": {"schema": SCHEMA},
                    "extractor": {"id": "ex_1", "name": "Invoice"},
                    "extractorVersion": {"id": "exv_1", "version": "4"},
                    "dashboardUrl": "https://dashboard/exr_1",
                    "reviewed": True,
                    "edited": True,
                    "usage": {"credits": 3},
                }
            },
        },
    ],
}

OLD_RUN: dict[str, Any] = {
    "object": "workflow_run",
    "id": "workflow_run_1",
    "name": "nightly",
    "url": "https://dashboard/1",
    "workflow": {"object": "workflow", "id": "workflow_1", "name": "Invoices", "version": "3"},
    "status": "PROCESSED",
    "metadata": {"document_id": "d1"},
    "batchId": "batch_1",
    "files": [{"id": "file_1", "name": "a.pdf", "type": "PDF", "metadata": {"pageCount": 2}}],
    "reviewed": True,
    "reviewedBy": "jane@example.com",
    "reviewedAt": "2026-03-01T00:00:00Z",
    "initialRunAt": "2026-02-28T00:00:00Z",
    "startTime": "2026-02-28T00:00:01Z",
    "endTime": "2026-02-28T00:00:09Z",
    "usage": {"credits": 4.5},
    "outputs": [
        {
            "id": "dpr_1",
            "type": "CLASSIFY",
            "processorId": "cl_1",
            "processorName": "Kinds",
            "processorVersionId": "dpv_1",
            "status": "PROCESSED",
            "output": {"id": "c", "type": "invoice", "confidence": 0.97},
            "config": {"type": "CLASSIFY"},
        },
        {
            "id": "dpr_2",
            "type": "EXTRACT",
            "processorId": "ex_1",
            "processorName": "Invoice",
            "processorVersionId": "dpv_2",
            "status": "PROCESSED",
            "output": extracted(OLD_CITATION),
            "config": {"type": "EXTRACT", "schema": SCHEMA},
            "reviewed": True,
            "edited": True,
            "url": "https://dashboard/exr_1",
            "usage": {"credits": 3},
        },
    ],
    "stepRuns": [
        {"id": "sr_3", "stepType": "RULE_VALIDATION", "status": "PROCESSED", "step": {"name": "Sums"}}
    ],
}


class TestRequests:
    @pytest.mark.parametrize(
        ("file", "body"),
        [
            pytest.param(URL, {"url": "https://bucket/key", "name": "a.pdf"}, id="url"),
            pytest.param(BY_ID, {"id": "file_1"}, id="file-id"),
            pytest.param(FileInput(text="x", name="x.txt"), {"text": "x", "name": "x.txt"}, id="text"),
            pytest.param(FileInput(text=""), {"text": ""}, id="empty-text"),
            pytest.param(
                FileInput(url="u", password="p"), {"url": "u", "settings": {"password": "p"}}, id="password"
            ),
        ],
    )
    def test_2026_file(self, file: FileInput, body: dict[str, Any]) -> None:
        assert NEW.run_body("w", [RunInput(file)], RunOptions()) == {"workflow": {"id": "w"}, "file": body}

    def test_2026_run_with_everything(self) -> None:
        outputs = [{"processorId": "cl_1", "output": {"id": "c", "type": "invoice"}}]
        body = NEW.run_body(
            "w",
            [RunInput(BY_ID, outputs)],
            RunOptions(version="draft", priority=1, metadata={"a": 1}, secrets={"s": "t"}),
        )
        assert body == {
            "workflow": {"id": "w", "version": "draft"},
            "file": {"id": "file_1"},
            "outputs": outputs,
            "priority": 1,
            "metadata": {"a": 1},
            "secrets": {"s": "t"},
        }

    def test_2026_batch(self) -> None:
        inputs = [BatchInput(URL, {"n": 1}), BatchInput(TEXT, secrets={"s": "t"})]
        assert NEW.batch_body("w", inputs, RunOptions(version="3", priority=90)) == {
            "workflow": {"id": "w", "version": "3"},
            "inputs": [
                {"file": {"url": "https://bucket/key", "name": "a.pdf"}, "metadata": {"n": 1}},
                {"file": {"text": "Invoice 7"}, "secrets": {"s": "t"}},
            ],
            "priority": 90,
        }

    def test_2025_run_of_several_files_with_everything(self) -> None:
        outputs = [{"processorId": "cl_1", "output": {"id": "c", "type": "invoice"}}]
        body = OLD.run_body(
            "w",
            [RunInput(URL, outputs), RunInput(BY_ID)],
            RunOptions(version="3", priority=1, metadata={"a": 1}, name="nightly"),
        )
        assert body == {
            "workflowId": "w",
            "version": "3",
            "files": [
                {"fileName": "a.pdf", "fileUrl": "https://bucket/key", "outputs": outputs},
                {"fileId": "file_1"},
            ],
            "name": "nightly",
            "priority": 1,
            "metadata": {"a": 1},
        }

    def test_2025_raw_texts(self) -> None:
        body = OLD.run_body("w", [RunInput(TEXT), RunInput(FileInput(text="two"))], RunOptions())
        assert body == {"workflowId": "w", "rawTexts": ["Invoice 7", "two"]}

    def test_2025_batch_leaves_out_the_priority_that_the_version_fixes(self) -> None:
        inputs = [BatchInput(URL, {"n": 1}), BatchInput(TEXT, secrets={"s": "t"})]
        assert OLD.batch_body("w", inputs, RunOptions(priority=5)) == {
            "workflowId": "w",
            "inputs": [
                {"file": {"fileName": "a.pdf", "fileUrl": "https://bucket/key"}, "metadata": {"n": 1}},
                {"rawText": "Invoice 7", "secrets": {"s": "t"}},
            ],
        }

    @pytest.mark.parametrize("version", API_VERSIONS)
    @pytest.mark.parametrize(
        "file",
        [
            pytest.param(FileInput(), id="nothing"),
            pytest.param(FileInput(name="a.pdf"), id="name-only"),
            pytest.param(FileInput(url="https://bucket/key?secret", text="t"), id="url-and-text"),
            pytest.param(FileInput(file_id="f", password="p"), id="password-for-an-id"),
        ],
    )
    def test_a_file_of_no_or_two_sources_is_refused(self, version: str, file: FileInput) -> None:
        wire = wire_for(version)
        with pytest.raises(ExtendInputError) as run_refusal:
            wire.run_body("w", [RunInput(file)], RunOptions())
        with pytest.raises(ExtendInputError) as batch_refusal:
            wire.batch_body("w", [BatchInput(file)], RunOptions())
        assert "secret" not in f"{run_refusal.value} {batch_refusal.value}"

    @pytest.mark.parametrize(
        ("inputs", "options", "names"),
        [
            pytest.param([RunInput(URL), RunInput(TEXT)], {}, "not both", id="files-and-texts"),
            pytest.param([RunInput(TEXT, [{"processorId": "p"}])], {}, "outputs", id="outputs-for-a-text"),
            pytest.param([RunInput(URL)], {"secrets": {"a": "b"}}, "secrets", id="secrets"),
            pytest.param([RunInput(FileInput(url="u", password="p"))], {}, "password", id="password"),
        ],
    )
    def test_a_setting_unknown_to_2025_is_refused(
        self, inputs: list[RunInput], options: dict[str, Any], names: str
    ) -> None:
        with pytest.raises(ExtendInputError, match=names):
            OLD.run_body("w", inputs, RunOptions(**options))

    def test_2026_takes_one_file_per_run(self) -> None:
        with pytest.raises(ExtendInputError, match="one file"):
            NEW.run_body("w", [RunInput(URL), RunInput(BY_ID)], RunOptions())

    def test_an_unknown_version_is_refused_naming_the_known_ones(self) -> None:
        with pytest.raises(ExtendInputError, match=r"'2024-12-23'.*2026-02-09, 2025-04-21"):
            wire_for("2024-12-23")


class TestRuns:
    def test_both_versions_tell_the_same_run(self) -> None:
        new, old = NEW.parse_run(NEW_RUN), OLD.parse_run(OLD_RUN)
        for run in (new, old):
            assert (run.id, run.status, run.batch_id) == ("workflow_run_1", "PROCESSED", "batch_1")
            assert (run.workflow_id, run.workflow_name, run.workflow_version) == (
                "workflow_1",
                "Invoices",
                "3",
            )
            assert (run.dashboard_url, run.credits) == ("https://dashboard/1", 4.5)
            assert (run.started_at, run.ended_at) == ("2026-02-28T00:00:01Z", "2026-02-28T00:00:09Z")
            assert (run.reviewed, run.reviewed_by) == (True, "jane@example.com")
            assert run.metadata == {"document_id": "d1"}
            assert run.file_names == ("a.pdf",)
            assert run.files == (StoredFile("file_1", "a.pdf", "PDF", page_count=2),)
        assert new.raw is NEW_RUN
        assert old.raw is OLD_RUN

    @pytest.mark.parametrize(
        ("run", "version"),
        [
            pytest.param(NEW.parse_run(NEW_RUN), "4", id="2026-02-09"),
            pytest.param(OLD.parse_run(OLD_RUN), "dpv_2", id="2025-04-21"),
        ],
    )
    def test_both_versions_tell_the_same_results(self, run: WorkflowRun, version: str) -> None:
        classified, read = run.steps[:2]
        assert (classified.type, read.type) == ("CLASSIFY", "EXTRACT")
        assert classified.result is not None
        assert classified.result.classification == {"id": "c", "type": "invoice", "confidence": 0.97}
        assert classified.result.value is None
        result = read.result
        assert result is not None
        assert (result.kind, result.processor_id, result.processor_name) == ("extract", "ex_1", "Invoice")
        assert result.processor_version == version
        assert (result.schema, result.value) == (SCHEMA, {"total": 12.5})
        assert result.metadata == {"total": {"ocrConfidence": 0.9, "citations": [NEW_CITATION]}}
        assert (result.credits, result.dashboard_url) == (3, "https://dashboard/exr_1")
        assert (result.reviewed, result.edited) == (True, True)

    def test_2025_steps_that_are_no_processors_come_after_the_outputs(self) -> None:
        step = OLD.parse_run(OLD_RUN).steps[2]
        assert (step.id, step.type, step.name, step.result) == ("sr_3", "RULE_VALIDATION", "Sums", None)

    @pytest.mark.parametrize(
        ("processor_run", "step_type", "kind"),
        [
            ({"type": "SPLITTER"}, "SPLIT", "split"),
            ({"type": "EXTRACT", "mergedProcessors": [{"processorId": "p"}]}, "MERGE_EXTRACT", "extract"),
            ({"type": "EXTRACT", "mergedProcessors": []}, "EXTRACT", "extract"),
            ({"type": "SUMMARIZE"}, "SUMMARIZE", None),
            ({}, "UNKNOWN", None),
        ],
    )
    def test_2025_processor_types(
        self, processor_run: dict[str, Any], step_type: str, kind: str | None
    ) -> None:
        (step,) = OLD.parse_run({"id": "r", "outputs": [{"id": "o", **processor_run}]}).steps
        assert (step.type, step.result and step.result.kind) == (step_type, kind)

    @pytest.mark.parametrize(
        ("step", "step_type"),
        [
            pytest.param({"step": {"type": "HUMAN_REVIEW"}}, "HUMAN_REVIEW", id="step-type-only-inside-step"),
            pytest.param({"stepType": "DREAM", "result": {"dream": 1}}, "DREAM", id="unknown-type"),
            pytest.param({"stepType": None, "result": None}, "UNKNOWN", id="nulls"),
            pytest.param({}, "UNKNOWN", id="nothing"),
        ],
    )
    def test_2026_steps_of_unknown_type_survive(self, step: dict[str, Any], step_type: str) -> None:
        (parsed,) = NEW.parse_run({"id": "r", "stepRuns": [step]}).steps
        assert (parsed.type, parsed.result, parsed.raw) == (step_type, None, step)

    @pytest.mark.parametrize(
        ("result", "kind"),
        [
            ({"parseRun": {"id": "pr_1"}}, "parse"),
            ({"splitRun": {"id": "splr_1"}}, "split"),
            ({"mergedExtractors": [{"id": "ex_1"}], "extractRun": {"id": "exr_1"}}, "extract"),
            ({"extractRun": None, "classifyRun": {"id": "clr_1"}}, "classify"),
        ],
    )
    def test_2026_results_are_told_by_what_they_hold(self, result: dict[str, Any], kind: str) -> None:
        (step,) = NEW.parse_run({"id": "r", "stepRuns": [{"stepType": "NEW_TYPE", "result": result}]}).steps
        assert step.result is not None
        assert step.result.kind == kind

    def test_both_versions_tell_of_splits_and_the_files_they_made(self) -> None:
        split = {
            "id": "s1",
            "type": "invoice",
            "identifier": "a",
            "startPage": 2,
            "endPage": 3,
            "fileId": "file_2",
        }
        place = {key: split[key] for key in ("id", "type", "identifier", "startPage", "endPage")}
        child = {"id": "file_2", "parentFileId": "file_1", "metadata": {"parentSplit": place}}
        output = {"splits": [{**split, "observation": "a head"}, "no split"]}
        newer = NEW.parse_run(
            {**NEW_RUN, "stepRuns": [{"files": [child], "result": {"splitRun": {"output": output}}}]}
        )
        older = OLD.parse_run(
            {"id": "r", "outputs": [{"type": "SPLITTER", "files": [child], "output": output}]}
        )
        for run in (newer, older):
            (step,) = run.steps
            assert step.output == output
            assert step.result is not None
            assert step.result.splits == (Split("s1", "invoice", "a", 2, 3, "file_2", observation="a head"),)
            assert step.files == (
                StoredFile("file_2", parent_file_id="file_1", split=Split("s1", "invoice", "a", 2, 3)),
            )

    @pytest.mark.parametrize(
        ("answer", "passed", "checks", "branch"),
        [
            (
                {
                    "allPassed": False,
                    "rules": [{"name": "Sum", "valid": False, "failureReason": "RULE_FAILED"}],
                },
                False,
                (Check("Sum", False, "RULE_FAILED"),),
                None,
            ),
            (
                {"valid": True, "blocks": [{"id": "b", "valid": True, "reasoning": "signed"}, {}]},
                True,
                (Check("b", True, None, "signed"), Check(None, None)),
                None,
            ),
            ({"matchedBranch": {"id": "b1"}, "branches": []}, None, (), "b1"),
            ({"branches": [{"name": "A"}, {"name": "B", "matched": True}]}, None, (), "B"),
            ({"allPassed": "perhaps", "rules": None, "branches": None}, None, (), None),
            ({"rules": [{"name": "Sum", "valid": True}]}, True, (Check("Sum", True),), None),
            (
                {"rules": [{"name": "A", "valid": True}, {}]},
                None,
                (Check("A", True), Check(None, None)),
                None,
            ),
        ],
    )
    @pytest.mark.parametrize(("wire", "key"), [(NEW, "result"), (OLD, "output")])
    def test_a_verdict_is_read_by_what_it_holds(
        self, wire: Wire, key: str, answer: Any, passed: Any, checks: Any, branch: Any
    ) -> None:
        (step,) = wire.parse_run({"id": "r", "stepRuns": [{"stepType": "ANY", key: answer}]}).steps
        assert (step.passed, step.checks, step.branch) == (passed, checks, branch)
        assert step.output == answer

    def test_what_an_external_endpoint_answered_is_its_own_and_no_verdict(self) -> None:
        told = {"valid": True, "rules": [{"name": "theirs"}]}
        step = {"step": {"type": "EXTERNAL_DATA_VALIDATION"}, "output": told}
        (older,) = OLD.parse_run({"id": "r", "stepRuns": [step]}).steps
        assert (older.output, older.passed, older.checks) == ({"response": {"data": told}}, None, ())

    @pytest.mark.parametrize("files", [{"file": {"id": "file_9"}}, {"files": [{"id": "file_9"}]}])
    def test_a_step_that_names_no_file_has_that_of_its_processor(self, files: dict[str, Any]) -> None:
        (step,) = NEW.parse_run({"id": "r", "stepRuns": [{"result": {"extractRun": files}}]}).steps
        assert step.files == (StoredFile("file_9"),)
        assert step.output is None

    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_an_unknown_status_stays_what_it_is(self, version: str) -> None:
        assert wire_for(version).parse_run({"id": "r", "status": "PONDERING"}).status == "PONDERING"

    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_failed_run_tells_why_without_the_files_url(self, version: str) -> None:
        run = wire_for(version).parse_run(
            {
                "id": "r",
                "status": "FAILED",
                "failureReason": "FAILED_TO_PROCESS_FILE",
                "failureMessage": "Cannot get https://bucket/key?X-Amz-Signature=c0ffee now",
            }
        )
        assert run.failure_reason == "FAILED_TO_PROCESS_FILE"
        assert run.failure_message is not None
        assert "bucket/key" in run.failure_message
        assert "c0ffee" not in run.failure_message

    @pytest.mark.parametrize("version", API_VERSIONS)
    @pytest.mark.parametrize("raw", [{}, {"id": None}, {"id": ""}, {"id": []}])
    def test_a_run_without_id_is_unreadable(self, version: str, raw: dict[str, Any]) -> None:
        with pytest.raises(UnreadableAnswerError):
            wire_for(version).parse_run(raw)

    def test_fields_array_extractors_end_in_the_same_shape(self) -> None:
        field = {"id": "f1", "type": "currency", "value": 12.5, "confidence": 0.8, "references": []}
        run = {"id": "exr_1", "output": {"total": field, "value": {**field, "value": "v"}}}
        (step,) = NEW.parse_run({"id": "r", "stepRuns": [{"result": {"extractRun": run}}]}).steps
        assert step.result is not None
        assert step.result.schema is None
        assert step.result.value == {"total": 12.5, "value": "v"}
        assert step.result.metadata is not None
        assert step.result.metadata["total"]["confidence"] == 0.8

    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(sorted({*NEW_RUN, *OLD_RUN, "result", "output"})), inner, max_size=6
            )
        ),
        max_leaves=12,
    )

    @pytest.mark.parametrize("version", API_VERSIONS)
    @given(fields=st.dictionaries(st.sampled_from(sorted({*NEW_RUN, *OLD_RUN})), JSON))
    @settings(max_examples=50, deadline=None)
    def test_no_json_but_a_missing_id_stops_the_parser(self, version: str, fields: dict[str, Any]) -> None:
        raw = {**fields, "id": "r"}
        run = wire_for(version).parse_run(raw)
        assert run.id == "r"
        assert isinstance(run.status, str)
        assert run.raw == raw


class TestAnswers:
    def test_2026_answers_are_bare(self) -> None:
        assert NEW.run(NEW_RUN) == NEW.parse_run(NEW_RUN)
        assert NEW.created_runs(NEW_RUN) == (NEW.parse_run(NEW_RUN),)
        assert NEW.batch_id({"batchId": "batch_1"}) == "batch_1"
        assert NEW.file({"id": "file_1", "name": "a.pdf", "type": None}) == StoredFile("file_1", "a.pdf")

    def test_2025_answers_come_in_envelopes(self) -> None:
        assert OLD.run({"success": True, "workflowRun": OLD_RUN}) == OLD.parse_run(OLD_RUN)
        created = OLD.created_runs({"success": True, "workflowRuns": [OLD_RUN, {**OLD_RUN, "id": "r2"}]})
        assert [run.id for run in created] == ["workflow_run_1", "r2"]
        assert OLD.batch_id({"success": True, "batchId": "batch_1"}) == "batch_1"
        assert OLD.file({"success": True, "file": {"id": "file_1"}}) == StoredFile("file_1")

    def test_2026_listing(self) -> None:
        summary = {key: value for key, value in NEW_RUN.items() if key not in {"metadata", "stepRuns"}}
        page = NEW.run_page({"object": "list", "data": [summary], "nextPageToken": "xK9m==:zW/+"})
        (run,) = page.items
        assert (run.id, run.workflow_version, run.file_names) == ("workflow_run_1", "3", ("a.pdf",))
        assert page.next_page_token == "xK9m==:zW/+"

    def test_2025_listing(self) -> None:
        run = {
            "id": "r1",
            "status": "PENDING",
            "workflowId": "workflow_1",
            "workflowName": "Invoices",
            "workflowVersionId": "workflow_version_9",
            "batchId": "batch_1",
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:01Z",
        }
        (summary,) = OLD.run_page({"success": True, "workflowRuns": [run]}).items
        assert (summary.workflow_id, summary.workflow_version) == ("workflow_1", "workflow_version_9")
        assert (summary.created_at, summary.batch_id) == ("2026-01-01T00:00:00Z", "batch_1")

    @pytest.mark.parametrize("ending", [{}, {"nextPageToken": None}, {"nextPageToken": ""}])
    def test_a_listing_ends_without_a_token(self, ending: dict[str, Any]) -> None:
        assert NEW.run_page({"data": [], **ending}).next_page_token is None
        assert OLD.run_page({"workflowRuns": [], **ending}).next_page_token is None
        assert NEW.file_page({"data": [], **ending}).next_page_token is None
        assert OLD.file_page({"files": [], **ending}).next_page_token is None

    @pytest.mark.parametrize("version", API_VERSIONS)
    @pytest.mark.parametrize("body", [None, [], "ok", {}, {"data": None, "workflowRuns": 3, "file": "x"}])
    def test_answers_of_another_shape_are_unreadable(self, version: str, body: object) -> None:
        wire = wire_for(version)
        for read in (wire.run, wire.created_runs, wire.run_page, wire.file, wire.file_page, wire.batch_id):
            with pytest.raises(UnreadableAnswerError):
                read(body)


def test_a_page_of_a_thousand_runs_takes_little_cpu_time() -> None:
    summary = {key: value for key, value in NEW_RUN.items() if key not in {"metadata", "stepRuns"}}
    body = json.dumps({"data": [{**summary, "id": f"run_{n}"} for n in range(1000)]}).encode()
    times = []
    for _ in range(5):
        start = time.process_time()
        page = NEW.run_page(msgspec.json.decode(body))
        times.append(time.process_time() - start)
    assert len(page.items) == 1000
    assert min(times) < 0.2, f"took {min(times) * 1000:.1f} ms"
