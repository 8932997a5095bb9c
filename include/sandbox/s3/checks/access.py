"""Access checks in front of moto, in AWS's order and with AWS's answers."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sandbox.s3 import moto_state
from sandbox.s3.checks.answers import Refusal, WsgiApp, denied
from sandbox.s3.checks.request import ACTIONS, S3Request
from sandbox.s3.checks.rules import Rule, Rules
from sandbox.s3.checks.signatures import Signatures

#: The user in the text of a denial.
USER = "arn:aws:iam::123456789012:user/sandbox"
_SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
    "to retrieve the object."
)


def denies(policy: bytes | str | None, method: str, bucket: str, key: str) -> bool:
    """Return True if the policy of a bucket denies a request for an object."""
    action, resource = ACTIONS.get(method, ""), f"arn:aws:s3:::{bucket}/{key}"
    return any(
        statement.get("Effect") == "Deny"
        and any(fnmatch.fnmatchcase(action, denied) for denied in _listed(statement.get("Action")))
        and any(fnmatch.fnmatchcase(resource, denied) for denied in _listed(statement.get("Resource")))
        for statement in _listed(json.loads(policy or "{}").get("Statement"))
    )


def _listed(value: Any) -> list[Any]:
    """Return a list; a policy may have a single value instead of a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


class AccessChecks:
    """WSGI middleware that refuses requests that AWS refuses and moto does not."""

    def __init__(
        self, app: WsgiApp, signatures: Signatures, rules: Rules, forbidden_buckets: Collection[str] = ()
    ) -> None:
        self._app, self._signatures, self._rules = app, signatures, rules
        self._forbidden = frozenset(forbidden_buckets)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("PATH_INFO", "").startswith("/moto-api/"):
            return self._app(environ, start_response)
        request = S3Request.of(environ)
        self._rules.count(request.operation)
        rules = self._rules.holding(request.bucket, request.covered)
        refusal = self._refusal(environ, request, rules)
        if refusal is not None:
            return refusal.answer(environ, start_response)
        if any(rule.ignores_if_none_match for rule in rules):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        archive_headers = [("x-amz-archive-status", rule.archive_tier) for rule in rules if rule.archive_tier]
        if request.reads and archive_headers:
            return self._app(
                environ,
                lambda status, headers, *rest: start_response(status, headers + archive_headers, *rest),
            )
        return self._app(environ, start_response)

    def _refusal(self, environ: dict[str, Any], request: S3Request, rules: list[Rule]) -> Refusal | None:
        if self._rules.is_throttled(rules):
            return Refusal(503, "SlowDown", "Please reduce your request rate.")
        if request.bucket in self._forbidden:
            return denied()
        if any(rule.expired for rule in rules):
            return Refusal(400, "ExpiredToken", "The provided token has expired.")
        refused = self._signatures.refusal(
            environ,
            moto_state.region_of(request.bucket),
            kms=moto_state.kms_key_of(request.bucket, request.key, request.query.get("versionId"))
            is not None,
            redirected=any(rule.redirect for rule in rules),
        )
        return (
            refused
            or _unimplemented(environ, rules)
            or _unpaid(environ, request, rules)
            or _not_allowed(request, rules)
        )


def _unimplemented(environ: dict[str, Any], rules: list[Rule]) -> Refusal | None:
    for rule in rules:
        for name in rule.not_implemented:
            if f"HTTP_{name.upper().replace('-', '_')}" in environ:
                return Refusal(501, "NotImplemented", f"Header '{name}' is not implemented.")
    return None


def _unpaid(environ: dict[str, Any], request: S3Request, rules: list[Rule]) -> Refusal | None:
    if not any(rule.requester_pays for rule in rules):
        return None
    payer = environ.get("HTTP_X_AMZ_REQUEST_PAYER") or request.query.get("x-amz-request-payer")
    return None if payer == "requester" or request.method == "PUT" else denied()


def _not_allowed(request: S3Request, rules: list[Rule]) -> Refusal | None:
    """Check the policies, and the encryption and archive tier of the object."""
    if request.key and denies(
        moto_state.policy_of(request.bucket), request.method, request.bucket, request.key
    ):
        return denied("User is not authorized, with an explicit deny in a policy")
    lacking = {action for rule in rules for action in rule.deny}
    terse = any(rule.terse for rule in rules)
    if request.action in lacking:
        return _lacking(request, request.action, terse=terse)
    if not request.reads:
        return None
    version_id = request.query.get("versionId")
    if moto_state.object_of(request.bucket, request.key, version_id) is None:
        # Without permission to list, AWS does not say that the key is missing.
        return _lacking(request, "s3:ListBucket", terse=terse) if "s3:ListBucket" in lacking else None
    if any(rule.sse_c for rule in rules):
        return Refusal(400, "InvalidRequest", _SSE_C)
    if request.method == "GET" and any(rule.archive_tier for rule in rules):
        return Refusal(403, "InvalidObjectState", "The operation is not valid for the object's access tier")
    kms_key = moto_state.kms_key_of(request.bucket, request.key, version_id)
    if request.method == "GET" and kms_key is not None:
        for rule in rules:
            if "kms:Decrypt" in rule.deny and rule.kms_key_id in (None, kms_key):
                return _lacking(request, "kms:Decrypt", terse=terse, resource=f"arn:aws:kms:::key/{kms_key}")
    return None


def _lacking(request: S3Request, action: str, *, terse: bool, resource: str | None = None) -> Refusal:
    region = moto_state.region_of(request.bucket)
    headers = {} if region is None else {"x_amz_bucket_region": region}
    if terse:
        return denied(**headers)
    resource = resource or f"arn:aws:s3:::{request.bucket}" + (f"/{request.key}" if request.key else "")
    because = f"because no identity-based policy allows the {action} action"
    return denied(
        f'User: {USER} is not authorized to perform: {action} on resource: "{resource}" {because}', **headers
    )
