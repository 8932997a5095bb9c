"""The door in front of moto: who may do what, in AWS's order and with AWS's answers."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sandbox.s3 import kept
from sandbox.s3.answers import Refusal, WsgiApp, denied
from sandbox.s3.asked import ACTIONS, Asked
from sandbox.s3.rules import Rule, Rules
from sandbox.s3.signatures import Signatures

#: Whom denials name.
USER = "arn:aws:iam::123456789012:user/sandbox"
_SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
    "to retrieve the object."
)


def denies(policy: bytes | str | None, method: str, bucket: str, key: str) -> bool:
    """Return whether a bucket's policy denies a request for an object."""
    action, resource = ACTIONS.get(method, ""), f"arn:aws:s3:::{bucket}/{key}"
    return any(
        statement.get("Effect") == "Deny"
        and any(fnmatch.fnmatchcase(action, denied) for denied in _listed(statement.get("Action")))
        and any(fnmatch.fnmatchcase(resource, denied) for denied in _listed(statement.get("Resource")))
        for statement in _listed(json.loads(policy or "{}").get("Statement"))
    )


def _listed(value: Any) -> list[Any]:
    """Return a list; a policy may have one value without a list around it."""
    return value if isinstance(value, list) else [] if value is None else [value]


class AccessChecks:
    """WSGI middleware that refuses what AWS refuses and moto does not."""

    def __init__(
        self, app: WsgiApp, signatures: Signatures, rules: Rules, forbidden_buckets: Collection[str] = ()
    ) -> None:
        self._app, self._signatures, self._rules = app, signatures, rules
        self._forbidden = frozenset(forbidden_buckets)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("PATH_INFO", "").startswith("/moto-api/"):
            return self._app(environ, start_response)
        asked = Asked.of(environ)
        self._rules.count(asked.operation)
        rules = self._rules.holding(asked.bucket, asked.covered)
        refusal = self._refusal(environ, asked, rules)
        if refusal is not None:
            return refusal.answer(environ, start_response)
        if any(rule.ignores_if_none_match for rule in rules):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        return self._app(environ, start_response)

    def _refusal(self, environ: dict[str, Any], asked: Asked, rules: list[Rule]) -> Refusal | None:
        if self._rules.is_throttled(rules):
            return Refusal(503, "SlowDown", "Please reduce your request rate.")
        if asked.bucket in self._forbidden:
            return denied()
        if any(rule.expired for rule in rules):
            return Refusal(400, "ExpiredToken", "The provided token has expired.")
        refused = self._signatures.refusal(
            environ,
            kept.region_of(asked.bucket),
            kms=kept.kms_key_of(asked.bucket, asked.key, asked.query.get("versionId")) is not None,
            redirected=any(rule.redirect for rule in rules),
        )
        return (
            refused
            or _unimplemented(environ, rules)
            or _unpaid(environ, asked, rules)
            or _not_allowed(asked, rules)
        )


def _unimplemented(environ: dict[str, Any], rules: list[Rule]) -> Refusal | None:
    for rule in rules:
        for name in rule.not_implemented:
            if f"HTTP_{name.upper().replace('-', '_')}" in environ:
                return Refusal(501, "NotImplemented", f"Header '{name}' is not implemented.")
    return None


def _unpaid(environ: dict[str, Any], asked: Asked, rules: list[Rule]) -> Refusal | None:
    if not any(rule.requester_pays for rule in rules):
        return None
    said = environ.get("HTTP_X_AMZ_REQUEST_PAYER") or asked.query.get("x-amz-request-payer")
    return None if said == "requester" or asked.method == "PUT" else denied()


def _not_allowed(asked: Asked, rules: list[Rule]) -> Refusal | None:
    """Refuse by policy and by how an object is kept."""
    if asked.key and denies(kept.policy_of(asked.bucket), asked.method, asked.bucket, asked.key):
        return denied("User is not authorized, with an explicit deny in a policy")
    lacking = {action for rule in rules for action in rule.deny}
    terse = any(rule.terse for rule in rules)
    if asked.action in lacking:
        return _lacking(asked, asked.action, terse=terse)
    if not asked.reads:
        return None
    version_id = asked.query.get("versionId")
    if kept.object_of(asked.bucket, asked.key, version_id) is None:
        # Who may not list is not told that there is nothing.
        return _lacking(asked, "s3:ListBucket", terse=terse) if "s3:ListBucket" in lacking else None
    if any(rule.sse_c for rule in rules):
        return Refusal(400, "InvalidRequest", _SSE_C)
    kms_key = kept.kms_key_of(asked.bucket, asked.key, version_id)
    if asked.method == "GET" and kms_key is not None:
        for rule in rules:
            if "kms:Decrypt" in rule.deny and rule.kms_key_id in (None, kms_key):
                return _lacking(asked, "kms:Decrypt", terse=terse, resource=f"arn:aws:kms:::key/{kms_key}")
    return None


def _lacking(asked: Asked, action: str, *, terse: bool, resource: str | None = None) -> Refusal:
    region = kept.region_of(asked.bucket)
    told = {} if region is None else {"x_amz_bucket_region": region}
    if terse:
        return denied(**told)
    resource = resource or f"arn:aws:s3:::{asked.bucket}" + (f"/{asked.key}" if asked.key else "")
    because = f"because no identity-based policy allows the {action} action"
    return denied(
        f'User: {USER} is not authorized to perform: {action} on resource: "{resource}" {because}', **told
    )
