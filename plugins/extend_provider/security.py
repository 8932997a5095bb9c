"""Redaction of values that must not be displayed: presigned URLs, passwords, secrets, documents' text.

Airflow stores the rendered template fields of every task and shows them in its UI. The query of a presigned
URL is a credential, and a raw text is the document itself. Fields that hold them are sealed as soon as they
are rendered: a display gets the redacted form, ``execute`` gets the value.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from extend_provider.exceptions import ExtendError

HIDDEN = "***"
#: How many elements of a list are shown; Airflow would cut the display in the middle of one anyway.
SHOWN_ELEMENTS = 20

_CREDENTIALS = (
    (re.compile(r"(?i)\b(https?://)[^\s/?#@]*@"), r"\1"),
    (re.compile(r"(?i)\b(https?://[^\s?#'\"<>]+)[?#][^\s'\"<>]*"), rf"\1?{HIDDEN}"),
    (re.compile(r"([?&][\w.%-]+=)[^\s&'\"<>]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\bbearer\s+\S+"), f"Bearer {HIDDEN}"),
    (re.compile(r"\b(sk|wss)_\w+"), rf"\1_{HIDDEN}"),
)


def without_credentials(text: str) -> str:
    """Return ``text`` without users and queries of URLs, and without what looks like a key or a secret."""
    for pattern, replacement in _CREDENTIALS if text else ():
        text = pattern.sub(replacement, text)
    return text


def describe_error(error: BaseException) -> str:
    """Return an error in one line that may be logged, stored and shown."""
    if isinstance(error, ExtendError):
        return str(error)
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {without_credentials(first_line)[:300]}".removesuffix(": ")


def show_inputs(value: Any) -> Any:
    """Return inputs of a batch or files of a run in the form to display: plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return show_inputs({name: given for name, given in fields.items() if given is not None})
    if isinstance(value, Mapping):
        return {str(key): _show_entry(str(key), given) for key, given in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return _show_elements(value, show_inputs)
    if isinstance(value, str):
        return without_credentials(value)
    return value if value is None or isinstance(value, (bool, int, float)) else f"<{type(value).__name__}>"


def show_texts(value: Any) -> Any:
    """Return raw texts in the form to display: their lengths."""
    if isinstance(value, str):
        return f"<text of {len(value):,} characters>"
    if isinstance(value, Sequence):
        return _show_elements(value, show_texts)
    return f"<{type(value).__name__}>"


def show_secrets(value: Any) -> Any:
    """Return secrets in the form to display: their names."""
    return {str(key): HIDDEN for key in value} if isinstance(value, Mapping) else HIDDEN


def _show_entry(key: str, value: Any) -> Any:
    if value is None:
        return None
    if key == "secrets":
        return show_secrets(value)
    if key == "password":
        return HIDDEN
    if key == "url" and isinstance(value, str):
        # An address may hold blanks, which end a URL in running text.
        address, mark, _ = value.replace("#", "?").partition("?")
        return without_credentials(address) + (mark and f"{mark}{HIDDEN}")
    return show_texts(value) if key == "text" else show_inputs(value)


def _show_elements(values: Sequence[Any], show: Callable[[Any], Any]) -> list[Any]:
    shown = [show(element) for element in islice(values, SHOWN_ELEMENTS)]
    return shown + ([f"… {len(values) - SHOWN_ELEMENTS:,} more"] if len(values) > SHOWN_ELEMENTS else [])


class Sealed:
    """A value that is displayed in redacted form, in Airflow (``serialize``) and in a ``repr``."""

    __slots__ = ("_show", "_value")

    def __init__(self, value: Any, show: Callable[[Any], Any]) -> None:
        self._value = value
        self._show = show

    def serialize(self) -> Any:
        """Return the redacted form; Airflow calls this when it stores the rendered fields."""
        return self._show(self._value)

    def __repr__(self) -> str:
        return f"Sealed({self.serialize()!r})"

    @staticmethod
    def open(value: Any) -> Any:
        """Return what is inside, or ``value`` itself if it was never sealed."""
        return value._value if isinstance(value, Sealed) else value


class SealedFieldsMixin:
    """Seals template fields once they are rendered; comes before the operator in the bases.

    :cvar sealed_fields: the fields to seal, each with the function that redacts it.
    """

    sealed_fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        # Both plain and mapped tasks render through this method (task-sdk 1.3.2).
        super()._do_render_template_fields(  # type: ignore[misc]  # the operator's, further down the bases
            parent, template_fields, context, jinja_env, seen_oids
        )
        if parent is not self:
            return
        for field, show in self.sealed_fields.items():
            value = getattr(self, field)
            if value is not None and not isinstance(value, Sealed):
                setattr(self, field, Sealed(value, show))
