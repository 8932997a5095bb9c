"""Reads buckets and objects from moto's memory."""

from __future__ import annotations

from typing import Any


def bucket_of(name: str) -> Any | None:
    """Return moto's bucket; None if it does not exist."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(name)


def region_of(name: str) -> str | None:
    """Return the region of a bucket; None if the bucket does not exist."""
    bucket = bucket_of(name)
    return None if bucket is None else str(bucket.region_name)


def policy_of(name: str) -> bytes | None:
    """Return the policy of a bucket; None if it has none."""
    bucket = bucket_of(name)
    return None if bucket is None else bucket.policy


def object_of(bucket_name: str, key: str, version_id: str | None = None) -> Any | None:
    """Return moto's object; None if it does not exist."""
    bucket = bucket_of(bucket_name)
    if bucket is None:
        return None
    if version_id:
        return next((each for each in bucket.keys.getlist(key) if str(each.version_id) == version_id), None)
    found = bucket.keys.get(key)
    return found if hasattr(found, "contentsize") else None


def kms_key_of(bucket_name: str, key: str, version_id: str | None = None) -> str | None:
    """Return the KMS key of an object, ``aws/s3`` for AWS's own; None without SSE-KMS."""
    found = object_of(bucket_name, key, version_id)
    if found is None or found.encryption not in ("aws:kms", "aws:kms:dsse"):
        return None
    return str(found.kms_key_id or "aws/s3")
