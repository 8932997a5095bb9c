"""The outputs of processors, whose shape has changed over the years, in one shape."""

from __future__ import annotations

from typing import Any

from extend_provider.client.models import Extraction, ProcessorResult, ResultKind
from extend_provider.client.wire.base import split_of
from extend_provider.client.wire.reading import Json, flag, mapping, mappings, number, optional_mapping, text
from extend_provider.security import without_credentials


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
    extraction = extracted(run.get("output"), done=text(run, "status") == "PROCESSED")
    initial = extracted(run.get("initialOutput")) if flag(run, "reviewed") else None
    return ProcessorResult(
        kind=kind,
        id=text(run, "id"),
        status=text(run, "status"),
        processor_id=processor_id,
        processor_name=processor_name,
        processor_version=processor_version,
        schema=optional_mapping(mapping(run, "config"), "schema") if kind == "extract" else None,
        extraction=extraction if kind == "extract" else None,
        initial=initial if kind == "extract" else None,
        classification=output if kind == "classify" else None,
        splits=tuple(map(split_of, mappings(output or {}, "splits"))),
        edits=optional_mapping(run, "edits") or None,
        failure_reason=text(run, "failureReason"),
        failure_message=without_credentials(text(run, "failureMessage") or "") or None,
        credits=number(mapping(run, "usage"), "credits"),
        dashboard_url=dashboard_url,
        reviewed=flag(run, "reviewed"),
        edited=flag(run, "edited"),
    )


def extracted(output: Any, *, done: bool = False) -> Extraction | None:
    """Return an extractor's output in one shape; None if there is none yet.

    JSON Schema extractors answer ``{value, metadata}``. Older ones, defined by a list of fields, answer a
    flat map ``{field: {id, type, value, confidence, …}}``. Anything else is the value itself.

    :param done: whether the extractor has succeeded; no output is then a null value.
    """
    if output is None:
        return Extraction(None, {}) if done else None
    if not isinstance(output, dict):
        return Extraction(output, {})
    about = output.get("metadata")
    if "value" in output and not _is_field_called_value(output):
        return Extraction(output["value"], _with_current_citations(about))
    if any(map(_is_field, output.values())):
        return Extraction(
            {name: field["value"] if _is_field(field) else field for name, field in output.items()},
            {name: _of_field(field) for name, field in output.items() if _is_field(field)},
        )
    if output.keys() <= {"metadata"}:  # 2025-04-21 leaves out what is null
        return Extraction(None, _with_current_citations(about))
    return Extraction(output, {})


def _is_field(value: Any) -> bool:
    """Whether this is a field of a fields-array extractor."""
    return (
        isinstance(value, dict) and "id" in value and "value" in value and isinstance(value.get("type"), str)
    )


def _is_field_called_value(output: Json) -> bool:
    """Whether ``value`` is a field among others: alone, it could be a whole value that has the same names."""
    if not _is_field(output["value"]):
        return False
    others = (field for name, field in output.items() if name not in {"value", "metadata"})
    return "references" in output["value"] or any(map(_is_field, others))


def _of_field(field: Json) -> dict[str, Any]:
    """Return the metadata of a field of a fields-array extractor under the names of the others."""
    return {
        "logprobsConfidence": field.get("confidence"),
        "citations": [_cited(reference) for reference in mappings(field, "references")],
        **{key: about for key, about in field.items() if key != "value"},
    }


def _cited(reference: Json) -> Json:
    """Return a reference ``{page, boundingBoxes: [{left, top, right, bottom}]}`` as a citation."""
    boxes = mappings(reference, "boundingBoxes")[:1]
    corners = (("left", "top"), ("right", "top"), ("right", "bottom"), ("left", "bottom"))
    polygons = [[{"x": box.get(x), "y": box.get(y)} for x, y in corners] for box in boxes]
    return {"page": {"number": reference.get("page")}, **({"polygon": polygons[0]} if polygons else {})}


def _with_current_citations(metadata: Any) -> Json:
    """Bring citations of 2025-04-21 (``page: 1, pageWidth: 612``) to ``page: {number, width}``.

    Metadata that is no map of fields is kept as that of the whole value.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        return {"": metadata}
    return {path: _with_current_pages(about) for path, about in metadata.items()}


def _with_current_pages(about: Any) -> Any:
    if not isinstance(about, dict) or not isinstance(about.get("citations"), list):
        return about
    return {**about, "citations": [_current_citation(citation) for citation in about["citations"]]}


def _current_citation(citation: Any) -> Any:
    if not isinstance(citation, dict) or isinstance(citation.get("page"), dict | None):
        return citation
    page = {
        "number": citation["page"],
        "width": citation.get("pageWidth"),
        "height": citation.get("pageHeight"),
    }
    rest = {k: v for k, v in citation.items() if k not in {"page", "pageWidth", "pageHeight"}}
    return {**rest, "page": {k: v for k, v in page.items() if v is not None}}
