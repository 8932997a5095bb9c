"""From raw lines to files that DuckDB reads: one pass, one line in memory.

Only what names a run is looked at here, and the extracted values are cut out; SQL takes them apart. Values
are written in pages of bounded size, so that shaping them needs bounded memory however large the part is.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.records import WarehouseError
from extend_provider.models import ProcessorResult, StepRun, WorkflowRun
from extend_provider.wire import wire_for

#: Staged values per page; what DuckDB needs to take a page apart is some five times as much.
PAGE_BYTES: Final = 16 * 1024 * 1024
#: Digits that a double always keeps.
_SAFE_DIGITS: Final = 15
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
#: Escapes of JSON that surrogates can be told apart in; an escaped backslash must not be taken for another's.
_ESCAPES: Final = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Extractor:
    """An extractor with one of its schemas.

    Its name is what it is known by: the two API versions give the same extractor different ids.
    """

    name: str
    schema: Mapping[str, Any] | None


class RawLine(NamedTuple):
    """One line of the raw zone.

    :ivar repaired: whether characters that are no text (half a surrogate pair) became U+FFFD in the run.
    :ivar approval: what somebody decided about its low confidence: ``APPROVED`` or ``REJECTED``.
    """

    run: WorkflowRun
    repaired: bool
    approval: str | None


class StagedFile:
    """A file of JSON lines that is being written.

    :ivar lines: lines so far; ``size``: bytes so far.
    :ivar longest: bytes of the longest line, which DuckDB wants to know.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = self.size = self.longest = 0
        self._file = path.open("wb")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append ``record``."""
        self.write_line(_encoded(record))

    def write_line(self, line: bytes) -> None:
        """Append a line that ends in a newline."""
        self._file.write(line)
        self.lines += 1
        self.size += len(line)
        self.longest = max(self.longest, len(line))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


@dataclasses.dataclass(slots=True)
class StagedPart:
    """A part on disk.

    :ivar pages: files of extracted values: ``{seq, result_idx, group_id, value, metadata, initial}`` a line.
    :ivar extractors: by ``group_id``.
    """

    folder: Path
    submission: StagedFile
    runs: StagedFile
    steps: StagedFile
    pages: list[StagedFile]
    extractors: list[Extractor]


def stage(
    submission: Iterable[Document], raw_lines: Iterable[bytes], folder: Path, *, name: str
) -> StagedPart:
    """Write a part to ``folder``.

    :param name: what the part is called in errors.
    :raises WarehouseError: if a raw line cannot be read; names its number, never its content.
    """
    part = StagedPart(
        folder,
        StagedFile(folder / "submission.ndjson"),
        StagedFile(folder / "runs.ndjson"),
        StagedFile(folder / "steps.ndjson"),
        [],
        [],
    )
    for ordinal, document in enumerate(submission):
        part.submission.write({"ordinal": ordinal, **document_record(document)})
    groups: dict[str, int] = {}
    for seq, line in enumerate(raw_lines):
        raw = read_raw_line(line, f"Line {seq + 1:,} of part {name}")
        part.runs.write(_run_record(seq, raw))
        _stage_steps(part, seq, raw.run, groups)
    for file in (part.submission, part.runs, part.steps, *part.pages):
        file.close()
    return part


def read_raw_line(line: bytes, name: str) -> RawLine:
    """Read one line of the raw zone, in whichever API version it was received.

    :raises WarehouseError: if the line is no run.
    """
    try:
        text, repaired = readable_text(line)
        record = json.loads(text, parse_float=_exact_float, parse_int=_exact_int, parse_constant=str)
        run = wire_for(record["api_version"]).parse_run(record["run"])
        return RawLine(run, repaired, record.get("approval"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fault = type(error).__name__
    # Raised outside of the handler: the decoder's error holds the line.
    raise WarehouseError(f"{name} is not a run that can be read ({fault}). Nothing of the part has landed.")


def readable_text(line: bytes) -> tuple[str, bool]:
    """Return a line of JSON as text that can be written as UTF-8 again, and whether that changed it."""
    try:
        text, repaired = line.decode(), False
    except UnicodeDecodeError:
        text, repaired = line.decode("utf-8", "replace"), True
    if _SURROGATE.search(text) is None:
        return text, repaired
    readable = _ESCAPES.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)
    return readable, repaired or readable != text


def document_record(document: Document) -> dict[str, Any]:
    """Return a document as the row that it becomes."""
    address = document.uri.partition("://")[2]
    bucket, _, key = address.partition("/")
    return {
        "document_id": document.id,
        "uri": document.uri,
        "bucket": bucket or None,
        "key": key or None,
        "name": document.name,
        "etag": document.etag,
        "size_bytes": document.size_bytes,
        "last_modified": document.last_modified,
        "status": document.status,
        "reason": document.reason,
        "message": document.message,
    }


def _stage_steps(part: StagedPart, seq: int, run: WorkflowRun, groups: dict[str, int]) -> None:
    results_of: Counter[str] = Counter()
    for step_idx, step in enumerate(run.steps):
        result = step.result
        result_idx = None
        if result is not None and result.kind == "extract" and result.value is not None:
            group = _group(part, result, groups)
            extractor = part.extractors[group].name
            result_idx = results_of[extractor]
            results_of[extractor] += 1
            _write_value(part, seq, result_idx, group, result)
        part.steps.write(_step_record(seq, step_idx, step, result_idx))


def _write_value(part: StagedPart, seq: int, result_idx: int, group: int, result: ProcessorResult) -> None:
    line = _encoded(
        {
            "seq": seq,
            "result_idx": result_idx,
            "group_id": group,
            "value": result.value,
            "metadata": result.metadata or {},
            "initial": result.initial_value,
        }
    )
    if not part.pages or part.pages[-1].size + len(line) > PAGE_BYTES:
        if part.pages:
            part.pages[-1].close()
        part.pages.append(StagedFile(part.folder / f"values-{len(part.pages):05d}.ndjson"))
    part.pages[-1].write_line(line)


def _group(part: StagedPart, result: ProcessorResult, groups: dict[str, int]) -> int:
    extractor = Extractor(
        name=result.processor_name or result.processor_id or "extraction",
        schema=result.schema,
    )
    identity = json.dumps([extractor.name, extractor.schema])
    if identity not in groups:
        groups[identity] = len(part.extractors)
        part.extractors.append(extractor)
    return groups[identity]


def _run_record(seq: int, raw: RawLine) -> dict[str, Any]:
    run = raw.run
    document_id = run.metadata.get("document_id")
    return {
        "seq": seq,
        "repaired": raw.repaired,
        "decision": raw.approval,
        "document_id": document_id if isinstance(document_id, str) else None,
        "status": run.status,
        "reason": run.failure_reason,
        "message": run.failure_message or run.rejection_note,
        "run_id": run.id,
        "batch_id": run.batch_id,
        "workflow_name": run.workflow_name,
        "workflow_version": run.workflow_version,
        "dashboard_url": run.dashboard_url,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "updated_at": run.updated_at,
        "reviewed": run.reviewed,
        "reviewed_by": run.reviewed_by,
        "reviewed_at": run.reviewed_at,
        "rejection_note": run.rejection_note,
        "credits": run.credits,
        "usage": run.raw.get("usage"),
    }


def _step_record(seq: int, step_idx: int, step: StepRun, result_idx: int | None) -> dict[str, Any]:
    result = step.result or ProcessorResult(kind="parse", id=None, status=None)
    classification = result.classification or {}
    return {
        "seq": seq,
        "step_idx": step_idx,
        "step_run_id": step.id,
        "step_type": step.type,
        "step_name": step.name,
        "status": step.status,
        "processor_id": result.processor_id,
        "processor_name": result.processor_name,
        "processor_version": result.processor_version,
        "processor_run_id": result.id,
        "result_idx": result_idx,
        "classification": classification.get("type"),
        "classification_confidence": classification.get("confidence"),
        "failure_reason": result.failure_reason,
        "failure_message": result.failure_message,
        "reviewed": result.reviewed,
        "edited": result.edited,
        "credits": result.credits,
        "dashboard_url": result.dashboard_url,
        "output": _step_output(step),
    }


def _step_output(step: StepRun) -> Any:
    """Return what a step said that has no table of its own: a classification, a split, a validation."""
    if step.result is None:
        return step.raw.get("result")
    if step.result.kind == "classify":
        return step.result.classification
    return step.raw.get("result") if step.result.kind == "split" else None


def _encoded(record: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(record, ensure_ascii=False, separators=(',', ':'), allow_nan=False)}\n".encode()


def _exact_float(text: str) -> float | str:
    """Return a number, or its text where a double would not keep every digit of it."""
    number = float(text)
    plain = len(text) <= _SAFE_DIGITS and "e" not in text and "E" not in text
    return number if plain or Decimal(repr(number)) == Decimal(text) else text


def _exact_int(text: str) -> int | str:
    """Return a number, or its text where it is beyond 64 bits."""
    return int(text) if len(text) <= _SAFE_DIGITS + 3 else text
