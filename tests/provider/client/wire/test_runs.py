"""A run ends in one vocabulary, whichever API version Extend has written it in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_provider.client.models import (
    Check,
    Split,
    StoredFile,
    WorkflowRun,
)
from extend_provider.client.wire import API_VERSIONS, Wire, wire_for
from extend_provider.client.wire.reading import UnreadableAnswerError
from fixtures.extend.wire_runs import (
    NEW,
    NEW_CITATION,
    NEW_RUN,
    OLD,
    OLD_RUN,
    SCHEMA,
)


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
