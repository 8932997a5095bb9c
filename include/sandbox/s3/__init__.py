"""An S3 on this machine: moto's server in its own process (``python -m sandbox.s3``), and its clients.

Its buckets announce new objects to queues (SQS), which answer at the same address.

The server keeps everything in memory and has one user. In addition to moto it always refuses:

- a request without a signature (403), with a wrong one (403 ``SignatureDoesNotMatch``), with an unknown key
  (403 ``InvalidAccessKeyId``), or after its expiry (403 "Request has expired"; 400 if valid for over a week);
- a signature for another region than the bucket's: 400 ``AuthorizationHeaderMalformed``, in a presigned URL
  400 ``AuthorizationQueryParametersError``, both with ``x-amz-bucket-region``;
- signature version 2 for SSE-KMS objects (400 ``InvalidArgument``), and in regions newer than version 4
  (400 ``InvalidRequest``);
- requests for objects that the bucket's policy denies, for any user; allow statements have no effect.

Rules for a bucket, a prefix or a key switch on more (``sandbox.s3.admin`` has the endpoints,
``sandbox.s3.checks.rules.Rule`` the fields):

- missing permissions: ``s3:GetObject``, ``s3:GetObjectVersion`` (403 for a request with a version),
  ``s3:ListBucket`` (403 also for missing keys), ``s3:ListBucketVersions``, ``s3:PutObject``,
  ``kms:Decrypt`` (403 on GET, 200 on HEAD);
- archive tiers of Intelligent-Tiering (403 ``InvalidObjectState``, HEAD 200 with ``x-amz-archive-status``;
  listings show them only during a restore);
- SSE-C (400, on HEAD without a body); requester pays (403 without ``x-amz-request-payer``);
- 301 ``PermanentRedirect`` instead of 400 for another region; expired credentials (400 ``ExpiredToken``);
- throttling (503 ``SlowDown``) for a number of requests;
- S3 lookalikes that ignore ``If-None-Match``, that always list from the beginning, or that refuse a header
  (501 ``NotImplemented``).
"""

from sandbox.s3.client import (
    ACCESS_KEY_ID,
    REGION,
    SECRET_ACCESS_KEY,
    airflow_connection,
    announce,
    client,
    queue_client,
    seed,
)

__all__ = [
    "ACCESS_KEY_ID",
    "REGION",
    "SECRET_ACCESS_KEY",
    "airflow_connection",
    "announce",
    "client",
    "queue_client",
    "seed",
]
