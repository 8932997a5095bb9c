"""Runs documents through the steps of a workflow and records the output of each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from sandbox import reading
from sandbox.extend_api.state.model import StoredFile, new_id, now_ms
from sandbox.extend_api.workflows import processors, rules
from sandbox.extend_api.workflows.catalogue import SEVERAL
from sandbox.extend_api.workflows.steps import Step
from sandbox.extend_api.workflows.typed_fields import typed_extraction
from sandbox.reading import Kind

#: The field that identifies a document of each kind.
_IDENTIFIERS: Final[Mapping[str, str]] = {
    "invoice": "invoice_number",
    "receipt": "receipt_number",
    "bank_statement": "account_number",
}


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A file that was read."""

    id: str
    name: str
    content: bytes = dataclasses.field(repr=False)
    document: reading.ReadDocument = dataclasses.field(repr=False)
    password: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class StepDone:
    """A completed step.

    :param file_ids: the files that it processed.
    :param pages: the number of their pages.
    :param output: its output as JSON.
    """

    step: Step
    file_ids: tuple[str, ...]
    pages: int
    output: bytes


class StepRunner:
    """Runs the steps of one run.

    :param given: outputs given with the request, by processor id.
    :ivar done: the completed steps.
    :ivar split_files: the files that the steps have split off.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self.done: list[StepDone] = []
        self.split_files: list[StoredFile] = []

    def run(self, steps: Sequence[Step], files: Sequence[File], kind: str | None = None) -> None:
        """Run those steps over the files, together, that apply to their class.

        :param kind: their class, if it is known.
        """
        extractions: dict[str, dict[str, Any]] = {}
        for at, step in enumerate(steps):
            if step.only not in (None, kind):
                continue
            if step.type == "PARSE":
                output = _parsed(files)
            elif step.type == "CLASSIFY":
                output = self._classification(step, files[0].document)
                kind = output["type"]
            elif step.type == "SPLIT":
                for file in files:
                    self._split(step, file, steps[at + 1 :])
                continue
            else:
                output = self._output(step, files, extractions)
            self._record(step, files, output)

    def _record(self, step: Step, files: Sequence[File], output: Mapping[str, Any]) -> None:
        pages = sum(len(file.document.pages) for file in files)
        ids = tuple(file.id for file in files)
        self.done.append(StepDone(step, ids, pages, msgspec.json.encode(output)))

    def _output(
        self, step: Step, files: Sequence[File], extractions: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the output of a step with a kind; extractions are kept for the steps after it."""
        assert step.kind is not None
        if step.type == "RULE_VALIDATION":
            return rules.validated(step.kind, _last(extractions)["value"])
        if step.type == "ROUTER":
            return rules.routed(_last(extractions)["value"])
        if step.merges:
            extraction = _merged([extractions[each.id] for each in step.merges])
        elif (given := self._given.get(step.processor_id)) is not None:
            extraction = {"metadata": {}, **given}
        else:
            extraction = _merged([_extraction(file, step.kind, step.fields) for file in files])
            if step.typed:
                extraction = typed_extraction(extraction, reading.SCHEMAS[step.kind], files[0].document)
        extractions[step.id] = extraction
        return extraction

    def _classification(self, step: Step, document: reading.ReadDocument) -> dict[str, Any]:
        """Return the class of the document; a given class has confidence 1."""
        given = self._given.get(step.processor_id)
        if given is not None:
            return {**processors.classification(given["type"], 1.0), **given}
        if SEVERAL in step.classes:
            parts = reading.find_parts(document)
            if len(parts) > 1:
                confidence = min(part.classification.confidence for part in parts)
                return processors.classification(SEVERAL, confidence)
        found = reading.classify(document)
        return processors.classification(found.type, found.confidence)

    def _split(self, step: Step, file: File, steps: Sequence[Step]) -> None:
        """Split a file into its documents and run the following steps over each of them."""
        given = self._given.get(step.processor_id)
        splits = _found_splits(file.document) if given is None else _within(file.document, given["splits"])
        children = [(_child(file, each), each) for each in splits]
        splits = [_described(child, each) for child, each in children]
        self._record(step, [file], {"splits": splits, "isExternal": given is not None})
        for (child, _), split in zip(children, splits, strict=True):
            self.split_files.append(_split_file(child, file, split))
            self.run(steps, [child], split["type"])


