"""Checks signatures of requests by computing them again with botocore's signers."""

from __future__ import annotations

import datetime as dt
import hmac
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from sandbox.s3.checks.answers import Refusal, denied

#: Regions that are older than signature version 4 and still accept version 2.
OLD_REGIONS = frozenset(
    {
        *("us-east-1", "us-west-1", "us-west-2", "eu-west-1", "sa-east-1"),
        *("ap-southeast-1", "ap-southeast-2", "ap-northeast-1"),
    }
)
WEEK_SECONDS = 7 * 24 * 3600
_VERSION_4 = "AWS4-HMAC-SHA256"
_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method."
)


class Signatures:
    """Checks the signatures of one user."""

    def __init__(self, access_key_id: str, secret_access_key: str) -> None:
        self._credentials = Credentials(access_key_id, secret_access_key)

    def refusal(
        self, environ: Mapping[str, Any], bucket_region: str | None, *, kms: bool, redirected: bool
    ) -> Refusal | None:
        """Return the refusal of a request; None if its signature is correct.

        :param bucket_region: None if the bucket does not exist.
        :param kms: the request is for an object with SSE-KMS.
        :param redirected: a request signed for another region gets 301 (it went to that region's endpoint)
            instead of 400 (it went to the bucket's endpoint).
        """
        query = {name: values[0] for name, values in parse_qs(_query(environ)).items()}
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if authorization.startswith(_VERSION_4):
            return self._header(environ, authorization, bucket_region, redirected=redirected)
        if query.get("X-Amz-Algorithm") == _VERSION_4:
            return self._query_4(environ, query, bucket_region)
        if "Signature" in query and "Expires" in query:
            return self._query_2(environ, query, bucket_region, kms=kms)
        return denied()

    def signs(self, environ: Mapping[str, Any], body: bytes) -> bool:
        """Return whether a request for another service than S3 has a correct signature in its headers."""
        parts = _parts(environ["HTTP_AUTHORIZATION"])
        key_id, _, region, service, _ = parts["Credential"].split("/")
        request = _request(environ, _url(environ), parts["SignedHeaders"].split(";"))
        request.data = body
        request.context["timestamp"] = environ.get("HTTP_X_AMZ_DATE", "")
        computed = _version_4(SigV4Auth(self._credentials, service, region), request)
        return self._compare(key_id, parts["Signature"], computed) is None

    def _header(
        self, environ: Mapping[str, Any], authorization: str, bucket_region: str | None, *, redirected: bool
    ) -> Refusal | None:
        parts = _parts(authorization)
        key_id, _, region, service, _ = parts["Credential"].split("/")
        if bucket_region is not None and region != bucket_region:
            return (
                _redirect(environ, bucket_region)
                if redirected
                else Refusal(
                    400,
                    "AuthorizationHeaderMalformed",
                    "The authorization header is malformed; "
                    f"the region '{region}' is wrong; expecting '{bucket_region}'",
                    {"Region": bucket_region},
                    {"x-amz-bucket-region": bucket_region},
                )
            )
        request = _request(environ, _url(environ), parts["SignedHeaders"].split(";"))
        request.context["timestamp"] = environ.get("HTTP_X_AMZ_DATE", "")
        signer = S3SigV4Auth(self._credentials, service, region)
        return self._compare(key_id, parts["Signature"], _version_4(signer, request))

    def _query_4(
        self, environ: Mapping[str, Any], query: Mapping[str, str], bucket_region: str | None
    ) -> Refusal | None:
        key_id, _, region, service, _ = query["X-Amz-Credential"].split("/")
        if bucket_region is not None and region != bucket_region:
            return _parameters(
                f"Error parsing the X-Amz-Credential parameter; the region '{region}' is wrong; "
                f"expecting '{bucket_region}'",
                Region=bucket_region,
            )
        if int(query["X-Amz-Expires"]) > WEEK_SECONDS:
            return _parameters(
                "X-Amz-Expires must be less than a week (in seconds); "
                f"that is, the given X-Amz-Expires must be less than {WEEK_SECONDS} seconds"
            )
        signed_at = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        if signed_at.timestamp() + int(query["X-Amz-Expires"]) < time.time():
            return denied("Request has expired")
        request = _request(
            environ, _url(environ, without="X-Amz-Signature"), query["X-Amz-SignedHeaders"].split(";")
        )
        request.context["timestamp"] = query["X-Amz-Date"]
        signer = S3SigV4QueryAuth(self._credentials, service, region)
        return self._compare(key_id, query["X-Amz-Signature"], _version_4(signer, request))

    def _query_2(
        self, environ: Mapping[str, Any], query: Mapping[str, str], bucket_region: str | None, *, kms: bool
    ) -> Refusal | None:
        if bucket_region is not None and bucket_region not in OLD_REGIONS:
            return Refusal(
                400,
                "InvalidRequest",
                f"The authorization mechanism you have provided is not supported. Please use {_VERSION_4}.",
            )
        if float(query["Expires"]) < time.time():
            return denied("Request has expired")
        signer = _Until(self._credentials, query["Expires"])
        headers: Any = HTTPHeaders()
        for name, value in query.items():
            if name.lower().startswith("x-amz-") or name.lower() in ("content-type", "content-md5"):
                headers[name] = value
        signature = signer.get_signature(environ["REQUEST_METHOD"], urlsplit(_url(environ)), headers)
        refused = self._compare(query.get("AWSAccessKeyId", ""), query["Signature"], signature)
        if refused is None and kms:
            return Refusal(
                400,
                "InvalidArgument",
                "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature "
                "Version 4.",
                {"ArgumentName": "Authorization", "ArgumentValue": "null"},
            )
        return refused

    def _compare(self, key_id: str, given: str, computed: str) -> Refusal | None:
        if key_id != self._credentials.access_key:
            return Refusal(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                {"AWSAccessKeyId": key_id},
            )
        if not hmac.compare_digest(given, computed):
            return Refusal(403, "SignatureDoesNotMatch", _NO_MATCH)
        return None


