"""Listings of S3: objects by the page, with their versions where the policy allows to list them."""

# Imported only where a task opens S3, see sources/__init__.py.
# ruff: noqa: TID253

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
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
    try:
        answer = client.list_object_versions(
            Bucket=bucket_of(prefix),
            Prefix=prefix.key,
            KeyMarker=after,
            OptionalObjectAttributes=["RestoreStatus"],
        )
    except ClientError:
        return None
    versions = answer.get("Versions", [])
    if any(entry["Key"] <= after for entry in (*versions[:1], *answer.get("DeleteMarkers", [])[:1])):
        return None
    current = {entry["Key"]: listed(entry) for entry in versions if entry["IsLatest"]}
    return ListedPage(current, answer["NextKeyMarker"] if answer["IsTruncated"] else None)


def objects_page(client: S3Client, prefix: Located, after: str) -> ListedPage | None:
    """Return one page after a key; None if that is not allowed or not in the order of keys."""
    try:
        answer = next(listed_pages(client, prefix, after))
    except ClientError:
        return None
    entries = answer.get("Contents", [])
    if entries and entries[0]["Key"] <= after:
        return None
    found = {entry["Key"]: listed(entry) for entry in entries}
    return ListedPage(found, entries[-1]["Key"] if entries and answer["IsTruncated"] else None)


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
