"""The outputs of processors, which have changed their shape over the years, in one shape."""

from __future__ import annotations

from typing import Any

from extend_provider.models import ProcessorResult, ResultKind
from extend_provider.redaction import without_credentials
from extend_provider.wire.base import split_of
from extend_provider.wire.reading import Json, flag, mapping, mappings, number, optional_mapping, text


def processor_result(
    kind: ResultKind,
    run: Json,
    *,
    processor_id: str | None,
    processor_name: str | None,
    processor_version: str | None,
    dashboard_url: str | None,
) -> ProcessorResult:
    """Read the fields that a processor's run has under the same names in every version."""
    output = optional_mapping(run, "output")
    value, metadata = extracted(output) if kind == "extract" and output else (None, None)
    initial = optional_mapping(run, "initialOutput") if kind == "extract" and flag(run, "reviewed") else None
    return ProcessorResult(
        kind=kind,
        id=text(run, "id"),
        status=text(run, "status"),
        processor_id=processor_id,
        processor_name=processor_name,
        processor_version=processor_version,
        schema=optional_mapping(mapping(run, "config"), "schema") if kind == "extract" else None,
        value=value,
        metadata=metadata,
        initial_value=extracted(initial)[0] if initial else None,
        classification=output if kind == "classify" else None,
        splits=tuple(split_of(each) for each in mappings(output or {}, "splits")),
        edits=optional_mapping(run, "edits") or None,
        failure_reason=text(run, "failureReason"),
        failure_message=without_credentials(text(run, "failureMessage") or "") or None,
        credits=number(mapping(run, "usage"), "credits"),
        dashboard_url=dashboard_url,
        reviewed=flag(run, "reviewed"),
        edited=flag(run, "edited"),
    )


def extracted(output: Json) -> tuple[Json, Json]:
    """Return an extractor's value and the metadata of its fields.

    JSON Schema extractors answer ``{value, metadata}``. Older ones, defined by a list of fields, answer a
    flat map ``{field: {id, type, value, confidence, …}}``, which is brought to the same shape.
    """
    value = output.get("value")
    if isinstance(value, dict) and not _is_field(value):
        metadata = mapping(output, "metadata")
        return value, {path: _with_current_citations(about) for path, about in metadata.items()}
    fields = {name: field for name, field in output.items() if isinstance(field, dict)}
    return (
        {name: field.get("value") for name, field in fields.items()},
        {name: {k: v for k, v in field.items() if k != "value"} for name, field in fields.items()},
    )


def _is_field(value: Json) -> bool:
    """Whether this is a field of a fields-array extractor: one called ``value`` looks like a whole output."""
    return {"id", "type", "value", "references"} <= value.keys()


def _with_current_citations(about: Any) -> Any:
    """Bring a field's citations of 2025-04-21 (``page: 1, pageWidth: 612``) to ``page: {number, width}``."""
    if not isinstance(about, dict) or not isinstance(about.get("citations"), list):
        return about
    return {**about, "citations": [_current_citation(citation) for citation in mappings(about, "citations")]}


def _current_citation(citation: Json) -> Json:
    if number(citation, "page") is None:
        return citation
    page = {
        "number": citation["page"],
        "width": citation.get("pageWidth"),
        "height": citation.get("pageHeight"),
    }
    rest = {k: v for k, v in citation.items() if k not in {"page", "pageWidth", "pageHeight"}}
    return {**rest, "page": {k: v for k, v in page.items() if v is not None}}
