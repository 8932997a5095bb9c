"""Versioned formats: each stored value names its format, so that older and newer releases can read it.

A value is one JSON object with the key ``format``, a whole number; a value without it is of a release that
wrote none, format 0. There are two kinds of change:

- A new field. It has a default, and the format stays: an older release ignores the field, and **keeps it**
  when it writes the value again (:attr:`Stored.others`).
- A change after which an older release would misread the value. :attr:`Stored.FORMAT` is raised by one, and
  :meth:`Stored.upgraded` converts the older form. An older release refuses the value by name.

    class Intent(Stored, frozen=True, kw_only=True):
        number: int
        window: float = 300.0

    write_once(folder / "00001.intent.json", Intent(number=1))
    read(folder / "00001.intent.json", Intent)      # None if there is no such file
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.workspace import read_json, write_json, write_json_once

_FORMAT: Final = "format"
_OTHERS: Final = "others"
#: The kinds whose fields msgspec knows. It learns them at the first conversion; two threads that are at it
#: together crash the process, or keep it busy for ever (msgspec 0.22).
_known: set[type] = set()
_learning: Final = threading.Lock()


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a file, a line of one or a column holds: a frozen struct with keyword arguments.

    Fields may have any type that msgspec reads from JSON: texts, numbers, times, lists, mappings, other
    structs and dataclasses. Change a field with :func:`msgspec.structs.replace`, which keeps the others.

    :cvar FORMAT: the format that this release writes, and the newest that it reads.
    :ivar others: unknown keys of another release, at the top level and inside of fields.
    """

    FORMAT: ClassVar[int] = 1

    others: dict[str, Any] = {}

    @classmethod
    def upgraded(cls, plain: dict[str, Any], from_format: int) -> dict[str, Any]:
        """Convert a plain value from an older format to :attr:`FORMAT`; may change ``plain`` in place."""
        return plain


T = TypeVar("T", bound=Stored)


def to_plain(value: Stored) -> dict[str, Any]:
    """Return the value as JSON types, with its format."""
    plain = msgspec.to_builtins(value)
    others = plain.pop(_OTHERS)
    return _merged(sealed(plain, version=value.FORMAT), others)


def from_plain(kind: type[T], plain: Any, where: str) -> T:
    """Read back what :func:`to_plain` returned, in this release or another one.

    :param where: names the place it was read from in errors; contains no secret.
    :raises PipelineInputError: if it is of a newer format, or not of this kind.
    """
    plain, written = opened(plain, where, newest=kind.FORMAT)
    try:
        if written < kind.FORMAT:
            plain = kind.upgraded(plain, written)
        value = _converted(plain, kind)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # msgspec's is a ValueError
        raise PipelineInputError(unreadable(where, error)) from None
    others = _without(plain, msgspec.to_builtins(value))
    return msgspec.structs.replace(value, others=others)


def _converted(plain: Any, kind: type[T]) -> T:
    if kind not in _known:
        with _learning:
            msgspec.json.Decoder(kind)
            _known.add(kind)
    return msgspec.convert(plain, kind)


def opened(plain: Any, where: str, *, newest: int) -> tuple[dict[str, Any], int]:
    """Split a stored value into its content and its format; for values that are no :class:`Stored`.

    :raises PipelineInputError: if the format is newer than ``newest``, or the value is no JSON object.
    """
    if not isinstance(plain, Mapping) or not isinstance(written := plain.get(_FORMAT, 0), int):
        raise PipelineInputError(unreadable(where, TypeError()))
    if written > newest:
        raise PipelineInputError(
            f"{where} is of format {written}, and this release of extend_pipeline reads formats up to "
            f"{newest}: a newer release has written it. Nothing was read or changed, and nothing was sent to "
            "Extend. Install the newer release here too, and clear the task."
        )
    return {key: value for key, value in plain.items() if key != _FORMAT}, written


def sealed(plain: Mapping[str, Any], *, version: int) -> dict[str, Any]:
    """Return plain values with their format, the reverse of :func:`opened`."""
    return {_FORMAT: version, **plain}


def encode(value: Stored) -> bytes:
    """Return the value as one line of JSON."""
    return msgspec.json.encode(to_plain(value))


def decode(kind: type[T], data: bytes | str, where: str) -> T:
    """Read back what :func:`encode` returned. See :func:`from_plain` for parameters and errors."""
    try:
        plain = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise PipelineInputError(unreadable(where, error)) from None
    return from_plain(kind, plain, where)


def unreadable(where: str, error: Exception) -> str:
    """Return the message that a stored value is damaged; it quotes nothing of the value."""
    return (
        f"{where} cannot be read ({type(error).__name__}): it was cut short or changed. Nothing was done "
        "with it, and nothing was sent to Extend. Restore it as it was, and clear the task."
    )


def read_plain(path: ObjectStoragePath) -> Any | None:
    """Read the JSON value of a file; None if there is no such file.

    :raises PipelineInputError: if it is not JSON.
    """
    try:
        return read_json(path)
    except ValueError as error:
        raise PipelineInputError(unreadable(str(path), error)) from None


def read(path: ObjectStoragePath, kind: type[T]) -> T | None:
    """Read a file; None if there is no such file. See :func:`from_plain` for errors."""
    plain = read_plain(path)
    return None if plain is None else from_plain(kind, plain, str(path))


def write(path: ObjectStoragePath, value: Stored) -> None:
    """Write a file."""
    write_json(path, to_plain(value))


def write_once(path: ObjectStoragePath, value: Stored) -> bool:
    """Write a file unless it exists; return whether this call wrote it, as exactly one of several does."""
    return write_json_once(path, to_plain(value))


def _without(plain: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that ``known`` lacks, nested objects included."""
    left: dict[str, Any] = {}
    for key, value in plain.items():
        if key not in known:
            left[key] = value
        elif isinstance(value, Mapping) and isinstance(known[key], Mapping):
            left[key] = _without(value, known[key])
    return {key: value for key, value in left.items() if value != {} or key not in known}


def _merged(known: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``known`` with the keys that only ``others`` has."""
    for key, value in others.items():
        mine = known.get(key)
        if key not in known:
            known[key] = value
        elif isinstance(mine, dict) and isinstance(value, Mapping):
            known[key] = _merged(mine, value)
    return known
