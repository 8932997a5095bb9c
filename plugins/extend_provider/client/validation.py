"""Checks of a user's input, before anything is sent.

Every check raises :class:`~extend_provider.exceptions.ExtendInputError` that names the field, the value and,
in a list, the element's index. The content of URLs, texts, passwords and secrets is never part of a message.
Limits are those of the API's documentation (workflow run, batch run) as of 2026-02-09.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from extend_provider.client.models import BatchInput, FileInput, RunInput
from extend_provider.exceptions import ExtendInputError

LOWEST_PRIORITY_VALUE, HIGHEST_PRIORITY_VALUE = 1, 100
MAX_METADATA_BYTES = 10 * 1024
MAX_BATCH_INPUTS = 1_000
#: Files of one run request on 2025-04-21; one request per file is made on 2026-02-09, under the same limit.
MAX_RUN_FILES = 50

#: The file types that Extend reads: extensions in lower case, without the dot, as
#: docs.extend.ai/2026-02-09/general/supported-file-types lists them.
SUPPORTED_EXTENSIONS: Final = frozenset[str]().union(
    ["pdf"],
    ["png", "jpg", "jpeg", "tiff", "tif", "svg", "heic", "heif", "bmp", "gif", "webp", "psd", "pcx", "ppm"],
    ["xls", "xlsx", "xltm", "xltx", "ods", "csv"],
    ["docx", "doc", "wpd", "dotx", "odt", "rtf"],
    ["pptx", "ppt"],
    ["txt", "html", "xml", "lis", "md", "eml"],
)

#: What Airflow takes as the id of a connection.
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")
_FILE_SOURCES = ("url", "file_id", "text")
_FILE_KEYS = frozenset({*_FILE_SOURCES, "name", "password"})


def is_supported_type(name: str) -> bool:
    """Return whether Extend reads files with this name's extension; a path or key will do."""
    return posixpath.splitext(name)[1].removeprefix(".").lower() in SUPPORTED_EXTENSIONS


def is_templated(value: Any) -> bool:
    """Whether the value is known only when the task runs: a Jinja template, an XComArg, or holds one."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(is_templated(element) for element in value.values())
    if isinstance(value, (list, tuple, set)):
        return any(is_templated(element) for element in value)
    # What Airflow's own templater resolves: anything with a resolve method that is no path, local or remote.
    return callable(value) or (hasattr(value, "resolve") and not hasattr(value, "joinpath"))


def check_literal(check: Callable[..., Any], value: Any, *args: Any) -> None:
    """Run ``check`` on a value that is already known while the DAG file is parsed; leave templates alone."""
    if not is_templated(value):
        check(value, *args)


def workflow_id(value: Any) -> str:
    """Return the workflow's id, stripped; prefixes are not checked because Extend may change them."""
    if _absent(value) or not isinstance(value, str):
        raise ExtendInputError(
            f"workflow_id is {value!r}; it must be the workflow's id, as Extend's dashboard shows it."
        )
    return value.strip()


def priority(value: Any) -> int | None:
    """Return the priority, None when not given. A rendered template's digits count as a number."""
    if _absent(value):
        return None
    number = _integer(value)
    if number is None or not LOWEST_PRIORITY_VALUE <= number <= HIGHEST_PRIORITY_VALUE:
        raise ExtendInputError(
            f"priority is {value!r}; it must be an integer from {LOWEST_PRIORITY_VALUE} to "
            f"{HIGHEST_PRIORITY_VALUE} (lower runs first)."
        )
    return number


