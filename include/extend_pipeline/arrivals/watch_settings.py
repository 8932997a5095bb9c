"""The settings of a watch over a queue: checked when the DAG file is parsed, rendered by the trigger.

No task renders a trigger's arguments, so the trigger does it itself, with the names ``var`` and ``conn`` of
Airflow's templates. It does so again every minute: a corrected Variable is used without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import ConnId, Glob, Name, RenderedSettings, SourceItem, Whole, Workspace
from extend_pipeline.settings.machines import Disk
from extend_pipeline.sources.addresses import check_apart, parse_source
from extend_pipeline.sources.globs import matches
from extend_pipeline.sources.objects import Located
from extend_provider.client.validation import is_templated

#: How errors name the settings: object and field, as an author writes them.
WATCH_LABELS: Final = {
    "arrivals": "Arrivals.name",
    "aws_conn_id": "Arrivals.conn_id",
    "workspace": "Deployment.workspace",
    "disk": "Deployment.disk",
    **{name: f"Arrivals.{name}" for name in ("name", "queue", "address", "glob", "at_least", "or_after")},
}
_NAMES: Final = frozenset(("var", "conn"))
_S3: Final = "s3://"


def _queue(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text.startswith(("https://", "http://")) or any(character.isspace() for character in text):
        raise ValueError("must be the URL of a queue, such as https://sqs.eu-west-1.amazonaws.com/1234/inbox")
    return text


def _prefixes(value: Any) -> tuple[SourceItem, ...]:
    items = parse_source(value)
    for item in items:
        if not item.root.startswith(_S3):
            raise ValueError(f"must begin with s3://, because S3 announces arrivals, is {item.uri!r}")
        if not item.is_prefix:
            raise ValueError(f"must be a prefix, which ends in a slash, is {item.uri!r}")
    return items


class WatchSettings(RenderedSettings):
    """What the trigger needs; see :class:`~extend_pipeline.config.Arrivals`."""

    arrivals: Name
    queue: Annotated[str, BeforeValidator(_queue)]
    address: Annotated[tuple[SourceItem, ...], BeforeValidator(_prefixes)] = ()
    glob: Glob | None = None
    at_least: Annotated[Whole, Field(ge=1)] = 50
    or_after: Annotated[float, Field(gt=0)] = 300.0
    aws_conn_id: ConnId = "aws_default"
    workspace: Workspace
    disk: Disk = "by_executor"

    @field_validator("workspace")
    @classmethod
    def _lies_apart(cls, workspace: str, info: ValidationInfo) -> str:
        check_apart(info.data.get("address", ()), workspace)
        return workspace

    def reason_against(self, place: Located) -> str | None:
        """Return why an object that has arrived is no document of this pipeline; None if it is one."""
        try:
            check_apart([SourceItem(*place, is_prefix=False)], self.workspace)
        except ValueError:
            return "in the workspace"
        covering = [item for item in self.address if item.covers(*place)]
        if self.address and not covering:
            return "outside of the prefix"
        below = [place.key[len(item.key) :].lstrip("/") for item in covering] or [place.key]
        if self.glob and not any(matches(self.glob, name) for name in below):
            return "outside of the glob"
        return None


def check_templates(values: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """See that each template is one that the trigger can render.

    :param names: how an error names a value.
    :raises PipelineInputError: naming the value that no trigger can render.
    """
    for name, value in values.items():
        for text in _texts(value):
            if text is None:
                raise PipelineInputError(
                    f"{names[name]}: must not be the output of a task, because a trigger reads it before any "
                    "task runs"
                )
            try:
                used = meta.find_undeclared_variables(SandboxedEnvironment().parse(text))
            except TemplateError as error:
                raise PipelineInputError(f"{names[name]}: is no template: {error}") from None
            if others := sorted(used - _NAMES):
                raise PipelineInputError(
                    f"{names[name]}: a trigger renders this template, which knows var and conn, and no "
                    f"{others[0]}"
                )


def rendered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Render the templates among the values; reads Variables and Connections, and blocks."""
    # Airflow has no public name for them; every task's context holds these.
    from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor

    environment = SandboxedEnvironment(undefined=StrictUndefined)
    context = {
        "conn": ConnectionAccessor(),
        "var": {
            "value": VariableAccessor(deserialize_json=False),
            "json": VariableAccessor(deserialize_json=True),
        },
    }

    def render(value: Any) -> Any:
        if isinstance(value, list):
            return [render(element) for element in value]
        return environment.from_string(value).render(context) if is_templated(value) else value

    return {name: render(value) for name, value in values.items()}


def _texts(value: Any) -> list[str | None]:
    """Return the templates in a value; None for one that only a task can know."""
    if isinstance(value, (list, tuple)):
        return [text for element in value for text in _texts(element)]
    if not is_templated(value):
        return []
    return [value if isinstance(value, str) else None]
