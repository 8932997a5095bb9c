"""The bucket, key, operation and action of a request, in AWS's terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import parse_qs

#: The action of a request for an object, as policies name it.
ACTIONS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "POST": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}


@dataclasses.dataclass(frozen=True)
class S3Request:
    """One request.

    :param key: empty for a request for a bucket.
    """

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Self:
        """Return the request of a WSGI environment."""
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
        bucket, _, key = path.removeprefix("/").partition("/")
        given = parse_qs(str(environ.get("QUERY_STRING", "")), keep_blank_values=True)
        return cls(
            str(environ["REQUEST_METHOD"]), bucket, key, {name: values[0] for name, values in given.items()}
        )

    @property
    def reads(self) -> bool:
        """True for a GET or HEAD of an object."""
        return bool(self.key) and self.method in ("GET", "HEAD")

    @property
    def lists(self) -> bool:
        """True for a listing of a bucket."""
        return self.method == "GET" and bool(self.bucket) and not self.key

    @property
    def versions(self) -> bool:
        """True for a listing of versions."""
        return self.lists and "versions" in self.query

    @property
    def covered(self) -> str:
        """The key, or the prefix of a listing, that the prefixes of rules are compared with."""
        return self.key or self.query.get("prefix", "")

    @property
    def action(self) -> str:
        """The action that the user needs permission for."""
        if self.reads and "versionId" in self.query:
            return "s3:GetObjectVersion"
        if self.key:
            return ACTIONS.get(self.method, "")
        if self.versions:
            return "s3:ListBucketVersions"
        return "s3:ListBucket" if self.method in ("GET", "HEAD") and self.bucket else ""

    @property
    def operation(self) -> str:
        """The operation that is counted, e.g. ``HeadObject`` or ``ListObjectsV2``."""
        if self.versions:
            return "ListObjectVersions"
        if self.lists and "list-type" in self.query:
            return "ListObjectsV2"
        return f"{self.method.capitalize()}{'Object' if self.key else 'Bucket'}"
