"""Clients of the sandbox's S3: boto3, and an Airflow connection."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.documents import SampleObject

# These are no secrets: the server listens only on the loopback interface and has no other user.
ACCESS_KEY_ID = "sandbox"
SECRET_ACCESS_KEY = "sandbox-secret"
REGION = "us-east-1"

_UPLOADS = 8
#: Objects held in memory while they are uploaded.
_IN_FLIGHT = 4 * _UPLOADS


def client(endpoint_url: str, region: str = REGION, **config: Any) -> Any:
    """Return a boto3 S3 client of the server at ``endpoint_url``.

    :param config: options of ``botocore.config.Config``, e.g. ``signature_version``.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=2 * _UPLOADS, **config),
    )


def queue_client(endpoint_url: str) -> Any:
    """Return a boto3 SQS client of the server at ``endpoint_url``."""
    import boto3

    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


def announce(
    endpoint_url: str, bucket: str, queue: str, *, prefix: str = "", receptions: int = 5, visibility: int = 30
) -> str:
    """Have a bucket announce new objects to a queue; bucket, queue and dead-letter queue are created.

    :param prefix: announce only objects whose keys begin with it.
    :param receptions: how often a message is received before it goes to ``<queue>-dead``.
    :param visibility: seconds until a message that is not deleted is received again.
    :return: the queue's URL.
    """
    sqs = queue_client(endpoint_url)

    def created(name: str, **attributes: Any) -> tuple[str, str]:
        url = str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, asked["Attributes"]["QueueArn"]

    _, dead = created(f"{queue}-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": receptions})
    url, arn = created(queue, RedrivePolicy=redrive, VisibilityTimeout=str(visibility))
    s3 = client(endpoint_url)
    s3.create_bucket(Bucket=bucket)
    rule: dict[str, Any] = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    if prefix:
        rule["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    return url


def airflow_connection(endpoint_url: str, **extra: Any) -> dict[str, Any]:
    """Return the Airflow connection of type ``aws`` for the server, ready for ``json.dumps``.

    :param extra: further fields of the connection's extra, e.g. ``requester_pays``.
    """
    return {
        "conn_type": "aws",
        "login": ACCESS_KEY_ID,
        "password": SECRET_ACCESS_KEY,
        "extra": {
            "endpoint_url": endpoint_url,
            "region_name": REGION,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
            **extra,
        },
    }


def seed(endpoint_url: str, bucket: str, objects: Iterable[SampleObject]) -> int:
    """Upload objects, several at a time, to a bucket that is created if missing.

    :param objects: streamed; only a few are in memory at a time.
    :return: the number of uploaded objects.
    :raises botocore.exceptions.ClientError: the server refused the bucket or an object.
    """
    s3 = client(endpoint_url)
    # In the region REGION, creating a bucket of one's own again succeeds.
    s3.create_bucket(Bucket=bucket)
    count = 0
    with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="s3-seed") as pool:
        pending: collections.deque[Future[Any]] = collections.deque()
        for item in objects:
            if len(pending) == _IN_FLIGHT:
                pending.popleft().result()
            pending.append(pool.submit(s3.put_object, Bucket=bucket, Key=item.key, Body=item.data))
            count += 1
        for upload in pending:
            upload.result()
    return count
