"""Read decoded JSON without trusting it: a value that is absent, null or of another type is None or empty."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

Json = Mapping[str, Any]

_NUMBER: Final = (int, float)
_DECODER: Final = json.JSONDecoder()
_BETWEEN: Final = re.compile(r"[\s:,]*")


class UnreadableAnswerError(ValueError):
    """An answer lacks something essential, e.g. a run its id."""


def decoded(body: bytes) -> object:
    """Decode JSON, leniently where a strict decoder would refuse all of it because of one value.

    Numbers beyond a double, half surrogate pairs and broken bytes come from a document's text, and the answer
    around them is needed.

    :raises ValueError: if it is no JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(body.decode("utf-8", "replace"))


def member_text(body: bytes, key: str) -> bytes:
    """Return the JSON text of a member of the object that the body is, byte for byte.

    :raises UnreadableAnswerError: if there is none.
    """
    whole = body.decode("utf-8", "surrogateescape")
    position, found = _after(whole, whole.find("{") + 1), None
    while position < len(whole) and whole[position] == '"':
        name, position = _DECODER.raw_decode(whole, position)
        begin = _after(whole, position)
        _, position = _DECODER.raw_decode(whole, begin)
        if name == key:
            found = whole[begin:position]  # the last one, if there are several, as decoders have it
        position = _after(whole, position)
    if found is None:
        raise UnreadableAnswerError(f"no {key!r} in it")
    return found.encode("utf-8", "surrogateescape")


def _after(whole: str, position: int) -> int:
    """Return where the next name or value begins."""
    between = _BETWEEN.match(whole, position)
    return between.end() if between else position


def text(raw: Json, key: str) -> str | None:
    """Return a non-empty string; a number becomes its string (version numbers have come as both)."""
    value = raw.get(key)
    if value is None:  # as most fields are
        return None
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, _NUMBER) and not isinstance(value, bool) else None


def required_text(raw: Json, key: str) -> str:
    """Return a non-empty string or raise :class:`UnreadableAnswerError`."""
    value = text(raw, key)
    if value is None:
        raise UnreadableAnswerError(f"no {key!r} in it")
    return value


def number(raw: Json, key: str) -> float | None:
    """Return a finite number."""
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def whole_number(raw: Json, key: str) -> int | None:
    """Return a finite number without its fraction."""
    value = number(raw, key)
    return None if value is None else int(value)


def flag(raw: Json, key: str) -> bool:
    """Return whether the value is true."""
    return raw.get(key) is True


def mapping(raw: Json, key: str) -> Json:
    """Return an object, empty if there is none."""
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def optional_mapping(raw: Json, key: str) -> Json | None:
    """Return an object or None."""
    value = raw.get(key)
    return value if isinstance(value, dict) else None


def mappings(raw: Json, key: str) -> list[Json]:
    """Return the objects of a list, without its other elements."""
    value = raw.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def body_mapping(body: object) -> Json:
    """Return the answer's body as an object or raise :class:`UnreadableAnswerError`."""
    if not isinstance(body, dict):
        raise UnreadableAnswerError(f"a JSON object was expected, it is a {type(body).__name__}")
    return body


def body_member(body: object, key: str | None) -> Json:
    """Return the object under ``key``, or the body itself where that is None.

    :raises UnreadableAnswerError: if there is none.
    """
    member = body_mapping(body) if key is None else optional_mapping(body_mapping(body), key)
    if member is None:
        raise UnreadableAnswerError(f"no {key!r} in it")
    return member


def body_list(body: object, key: str) -> list[Json]:
    """Return the list of objects under ``key`` or raise :class:`UnreadableAnswerError`."""
    if not isinstance(body_mapping(body).get(key), list):
        raise UnreadableAnswerError(f"no list {key!r} in it")
    return mappings(body_mapping(body), key)
