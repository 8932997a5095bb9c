"""Clients of S3: one as the connection configures it, and one for each region in which buckets are.

A presigned URL works only if it is signed with version 4 (version 2 reads nothing under SSE-KMS, and nothing
at all in newer regions) and for the region of the bucket. The version is set here, and the region is asked
of the bucket once.
"""

# Imported only where a task opens S3, see sources/__init__.py.
# ruff: noqa: TID253

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final, Self

import requests
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import ClientError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from extend_pipeline.sources.objects import LOOK_UPS
from extend_pipeline.sources.s3.answers import Answer

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from types_boto3_s3.client import S3Client

#: The suffix of directory buckets: they list in no order, only from the start, and sign in another way.
DIRECTORY_BUCKET: Final = "--x-s3"
#: Attempts in all when S3 is throttling (``SlowDown``) or fails for the moment; the delay grows to 20 s.
_ATTEMPTS: Final = 6
_BACKOFF: Final = 0.2
_BUSY: Final = (429, 500, 502, 503, 504)
#: Seconds that S3 has to answer with one byte.
_PROBE_TIMEOUT: Final = 30

log = logging.getLogger(__name__)


class _Hook(S3Hook):
    """The provider's hook, which names this pipeline as the caller in the user agent.

    The provider looks for the name of an operator in the sources of all callers: as long as it takes to open
    the client.
    """

    def _get_caller(self, target_function_name: str = "execute") -> str:
        return "extend_pipeline"


class S3Clients:
    """The clients of one connection.

    :ivar plain: the client that reads and lists; it follows a redirect to another region.
    :ivar requester_pays: whether the connection asks for it.
    """

    def __init__(self, plain: S3Client, hook: S3Hook | None = None, *, requester_pays: bool = False) -> None:
        self.plain, self.hook, self.requester_pays = plain, hook, requester_pays
        self._signing: dict[str, S3Client] = {}
        self._lock = threading.Lock()
        if requester_pays:
            plain.meta.events.register("before-sign.s3", _pay)

    @classmethod
    def connect(cls, aws_conn_id: str) -> Self:
        """Open an Airflow connection; with ``"requester_pays": true`` in its extra, the requester pays."""
        hook = _Hook(aws_conn_id=aws_conn_id)
        requester_pays = {**hook.service_config, **hook.conn_config.extra_config}.get("requester_pays")
        return cls(_client(hook), hook, requester_pays=str(requester_pays).lower() == "true")

    @property
    def verify(self) -> bool | str:
        """The trusted certificates, as the ``verify`` of ``requests``."""
        verify = None if self.hook is None else self.hook.verify
        return True if verify is None else verify

    def signing(self, bucket: str) -> S3Client:
        """Return the client that signs the URLs of a bucket."""
        with self._lock:
            if bucket not in self._signing:
                self._signing[bucket] = self._signer(bucket)
            return self._signing[bucket]

    def _signer(self, bucket: str) -> S3Client:
        if self.hook is None or bucket.endswith(DIRECTORY_BUCKET):
            return self.plain
        region = self._region(bucket)
        if region in (None, self.plain.meta.region_name):
            return self.plain
        client = _client(self.hook, region)
        if self.requester_pays:
            client.meta.events.register("before-sign.s3", _pay)
        return client

    def _region(self, bucket: str) -> str | None:
        """Return the region of a bucket; AWS sends it even with a refusal, other S3 services may not."""
        try:
            headers = self.plain.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
        except ClientError as error:
            headers = error.response["ResponseMetadata"]["HTTPHeaders"]
        return headers.get("x-amz-bucket-region") or None


def read_one_byte(url: str, client: S3Client, clients: S3Clients | None) -> Answer | None:
    """Read one byte by a presigned URL; return the refusal, or None.

    Proxies and certificates are those of the connection. If no connection is possible, the log says so,
    without the URL, which is a secret.
    """
    again = Retry(
        _ATTEMPTS, status_forcelist=_BUSY, backoff_factor=_BACKOFF, raise_on_status=False, redirect=0
    )
    proxies = getattr(client.meta.config, "proxies", None)
    verify = True if clients is None else clients.verify
    with requests.Session() as session:
        session.mount(url.partition("://")[0] + "://", HTTPAdapter(max_retries=again))
        try:
            answer = session.get(
                url,
                headers={"Range": "bytes=0-0"},
                timeout=_PROBE_TIMEOUT,
                proxies=proxies,
                verify=verify,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            log.warning(
                "It was not checked whether Extend may read from S3: no presigned URL could be opened (%s).",
                type(error).__name__,
            )
            return None
    return None if answer.ok and answer.status_code < 300 else Answer.read(answer.status_code, answer.text)


def _client(hook: S3Hook, region: str | None = None) -> S3Client:
    """Open a client; signatures and retries that the connection itself configures stay as they are."""
    ours = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=LOOK_UPS,  # a further one would be closed after every request
    )
    client: S3Client = hook.get_client_type(region_name=region, config=ours.merge(hook.config))
    return client


def _pay(request: AWSRequest, signature_version: str, **_: Any) -> None:
    """Add that the requester pays; in a URL as a parameter, because its reader sends no such header."""
    url = request.url or ""
    if not signature_version.endswith("query"):
        request.headers["x-amz-request-payer"] = "requester"
    elif "x-amz-request-payer" not in url:
        request.url = f"{url}{'&' if '?' in url else '?'}x-amz-request-payer=requester"