def version(value: Any) -> str | None:
    """Return the workflow version as Extend takes it: digits, ``draft``, or None for the latest deployed."""
    if _absent(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and (value.strip() == "draft" or _is_digits(value)):
        return value.strip()
    hint = (
        " Leave version out to use the latest deployed one." if str(value).strip().lower() == "latest" else ""
    )
    raise ExtendInputError(f"version is {value!r}; it must be a version number or 'draft'.{hint}")


def metadata(value: Any, field: str = "metadata") -> dict[str, Any] | None:
    """Return the metadata; it must be a JSON object of at most 10 KB as UTF-8."""
    if value is None:
        return None
    size = len(_as_json(value, field))
    if size > MAX_METADATA_BYTES:
        raise ExtendInputError(
            f"{field} is {size:,} bytes of JSON; Extend takes at most {MAX_METADATA_BYTES:,} (10 KB). Keep "
            "references in it, such as ids and URIs."
        )
    return dict(value)


def secrets(value: Any, field: str = "secrets") -> dict[str, Any] | None:
    """Return the secrets for the workflow's steps; they must be a JSON object."""
    if value is None:
        return None
    _as_json(value, field)
    return dict(value)


def optional_text(value: Any, field: str) -> str | None:
    """Return a text, None when not given."""
    if _absent(value):
        return None
    if not isinstance(value, str):
        raise ExtendInputError(f"{field} is {value!r}; it must be a text.")
    return value


def choice(value: Any, field: str, allowed: Iterable[str]) -> str:
    """Return the name of a policy."""
    if not isinstance(value, str) or value not in (allowed := tuple(allowed)):
        raise ExtendInputError(f"{field} is {value!r}; it must be one of {', '.join(map(repr, allowed))}.")
    return value


def flag(value: Any, field: str) -> bool:
    """Return a yes or no. A template would be a text, and so a yes, whatever it comes to."""
    if not isinstance(value, bool):
        raise ExtendInputError(f"{field} is {value!r}; it must be True or False, and no template.")
    return value


def conn_id(value: Any, field: str = "extend_conn_id") -> str:
    """Return the id of a connection. The value may be a connection's address, so it is not shown."""
    if not isinstance(value, str) or not _CONN_ID.fullmatch(value):
        raise ExtendInputError(
            f"{field} is not the id of a connection in Airflow; it is of type {type(value).__name__}."
        )
    return value


def run_count(value: Any) -> int:
    """Return how many runs were submitted. A rendered template's digits count as a number."""
    number = _integer(value)
    if number is None or number < 0:
        raise ExtendInputError(f"run_count is {value!r}; it must be the number of runs submitted.")
    return number


def batch_id(value: Any, runs: int) -> str:
    """Return the batch's id, which must be known when runs were submitted."""
    if _absent(value) or not isinstance(value, str):
        raise ExtendInputError(
            f"batch_id is {value!r} although run_count is {runs:,}; it must be what the submission returned."
        )
    return value


def positive_seconds(value: Any, field: str) -> float:
    """Return a duration in seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise ExtendInputError(
            f"{field} is {value!r}; it must be more than 0 seconds, as a number or a timedelta."
        )
    return float(seconds)


def count(value: Any, field: str) -> int | None:
    """Return a number of 0 or more, None when not given."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ExtendInputError(f"{field} is {value!r}; it must be 0 or more.")
    return value


def ratio(value: Any, field: str) -> float | None:
    """Return a share from 0 to 1, None when not given."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ExtendInputError(f"{field} is {value!r}; it must be a share from 0 to 1.")
    return float(value)


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


def batch_inputs(values: Any, field: str = "inputs") -> list[BatchInput]:
    """Return the 1 to 1,000 inputs of a batch, all of them checked."""
    elements = _elements(values, field)
    _check_count(len(elements), field, MAX_BATCH_INPUTS, "Split it into several batches.")
    return [batch_input(element, f"{field}[{index}]") for index, element in enumerate(elements)]


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
        if _absent(known.get("processorId")) or not isinstance(known.get("output"), Mapping):
            raise ExtendInputError(
                f"{where} must be {{'processorId': the processor's id, 'output': a mapping}}."
            )
        _as_json(known["output"], f"{where}.output")
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


def _as_json(value: Any, field: str) -> bytes:
    if not isinstance(value, Mapping):
        raise ExtendInputError(f"{field} must be a mapping; it is of type {type(value).__name__}.")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The texts of these errors name types and numbers, except for a lone surrogate's, which quotes.
        detail = "" if isinstance(error, UnicodeError) else f": {error}"
        raise ExtendInputError(f"{field} cannot be sent as JSON{detail}.") from None


def _absent(value: Any) -> bool:
    """Whether nothing is given; Jinja renders a None as text."""
    return value is None or (isinstance(value, str) and value.strip() in {"", "None"})


def _integer(value: Any) -> int | None:
    """Return an integer, or the digits of a rendered template as one."""
    if isinstance(value, str):
        return int(value) if _is_digits(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_digits(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdigit()
