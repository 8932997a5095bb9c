"""The settings of one pipeline run, checked before anything is listed or sent.

A DAG author writes literals, a form or a template gives text. Literals are checked when the DAG file is
parsed, rendered values when the first task starts; one model does both. What shapes the DAG itself is known
when the file is parsed, and can be no template: :class:`GroupShape`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Self, TypedDict, TypeVar

from airflow.sdk import ObjectStoragePath
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources import Stores
from extend_pipeline.sources.addresses import SourceItem, check_apart, parse_source, parse_workspace
from extend_pipeline.sources.globs import check_glob
from extend_pipeline.sources.objects import canonical
from extend_pipeline.storage.formats import opened, sealed
from extend_pipeline.storage.workspace import read_json, write_json
from extend_provider.client import validation
from extend_provider.security import without_credentials

__all__ = [
    "Settings",
    "SourceItem",
    "check_literals",
    "parse_source",
    "parse_workspace",
    "read_settings",
    "write_settings",
]

#: In which settings are stored, see stored.py.
_FORMAT = 1
#: The context of values that a run has checked before it kept them: a newer rule refuses none of them.
_KEPT: Final = "kept"
#: What an address may hold beside a connection's id.
_PASSWORD: Final = re.compile(r"(://[^\s/:@]*):[^\s/@]*@")
_HIDDEN: Final = r"\1:***@"
_LONGEST: Final = dt.timedelta(days=3660)

T = TypeVar("T")


def _judged(check: Callable[[T], object]) -> AfterValidator:
    """Apply a check that only says no, but not to what another run has kept."""

    def judge(value: T, info: ValidationInfo) -> T:
        if value is not None and info.context != _KEPT:
            check(value)
        return value

    return AfterValidator(judge)


def _fits(pattern: str, what: str) -> AfterValidator:
    """Take only texts of a form."""

    def check(value: str) -> None:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")

    return _judged(check)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not True or False")  # noqa: TRY004  # pydantic takes ValueErrors
    return value


def _text(value: Any) -> Any:
    """Read a number as its digits: Jinja makes one of them where it renders native objects."""
    if isinstance(value, bytes):
        raise ValueError("must be a text")  # noqa: TRY004
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _trimmed(value: Any) -> Any:
    text = _text(value)
    return text.strip() if isinstance(text, str) else text


def _moment(value: Any) -> Any:
    """Read a time as ISO 8601 has it; bare digits are a day, and no seconds since 1970."""
    text = _text(value)
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


Whole = Annotated[int, BeforeValidator(_no_bool)]
Share = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, le=1)]
Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
ConnId = Annotated[str, BeforeValidator(_trimmed), _judged(validation.conn_id)]
Dataset = Annotated[
    str,
    BeforeValidator(_trimmed),
    _fits(r"[a-z_][a-z0-9_]{0,62}", "at most 63 lower-case letters, digits and underscores, no digit first"),
]
Workspace = Annotated[
    str,
    BeforeValidator(_trimmed),
    _judged(parse_workspace),
    AfterValidator(lambda value: canonical(value.rstrip("/"))),
]


def _parse_source_of(value: Any, info: ValidationInfo) -> tuple[SourceItem, ...]:
    """Read a source; what failed before is in the warehouse, so that it needs none."""
    if info.context == _KEPT:
        return tuple(SourceItem(canonical(root), *rest) for root, *rest in value)
    return () if not value and info.data.get("reprocess") == "failed" else parse_source(value)


def _parse_reprocess(value: Any) -> Any:
    """Read ``True`` as ``all`` and ``False`` as ``none``, also as the words that a template makes of them."""
    return {"True": "all", "False": "none"}.get(str(value), value)


class AskedFor(TypedDict):
    """What is asked of Extend for a document: it is done, and paid for, once."""

    workflow_id: str
    version: str | None
    repetition: str


class RenderedSettings(BaseModel):
    """Settings of which some may be templates until the first task."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_rendered(cls, values: Mapping[str, Any], *, context: str | None = None) -> Self:
        """Build the settings from rendered values.

        :raises PipelineInputError: naming each setting that is wrong and its value.
        """
        try:
            return cls.model_validate(_given(values), context=context)
        except ValidationError as error:
            raise PipelineInputError(_explain(error)) from None

    def to_stored(self) -> dict[str, Any]:
        """Return the settings as a run's folder keeps them."""
        return sealed(self.model_dump(mode="json"), version=_FORMAT)

    @classmethod
    def from_stored(cls, plain: Any, where: str) -> Self:
        """Read back what :meth:`to_stored` gave, in this release or another one; what is unknown is left out.

        :param where: what it was read from, for errors.
        :raises PipelineInputError: if a newer release has written it in another form, or a value is wrong.
        """
        values, _ = opened(plain, where, newest=_FORMAT)
        known = {name: values[name] for name in values if name in cls.model_fields}
        return cls.from_rendered(known, context=_KEPT)