class _Until(HmacV1QueryAuth):
    """Signature version 2 with the expiry of a given URL."""

    def __init__(self, credentials: Credentials, moment: str) -> None:
        super().__init__(credentials)
        self._moment = moment

    def _get_date(self) -> str:
        return self._moment


def _parts(authorization: str) -> dict[str, str]:
    listed = authorization.removeprefix(_VERSION_4).split(",")
    return {name: value for name, _, value in (part.strip().partition("=") for part in listed)}


def _version_4(signer: SigV4Auth | S3SigV4QueryAuth, request: AWSRequest) -> str:
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def _query(environ: Mapping[str, Any]) -> str:
    return str(environ.get("QUERY_STRING", ""))


def _url(environ: Mapping[str, Any], without: str = "") -> str:
    """Return the URL as it was sent, without one query parameter."""
    path, _, query = str(environ["RAW_URI"]).partition("?")
    kept = [pair for pair in query.split("&") if pair and unquote(pair.partition("=")[0]) != without]
    return f"http://{environ.get('HTTP_HOST', '')}{urlsplit(path).path}" + (
        f"?{'&'.join(kept)}" if kept else ""
    )


def _request(environ: Mapping[str, Any], url: str, signed_headers: list[str]) -> AWSRequest:
    request = AWSRequest(environ["REQUEST_METHOD"], url)
    for name in signed_headers:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        request.headers[name] = str(environ.get(key, ""))
    return request


def _parameters(message: str, **details: str) -> Refusal:
    headers = {"x-amz-bucket-region": details["Region"]} if "Region" in details else {}
    return Refusal(400, "AuthorizationQueryParametersError", message, details, headers)


def _redirect(environ: Mapping[str, Any], region: str) -> Refusal:
    bucket = str(environ.get("PATH_INFO", "")).lstrip("/").partition("/")[0]
    return Refusal(
        301,
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified endpoint. Please send "
        "all future requests to this endpoint.",
        {"Endpoint": f"{bucket}.s3.{region}.amazonaws.com", "Bucket": bucket},
        {"x-amz-bucket-region": region},
    )
