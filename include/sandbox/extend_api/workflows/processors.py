"""The processors of steps: their configuration, their product for billing, and their output."""

from __future__ import annotations

import functools
from typing import Any, Final

from sandbox.extend_api.workflows.catalogue import SEVERAL
from sandbox.extend_api.workflows.steps import Step
from sandbox.extend_api.workflows.typed_fields import typed_schema
from sandbox.reading.model import Kind
from sandbox.reading.schemas import SCHEMAS

#: The billed product of a parse run.
PARSE_PRODUCT: Final = "parse_performance"


def product(step: Step) -> str:
    """Return the billed product of a step's processor."""
    config = processor_config(step)
    return str(config.get("baseProcessor") or config["engine"])


@functools.cache
def processor_config(step: Step) -> dict[str, Any]:
    """Return the configuration of a step's processor; that of an extractor has its JSON Schema."""
    if step.type == "PARSE":
        return {"target": "markdown", "chunkingStrategy": {"type": "page"}, "engine": PARSE_PRODUCT}
    if step.kind is not None:
        return {
            "baseProcessor": "extraction_performance",
            "baseVersion": "4.6.0",
            "schema": _schema(step.kind, step.fields, typed=step.typed),
        }
    classes = [
        {"id": _class_id(name), "type": name, "description": _described(name)} for name in step.classes
    ]
    if step.type == "SPLIT":
        return {
            "baseProcessor": "splitting_performance",
            "baseVersion": "1.6.2",
            "splitClassifications": classes,
        }
    return {"baseProcessor": "classification_performance", "baseVersion": "3.2.0", "classifications": classes}


def _schema(kind: Kind, fields: tuple[str, ...], *, typed: bool) -> dict[str, Any]:
    schema = dict(SCHEMAS[kind])
    if fields:
        schema["properties"] = {name: schema["properties"][name] for name in fields}
        schema["required"] = list(fields)
    return typed_schema(schema) if typed else schema


def _described(kind: str) -> str:
    if kind == "other":
        return "None of the other classes."
    return (
        "The file holds several documents."
        if kind == SEVERAL
        else f"The document is a {kind.replace('_', ' ')}."
    )


def classification(kind: str, confidence: float) -> dict[str, Any]:
    """Return the output of a classify run for a document of ``kind``."""
    return {"id": _class_id(kind), "type": kind, "confidence": confidence, "insights": []}


def split(kind: str, first_page: int, last_page: int) -> dict[str, Any]:
    """Return the part of a split that depends on its pages and ``kind``."""
    return {
        "classificationId": _class_id(kind),
        "type": kind,
        "startPage": first_page,
        "endPage": last_page,
    }


def _class_id(kind: str) -> str:
    return f"class_{kind}"
