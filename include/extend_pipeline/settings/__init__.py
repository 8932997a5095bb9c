"""The settings of one pipeline run, checked before anything is listed or sent.

A DAG author writes literals, a form or a template gives text. Literals are checked when the DAG file is
parsed, rendered values when the first task starts; one model does both. What shapes the DAG itself must be
known when the file is parsed, so it cannot be a template: :class:`Shape`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypedDict

from airflow.sdk import ObjectStoragePath
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings.fields import (
    MAX_METADATA_BYTES,
    RESERVED_METADATA,
    STORED,
    ConnId,
    Dataset,
    Glob,
    Moment,
    Name,
    Share,
    Span,
    Whole,
    Workspace,
    lines_of,
    matching,
    no_bool,
    parse_metadata,
    parse_source_of,
    text_of,
)
from extend_pipeline.settings.machines import Disk
from extend_pipeline.settings.rendered import Label, RenderedSettings, explain, without_empty
from extend_pipeline.sources import Stores
from extend_pipeline.sources.addresses import SourceItem, check_apart, parse_source, parse_workspace
from extend_pipeline.storage.workspace import read_json, write_json
from extend_provider.client import validation
from extend_provider.client.input_validation import MAX_BATCH_INPUTS

__all__ = [
    "MAX_METADATA_BYTES",
    "RESERVED_METADATA",
    "ConnId",
    "Dataset",
    "Glob",
    "Name",
    "RenderedSettings",
    "Settings",
    "SourceItem",
    "Whole",
    "Workspace",
    "check_literals",
    "parse_source",
    "parse_workspace",
    "read_settings",
    "write_settings",
]

#: The context of literals, beside which there may be templates.
_PARSED: Final = "parsed"


class AskedFor(TypedDict):
    """What is asked of Extend for a document: it is done, and paid for, once."""

    workflow_id: str
    version: str | None
    repetition: str


class Settings(RenderedSettings):
    """What one run of the pipeline is to do; see :mod:`extend_pipeline.config` for the meaning of each field.

    ``pipeline`` is set by the run itself: the DAG and task group.
    """

    reprocess: Literal["none", "failed", "all"] = "none"
    failed_reasons: Annotated[tuple[str, ...], BeforeValidator(lines_of)] = ()
    failed_documents: Annotated[tuple[str, ...], BeforeValidator(lines_of)] = ()
    arrivals: Name | None = None
    source: Annotated[
        tuple[SourceItem, ...], BeforeValidator(parse_source_of), Field(validate_default=True)
    ] = ()
    workflow_id: Annotated[str, BeforeValidator(validation.workflow_id)]
    version: Annotated[str | None, BeforeValidator(validation.version)] = None
    priority: Annotated[int | None, BeforeValidator(validation.priority)] = None
    metadata: Annotated[dict[str, Any], BeforeValidator(parse_metadata)] = Field(default_factory=dict)
    glob: Glob | None = None
    modified_from: Moment | None = None
    modified_to: Moment | None = None
    limit: Annotated[Whole, Field(ge=1)] | None = None
    max_documents: Annotated[Whole, Field(ge=1)] | None = None
    max_credits: Annotated[float, BeforeValidator(no_bool), Field(gt=0)] | None = None
    dry_run: bool = False
    pipeline: str = "pipeline"
    repetition: Annotated[
        str, BeforeValidator(text_of), Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")
    ] = ""
    max_attempts: Annotated[Whole, Field(ge=1, le=10)] = 3
    chunk_size: Annotated[Whole, Field(ge=1, le=MAX_BATCH_INPUTS)] = MAX_BATCH_INPUTS
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
    disk: Disk = "by_executor"
    dataset: Dataset = "extend"
    extend_conn_id: ConnId = "extend_default"
    aws_conn_id: ConnId = "aws_default"
    source_conn_id: ConnId | None = None
    warehouse_conn_id: ConnId = "warehouse_default"

    @field_validator("arrivals")
    @classmethod
    def _is_not_sent_again(cls, arrivals: str | None, info: ValidationInfo) -> str | None:
        if arrivals and info.context != STORED and info.data.get("reprocess", "none") != "none":
            raise ValueError(
                "what has arrived is sent once; to send documents again, name them by S3(…) as the source"
            )
        return arrivals

    @field_validator("failed_reasons", "failed_documents")
    @classmethod
    def _is_of_the_failed(cls, chosen: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if chosen and info.context is None and info.data.get("reprocess", "failed") != "failed":
            raise ValueError("must be left out unless what failed is reprocessed")
        return chosen

    @field_validator("modified_to")
    @classmethod
    def _ends_after_it_begins(cls, end: dt.datetime | None, info: ValidationInfo) -> dt.datetime | None:
        begin = info.data.get("modified_from")
        if begin is not None and end is not None and info.context != STORED and _aware(end) <= _aware(begin):
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
        if info.context != STORED:
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
    """Check that a repetition is named only where everything is reprocessed.

    :raises ValueError: if it is not.
    """
    if repetition and reprocess != "all":
        raise ValueError(f"must be left out unless everything is reprocessed; reprocess is {reprocess!r}")


class Shape(BaseModel):
    """What shapes the tasks of a group: literals, because tasks are made when the DAG file is parsed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    group_id: Annotated[str, matching(r"[\w-]{1,200}", "letters, digits, dashes and underscores")]
    name: Name
    or_after: Span
    pool: Annotated[str, matching(r"\S(.*\S)?", "the name of a pool in Airflow")]
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
        if _is_rendered_later(value):
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
            raise PipelineInputError(explain(wrong, label)) from None


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
    late = {name for name, value in values.items() if _is_rendered_later(value)}
    literals = {name: value for name, value in without_empty(values).items() if name not in late}
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
            raise PipelineInputError(explain(wrong, label)) from None


def _is_rendered_later(value: Any) -> bool:
    """Return True if a value is known only when the task runs; functions are not called in settings."""
    return not callable(value) and validation.is_templated(value)


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
