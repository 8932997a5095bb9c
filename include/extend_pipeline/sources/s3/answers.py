"""Errors that S3 answers instead of an object: what each means, and its remedy."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
FORBIDDEN: Final = frozenset({"403", "AccessDenied", "Forbidden", "AllAccessDisabled"})
#: The credentials are wrong, whatever is requested.
REFUSED: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
PASSING: Final = frozenset({"RequestTimeout", "RequestTimeTooSkewed", "Throttling", "429"})
#: The request was for another region than the bucket's.
_REGION: Final = frozenset(
    {"301", "307", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"}
    | {"AuthorizationQueryParametersError", "IllegalLocationConstraintException"}
)
#: ``400`` because the answer to HEAD has no body, and so no code.
_SSE_C: Final = frozenset({"400", "InvalidRequest"})
#: Another cause of 403, for which S3 has no code of its own.
PAYER: Final = (
    '; if the bucket is Requester Pays, set "requester_pays": true in the connection\'s extra instead'
)


class Answer(NamedTuple):
    """An error that S3 answers in place of an object.

    :param code: the code of S3, or the HTTP status if the answer has no body.
    """

    status: int
    code: str
    message: str = ""

    @classmethod
    def of(cls, error: ClientError) -> Answer:
        """Return the answer that a client has raised."""
        facts: Mapping[str, str] = error.response.get("Error", {})  # type: ignore[assignment]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return cls(status, str(facts.get("Code", "")), str(facts.get("Message", "")))

    @classmethod
    def read(cls, status: int, body: str) -> Answer:
        """Return the answer to a plain HTTP request."""
        found = {name: re.search(rf"<{name}>(.*?)</{name}>", body, re.DOTALL) for name in ("Code", "Message")}
        code, message = (html.unescape(match[1]) if match else "" for match in found.values())
        return cls(status, code or str(status), message)

    @property
    def is_passing(self) -> bool:
        """Whether a later attempt may succeed."""
        return self.code in PASSING or self.status >= 500

    def lacks(self, *, encrypted_by: str = "") -> tuple[str, str]:
        """Return what is missing, and how to grant it.

        :param encrypted_by: the KMS key of the object, if it is known.
        """
        # Across accounts, S3 says only "Access Denied". If the head can be read and the object cannot, the
        # key is missing.
        if "kms:" in self.message or (encrypted_by and self.code in FORBIDDEN):
            key = encrypted_by or "that encrypts them"
            return "kms:Decrypt", f"allow kms:Decrypt on the KMS key {key}, in its key policy and in IAM"
        if self.code in _REGION:
            return (
                "region",
                "let the connection's endpoint_url be that of the bucket's region, or leave it out",
            )
        if self.code in REFUSED:
            return "credentials", "renew the credentials of the connection"
        if self.code == "InvalidObjectState":
            return "an archive", "restore the objects first"
        if self.code in _SSE_C:
            return "SSE-C", "encrypt them anew with SSE-S3 or SSE-KMS: Extend cannot send a customer's key"
        if self.code not in FORBIDDEN:
            return "what S3 asks for", "see its answer and the bucket's settings"
        action = "s3:GetObjectVersion" if "s3:GetObjectVersion" in self.message else "s3:GetObject"
        return action, f"allow {action} on the objects, in the bucket's policy and in IAM{PAYER}"

    def refusal(self) -> str:
        """Return why an object cannot be read, for messages."""
        what, how = self.lacks()
        detail = f": {self.message}" if self.message else ""
        return f"S3 refuses to read the object ({self.status} {self.code}{detail}). Missing: {what}; {how}."
