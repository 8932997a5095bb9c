"""Rules: what holds for a bucket, a prefix or one key, switched on by a test over HTTP (see ``admin``)."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import Any


@dataclasses.dataclass
class Rule:
    """One rule; what it leaves out holds as in a plain bucket of one's own.

    :param prefix: of the keys, one whole key included; of a listing, of the prefix that it asks for.
    :param deny: actions that the user's policy lacks: ``s3:GetObject``, ``s3:GetObjectVersion``,
        ``s3:ListBucket``, ``s3:ListBucketVersions``, ``s3:PutObject``, ``kms:Decrypt``.
    :param kms_key_id: ``kms:Decrypt`` is denied for objects under this key alone.
    :param terse: a denial says "Access Denied" and not what is missing, as across accounts.
    :param sse_c: the objects are encrypted with a key that only who stored them has.
    :param requester_pays: whoever asks has to say that they pay.
    :param redirect: who signs for another region is told by 301, not by 400.
    :param expired: the user's temporary credentials have ended.
    :param ignores_if_none_match: a look-alike writes although there is something.
    :param ignores_start_after: a look-alike lists from the beginning.
    :param not_implemented: headers that a look-alike refuses, in lower case.
    :param slow_down: so many requests more are turned away.
    """

    bucket: str
    prefix: str = ""
    deny: list[str] = dataclasses.field(default_factory=list)
    kms_key_id: str | None = None
    terse: bool = False
    sse_c: bool = False
    requester_pays: bool = False
    redirect: bool = False
    expired: bool = False
    ignores_if_none_match: bool = False
    ignores_start_after: bool = False
    not_implemented: list[str] = dataclasses.field(default_factory=list)
    slow_down: int = 0


class Rules:
    """All rules, and how often was asked for what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._requests: collections.Counter[str] = collections.Counter()

    def add(self, values: Mapping[str, Any]) -> None:
        """Add a rule; raises TypeError for a name that is none."""
        rule = Rule(**values)
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Forget all rules and counts."""
        with self._lock:
            self._rules.clear()
            self._requests.clear()

    def holding(self, bucket: str, key: str) -> list[Rule]:
        """Return the rules for a key."""
        with self._lock:
            return [rule for rule in self._rules if rule.bucket == bucket and key.startswith(rule.prefix)]

    def is_throttled(self, rules: list[Rule]) -> bool:
        """Whether this request is one of those that are turned away."""
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
        """Yield each operation with how often it was asked, and begin anew."""
        with self._lock:
            counted, self._requests = self._requests, collections.Counter()
        yield from counted.items()