def _parsed(files: Sequence[File]) -> dict[str, Any]:
    """Return the text of the files, page by page."""
    return {
        "chunks": [
            {
                "object": "chunk",
                "type": "page",
                "content": reading.ReadDocument((page,), file.document.file_type).text,
                "metadata": {"pageRange": {"start": page.number, "end": page.number}},
                "blocks": [],
            }
            for file in files
            for page in file.document.pages
        ]
    }


def _last(extractions: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return list(extractions.values())[-1]


def _found_splits(document: reading.ReadDocument) -> list[dict[str, Any]]:
    return [
        {
            **processors.split(part.classification.type, part.first_page, part.last_page),
            "observation": part.observation,
        }
        for part in reading.find_parts(document)
    ]


def _within(document: reading.ReadDocument, splits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the splits, limited to the pages of the document."""
    count = len(document.pages)
    return [
        {**split, "endPage": min(split["endPage"], count)} for split in splits if split["startPage"] <= count
    ]


def _child(parent: File, split: Mapping[str, Any]) -> File:
    """Return the pages of a split as a file of its own."""
    first, last = split["startPage"], split["endPage"]
    path = PurePosixPath(parent.name)
    if parent.document.file_type != "PDF":
        return dataclasses.replace(parent, id=new_id("file"))
    content = reading.cut_pdf(parent.content, first, last, password=parent.password)
    name = f"{path.stem} {first}-{last}{path.suffix}"
    return File(new_id("file"), name, content, reading.read_document(content, name))


def _described(child: File, split: Mapping[str, Any]) -> dict[str, Any]:
    """Return a split as the splitter returns it."""
    defaults = {"observation": "", "identifier": _identifier(child, split), "name": child.name}
    return {**defaults, **split, "id": new_id("split"), "fileId": child.id}


def _identifier(child: File, split: Mapping[str, Any]) -> str:
    kind = split["type"]
    field = _IDENTIFIERS.get(kind)
    found = field and reading.extract(child.document, kind).value[field]
    return found or f"{kind} {split['startPage']}-{split['endPage']}"


def _split_file(child: File, parent: File, split: Mapping[str, Any]) -> StoredFile:
    now = now_ms()
    return StoredFile(
        child.id,
        child.name,
        now,
        now,
        type=child.document.file_type,
        page_count=len(child.document.pages),
        content=child.content,
        parent_id=parent.id,
        split={key: split[key] for key in ("id", "type", "identifier", "startPage", "endPage")},
    )


def _extraction(file: File, kind: Kind, fields: Sequence[str]) -> dict[str, Any]:
    """Return an extraction with the file in its citations; for another kind of document confidence is low."""
    extraction, found = reading.extract(file.document, kind), reading.classify(file.document)
    trust = 1.0 if found.type == kind else 1.0 - found.confidence
    wanted = tuple(fields) or tuple(extraction.value)
    metadata = {
        path: {
            **entry,
            "logprobsConfidence": _scaled(entry.get("logprobsConfidence"), trust),
            "citations": [{"fileId": file.id, **citation} for citation in entry.get("citations") or ()],
        }
        for path, entry in extraction.metadata.items()
        if any(_under(path, field) for field in wanted)
    }
    return {"value": {field: extraction.value[field] for field in wanted}, "metadata": metadata}


def _scaled(confidence: float | None, trust: float) -> float | None:
    return None if confidence is None else round(confidence * trust, 3)


def _merged(extractions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one output of several; each field comes from the first one that has it."""
    merged = {part: dict(extractions[0][part]) for part in ("value", "metadata")}
    for other in extractions[1:]:
        for field, value in other["value"].items():
            known = field in merged["value"]
            if not known or (merged["value"][field] in (None, []) and value not in (None, [])):
                merged["value"][field] = value
                merged["metadata"] = {
                    **{path: entry for path, entry in merged["metadata"].items() if not _under(path, field)},
                    **{path: entry for path, entry in other["metadata"].items() if _under(path, field)},
                }
    return merged


def _under(path: str, field: str) -> bool:
    return path == field or path.startswith((f"{field}.", f"{field}["))
