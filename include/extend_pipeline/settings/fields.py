"""The types of settings: how each value is read, and what it must be."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from extend_pipeline.sources.addresses import SourceItem, parse_source, parse_workspace
from extend_pipeline.sources.globs import check_glob
from extend_pipeline.sources.objects import canonical
from extend_provider.client import validation

#: Keys of a run's metadata that the pipeline and the provider's operators write themselves.
RESERVED_METADATA: Final = frozenset(
    {
        *("document_id", "source_uri", "chunk", "round"),
        *("dag_id", "run_id", "task_id", "map_index", "airflow_submission"),
    }
)
#: Bytes of JSON that an author's metadata may take; Extend takes 10 KB, which must hold the pipeline's own.
MAX_METADATA_BYTES: Final = 4 * 1024

#: The context of stored values: they were checked before they were stored, so newer rules do not refuse them.
STORED: Final = "stored"
_LONGEST: Final = dt.timedelta(days=3660)

T = TypeVar("T")


def checked_by(check: Callable[[T], object]) -> AfterValidator:
    """Apply a check that raises or does nothing, except to values that a run has stored."""

    def judge(value: T, info: ValidationInfo) -> T:
        if value is not None and info.context != STORED:
            check(value)
        return value

    return AfterValidator(judge)


def matching(pattern: str, what: str) -> AfterValidator:
    """Accept only texts that match a pattern."""

    def check(value: str) -> None:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")

    return checked_by(check)


def no_bool(value: Any) -> Any:
    """Refuse True and False, which Python takes for numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not True or False")  # noqa: TRY004  # pydantic takes ValueErrors
    return value


def lines_of(value: Any) -> Any:
    """Return the lines of a text, or the values of a list, without blank ones."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple):
        raise ValueError("must be a list, or a text with a line each")  # noqa: TRY004 # as pydantic wants it
    return tuple(line.strip() if isinstance(line, str) else line for line in lines if line != "")


def text_of(value: Any) -> Any:
    """Read a number as its digits: where Jinja renders native objects, it turns digits into a number."""
    if isinstance(value, bytes):
        raise ValueError("must be a text")  # noqa: TRY004
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def trimmed(value: Any) -> Any:
    """Read a text without the space around it."""
    text = text_of(value)
    return text.strip() if isinstance(text, str) else text


def _moment(value: Any) -> Any:
    """Read a time in ISO 8601; eight digits are a day, and never seconds since 1970."""
    text = text_of(value)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001  # UTC, as every time without a zone
    if isinstance(value, dt.datetime):
        return value
    try:
        if text.strip().isdigit() and len(text.strip()) != len("20261101"):
            raise ValueError  # noqa: TRY301
        return dt.datetime.fromisoformat(text.strip())
    except (AttributeError, ValueError):
        raise ValueError("must be a time such as 2026-11-01 or 2026-11-01T02:00:00Z") from None


Whole = Annotated[int, BeforeValidator(no_bool)]
Share = Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=1)]
Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
ConnId = Annotated[str, BeforeValidator(trimmed), checked_by(validation.conn_id)]
Glob = Annotated[str, BeforeValidator(trimmed), checked_by(check_glob)]
#: A name of an author's choice, which is also that of a folder and of an asset.
Name = Annotated[
    str, matching(r"[A-Za-z0-9][\w.-]{0,99}", "1 to 100 letters, digits, dots, dashes and underscores")
]
Dataset = Annotated[
    str,
    BeforeValidator(trimmed),
    matching(
        r"[a-z_][a-z0-9_]{0,62}", "at most 63 lower-case letters, digits and underscores, no digit first"
    ),
]
Workspace = Annotated[
    str,
    BeforeValidator(trimmed),
    checked_by(parse_workspace),
    AfterValidator(lambda value: canonical(value.rstrip("/"))),
]


def parse_source_of(value: Any, info: ValidationInfo) -> tuple[SourceItem, ...]:
    """Read a source; what failed before, and what has arrived, is found without one."""
    if info.context == STORED:
        return tuple(SourceItem(canonical(root), *rest) for root, *rest in value)
    if not value and (info.data.get("reprocess") == "failed" or info.data.get("arrivals")):
        return ()
    return parse_source(value)


def parse_metadata(value: Any, info: ValidationInfo) -> dict[str, Any]:
    """Read the metadata that a DAG author gives; a template renders it as JSON."""
    if info.context == STORED:
        return dict(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("must be a mapping, or a JSON object as text") from None
    checked = validation.metadata(value) or {}
    if not all(isinstance(key, str) for key in checked):
        raise ValueError("must have texts as keys")
    if taken := sorted(RESERVED_METADATA & checked.keys()):
        raise ValueError(f"must not have {', '.join(map(repr, taken))}, which Airflow itself writes there")
    size = len(json.dumps(checked, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES:,} bytes of JSON; it has {size:,}")
    return checked


def _span(value: Any) -> Any:
    if not isinstance(value, dt.timedelta) or not dt.timedelta(0) < value <= _LONGEST:
        raise ValueError("must be a datetime.timedelta of more than 0, for example timedelta(hours=1)")
    return value


Span = Annotated[dt.timedelta, BeforeValidator(_span)]
