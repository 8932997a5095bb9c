"""Checks of a user's arguments, before anything is sent.

Files and texts are checked in :mod:`extend_provider.client.input_validation`.

Every check raises :class:`~extend_provider.exceptions.ExtendInputError` that names the field and the value.
The content of passwords and secrets is never part of a message. Limits are those of the API's documentation
(workflow run, batch run) as of 2026-02-09.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from extend_provider.exceptions import ExtendInputError

LOWEST_PRIORITY_VALUE, HIGHEST_PRIORITY_VALUE = 1, 100
MAX_METADATA_BYTES = 10 * 1024

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
    if is_absent(value) or not isinstance(value, str):
        raise ExtendInputError(
            f"workflow_id is {value!r}; it must be the workflow's id, as Extend's dashboard shows it."
        )
    return value.strip()


def priority(value: Any) -> int | None:
    """Return the priority, None when not given. A rendered template's digits count as a number."""
    if is_absent(value):
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
    if is_absent(value):
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
    size = len(as_json(value, field))
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
    as_json(value, field)
    return dict(value)


def optional_text(value: Any, field: str) -> str | None:
    """Return a text, None when not given."""
    if is_absent(value):
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
    """Return a boolean. A template is refused: it is a text, and every text counts as True."""
    if not isinstance(value, bool):
        raise ExtendInputError(f"{field} is {value!r}; it must be True or False, not a template.")
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
    if is_absent(value) or not isinstance(value, str):
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


def as_json(value: Any, field: str) -> bytes:
    """Return a JSON object as it is sent."""
    if not isinstance(value, Mapping):
        raise ExtendInputError(f"{field} must be a mapping; it is of type {type(value).__name__}.")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The texts of these errors name types and numbers, except for a lone surrogate's, which quotes.
        detail = "" if isinstance(error, UnicodeError) else f": {error}"
        raise ExtendInputError(f"{field} cannot be sent as JSON{detail}.") from None


def is_absent(value: Any) -> bool:
    """Return True if nothing is given; Jinja renders None as text."""
    return value is None or (isinstance(value, str) and value.strip() in {"", "None"})


def _integer(value: Any) -> int | None:
    """Return an integer, or the digits of a rendered template as one."""
    if isinstance(value, str):
        return int(value) if _is_digits(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_digits(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdigit()
