"""The tables that every dataset has, whatever is extracted.

No table has a primary key index: at 256 MB DuckDB 2.0 runs out of memory building one over a million
documents (measured), and one writer that deletes before it inserts, and counts before it commits, keeps rows
unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extend_pipeline.warehouse.sql import Columns, ColumnType

_TEXT, _INTEGER, _DECIMAL = ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DECIMAL
_DOUBLE, _BOOLEAN, _TIMESTAMP, _JSON = (
    ColumnType.DOUBLE,
    ColumnType.BOOLEAN,
    ColumnType.TIMESTAMP,
    ColumnType.JSON,
)

#: What all tables are joined by, and replaced by. ``workflow_version_requested`` is '' for "the latest".
KEY: Final[Columns] = {
    "document_id": _TEXT,
    "workflow_id": _TEXT,
    "workflow_version_requested": _TEXT,
}

#: The object as it was discovered.
SUBMISSION: Final[Columns] = {
    "uri": _TEXT,
    "bucket": _TEXT,
    "key": _TEXT,
    "name": _TEXT,
    "etag": _TEXT,
    "size_bytes": _INTEGER,
    "last_modified": _TIMESTAMP,
}

#: The outcome of the document, or of one attempt.
STATUS: Final[Columns] = {"status": _TEXT, "reason": _TEXT, "message": _TEXT}

#: The attempt at Extend. ``observed_at`` is the newest time in the run's own data; it decides which
#: of two snapshots, or of two runs, is newer.
RUN: Final[Columns] = {
    "run_id": _TEXT,
    "batch_id": _TEXT,
    "workflow_name": _TEXT,
    "workflow_version": _TEXT,
    "workflow_version_name": _TEXT,
    "dashboard_url": _TEXT,
    "created_at": _TIMESTAMP,
    "started_at": _TIMESTAMP,
    "ended_at": _TIMESTAMP,
    "updated_at": _TIMESTAMP,
    "observed_at": _TIMESTAMP,
    "reviewed": _BOOLEAN,
    "reviewed_by": _TEXT,
    "reviewed_at": _TIMESTAMP,
    "rejection_note": _TEXT,
    "edited": _BOOLEAN,
    "credits": _DECIMAL,
}

#: The load that wrote the row. ``repetition`` names the run that asked for a document that had landed before
#: to be sent again; empty for the first time.
LOAD: Final[Columns] = {
    "repetition": _TEXT,
    "raw_uri": _TEXT,
    "dag_id": _TEXT,
    "dag_run_id": _TEXT,
    "task_id": _TEXT,
    "map_index": _INTEGER,
    "landed_at": _TIMESTAMP,
}

#: Extend's confidence in what it extracted, and the approval. ``lowest_confidence`` is the lowest of all OCR
#: and model confidences, ``min_confidence`` the threshold, ``low_confidence`` the number of fields below it.
#: ``approval`` is null, WAITING, APPROVED or REJECTED; ``approval_by`` decided it at ``approval_at``.
#: Documents that wait or were rejected have no rows in generated tables.
CONFIDENCE: Final[Columns] = {
    "lowest_confidence": _DOUBLE,
    "min_confidence": _DOUBLE,
    "low_confidence": _INTEGER,
    "approval": _TEXT,
    "approval_by": _TEXT,
    "approval_at": _TIMESTAMP,
}

#: ``attempts`` is the number of runs that the document has had.
DOCUMENTS: Final[Columns] = {
    **KEY,
    **SUBMISSION,
    **STATUS,
    "attempts": _INTEGER,
    **RUN,
    **CONFIDENCE,
    **LOAD,
}
#: ``usage`` is the credits in detail, ``edits`` what reviewers changed, by processor run and field.
RUNS: Final[Columns] = {**KEY, **STATUS, **RUN, "usage": _JSON, "edits": _JSON, **LOAD}

#: One row per step of the document's run. ``output`` is its answer without extracted values and parsed
#: text. ``file_id`` is the file that it worked on, null for several together; ``passed`` is a validation's
#: verdict, ``branch`` a router's.
STEPS: Final[Columns] = {
    **KEY,
    "run_id": _TEXT,
    "step_idx": _INTEGER,
    "step_run_id": _TEXT,
    "step_type": _TEXT,
    "step_name": _TEXT,
    "status": _TEXT,
    "file_id": _TEXT,
    "processor_id": _TEXT,
    "processor_name": _TEXT,
    "processor_version": _TEXT,
    "processor_run_id": _TEXT,
    "result_idx": _INTEGER,
    "classification": _TEXT,
    "classification_confidence": _DOUBLE,
    "passed": _BOOLEAN,
    "branch": _TEXT,
    "failure_reason": _TEXT,
    "failure_message": _TEXT,
    "reviewed": _BOOLEAN,
    "edited": _BOOLEAN,
    "credits": _DECIMAL,
    "dashboard_url": _TEXT,
    "output": _JSON,
}

#: One row per rule of a validation: whether the document's values passed it.
CHECKS: Final[Columns] = {
    **KEY,
    "run_id": _TEXT,
    "step_idx": _INTEGER,
    "check_idx": _INTEGER,
    "name": _TEXT,
    "passed": _BOOLEAN,
    "reason": _TEXT,
    "message": _TEXT,
}

#: One row per file of the document's run: its own, and those that it was split into, with their place in the
#: parent file, pages from 1. ``document_page`` is the page on which the file begins in the document as it was
#: sent, however often that was split: page p of the file is page ``document_page + p - 1`` there.
FILES: Final[Columns] = {
    **KEY,
    "run_id": _TEXT,
    "file_id": _TEXT,
    "name": _TEXT,
    "type": _TEXT,
    "page_count": _INTEGER,
    "parent_file_id": _TEXT,
    "split_id": _TEXT,
    "split_type": _TEXT,
    "split_identifier": _TEXT,
    "start_page": _INTEGER,
    "end_page": _INTEGER,
    "document_page": _INTEGER,
    "classification_id": _TEXT,
    "observation": _TEXT,
}

#: One row per extracted field, with Extend's evidence for it: the first citation; all are in the raw zone.
#: ``value`` is what counts; ``machine_value`` is another one where a reviewer has ``edited`` the field.
#: ``file_id`` is the file that ``page`` is of: the step's, or of several that it had, the one that is cited.
#: Of a spreadsheet ``page`` is the sheet, from 1, and ``cell_range`` has its cells in A1 notation, in the
#: place of ``polygon``.
FIELDS: Final[Columns] = {
    **KEY,
    "run_id": _TEXT,
    "extractor": _TEXT,
    "result_idx": _INTEGER,
    "file_id": _TEXT,
    "path": _TEXT,
    "value": _TEXT,
    "ocr_confidence": _DOUBLE,
    "logprobs_confidence": _DOUBLE,
    "review_score": _DOUBLE,
    "page": _INTEGER,
    "reference_text": _TEXT,
    "polygon": _JSON,
    "cell_range": _TEXT,
    "citations": _INTEGER,
    "machine_value": _TEXT,
    "edited": _BOOLEAN,
}

#: What did not fit; ``document_id`` is null for what concerns a table or a run rather than a document.
PROBLEMS: Final[Columns] = {
    **KEY,
    "run_id": _TEXT,
    "code": _TEXT,
    "table_name": _TEXT,
    "column_name": _TEXT,
    "path": _TEXT,
    "value": _TEXT,
    "message": _TEXT,
    "landed_at": _TIMESTAMP,
}

#: The code in ``problems`` of a part, named by ``value``, that the contract ``freeze`` has refused.
REFUSED: Final = "SCHEMA_CONTRACT"

#: The generated tables and columns, and the path in the extraction of each.
DICTIONARY: Final[Columns] = {
    "table_name": _TEXT,
    "column_name": _TEXT,
    "extractor": _TEXT,
    "source_path": _TEXT,
    "type": _TEXT,
    "description": _TEXT,
}

#: One row per part, written last: a part that has none has not landed.
LOADS: Final[Columns] = {
    "part": _TEXT,
    "workflow_id": _TEXT,
    "workflow_version_requested": _TEXT,
    "batch_id": _TEXT,
    "extend_conn_id": _TEXT,
    "documents": _INTEGER,
    "runs": _INTEGER,
    "credits": _DECIMAL,
    "by_status": _JSON,
    "rows_by_table": _JSON,
    "schema_contract": _TEXT,
    "started_at": _TIMESTAMP,
    "ended_at": _TIMESTAMP,
    **{name: kind for name, kind in LOAD.items() if name != "landed_at"},
}

#: Documents on their way: planned, and not landed yet. ``chunk`` is the reference that the tasks pass on.
CLAIMS: Final[Columns] = {**KEY, "repetition": _TEXT, "chunk": _TEXT, "claimed_at": _TIMESTAMP}

FIXED: Final[Mapping[str, Columns]] = {
    "documents": DOCUMENTS,
    "runs": RUNS,
    "steps": STEPS,
    "checks": CHECKS,
    "files": FILES,
    "fields": FIELDS,
    "problems": PROBLEMS,
    "dictionary": DICTIONARY,
    "loads": LOADS,
    "claims": CLAIMS,
}

#: What ``documents.approval`` can say; beside APPROVED; rows of a document with one of these are held back.
WAITING: Final = "WAITING"
REJECTED: Final = "REJECTED"
#: Statuses of rows do not say whether a document was paid for; that it went into a batch does.
WAS_SENT: Final = "(document.run_id IS NOT NULL OR document.batch_id IS NOT NULL)"

#: Fixed tables whose rows belong to a document and are replaced with it.
REPLACED: Final = ("documents", "steps", "checks", "files", "fields", "problems")

#: What every generated table starts with; the tables of lists add positions, from 0. ``file_id`` is the file
#: that the values were extracted from: the document's own, or one that it was split into.
RESULT: Final[Columns] = {**KEY, "run_id": _TEXT, "result_idx": _INTEGER, "file_id": _TEXT}
