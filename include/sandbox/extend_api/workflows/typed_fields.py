"""Extend's types of fields, ``extend:type``: currency objects and signatures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sandbox.reading import ReadDocument

_NULLABLE_TEXT: Final = {"type": ["string", "null"]}
_MONEY: Final = {"amount": {"type": ["number", "null"]}, "iso_4217_currency_code": _NULLABLE_TEXT}
_SIGNED: Final = {
    "printed_name": _NULLABLE_TEXT,
    "signature_date": {"type": ["string", "null"], "extend:type": "date"},
    "is_signed": {"type": ["boolean", "null"]},
    "title_or_role": _NULLABLE_TEXT,
}
#: The signature in a document: ``Signed by: Jane Doe, CFO, 2026-11-02``.
_SIGNATURE: Final = re.compile(r"Signed by:?\s+([^,]+),\s*([^,]+),\s*(\d{4}-\d{2}-\d{2})", re.IGNORECASE)
#: Part of the description of amounts in :mod:`sandbox.reading.schemas`; other numbers do not have it.
_IS_MONEY: Final = "Amount in the document's currency"


def typed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with amounts as currency objects, and with a signature."""
    typed: dict[str, Any] = _typed(schema)
    typed["properties"]["signature"] = _object("signature", _SIGNED, "Who has signed the document.")
    typed["required"] = [*typed["required"], "signature"]
    return typed


def _typed(schema: Mapping[str, Any]) -> Any:
    if "properties" in schema:
        properties = {name: _typed(each) for name, each in schema["properties"].items()}
        return {**schema, "properties": properties}
    if "items" in schema:
        return {**schema, "items": _typed(schema["items"])}
    return _object("currency", _MONEY, schema["description"]) if _is_money(schema) else schema


def _is_money(schema: Mapping[str, Any]) -> bool:
    return _IS_MONEY in schema.get("description", "")


def _object(kind: str, properties: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "extend:type": kind,
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
        "description": description,
    }


def typed_extraction(
    extraction: Mapping[str, Any], schema: Mapping[str, Any], document: ReadDocument
) -> dict[str, Any]:
    """Return an extraction in the shape of :func:`typed_schema`.

    :param schema: the schema without types.
    """
    currency = extraction["value"].get("currency")
    metadata = dict(extraction["metadata"])
    value = _with_objects(extraction["value"], schema, currency, "", metadata)
    return {"value": {**value, "signature": _signature(document)}, "metadata": metadata}


def _with_objects(
    value: Any, schema: Mapping[str, Any], currency: str | None, path: str, metadata: dict[str, Any]
) -> Any:
    if isinstance(value, dict):
        return {
            name: _with_objects(
                each, schema["properties"][name], currency, f"{path}.{name}" if path else name, metadata
            )
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [
            _with_objects(each, schema["items"], currency, f"{path}[{at}]", metadata)
            for at, each in enumerate(value)
        ]
    if not _is_money(schema):
        return value
    if (about := metadata.pop(path, None)) is not None:
        metadata[f"{path}.amount"] = about
    return {"amount": value, "iso_4217_currency_code": None if value is None else currency}


def _signature(document: ReadDocument) -> dict[str, Any]:
    found = _SIGNATURE.search(document.text)
    name, role, day = found.groups() if found else (None, None, None)
    return {
        "printed_name": name,
        "signature_date": day,
        "is_signed": found is not None,
        "title_or_role": role,
    }
