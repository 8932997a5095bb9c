"""The settings of one pipeline run, checked before anything is listed or sent.

A DAG author writes literals, a form or a template gives text. Literals are checked when the DAG file is
parsed, rendered values when the first task starts; one model does both.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.stored import opened, sealed
from extend_pipeline.stores.records import Located, canonical
from extend_provider import validation

#: In which settings are stored, see stored.py.
_FORMAT = 1
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
#: Names of buckets, containers, access points and hosts.
_AUTHORITY = re.compile(r"[A-Za-z0-9._:-]{3,255}")


class SourceItem(NamedTuple):
    """One address to look at: a prefix to list, or exactly one object.

    :param root: the store and what is in it, ``s3://bucket`` or ``file://``; ``key`` follows after a slash.
    """

    root: str
    key: str
    is_prefix: bool

    @property
    def place(self) -> Located:
        """The address in its two parts."""
        return Located(self.root, self.key)

    @property
    def uri(self) -> str:
        """The address as a person writes it."""
        return self.place.uri

    def covers(self, root: str, key: str) -> bool:
        """Whether an object is looked at because of this address."""
        return root == self.root and (key.startswith(self.key) if self.is_prefix else key == self.key)


def parse_source(value: Any) -> tuple[SourceItem, ...]:
    """Read a source: one address is a prefix; of several, those that end in ``/`` are.

    An ``https://`` address is one document, as nothing can be listed there.

    :param value: an address, several on lines of their own, or a list of them.
    :raises ValueError: naming the address that is none.
    """
    if isinstance(value, str):
        addresses = [line.strip() for line in value.splitlines() if line.strip()]
    else:
        if any(not isinstance(item, str) for item in value):
            return tuple(SourceItem(canonical(root), *rest) for root, *rest in value)
        addresses = list(value)
    if not addresses:
        raise ValueError("no address is given; write for example s3://bucket/folder/")
    alone = isinstance(value, str) and len(addresses) == 1
    return tuple(_parse_address(address, alone) for address in addresses)


def _parse_address(address: str, alone: bool) -> SourceItem:
    scheme, separator, _ = address.partition("://")
    place = Located.of(address)
    authority = place.root.partition("://")[2]
    if "\0" in address or address != address.encode(errors="replace").decode():
        raise ValueError(f"{address!r} is no text: it holds NUL or half a character; name the folder instead")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ValueError(f"{address!r} is not an address of the form s3://bucket/folder/")
    if scheme in ("http", "https"):
        return _parse_web_address(place, scheme, authority)
    if scheme == "file":
        if authority or not place.key or not {"..", "."}.isdisjoint(place.key.split("/")):
            raise ValueError(f"{address!r} is not a whole path of the form file:///folder/")
    elif not _AUTHORITY.fullmatch(authority):
        # What stands before an @ is a connection or a key; neither is a part of what tells documents apart.
        raise ValueError(
            f"{address!r} is not an address of the form {scheme}://bucket/folder/; which connection opens it "
            f"is said by {'aws_conn_id' if scheme == 's3' else 'source_conn_id'}"
        )
    return SourceItem(*place, is_prefix=alone or not place.key or place.key.endswith("/"))


def _parse_web_address(place: Located, scheme: str, authority: str) -> SourceItem:
    if not {"?", "#", "@"}.isdisjoint(place.uri):
        raise ValueError(
            "an https:// address with a user or a query is refused: it may hold a secret, and addresses are "
            "shown in tables and logs; copy the document to a bucket"
        )
    if scheme != "https" or not _AUTHORITY.fullmatch(authority) or place.key.endswith("/") or not place.key:
        raise ValueError(f"{place.uri!r} is not the address of a document, https://host/folder/file.pdf")
    return SourceItem(*place, is_prefix=False)


def parse_workspace(value: str) -> str:
    """Check the address of a workspace."""
    if "://" not in value:
        raise ValueError(f"{value!r} is not an address such as file:///data/extend or s3://bucket/folder")
    return canonical(value.rstrip("/"))


def _parse_source_of(value: Any, info: ValidationInfo) -> tuple[SourceItem, ...]:
    """Read a source; what failed before is in the warehouse, so that it needs none."""
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_rendered(cls, values: Mapping[str, Any]) -> Self:
        """Build the settings from rendered values.

        :raises PipelineInputError: naming each setting that is wrong and its value.
        """
        try:
            return cls.model_validate(_given(values))
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
        return cls.from_rendered({name: values[name] for name in values if name in cls.model_fields})


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
    glob: str | None = None
    modified_from: dt.datetime | None = None
    modified_to: dt.datetime | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    max_documents: Annotated[int, Field(ge=1)] | None = None
    max_credits: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    dry_run: bool = False
    pipeline: str = "pipeline"
    repetition: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = ""
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    chunk_size: Annotated[int, Field(ge=1, le=validation.MAX_BATCH_INPUTS)] = validation.MAX_BATCH_INPUTS
    parallel_listings: Annotated[int, Field(ge=1, le=32)] = 8
    poke_interval: Annotated[float, Field(gt=0)] = 60.0
    transfer: Literal["presign", "upload"] = "presign"
    expires_in: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 1800
    on_needs_review: Literal["land", "wait", "fail"] = "land"
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    on_low_confidence: Literal["flag", "hold"] = "flag"
    schema_contract: Literal["evolve", "freeze", "discard"] = "evolve"
    max_failed: Annotated[int, Field(ge=0)] | None = None
    max_failed_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    workspace: Annotated[str, AfterValidator(parse_workspace)]
    dataset: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] = "extend"
    extend_conn_id: str = "extend_default"
    aws_conn_id: str = "aws_default"
    source_conn_id: str | None = None
    warehouse_conn_id: str = "warehouse_default"

    @property
    def asked_for(self) -> AskedFor:
        """What makes two requests for the same document the same request."""
        return {"workflow_id": self.workflow_id, "version": self.version, "repetition": self.repetition}


def check_literals(values: Mapping[str, Any], model: type[RenderedSettings] = Settings) -> None:
    """Check those values that are already known when the DAG file is parsed.

    :raises PipelineInputError: naming each setting that is wrong and its value.
    """
    templated = {name for name, value in values.items() if validation.is_templated(value)}
    literals = {name: value for name, value in _given(values).items() if name not in templated}
    try:
        model.model_validate(literals)
    except ValidationError as error:
        wrong = [e for e in error.errors() if e["loc"][0] not in templated]
        if wrong:
            raise PipelineInputError(_explain(error, only=wrong)) from None


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was left empty: a form gives an empty text, a template ``None`` as a word."""
    return {name: value for name, value in values.items() if value not in (None, "", "None")}


def _explain(error: ValidationError, only: list[Any] | None = None) -> str:
    lines = []
    for detail in only if only is not None else error.errors():
        name = str(detail["loc"][0])
        cause = detail.get("ctx", {}).get("error")
        text = str(cause) if isinstance(cause, ValueError) else detail["msg"]
        # What is wrong with an address is told with it, or without where it may hold a secret.
        given = "" if detail["type"] == "missing" or name == "source" else f" (given: {detail['input']!r})"
        lines.append(f"{name}: {text}{given}")
    return "The pipeline's settings are wrong, and nothing was sent to Extend. " + "; ".join(lines)
