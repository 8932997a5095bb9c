"""Uploads sample documents to the stack's S3, where the DAGs find them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from sandbox.airflow_settings import AirflowSettings
from sandbox.documents import SampleObject, Truth, generate
from sandbox.s3 import announce, seed
from sandbox.stack.processes.process import StackError

#: The variable with the source of the nightly run, as ``s3://bucket/prefix``.
SOURCE_VARIABLE = "extend_source"
#: The variable with the URL of the queue to which the source's bucket announces new objects.
QUEUE_VARIABLE = "extend_arrivals_queue"


def seed_documents(
    s3_url: str, settings: AirflowSettings, days: Sequence[dt.date], per_day: int, random_seed: int
) -> list[Truth]:
    """Generate documents for some days and upload them to the source in the settings; return their truth.

    :param s3_url: the S3 to upload to.
    :param per_day: documents per day.
    :raises StackError: the settings name no source in S3.
    """
    bucket, prefix = source_of(settings)
    truths: list[Truth] = []

    def generated() -> Iterator[SampleObject]:
        for sample in generate(days, per_day, random_seed, prefix):
            truths.append(sample.truth)
            yield sample

    seed(s3_url, bucket, generated())
    return truths


def announce_arrivals(s3_url: str, settings: AirflowSettings) -> None:
    """Create the source's bucket and the queue of the settings, to which it announces new objects.

    Nothing is created if the settings name no queue of this S3, or no source in S3.
    """
    queue, source = settings.variable(QUEUE_VARIABLE) or "", settings.variable(SOURCE_VARIABLE) or ""
    if queue.startswith(f"{s3_url}/") and source.startswith("s3://"):
        bucket, prefix = source_of(settings)
        announce(s3_url, bucket, queue.rpartition("/")[2], prefix=prefix)


def source_of(settings: AirflowSettings) -> tuple[str, str]:
    """Return the bucket and the prefix, with a slash at its end, of the nightly run's source.

    :raises StackError: the settings name no source in S3.
    """
    source = settings.variable(SOURCE_VARIABLE) or ""
    scheme, _, rest = source.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket or not prefix:
        raise StackError(
            f"airflow_settings.yaml: the variable {SOURCE_VARIABLE} must have the form s3://bucket/prefix, "
            "because sample documents are uploaded there"
        )
    return bucket, f"{prefix.rstrip('/')}/"
