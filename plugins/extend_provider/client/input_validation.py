"""Checks of the files and texts that a batch or a run is made of, before anything is sent.

Every check raises :class:`~extend_provider.exceptions.ExtendInputError` that names the field and, in a list,
the element's index. The content of URLs, texts, passwords and secrets is never part of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from extend_provider.client.models import BatchInput, FileInput, RunInput
from extend_provider.client.validation import (
    as_json,
    check_literal,
    is_absent,
    is_templated,
    metadata,
    secrets,
)
from extend_provider.exceptions import ExtendInputError

MAX_BATCH_INPUTS = 1_000
#: Files of one run request on 2025-04-21; one request per file is made on 2026-02-09, under the same limit.
MAX_RUN_FILES = 50

_FILE_SOURCES = ("url", "file_id", "text")
_FILE_KEYS = frozenset({*_FILE_SOURCES, "name", "password"})


def file_input(value: Any, field: str) -> FileInput:
    """Return one file from a mapping ``{url | file_id | text, name?, password?}`` or a ready FileInput."""
    file = value if isinstance(value, FileInput) else FileInput(**_known(value, field, _FILE_KEYS))
    given = [source for source in _FILE_SOURCES if getattr(file, source) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        raise ExtendInputError(f"{field} must have exactly one of url, file_id and text; it has {got}.")
    for source in (*given, "name", "password"):
        content = getattr(file, source)
        if content is not None and (not isinstance(content, str) or not content.strip()):
            kind = "an empty string" if isinstance(content, str) else f"of type {type(content).__name__}"
            raise ExtendInputError(f"{field}.{source} must be a string that is not empty; it is {kind}.")
    if file.url is not None:
        _check_url(file.url, f"{field}.url")
    return file


def batch_input(value: Any, field: str) -> BatchInput:
    """Return one input of a batch from ``{file, metadata?, secrets?}`` or a ready BatchInput."""
    if not isinstance(value, BatchInput):
        known = _known(value, field, frozenset({"file", "metadata", "secrets"}))
        if "file" not in known:
            raise ExtendInputError(f"{field} has no file; give {{'file': {{'url': …}}, 'metadata': …}}.")
        value = BatchInput(**known)
    return BatchInput(
        file=file_input(value.file, f"{field}.file"),
        metadata=metadata(value.metadata, f"{field}.metadata"),
        secrets=secrets(value.secrets, f"{field}.secrets"),
    )


def batch_inputs(values: Any) -> list[BatchInput]:
    """Return the 1 to 1,000 inputs of a batch, all of them checked."""
    elements = _elements(values, "inputs")
    _check_count(len(elements), "inputs", MAX_BATCH_INPUTS, "Split it into several batches.")
    return [batch_input(element, f"inputs[{index}]") for index, element in enumerate(elements)]


def run_input(value: Any, field: str) -> RunInput:
    """Return one file of a run from ``{url | file_id, name?, password?, outputs?}`` or a ready RunInput."""
    if not isinstance(value, RunInput):
        known = _known(value, field, _FILE_KEYS | {"outputs"})
        outputs = known.pop("outputs", None)
        value = RunInput(file_input(known, field), outputs)
    if value.file.text is not None:
        raise ExtendInputError(f"{field} is a text; texts go into raw_texts.")
    return RunInput(file_input(value.file, field), _outputs(value.outputs, f"{field}.outputs"))


def raw_text(value: Any, field: str) -> RunInput:
    """Return a raw text as what a run is made of."""
    if not isinstance(value, str) or not value.strip():
        kind = "empty" if isinstance(value, str) else f"of type {type(value).__name__}"
        raise ExtendInputError(f"{field} must be a text that is not empty; it is {kind}.")
    return RunInput(FileInput(text=value))


def run_inputs(files: Any, raw_texts: Any) -> list[RunInput]:
    """Return what a run request sends: the files or the raw texts, either, not both, not neither."""
    check_one_kind(files, raw_texts)
    field, values, read = ("raw_texts", raw_texts, raw_text) if files is None else ("files", files, run_input)
    elements = _elements(values, field)
    _check_count(len(elements), field, MAX_RUN_FILES, "Submit a batch for more.")
    return [read(element, f"{field}[{index}]") for index, element in enumerate(elements)]


def check_one_kind(files: Any, raw_texts: Any) -> None:
    """Refuse files together with raw texts, and neither of them."""
    if (files is None) == (raw_texts is None):
        which = "neither" if files is None else "both"
        raise ExtendInputError(f"give either files or raw_texts; {which} was given.")


def check_literal_elements(values: Any, field: str, limit: int, check: Callable[[Any, str], Any]) -> None:
    """Check, while the DAG file is parsed, the count and every element of a list that holds no template."""
    if values is None or (not isinstance(values, (list, tuple)) and is_templated(values)):
        return
    elements = _elements(values, field)
    _check_count(len(elements), field, limit, "")
    for index, element in enumerate(elements):
        check_literal(check, element, f"{field}[{index}]")


def _outputs(value: Any, field: str) -> list[Mapping[str, Any]] | None:
    if value is None:
        return None
    outputs: list[Mapping[str, Any]] = []
    for index, element in enumerate(_elements(value, field)):
        where = f"{field}[{index}]"
        known = _known(element, where, frozenset({"processorId", "output"}))
        if is_absent(known.get("processorId")) or not isinstance(known.get("output"), Mapping):
            raise ExtendInputError(
                f"{where} must be {{'processorId': the processor's id, 'output': a mapping}}."
            )
        as_json(known["output"], f"{where}.output")
        outputs.append(known)
    return outputs


def _check_url(url: str, field: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ExtendInputError(f"{field} is not a URL that can be read.") from None
    is_http = parts.scheme in {"http", "https"}
    if not is_http or not host:
        what = "it has no host" if is_http else f"its scheme is {parts.scheme!r}"
        raise ExtendInputError(
            f"{field} must be an http or https URL that Extend can download; {what}. Presign an object's "
            "address or upload the file and give its file_id."
        )


def _known(value: Any, field: str, keys: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ExtendInputError(
            f"{field} must be a mapping with {', '.join(sorted(keys))}; it is of type {type(value).__name__}."
        )
    if unknown := sorted(str(key) for key in value if key not in keys):
        raise ExtendInputError(
            f"{field} has the unknown {', '.join(map(repr, unknown))}; known are {', '.join(sorted(keys))}."
        )
    return dict(value)


def _elements(values: Any, field: str) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ExtendInputError(
            f"{field} must be a list; it is of type {type(values).__name__}. A list from another task comes "
            "whole as that task's output (XComArg), not through a Jinja template, which makes text of it."
        )
    return list(values)


def _check_count(count: int, field: str, limit: int, advice: str) -> None:
    if not 1 <= count <= limit:
        raise ExtendInputError(f"{field} has {count:,} elements; it takes 1 to {limit:,}. {advice}".rstrip())
