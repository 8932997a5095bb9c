"""The part that the preflight lands and undoes before anything is paid for."""

from __future__ import annotations

import json
from typing import Any, Final

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.records import LandingPolicy, Provenance

DOCUMENT: Final = Document(
    uri="preflight://document", etag="preflight", size_bytes=1, last_modified="2000-01-01T00:00:00Z"
)
ORIGIN: Final = Provenance(workflow_id="_preflight", batch_id="_preflight", raw_uri="_preflight")
#: The claim of it, as :func:`extend_pipeline.warehouse.queries.claims.write_claims` takes it.
CLAIM: Final = (
    f"(SELECT '{DOCUMENT.id}' AS document_id, '_preflight' AS chunk) AS planned",
    ("_preflight", ""),
    "",
    1,
)
#: A workflow's own contract does not matter here.
POLICY: Final = LandingPolicy(schema_contract="evolve")

_SCHEMA: Final = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}}},
}
_EXTRACTION: Final[dict[str, Any]] = {
    "id": "_preflight",
    "status": "PROCESSED",
    "config": {"schema": _SCHEMA},
    "extractor": {"id": "_preflight", "name": "Extend pipeline preflight"},
    "output": {"value": {"text": "x", "list": ["x"]}, "metadata": {}},
}
_STEP: Final = {
    "id": "_preflight",
    "status": "PROCESSED",
    "stepType": "EXTRACT",
    "step": {"id": "_preflight", "name": "Extract", "type": "EXTRACT"},
    "result": {"extractRun": _EXTRACTION},
}
_RUN: Final = {
    "id": "_preflight",
    "status": "PROCESSED",
    "workflow": {"id": "_preflight", "name": "Preflight"},
    "metadata": {"document_id": DOCUMENT.id},
    "batchId": "_preflight",
    "files": [],
    "stepRuns": [_STEP],
    "usage": {"credits": 0},
}
#: The document's run, as the raw zone keeps it: with a step, with fields, with tables of its extractor's.
LINE: Final = json.dumps({"api_version": "2026-02-09", "run": _RUN}).encode() + b"\n"
