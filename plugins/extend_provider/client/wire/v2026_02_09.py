"""API version 2026-02-09: bare objects, one run per request, results inside the step runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from extend_provider.client.models import (
    BatchInput,
    FileInput,
    ProcessorResult,
    ResultKind,
    RunInput,
    RunSummary,
    StepRun,
    WorkflowRun,
)
from extend_provider.client.wire.base import (
    Body,
    Members,
    RunOptions,
    Wire,
    run_fields,
    source_of,
    summary_fields,
    without_nones,
)
from extend_provider.client.wire.outputs import processor_result
from extend_provider.client.wire.reading import (
    Json,
    mapping,
    mappings,
    optional_mapping,
    text,
)
from extend_provider.client.wire.steps import step_fields
from extend_provider.exceptions import ExtendInputError

#: Where a step's result holds a processor's run, the kind of that run, and what it calls its processor.
#: The result is recognised by what it holds, not by the step's type: types are added over time.
RESULTS: Final[tuple[tuple[str, ResultKind, str], ...]] = (
    ("extractRun", "extract", "extractor"),
    ("classifyRun", "classify", "classifier"),
    ("splitRun", "split", "splitter"),
    ("parseRun", "parse", "parser"),
)


class Wire20260209(Wire):
    """API version 2026-02-09."""

    api_version = "2026-02-09"
    members = Members(run=None, runs="data", file=None, files="data")
    several_files_per_request = False
    names_runs_at_creation = False
    batch_has_priority = True
    has_workflows = True

    def run_body(self, workflow_id: str, inputs: Sequence[RunInput], options: RunOptions) -> Body:
        """See :meth:`Wire.run_body`; ``name`` is set by an update once the run exists."""
        if len(inputs) != 1:
            raise ExtendInputError(
                f"API version {self.api_version} takes one file per run, not {len(inputs)}."
            )
        return without_nones(
            {
                "workflow": without_nones({"id": workflow_id, "version": options.version}),
                "file": _file_body(inputs[0].file),
                "outputs": list(inputs[0].outputs) if inputs[0].outputs else None,
                "priority": options.priority,
                "metadata": options.metadata,
                "secrets": options.secrets,
            }
        )

    def batch_body(self, workflow_id: str, inputs: Sequence[BatchInput], options: RunOptions) -> Body:
        """See :meth:`Wire.batch_body`."""
        return without_nones(
            {
                "workflow": without_nones({"id": workflow_id, "version": options.version}),
                "inputs": [
                    without_nones(
                        {"file": _file_body(each.file), "metadata": each.metadata, "secrets": each.secrets}
                    )
                    for each in inputs
                ],
                "priority": options.priority,
            }
        )

    def parse_run(self, raw: Json) -> WorkflowRun:
        """See :meth:`Wire.parse_run`."""
        return WorkflowRun(
            **_workflow_fields(raw),
            **run_fields(raw),
            steps=tuple(map(_step, mappings(raw, "stepRuns"))),
        )

    def parse_summary(self, raw: Json) -> RunSummary:
        """See :meth:`Wire.parse_summary`."""
        return RunSummary(**_workflow_fields(raw), **summary_fields(raw))


def _file_body(file: FileInput) -> Body:
    source = source_of(file)
    if source == "file_id":
        return {"id": file.file_id}
    settings = None if file.password is None else {"password": file.password}
    return without_nones({source: getattr(file, source), "name": file.name, "settings": settings})


def _workflow_fields(raw: Json) -> dict[str, Any]:
    workflow, version = mapping(raw, "workflow"), mapping(raw, "workflowVersion")
    return {
        "workflow_id": text(workflow, "id"),
        "workflow_name": text(workflow, "name"),
        "workflow_version": text(version, "version") or text(version, "id"),
        "workflow_version_name": text(version, "name"),
        "dashboard_url": text(raw, "dashboardUrl"),
    }


def _step(raw: Json) -> StepRun:
    step, answer = mapping(raw, "step"), mapping(raw, "result")
    result, run = _result(answer)
    rest = {key: value for key, value in answer.items() if run is None or value is not run}
    return StepRun(
        id=text(raw, "id"),
        type=text(raw, "stepType") or text(step, "type") or "UNKNOWN",
        name=text(step, "name"),
        status=text(raw, "status"),
        result=result,
        raw=raw,
        **step_fields(raw, rest, run, result.kind if result else None),
    )


def _result(answer: Json) -> tuple[ProcessorResult | None, Json | None]:
    """Return a processor's result with the run that it was read from."""
    for key, kind, processor_key in RESULTS:
        run = optional_mapping(answer, key)
        if run is not None:
            processor, version = mapping(run, processor_key), mapping(run, f"{processor_key}Version")
            result = processor_result(
                kind,
                run,
                processor_id=text(processor, "id"),
                processor_name=text(processor, "name"),
                processor_version=text(version, "version") or text(version, "id"),
                dashboard_url=text(run, "dashboardUrl"),
            )
            return result, run
    return None, None
