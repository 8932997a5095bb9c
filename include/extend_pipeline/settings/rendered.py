"""Settings of which some may be templates until the first task, and the errors about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings.fields import STORED
from extend_pipeline.storage.formats import opened, sealed
from extend_provider.exceptions import ExtendInputError
from extend_provider.security import without_credentials

#: The version of stored settings, see :mod:`extend_pipeline.storage.formats`.
_FORMAT = 1
#: What an address may hold beside a connection's id.
_PASSWORD: Final = re.compile(r"(://[^\s/:@]*):[^\s/@]*@")
_HIDDEN: Final = r"\1:***@"
#: How messages of the provider's checks begin: they name the argument themselves.
_NAMED: Final = re.compile(r"^\w+ (?:is .*?; it (?=must ))?")

#: How an error names a setting.
Label = Callable[[str], str]


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
            return cls.model_validate(without_empty(values), context=context)
        except ValidationError as error:
            wrong = explain(error.errors(), label)
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
        return cls.from_rendered(known, context=STORED)


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out empty values: a form gives an empty text, and a template renders None as ``None``."""
    return {name: value for name, value in values.items() if not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def explain(details: Sequence[Mapping[str, Any]], label: Label) -> str:
    """Return what is wrong with each setting: its name, what it must be, and its value."""
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