class Settings(RenderedSettings):
    """What one run of the pipeline is to do; see ``documents_to_warehouse`` for the meaning of each field.

    ``pipeline`` is set by the run itself: the DAG and task group.
    """

    reprocess: Annotated[Literal["none", "failed", "all"], BeforeValidator(_parse_reprocess)] = "none"
    source: Annotated[
        tuple[SourceItem, ...], BeforeValidator(_parse_source_of), Field(validate_default=True)
    ] = ()
    workflow_id: Annotated[str, BeforeValidator(validation.workflow_id)]
    version: Annotated[str | None, BeforeValidator(validation.version)] = None
    priority: Annotated[int | None, BeforeValidator(validation.priority)] = None
    glob: Annotated[str, BeforeValidator(_trimmed), _judged(check_glob)] | None = None
    modified_from: Moment | None = None
    modified_to: Moment | None = None
    limit: Annotated[Whole, Field(ge=1)] | None = None
    max_documents: Annotated[Whole, Field(ge=1)] | None = None
    max_credits: Annotated[float, BeforeValidator(_no_bool), Field(gt=0)] | None = None
    dry_run: bool = False
    pipeline: str = "pipeline"
    repetition: Annotated[str, BeforeValidator(_text), Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = ""
    max_attempts: Annotated[Whole, Field(ge=1, le=10)] = 3
    chunk_size: Annotated[Whole, Field(ge=1, le=validation.MAX_BATCH_INPUTS)] = validation.MAX_BATCH_INPUTS
    poke_interval: Annotated[float, Field(gt=0)] = 60.0
    transfer: Literal["presign", "upload"] = "presign"
    expires_in: Annotated[Whole, Field(ge=1, le=7 * 24 * 3600)] = 1800
    on_needs_review: Literal["land", "wait", "fail"] = "land"
    min_confidence: Share | None = None
    on_low_confidence: Literal["flag", "hold"] = "flag"
    schema_contract: Literal["evolve", "freeze", "discard"] = "evolve"
    max_failed: Annotated[Whole, Field(ge=0)] | None = None
    max_failed_ratio: Share | None = None
    workspace: Workspace
    dataset: Dataset = "extend"
    extend_conn_id: ConnId = "extend_default"
    aws_conn_id: ConnId = "aws_default"
    source_conn_id: ConnId | None = None
    warehouse_conn_id: ConnId = "warehouse_default"

    @field_validator("modified_to")
    @classmethod
    def _ends_after_it_begins(cls, end: dt.datetime | None, info: ValidationInfo) -> dt.datetime | None:
        begin = info.data.get("modified_from")
        if begin is not None and end is not None and info.context != _KEPT and _aware(end) <= _aware(begin):
            raise ValueError(f"must be later than modified_from, which is {begin.isoformat()}")
        return end

    @field_validator("workspace")
    @classmethod
    def _lies_apart(cls, workspace: str, info: ValidationInfo) -> str:
        if info.context != _KEPT:
            check_apart(info.data.get("source", ()), workspace)
        return workspace

    def stores(self) -> Stores:
        """Return the stores that the source lies in, opened by the connections that the settings name."""
        return Stores(self.source, aws_conn_id=self.aws_conn_id, source_conn_id=self.source_conn_id)

    @property
    def asked_for(self) -> AskedFor:
        """What makes two requests for the same document the same request."""
        return {"workflow_id": self.workflow_id, "version": self.version, "repetition": self.repetition}


def write_settings(folder: ObjectStoragePath, settings: Settings) -> None:
    """Keep the settings in the folder of a run.

    The first task renders them once and all others read them here, so that a Variable that somebody edits
    meanwhile cannot split a run in two.
    """
    write_json(folder / "settings.json", settings.to_stored())


def read_settings(folder: ObjectStoragePath) -> Settings:
    """Read the settings of a run."""
    path = folder / "settings.json"
    stored = read_json(path)
    if stored is None:
        raise FileNotFoundError(
            f"{path} is gone from the workspace. Clear the whole task group: it is discovered and planned "
            "anew, and documents that were sent are not sent again."
        )
    return Settings.from_stored(stored, str(path))


class GroupShape(BaseModel):
    """What makes the tasks of a group: literals all of them, as they are made when the file is parsed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    group_id: Annotated[str, _fits(r"[\w-]{1,200}", "letters, digits, dashes and underscores")]
    warehouse_pool: Annotated[str, _fits(r"\S(.*\S)?", "the name of a pool in Airflow")]

    @field_validator("*", mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        if _is_late(value):
            raise ValueError("may not be a template: it shapes the DAG when the file is parsed")
        return value


def _span(value: Any) -> Any:
    if not isinstance(value, dt.timedelta) or not dt.timedelta(0) < value <= _LONGEST:
        raise ValueError("must be a datetime.timedelta of more than 0, for example timedelta(hours=1)")
    return value


Span = Annotated[dt.timedelta, BeforeValidator(_span)]


class PipelineShape(GroupShape):
    """The same of ``documents_to_warehouse``; see there for the meaning of each field."""

    pool: Annotated[str, _fits(r"\S(.*\S)?", "the name of a pool in Airflow")]
    on_needs_review: Literal["land", "wait", "fail"]
    on_low_confidence: Literal["flag", "hold"]
    on_timeout: Literal["leave", "cancel"]
    cancel_on_kill: bool
    timeout: Span
    missing_after: Span
    poke_interval: Span
    approval_timeout: Span


def check_shape(values: Mapping[str, Any], model: type[GroupShape] = GroupShape) -> None:
    """Check what shapes the DAG.

    :raises PipelineInputError: naming each argument that is wrong and its value.
    """
    try:
        model.model_validate(values)
    except ValidationError as error:
        raise PipelineInputError(_explain(error)) from None


def check_literals(values: Mapping[str, Any], model: type[RenderedSettings] = Settings) -> None:
    """Check those values that are already known when the DAG file is parsed.

    :raises PipelineInputError: naming each setting that is wrong and its value.
    """
    late = {name for name, value in values.items() if _is_late(value)}
    literals = {name: value for name, value in _given(values).items() if name not in late}
    try:
        model.model_validate(literals)
    except ValidationError as error:
        wrong = [e for e in error.errors() if e["loc"][0] not in late]
        if wrong:
            raise PipelineInputError(_explain(error, only=wrong)) from None


def _is_late(value: Any) -> bool:
    """Whether a value is known only when the task runs; functions are not called inside of settings."""
    return not callable(value) and validation.is_templated(value)


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was left empty: a form gives an empty text, a template ``None`` as a word."""
    return {name: value for name, value in values.items() if not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def _explain(error: ValidationError, only: list[Any] | None = None) -> str:
    lines = []
    for detail in only if only is not None else error.errors():
        name = str(detail["loc"][0])
        cause = detail.get("ctx", {}).get("error")
        text = str(cause) if isinstance(cause, ValueError) else detail["msg"]
        # What is wrong with an address is told with it, or without where it may hold a secret.
        told = detail["type"] == "missing" or name == "source"
        given = "" if told else f" (given: {detail['input']!r:.200})"
        lines.append(f"{name}: {_PASSWORD.sub(_HIDDEN, without_credentials(text + given))}")
    return "The pipeline's settings are wrong, and nothing was sent to Extend. " + "; ".join(lines)
