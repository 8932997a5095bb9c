"""Listings of S3: objects by the page, with their versions where the policy allows to list them."""

# Imported only where a task opens S3, see sources/__init__.py.
# ruff: noqa: TID253

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from extend_pipeline.sources.objects import Found, ListedPage, Located, plausible_size, plausible_time
from extend_pipeline.sources.s3.answers import Answer

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

#: Storage classes whose objects have to be restored before they can be read.
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_RESTORABLE: Final = _ARCHIVES | {"INTELLIGENT_TIERING"}


def bucket_of(place: Located) -> str:
    """Return the name of the bucket."""
    return place.root.removeprefix("s3://")


def listed_pages(client: S3Client, prefix: Located, after: str = "") -> Iterator[Mapping[str, Any]]:
    """Yield the answers to ``ListObjectsV2``, after a key.

    Only AWS reports what is restored; other S3 services may refuse the request, so it is repeated without.
    """
    paginator = client.get_paginator("list_objects_v2")
    wanted: dict[str, Any] = {"Bucket": bucket_of(prefix), "Prefix": prefix.key, "StartAfter": after}
    pages = iter(paginator.paginate(**wanted, OptionalObjectAttributes=["RestoreStatus"]))
    try:
        first = next(pages)
    except ClientError as error:
        if Answer.of(error).status != HTTPStatus.NOT_IMPLEMENTED:
            raise
        yield from paginator.paginate(**wanted)
        return
    yield first
    yield from pages


def versions_page(client: S3Client, prefix: Located, after: str) -> ListedPage | None:
    """Return one page after a key, with versions; None if that is not allowed or not in the order of keys."""
    wanted: dict[str, Any] = {"Bucket": bucket_of(prefix), "Prefix": prefix.key, "KeyMarker": after}
    try:
        answer = client.list_object_versions(**wanted, OptionalObjectAttributes=["RestoreStatus"])
    except ClientError:
        return None
    versions, markers = answer.get("Versions", []), answer.get("DeleteMarkers", [])
    if not (_in_order(versions, after) and _in_order(markers, after)):
        return None
    current = {entry["Key"]: listed(entry) for entry in versions if entry["IsLatest"]}
    deleted = [entry["Key"] for entry in markers if entry["IsLatest"]]
    return _page(current, [*current, *deleted], answer)


def objects_page(client: S3Client, prefix: Located, after: str) -> ListedPage | None:
    """Return one page after a key; None if that is not allowed or not in the order of keys."""
    try:
        answer = next(listed_pages(client, prefix, after))
    except ClientError:
        return None
    entries = answer.get("Contents", [])
    if not _in_order(entries, after):
        return None
    found = {entry["Key"]: listed(entry) for entry in entries}
    return _page(found, found, answer)


def _in_order(entries: Sequence[Mapping[str, Any]], after: str) -> bool:
    """Return whether the entries follow the key in the order of keys: else a missing one proves nothing."""
    keys = [entry["Key"] for entry in entries]
    return not keys or (after < keys[0] and all(one <= other for one, other in itertools.pairwise(keys)))


def _page(found: Mapping[str, Found], keys: Collection[str], answer: Mapping[str, Any]) -> ListedPage | None:
    """Return a page that covers what it shows; None if more follows and it shows nothing.

    ``NextKeyMarker`` is not used: by its definition it is the first key that the page does not show.

    :param keys: whose current state the page shows.
    """
    if not answer.get("IsTruncated"):
        return ListedPage(found, None)
    return ListedPage(found, max(keys)) if keys else None


def _tag(entry: Mapping[str, Any]) -> str:
    return str(entry.get("ETag") or "").strip('"')


def listed(entry: Mapping[str, Any]) -> Found:
    """Return an object as a listing describes it."""
    modified = entry.get("LastModified")
    # The time is in UTC; botocore's own class of that zone is slow to convert.
    if modified is not None and not modified.utcoffset():
        modified = modified.replace(tzinfo=dt.UTC)
    archived = entry.get("StorageClass") in _RESTORABLE and _is_archived(entry)
    version = _version(entry)
    return Found(
        entry["Key"],
        _tag(entry),
        plausible_size(entry.get("Size")),
        plausible_time(modified),
        version,
        archived,
    )


def _version(entry: Mapping[str, Any]) -> str | None:
    """Return the version; a bucket in which versioning is suspended calls the current one "null"."""
    version = entry.get("VersionId")
    return None if version == "null" else version


def _is_archived(entry: Mapping[str, Any]) -> bool:
    """Return whether a listed object has to be restored.

    For Intelligent-Tiering, a listing reports it only while the object is being restored.
    """
    restore = entry.get("RestoreStatus") or {}
    if restore.get("IsRestoreInProgress"):
        return True
    return entry["StorageClass"] in _ARCHIVES and not restore.get("RestoreExpiryDate")


def headed(key: str, head: Mapping[str, Any]) -> Found:
    """Return an object as ``HeadObject`` describes it."""
    in_archive = head.get("StorageClass") in _ARCHIVES or bool(head.get("ArchiveStatus"))
    return Found(
        key,
        _tag(head),
        plausible_size(head.get("ContentLength")),
        plausible_time(head.get("LastModified")),
        _version(head),
        archived=in_archive and 'ongoing-request="false"' not in head.get("Restore", ""),
        policy=head.get("SSEKMSKeyId", ""),
    )
