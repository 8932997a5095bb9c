"""What is stored says in which format it is, so that releases before and after can read it.

A file is one JSON object with the key ``format``, a whole number; one without it is of a release that wrote
none, format 0. There are two kinds of change:

- A field more. It has a default, and the format stays: a release before ignores the field, and **keeps it**
  when it writes the thing again (:attr:`Stored.others`).
- A change after which a release before would misread the file. :attr:`Stored.FORMAT` is raised by one, and
  :meth:`Stored.upgraded` makes the older form into the newer one. A release before refuses the file by name.

    class Intent(Stored, frozen=True, kw_only=True):
        number: int
        window: float = 300.0

    write_once(folder / "00001.intent.json", Intent(number=1))
    read(folder / "00001.intent.json", Intent)      # None if there is no such file
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.workspace import read_json, write_json, write_json_once

_FORMAT: Final = "format"
_OTHERS: Final = "others"


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a file, or a line of one, holds: a frozen struct with keyword arguments.

    Fields may be what msgspec reads from JSON: texts, numbers, times, lists, mappings, other structs and
    dataclasses. Change one with :func:`msgspec.structs.replace`, which keeps the others.

    :cvar FORMAT: the newest format that this release reads, and the one that it writes.
    :ivar others: what another release has written beside the fields, also inside of them.
    """

    FORMAT: ClassVar[int] = 1

    others: dict[str, Any] = {}

    @classmethod
    def upgraded(cls, plain: dict[str, Any], from_format: int) -> dict[str, Any]:
        """Return what an older format says as :attr:`FORMAT` says it; of a plain value, its own to change."""
        return plain


T = TypeVar("T", bound=Stored)


def to_plain(value: Stored) -> dict[str, Any]:
    """Return what is to be stored, as JSON has it."""
    plain = msgspec.to_builtins(value)
    others = plain.pop(_OTHERS)
    return _merged(sealed(plain, version=value.FORMAT), others)


def from_plain(kind: type[T], plain: Any, where: str) -> T:
    """Read back what :func:`to_plain` gave, in this release or another one.

    :param where: what it was read from, for errors; without a secret.
    :raises PipelineInputError: if it is of a newer format, or nothing of this kind.
    """
    plain, written = opened(plain, where, newest=kind.FORMAT)
    try:
        if written < kind.FORMAT:
            plain = kind.upgraded(plain, written)
        value = msgspec.convert(plain, kind)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # msgspec's is a ValueError
        raise PipelineInputError(unreadable(where, error)) from None
    others = _without(plain, msgspec.to_builtins(value))
    return msgspec.structs.replace(value, others=others)


def opened(plain: Any, where: str, *, newest: int) -> tuple[dict[str, Any], int]:
    """Return what is stored without its format, and that; for what is no :class:`Stored`.

    :raises PipelineInputError: if its format is newer than ``newest``, or it is no JSON object.
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
    """Return plain values with their format, see :func:`opened`."""
    return {_FORMAT: version, **plain}


def unreadable(where: str, error: Exception) -> str:
    """Say that a file is not what it should be; never with a value of it."""
    return (
        f"{where} cannot be read ({type(error).__name__}): it was cut short or changed. Nothing was done by "
        "it; bring the file back as it was, and clear the task."
    )


def read(path: ObjectStoragePath, kind: type[T]) -> T | None:
    """Read a file; None if there is none. See :func:`from_plain` for what is raised."""
    try:
        plain = read_json(path)
    except ValueError as error:
        raise PipelineInputError(unreadable(str(path), error)) from None
    return None if plain is None else from_plain(kind, plain, str(path))


def write(path: ObjectStoragePath, value: Stored) -> None:
    """Write a file."""
    write_json(path, to_plain(value))


def write_once(path: ObjectStoragePath, value: Stored) -> bool:
    """Write a file unless it exists; return whether this call wrote it, as exactly one of several does."""
    return write_json_once(path, to_plain(value))


def _without(plain: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``known`` has not, objects within objects included."""
    left: dict[str, Any] = {}
    for key, value in plain.items():
        if key not in known:
            left[key] = value
        elif isinstance(value, Mapping) and isinstance(known[key], Mapping):
            left[key] = _without(value, known[key])
    return {key: value for key, value in left.items() if value != {} or key not in known}


def _merged(known: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``known`` and beside it what is in ``others`` alone."""
    for key, value in others.items():
        mine = known.get(key)
        if key not in known:
            known[key] = value
        elif isinstance(mine, dict) and isinstance(value, Mapping):
            known[key] = _merged(mine, value)
    return known
