"""An S3 on this machine: moto's server as a process of its own (``python -m sandbox.s3``), and its clients.

The server keeps everything in memory and knows one dummy user. Unlike moto alone it refuses, always:

- a request without a signature (403), with a wrong one (403 ``SignatureDoesNotMatch``), with an unknown key
  (403 ``InvalidAccessKeyId``), or after its expiry (403 "Request has expired"; 400 for more than a week);
- a signature for another region than the bucket's: 400 ``AuthorizationHeaderMalformed``, in a presigned URL
  400 ``AuthorizationQueryParametersError``, both with ``x-amz-bucket-region``;
- signature version 2 for SSE-KMS objects (400 ``InvalidArgument``), and in regions newer than version 4
  (400 ``InvalidRequest``);
- what a bucket's policy denies for objects, whoever asks; what it allows is allowed anyway;
- to read what is archived and not restored (403 ``InvalidObjectState``; its HEAD is 200), as moto does.

And where a test says so for a bucket, a prefix or a key (``sandbox.s3.admin`` has the calls,
``sandbox.s3.rules.Rule`` the fields):

- actions that the user's policy lacks: ``s3:GetObject``, ``s3:GetObjectVersion`` (403 as soon as a version is
  named), ``s3:ListBucket`` (403 for absent keys too), ``s3:ListBucketVersions``, ``s3:PutObject``,
  ``kms:Decrypt`` (403 on GET, 200 on HEAD);
- SSE-C (400, on HEAD without a body); requester pays (403 without ``x-amz-request-payer``);
- 301 ``PermanentRedirect`` in place of 400 for another region; ended credentials (400 ``ExpiredToken``);
- throttling (503 ``SlowDown``) for a number of requests;
- look-alikes: that ignore ``If-None-Match``, that list from the beginning whatever is asked, that refuse a
  header (501 ``NotImplemented``).
"""

from sandbox.s3.client import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, airflow_connection, client, seed

__all__ = ["ACCESS_KEY_ID", "REGION", "SECRET_ACCESS_KEY", "airflow_connection", "client", "seed"]
