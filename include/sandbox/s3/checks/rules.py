"""Rules for a bucket, a prefix or a key, which tests switch on over HTTP (see ``sandbox.s3.admin``)."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import Any


@dataclasses.dataclass
class Rule:
    """One rule. Without options, a bucket behaves like a plain bucket of the user.

    :param prefix: prefix of the keys; for a listing it is compared with the requested prefix.
    :param deny: actions that the user has no permission for: ``s3:GetObject``, ``s3:GetObjectVersion``,
        ``s3:ListBucket``, ``s3:ListBucketVersions``, ``s3:PutObject``, ``kms:Decrypt``.
    :param kms_key_id: ``kms:Decrypt`` is denied only for objects with this key.
    :param terse: a denial says "Access Denied" without the missing action, as across accounts.
    :param sse_c: the objects are encrypted with a customer's key.
    :param archive_tier: archive tier of Intelligent-Tiering, e.g. ``ARCHIVE_ACCESS``: HEAD shows it, GET
        gets 403.
    :param restoring: listings show that the objects are being restored.
    :param requester_pays: requests must accept the costs.
    :param redirect: a signature for another region gets 301 instead of 400.
    :param expired: the user's temporary credentials have expired.
    :param ignores_if_none_match: a lookalike that overwrites existing objects.
    :param ignores_start_after: a lookalike that always lists from the beginning.
    :param not_implemented: headers that a lookalike refuses, in lower case.
    :param slow_down: number of requests that are refused with 503.
    """

    bucket: str
    prefix: str = ""
    deny: list[str] = dataclasses.field(default_factory=list)
    kms_key_id: str | None = None
    terse: bool = False
    sse_c: bool = False
    archive_tier: str | None = None
    restoring: bool = False
    requester_pays: bool = False
    redirect: bool = False
    expired: bool = False
    ignores_if_none_match: bool = False
    ignores_start_after: bool = False
    not_implemented: list[str] = dataclasses.field(default_factory=list)
    slow_down: int = 0


class Rules:
    """All rules, and the number of requests by operation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._requests: collections.Counter[str] = collections.Counter()

    def add(self, values: Mapping[str, Any]) -> None:
        """Add a rule; raises TypeError for an unknown field."""
        rule = Rule(**values)
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Remove all rules and counts."""
        with self._lock:
            self._rules.clear()
            self._requests.clear()

    def holding(self, bucket: str, key: str) -> list[Rule]:
        """Return the rules that apply to a key."""
        with self._lock:
            return [rule for rule in self._rules if rule.bucket == bucket and key.startswith(rule.prefix)]

    def is_throttled(self, rules: list[Rule]) -> bool:
        """Return True if a rule refuses this request as one too many, and count it."""
        with self._lock:
            for rule in rules:
                if rule.slow_down > 0:
                    rule.slow_down -= 1
                    return True
        return False

    def count(self, operation: str) -> None:
        """Count a request."""
        with self._lock:
            self._requests[operation] += 1

    def counts(self) -> Iterator[tuple[str, int]]:
        """Yield each operation with its number of requests, and reset the counts."""
        with self._lock:
            counted, self._requests = self._requests, collections.Counter()
        yield from counted.items()
