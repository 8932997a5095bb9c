"""The settings of one pipeline run, checked before anything is listed or sent.

A DAG author writes literals, a form or a template gives text. Literals are checked when the DAG file is
parsed, rendered values when the first task starts; one model does both. What shapes the DAG itself must be
known when the file is parsed, so it cannot be a template: :class:`Shape`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
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
from extend_provider.exceptions import ExtendInputError
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

#: Keys of a run's metadata that the pipeline and the provider's operators write themselves.
RESERVED_METADATA: Final = frozenset(
    {
        *("document_id", "source_uri", "chunk", "round"),
        *("dag_id", "run_id", "task_id", "map_index", "airflow_submission"),
    }
)
#: Bytes of JSON that an author's metadata may take; Extend takes 10 KB, which must hold the pipeline's own.
MAX_METADATA_BYTES: Final = 4 * 1024

#: In which settings are stored, see stored.py.
_FORMAT = 1
#: The context of values that a run has checked before it kept them: a newer rule refuses none of them.
_KEPT: Final = "kept"
#: The context of literals, beside which there may be templates.
_PARSED: Final = "parsed"
#: What an address may hold beside a connection's id.
_PASSWORD: Final = re.compile(r"(://[^\s/:@]*):[^\s/@]*@")
_HIDDEN: Final = r"\1:***@"
_LONGEST: Final = dt.timedelta(days=3660)
#: How a check of the provider begins, which names the argument itself.
_NAMED: Final = re.compile(r"^\w+ (?:is .*?; it (?=must ))?")

T = TypeVar("T")
#: How an error names a setting.
Label = Callable[[str], str]


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
Glob = Annotated[str, BeforeValidator(_trimmed), _judged(check_glob)]
#: A name of an author's choice, which is also that of a folder and of an asset.
Name = Annotated[
    str, _fits(r"[A-Za-z0-9][\w.-]{0,99}", "1 to 100 letters, digits, dots, dashes and underscores")
]
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
    """Read a source; what failed before, and what has arrived, is found without one."""
    if info.context == _KEPT:
        return tuple(SourceItem(canonical(root), *rest) for root, *rest in value)
    if not value and (info.data.get("reprocess") == "failed" or info.data.get("arrivals")):
        return ()
    return parse_source(value)


def _parse_metadata(value: Any, info: ValidationInfo) -> dict[str, Any]:
    """Read an author's metadata; a template gives it as JSON."""
    if info.context == _KEPT:
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


class AskedFor(TypedDict):
    """What is asked of Extend for a document: it is done, and paid for, once."""

    workflow_id: str
    version: str | None
    repetition: str


