"""Whether Extend has signed a request just now. Pure.

The signature is the HMAC-SHA256 of ``v0:<timestamp>:<body>`` with the endpoint's signing secret, in
lower-case hex. Extend's own SDK (1.20.0) takes requests that are up to five minutes old or a minute ahead;
so does this.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final

TIMESTAMP: Final = "x-extend-request-timestamp"
SIGNATURE: Final = "x-extend-request-signature"
API_VERSION: Final = "x-extend-api-version"
#: How old a request may be, in seconds, and how far ahead its sender's clock.
OLDEST: Final = 300.0
FURTHEST_AHEAD: Final = 60.0

_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")

#: Names and values as they came, also where a name came twice.
Headers = Sequence[tuple[str, str]]


class SignatureError(ValueError):
    """A request that is not to be trusted.

    :param reason: for a count: ``unsigned``, ``wrong_signature``, ``too_old``, ``too_early``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def verify(body: bytes, headers: Headers, secrets: Iterable[str], *, now: float) -> None:
    """Check the signature against each secret, in constant time, and the time against the window.

    :param body: byte for byte as it was received.
    :param now: when it arrived, in seconds since the epoch.
    :raises SignatureError: unless all is right.
    """
    timestamp, signature = header(headers, TIMESTAMP), header(headers, SIGNATURE)
    if timestamp is None or signature is None:
        raise SignatureError("unsigned", "A header of the signature is missing, or there twice.")
    if not _SECONDS.fullmatch(timestamp) or not _HEX.fullmatch(signature):
        raise SignatureError("unsigned", "A header of the signature has another form than Extend's.")
    message = b"v0:" + timestamp.encode() + b":" + body
    right = [
        hmac.compare_digest(hmac.digest(secret.encode(), message, hashlib.sha256).hex(), signature)
        for secret in secrets
        if secret
    ]
    if not any(right):
        raise SignatureError("wrong_signature", "None of the secrets makes this signature.")
    age = now - int(timestamp)
    if age > OLDEST:
        raise SignatureError("too_old", f"The request was signed {age:,.0f} seconds before it arrived.")
    if age < -FURTHEST_AHEAD:
        raise SignatureError("too_early", f"The request was signed {-age:,.0f} seconds after it arrived.")


def header(headers: Headers, name: str) -> str | None:
    """Return a header's value; None if there is none, or if two contradict each other by being two.

    :param name: in lower case.
    """
    values = [value for each, value in headers if each.lower() == name]
    return values[0] if len(values) == 1 else None
