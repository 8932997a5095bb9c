"""From raw lines to files that DuckDB reads: one pass, one line in memory at a time.

Only what identifies a run is decoded here. Extracted values are copied as they are, for SQL to take apart.
They are written in pages of bounded size, so that taking them apart needs bounded memory however large the
part is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.files import SEPARATOR, StagedFile
from extend_pipeline.warehouse.schema.dictionary import Extractor
from extend_pipeline.warehouse.transform import step_rows
from extend_pipeline.warehouse.transform.raw_lines import RawLine, decoded, encoded, exact_text, read_raw_line
from extend_provider.client.models import Extraction, ProcessorResult, StepRun

#: Bytes of large extractions after which a part goes on in another transaction: when DuckDB commits one, it
#: has up to 2,048 rows of a table in memory at once, with every value of theirs. Other extractions do not
#: count: 2,048 rows of them are small.
SLICE_BYTES: Final = 8 * 1024 * 1024
_LARGE: Final = 64 * 1024
#: Rows that DuckDB takes apart at once. While they are short, a page may be longer: a dozen statements are
#: planned for each page.
_ROWS_AT_ONCE: Final = 2048
_LONGER: Final = 2
#: A line of a page: ``result_no``, its place, and four texts.
_PAGE_LINE: Final = SEPARATOR.encode().join([*[b"%d"] * 4, *[b"%b"] * 4]) + b"\n"


@dataclasses.dataclass(slots=True)
class Slice:
    """Runs of a part that land together: those from number ``first`` on, to the next slice.

    :ivar pages: files of their extracted values, a line each of ``flatten.PAGE_COLUMNS``.
    :ivar large: bytes of those extractions that are large.
    """

    first: int
    pages: list[StagedFile] = dataclasses.field(default_factory=list)
    large: int = 0


@dataclasses.dataclass(slots=True)
class ParsedPart:
    """A part on disk.

    :ivar slices: one, unless its values are very large.
    :ivar page_bytes: staged values per page; to take so many apart at once, DuckDB needs six times as much.
    :ivar repaired: whether a line of it had characters that are no text.
    :ivar extractors: by ``group_id``.
    :ivar group_of: the ``group_id`` of what names an extractor and its schema, as received.
    """

    folder: Path
    submission: StagedFile
    runs: StagedFile
    steps: StagedFile
    checks: StagedFile
    files: StagedFile
    slices: list[Slice]
    page_bytes: int
    extractors: list[Extractor] = dataclasses.field(default_factory=list)
    group_of: dict[tuple[str, bytes | None], int] = dataclasses.field(default_factory=dict)
    repaired: bool = False

    @property
    def pages(self) -> list[StagedFile]:
        """The pages of all slices."""
        return [page for piece in self.slices for page in piece.pages]


def parse_part(
    submission: Iterable[Document], raw_lines: Iterable[bytes], folder: Path, *, name: str, page_bytes: int
) -> ParsedPart:
    """Write a part to ``folder``.

    :param name: what the part is called in errors.
    :param page_bytes: see :class:`ParsedPart`.
    :raises WarehouseError: if a raw line cannot be read; names its number, never its content.
    """
    part = ParsedPart(
        folder,
        StagedFile(folder / "submission.ndjson"),
        StagedFile(folder / "runs.ndjson"),
        StagedFile(folder / "steps.ndjson"),
        StagedFile(folder / "checks.ndjson"),
        StagedFile(folder / "files.ndjson"),
        [Slice(first=0)],
        page_bytes,
    )
    for ordinal, document in enumerate(submission):
        part.submission.write({"ordinal": ordinal, **document_record(document)})
    for seq, line in enumerate(raw_lines):
        raw = read_raw_line(line, f"Line {seq + 1:,} of part {name}")
        part.repaired = part.repaired or raw.repaired
        if part.slices[-1].large > SLICE_BYTES:
            part.slices.append(Slice(first=seq))
        part.runs.write(_run_record(seq, raw))
        _stage_steps(part, seq, raw)
    for file in (part.submission, part.runs, part.steps, part.checks, part.files, *part.pages):
        file.close()
    return part


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


def _stage_steps(part: ParsedPart, seq: int, raw: RawLine) -> None:
    results_of: dict[str, int] = {}
    for step_idx, step in enumerate(raw.run.steps):
        record = step_rows.step_record(raw.run, step)
        result, result_idx = step.result, None
        if result is not None and result.extraction is not None:
            group = _group(part, raw, step, result)
            extractor = part.extractors[group].name
            result_idx = results_of.get(extractor, 0)
            results_of[extractor] = result_idx + 1
            place = (seq, result_idx, group)
            _write_value(part, raw, result.extraction, result.initial, place, record["file_id"])
        record.update(seq=seq, step_idx=step_idx, result_idx=result_idx, output=raw.whole(step.output))
        part.steps.write(record)
        for check in step_rows.check_records(step):
            part.checks.write({"seq": seq, "step_idx": step_idx, **check})
    for file in step_rows.file_records(raw.run):
        part.files.write({"seq": seq, **file})


def _write_value(
    part: ParsedPart,
    raw: RawLine,
    found: Extraction,
    initial: Extraction | None,
    place: tuple[int, int, int],
    file_id: str | None,
) -> None:
    # A confidence and a corner of a polygon need no more digits than a double has.
    texts = [
        b"" if file_id is None else encoded(file_id),
        exact_text(raw.text(found.value)),
        raw.text(found.metadata),
        b"" if initial is None else exact_text(raw.text(initial.value)),
    ]
    length = sum(map(len, texts))
    if length > _LARGE:
        part.slices[-1].large += length
    page = _page_for(part, length)
    page.reviewed = page.reviewed or initial is not None
    page.write_line(_PAGE_LINE % (page.lines, *place, *texts))


def _page_for(part: ParsedPart, length: int) -> StagedFile:
    """Return the page for an extraction of this length: the last one, or a new one if that is full."""
    pages = part.slices[-1].pages
    if pages:
        page = pages[-1]
        are_short = _ROWS_AT_ONCE * max(page.longest, length) <= part.page_bytes
        if page.size + length <= part.page_bytes * (_LONGER if are_short else 1):
            return page
        page.close()
    pages.append(StagedFile(part.folder / f"values-{len(part.slices)}-{len(pages)}.csv"))
    return pages[-1]


def _group(part: ParsedPart, raw: RawLine, step: StepRun, result: ProcessorResult) -> int:
    # What was merged is of no extractor, or named after one of several: its step tells it from theirs.
    own = step.name if step.type == "MERGE_EXTRACT" else None
    name = own or result.processor_name or result.processor_id or step.name or "extraction"
    schema = None if result.schema is None else raw.text(result.schema)
    group = part.group_of.get((name, schema))
    if group is None:
        extractor = Extractor(name, None if schema is None else decoded(schema))
        if extractor not in part.extractors:
            part.extractors.append(extractor)
        group = part.group_of[name, schema] = part.extractors.index(extractor)
    return group


def _run_record(seq: int, raw: RawLine) -> dict[str, Any]:
    run = raw.run
    document_id = run.metadata.get("document_id")
    return {
        "seq": seq,
        "repaired": raw.repaired,
        "decision": raw.approval,
        "decided_by": raw.decided.get("by"),
        "decided_at": raw.decided.get("at"),
        "document_id": document_id if isinstance(document_id, str) else None,
        "status": run.status,
        "reason": run.failure_reason,
        "message": run.failure_message or run.rejection_note,
        "run_id": run.id,
        "batch_id": run.batch_id,
        "workflow_name": run.workflow_name,
        "workflow_version": run.workflow_version,
        "workflow_version_name": run.workflow_version_name,
        "dashboard_url": run.dashboard_url,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "updated_at": run.updated_at,
        "reviewed": run.reviewed,
        "reviewed_by": run.reviewed_by,
        "reviewed_at": run.reviewed_at,
        "rejection_note": run.rejection_note,
        "edited": any(step.result is not None and step.result.edited for step in run.steps),
        "credits": run.credits,
        "usage": raw.whole(run.raw.get("usage")),
        "edits": raw.whole(step_rows.edits_of(run)),
    }
