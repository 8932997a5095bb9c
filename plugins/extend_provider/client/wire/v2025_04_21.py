"""API version 2025-04-21: answers in ``{success, …}`` envelopes, several files per request, ``outputs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from extend_provider.client.models import (
    BatchInput,
    FileInput,
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
    text,
)
from extend_provider.client.wire.steps import step_fields
from extend_provider.exceptions import ExtendInputError

#: What kind of result a processor run of this type has, and the step it would be in the newer version.
PROCESSORS: Final[Mapping[str, tuple[ResultKind, str]]] = {
    "EXTRACT": ("extract", "EXTRACT"),
    "CLASSIFY": ("classify", "CLASSIFY"),
    "SPLITTER": ("split", "SPLIT"),
}


class Wire20250421(Wire):
    """API version 2025-04-21."""

    api_version = "2025-04-21"
    members = Members(run="workflowRun", runs="workflowRuns", file="file", files="files")
    several_files_per_request = True
    names_runs_at_creation = True
    batch_has_priority = False
    has_workflows = False

    def run_body(self, workflow_id: str, inputs: Sequence[RunInput], options: RunOptions) -> Body:
        """See :meth:`Wire.run_body`. Files and raw texts do not mix; ``secrets`` need the newer version."""
        if options.secrets is not None:
            raise ExtendInputError(
                f"API version {self.api_version} takes secrets in batches only; submit a batch, or set the "
                "connection's api_version to 2026-02-09."
            )
        sources = {source_of(each.file) for each in inputs}
        if "text" in sources and len(sources) > 1:
            raise ExtendInputError(
                f"API version {self.api_version} takes files or raw texts in one request, not both."
            )
        files: Body = (
            {"rawTexts": [_raw_text(each) for each in inputs]}
            if "text" in sources
            else {"files": [_run_file_body(each) for each in inputs]}
        )
        return without_nones(
            {
                "workflowId": workflow_id,
                "version": options.version,
                **files,
                "name": options.name,
                "priority": options.priority,
                "metadata": options.metadata,
            }
        )

    def batch_body(self, workflow_id: str, inputs: Sequence[BatchInput], options: RunOptions) -> Body:
        """See :meth:`Wire.batch_body`. The version fixes the priority of batches, so it is not sent."""
        return without_nones(
            {
                "workflowId": workflow_id,
                "version": options.version,
                "inputs": [_batch_input_body(each) for each in inputs],
            }
        )

    def parse_run(self, raw: Json) -> WorkflowRun:
        """See :meth:`Wire.parse_run`. Processor runs come first, then the steps that are no processors."""
        workflow = mapping(raw, "workflow")
        outputs = [_output_step(output) for output in mappings(raw, "outputs")]
        others = [_other_step(step) for step in mappings(raw, "stepRuns")]
        return WorkflowRun(
            workflow_id=text(workflow, "id"),
            workflow_name=text(workflow, "name"),
            workflow_version=text(workflow, "version") or text(workflow, "versionId"),
            dashboard_url=text(raw, "url"),
            **run_fields(raw),
            steps=(*outputs, *others),
        )

    def parse_summary(self, raw: Json) -> RunSummary:
        """See :meth:`Wire.parse_summary`."""
        return RunSummary(
            workflow_id=text(raw, "workflowId"),
            workflow_name=text(raw, "workflowName"),
            workflow_version=text(raw, "workflowVersion") or text(raw, "workflowVersionId"),
            dashboard_url=text(raw, "url"),
            **summary_fields(raw),
        )


def _file_body(file: FileInput) -> Body:
    source_of(file)
    if file.password is not None:
        raise ExtendInputError(
            "API version 2025-04-21 takes no password for a file given by url; upload the file with its "
            "password, or set the connection's api_version to 2026-02-09."
        )
    return without_nones({"fileName": file.name, "fileUrl": file.url, "fileId": file.file_id})


def _run_file_body(each: RunInput) -> Body:
    return without_nones(
        {**_file_body(each.file), "outputs": list(each.outputs) if each.outputs else None},
    )


def _raw_text(each: RunInput) -> str | None:
    if each.outputs:
        raise ExtendInputError("API version 2025-04-21 takes predetermined outputs for files, not raw texts.")
    return each.file.text


def _batch_input_body(each: BatchInput) -> Body:
    content: Body = (
        {"rawText": each.file.text} if source_of(each.file) == "text" else {"file": _file_body(each.file)}
    )
    return without_nones({**content, "metadata": each.metadata, "secrets": each.secrets})


def _output_step(raw: Json) -> StepRun:
    """Bring a processor run to the step that it is in the newer version."""
    processor_type = text(raw, "type") or "UNKNOWN"
    kind, step_type = PROCESSORS.get(processor_type, (None, processor_type))
    name = text(raw, "processorName")
    result = kind and processor_result(
        kind,
        raw,
        processor_id=text(raw, "processorId"),
        processor_name=name,
        processor_version=text(raw, "processorVersionId"),
        dashboard_url=text(raw, "url"),
    )
    merged = mappings(raw, "mergedProcessors")
    return StepRun(
        id=text(raw, "id"),
        type="MERGE_EXTRACT" if kind == "extract" and merged else step_type,
        name=name,
        status=text(raw, "status"),
        result=result or None,
        raw=raw,
        **step_fields(raw, {"mergedProcessors": merged} if merged else {}, raw, kind),
    )


def _other_step(raw: Json) -> StepRun:
    """Read a step that calls no processor; what it said is called otherwise in the newer version."""
    step, said = mapping(raw, "step"), mapping(raw, "output")
    step_type = text(raw, "stepType") or text(step, "type") or "UNKNOWN"
    if step_type == "EXTERNAL_DATA_VALIDATION" and said:
        said = {"response": {"data": said}}
    return StepRun(
        id=text(raw, "id"),
        type=step_type,
        name=text(step, "name"),
        status=text(raw, "status"),
        raw=raw,
        **step_fields(raw, said),
    )