class RenderedSettings(BaseModel):
    """Settings of which some may be templates until the first task."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_rendered(
        cls, values: Mapping[str, Any], *, label: Label = str, context: str | None = None
    ) -> Self:
        """Build the settings from rendered values.

        :param label: how an error names a setting.
        :raises PipelineInputError: naming each setting that is wrong and its value.
        """
        try:
            return cls.model_validate(_given(values), context=context)
        except ValidationError as error:
            wrong = _explain(error.errors(), label)
            raise PipelineInputError(
                f"The pipeline's settings are wrong, and nothing was sent to Extend. {wrong}"
            ) from None

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
    """What one run of the pipeline is to do; see :mod:`extend_pipeline.config` for the meaning of each field.

    ``pipeline`` is set by the run itself: the DAG and task group.
    """

    reprocess: Literal["none", "failed", "all"] = "none"
    arrivals: Name | None = None
    source: Annotated[
        tuple[SourceItem, ...], BeforeValidator(_parse_source_of), Field(validate_default=True)
    ] = ()
    workflow_id: Annotated[str, BeforeValidator(validation.workflow_id)]
    version: Annotated[str | None, BeforeValidator(validation.version)] = None
    priority: Annotated[int | None, BeforeValidator(validation.priority)] = None
    metadata: Annotated[dict[str, Any], BeforeValidator(_parse_metadata)] = Field(default_factory=dict)
    glob: Glob | None = None
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

    @field_validator("arrivals")
    @classmethod
    def _is_not_sent_again(cls, arrivals: str | None, info: ValidationInfo) -> str | None:
        if arrivals and info.context != _KEPT and info.data.get("reprocess", "none") != "none":
            raise ValueError(
                "what has arrived is sent once; to send documents again, name them by S3(…) as the source"
            )
        return arrivals

    @field_validator("modified_to")
    @classmethod
    def _ends_after_it_begins(cls, end: dt.datetime | None, info: ValidationInfo) -> dt.datetime | None:
        begin = info.data.get("modified_from")
        if begin is not None and end is not None and info.context != _KEPT and _aware(end) <= _aware(begin):
            raise ValueError(f"must be later than modified_from, which is {begin.isoformat()}")
        return end

    @field_validator("repetition")
    @classmethod
    def _is_of_all(cls, repetition: str, info: ValidationInfo) -> str:
        if info.context is None and "reprocess" in info.data:
            check_repetition(repetition, info.data["reprocess"])
        return repetition

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


def check_repetition(repetition: str | None, reprocess: str) -> None:
    """See that a repetition is given to what is reprocessed as a whole.

    :raises ValueError: if it is not.
    """
    if repetition and reprocess != "all":
        raise ValueError(f"must be left out unless everything is reprocessed; reprocess is {reprocess!r}")


def _span(value: Any) -> Any:
    if not isinstance(value, dt.timedelta) or not dt.timedelta(0) < value <= _LONGEST:
        raise ValueError("must be a datetime.timedelta of more than 0, for example timedelta(hours=1)")
    return value


Span = Annotated[dt.timedelta, BeforeValidator(_span)]


class Shape(BaseModel):
    """What shapes the tasks of a group: literals, because tasks are made when the DAG file is parsed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    group_id: Annotated[str, _fits(r"[\w-]{1,200}", "letters, digits, dashes and underscores")]
    name: Name
    or_after: Span
    pool: Annotated[str, _fits(r"\S(.*\S)?", "the name of a pool in Airflow")]
    on_needs_review: Literal["land", "wait", "fail"]
    approval_timeout: Span
    on_timeout: Literal["leave", "cancel"]
    cancel_on_kill: bool
    timeout: Span
    missing_after: Span
    poke_interval: Span

    @field_validator("*", mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        if _is_late(value):
            raise ValueError("must not be a template, because it shapes the DAG when the file is parsed")
        return value


def check_shape(values: Mapping[str, Any], label: Label = str) -> None:
    """Check those values that shape the DAG; others are ignored.

    :raises PipelineInputError: naming each value that is wrong.
    """
    try:
        Shape.model_validate({name: value for name, value in values.items() if name in Shape.model_fields})
    except ValidationError as error:
        if wrong := [detail for detail in error.errors() if detail["type"] != "missing"]:
            raise PipelineInputError(_explain(wrong, label)) from None


def check_literals(
    values: Mapping[str, Any],
    model: type[RenderedSettings] = Settings,
    *,
    label: Label = str,
    partial: bool = False,
) -> None:
    """Check those values that are already known when the DAG file is parsed.

    :param partial: the values are some of the settings, and the others are not missed.
    :raises PipelineInputError: naming each setting that is wrong and its value.
    """
    late = {name for name, value in values.items() if _is_late(value)}
    literals = {name: value for name, value in _given(values).items() if name not in late}
    try:
        model.model_validate(literals, context=_PARSED)
    except ValidationError as error:
        missed = (values if partial else model.model_fields).keys() - late
        wrong = [
            detail
            for detail in error.errors()
            if detail["loc"][0] in literals
            or (detail["loc"][0] in missed and (not partial or detail["type"] == "missing"))
        ]
        if wrong:
            raise PipelineInputError(_explain(wrong, label)) from None


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


def _explain(details: Sequence[Mapping[str, Any]], label: Label) -> str:
    """Say what is wrong with each setting: which one, what it must be, what it is."""
    lines = []
    for detail in details:
        name = str(detail["loc"][0])
        cause = detail.get("ctx", {}).get("error")
        text = str(cause) if isinstance(cause, ValueError) else detail["msg"]
        if isinstance(cause, ExtendInputError):
            text = _NAMED.sub("", text).removesuffix(".")
        text = "must be given" if detail["type"] == "missing" else text.replace("Input should be", "must be")
        # These errors quote the value themselves, or leave it out because it may hold a secret.
        told = detail["type"] == "missing" or name in ("source", "metadata") or name.endswith("conn_id")
        given = "" if told else f", is {detail['input']!r:.200}"
        lines.append(f"{label(name)}: {_PASSWORD.sub(_HIDDEN, without_credentials(text + given))}")
    return "; ".join(lines)
