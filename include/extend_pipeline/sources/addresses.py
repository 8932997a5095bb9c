"""Addresses that a DAG author writes: sources, and the workspace. Pure.

A prefix is text, not a pattern. Patterns of a shell are refused, because a listing would find nothing there.
Several slashes in a row, as a Variable that ends in a slash produces them, count as one in a prefix. The
address of a single object is not changed, because keys may hold any character; only patterns that are never
meant literally are refused there, too.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources.objects import Located, canonical

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
#: Names of buckets, containers, access points and hosts.
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._:-]{3,255}")
#: Patterns of a shell; in the address of one object, only those that are hardly ever meant literally.
_IN_A_PREFIX: Final = re.compile(r"\*|\?|\[!?\w-\w\]|[{},]|\$\(")
_IN_AN_OBJECT: Final = re.compile(r"\*|\{[^{}]*,[^{}]*\}|\$[{(]|,\s*(?=[a-z][a-z0-9+.-]*://)")
#: The most days that a run looks back.
_MOST_DAYS: Final = 366


class SourceItem(NamedTuple):
    """One address of a source: a prefix to list, or exactly one object.

    :param root: ``s3://bucket`` or ``file://``; ``key`` follows after a slash.
    """

    root: str
    key: str
    is_prefix: bool

    @property
    def place(self) -> Located:
        """The address as root and key."""
        return Located(self.root, self.key)

    @property
    def uri(self) -> str:
        """The address as a person writes it."""
        return self.place.uri

    def covers(self, root: str, key: str) -> bool:
        """Return whether the address covers an object."""
        return root == self.root and (key.startswith(self.key) if self.is_prefix else key == self.key)


def day_folders(source: str, day: dt.datetime, days_back: int | str = 0) -> str:
    """Return the folders of a day and of the days before it, one on each line, for ``source``.

    :param source: the address above the days, with or without a slash at its end; or several, one on each
        line.
    :param day: a time on the day.
    :param days_back: 0 to 366 days before it that are listed again, for documents that arrived late.
    :raises PipelineInputError: if ``days_back`` is no such number.
    """
    if not str(days_back).strip().isdecimal() or int(days_back) > _MOST_DAYS:
        raise PipelineInputError(
            f"The Variable extend_lookback_days is {days_back!r}; it must be 0 to {_MOST_DAYS}: how "
            "many earlier days a run lists again. Nothing was sent to Extend."
        )
    days = [day - dt.timedelta(days=back) for back in range(int(days_back), -1, -1)]
    places = [line.strip().rstrip("/") for line in source.splitlines() if line.strip()]
    return "\n".join(f"{place}/{each:%Y-%m-%d}/" for place in places for each in days)


def parse_source(value: Any) -> tuple[SourceItem, ...]:
    """Read a source: a single address is a prefix; of several, those that end in ``/`` are.

    An ``https://`` address is always one document, because nothing can be listed there.

    :param value: an address, several addresses on lines of their own, or a list of them.
    :raises ValueError: if an address is wrong; the message names it.
    """
    addresses = _addresses(value)
    if not addresses:
        raise ValueError("no address is given; write for example s3://bucket/folder/")
    alone = isinstance(value, str) and len(addresses) == 1
    return tuple(_parse_address(address, alone) for address in addresses)


def _addresses(value: Any) -> list[str]:
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    listed = [value] if hasattr(value, "joinpath") else value
    # Always a ValueError, because pydantic reports no other error as a wrong value.
    if isinstance(listed, (bytes, Mapping)) or not isinstance(listed, Sequence):
        raise ValueError(  # noqa: TRY004
            "an address is a string, and several are a list of strings; this is of type "
            f"{type(value).__name__}"
        )
    for each in listed:
        if hasattr(each, "joinpath"):
            hint = 'f"file://{path}/" for a folder'
            raise ValueError(f"{each!r} is a path; write it as an address, {hint}")
        if not isinstance(each, str):
            raise ValueError(  # noqa: TRY004
                f"an address is a string; {each!r} is of type {type(each).__name__}"
            )
    return list(listed)


def _parse_address(address: str, alone: bool) -> SourceItem:
    scheme, separator, _ = address.partition("://")
    place = Located.of(address)
    authority = place.root.partition("://")[2]
    if "\0" in address or address != address.encode(errors="replace").decode():
        raise ValueError(f"{address!r} has a NUL or a broken character; name its folder instead")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ValueError(f"{address!r} is not an address of the form s3://bucket/folder/")
    if scheme in ("http", "https"):
        return _parse_web_address(place, scheme, authority)
    if scheme == "file":
        if authority or not place.key or not {"..", "."}.isdisjoint(place.key.split("/")):
            raise ValueError(f"{address!r} is not a whole path of the form file:///folder/")
    elif not _AUTHORITY.fullmatch(authority):
        # The text before an @ is a connection or a key; neither belongs to the identity of a document.
        raise ValueError(
            f"{address!r} is not an address of the form {scheme}://bucket/folder/; set the connection with "
            "the source's conn_id"
        )
    is_prefix = alone or not place.key or place.key.endswith("/")
    _refuse_shell_habits(address, place, _IN_A_PREFIX if is_prefix else _IN_AN_OBJECT)
    key = place.key
    if is_prefix or scheme == "file":
        key = re.sub("/{2,}", "/", key).lstrip("/")
    return SourceItem(place.root, key, is_prefix)


def _refuse_shell_habits(address: str, place: Located, habits: re.Pattern[str]) -> None:
    found = habits.search(place.key)
    if found is None:
        return
    if re.search(r",\s*[a-z][a-z0-9+.-]*://", place.key):
        raise ValueError(f"{address!r} is several addresses; write them as a list, or one on each line")
    above, _, below = place.key[: found.start()].rpartition("/")
    base, rest = f"{place.root}/{above}{'/' if above else ''}", f"{below}{place.key[found.start() :]}"
    raise ValueError(
        f"{address!r} has {found[0]!r}, but a source has no patterns. If it is a pattern: "
        f"source={base!r}, glob={rest!r}. If the names contain it: the same, with [ ] around the character"
    )


def _parse_web_address(place: Located, scheme: str, authority: str) -> SourceItem:
    if not {"?", "#", "@"}.isdisjoint(place.uri):
        raise ValueError(
            "an https:// address with a user or a query is refused: it may hold a secret, and addresses are "
            "shown in tables and logs; copy the document to a bucket"
        )
    if _IN_AN_OBJECT.search(place.key):
        raise ValueError(
            f"{place.uri!r} is a pattern, but the web cannot be listed; write a star itself as %2A"
        )
    if scheme != "https" or not _AUTHORITY.fullmatch(authority) or place.key.endswith("/") or not place.key:
        raise ValueError(f"{place.uri!r} is not the address of a document, https://host/folder/file.pdf")
    return SourceItem(*place, is_prefix=False)


def parse_workspace(value: str) -> str:
    """Check the address of a workspace, and return it in canonical form.

    :raises ValueError: if it is wrong, or depends on the folder in which a process was started.
    """
    scheme, separator, _ = value.partition("://")
    place = Located.of(value)
    bucket = place.root.partition("://")[2].rpartition("@")[2]
    if not separator or not _SCHEME.fullmatch(scheme) or scheme in ("http", "https"):
        raise ValueError(f"{value!r} is not an address such as file:///data/extend or s3://bucket/folder")
    if scheme == "file":
        if bucket or not place.key.strip("/") or not {"..", "."}.isdisjoint(place.key.split("/")):
            raise ValueError(f"{value!r} is not a whole path such as file:///data/extend")
    elif not _AUTHORITY.fullmatch(bucket):
        raise ValueError(f"{value!r} is not an address of the form {scheme}://<connection id>@bucket/folder")
    return canonical(value.rstrip("/"))


def check_apart(source: Iterable[SourceItem], workspace: str) -> None:
    """Check that the pipeline does not read its own files as documents.

    :raises ValueError: if the source contains the workspace, or the workspace the source.
    """
    place = Located.of(workspace)
    scheme, _, authority = place.root.partition("://")
    root, home = f"{scheme}://{authority.rpartition('@')[2]}", f"{place.key.strip('/')}/"
    for item in source:
        if item.root == root and (
            item.key.startswith(home) or (item.is_prefix and home.startswith(item.key))
        ):
            raise ValueError(
                f"one of {workspace!r} and the source {item.uri!r} contains the other, so the pipeline's "
                "files would be read as documents; use separate folders"
            )
