"""The page on webhooks and arrivals: its commands are run, those of AWS against moto."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from extend_pipeline import Arrivals
from extend_pipeline.arrivals.notifications import read_notification
from extend_provider.webhooks.queue import request_of
from extend_provider.webhooks.signature import API_VERSION, SIGNATURE, TIMESTAMP
from extend_provider.webhooks.sqs import SqsQueue
from fixtures.aws_commands import REGION, client, run_block
from fixtures.extend.api import ExtendApi
from fixtures.guides import ROOT, SHELL, lines, messages, quotations
from fixtures.sources.sqs import Sqs
from fixtures.tasks.extend_command import extend_command

PAGE = (ROOT / "docs" / "webhooks.md").read_text()
BLOCKS = SHELL.findall(PAGE)
(QUEUE, ARRIVALS) = (block for block in BLOCKS if block.startswith("aws "))
POLICIES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture
def extend_default(extend_api: ExtendApi, airflow_database: None) -> Iterator[None]:
    """Have Airflow's database define the connection."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    def remove() -> None:
        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == "extend_default").delete()

    remove()
    with create_session() as session:
        session.add(Connection.from_json(extend_api.connection_json(), conn_id="extend_default"))
    yield
    remove()


def test_the_commands_about_webhooks_work_in_their_order(
    extend_default: None, extend_api: ExtendApi, tmp_path: Path
) -> None:
    typed = [line for block in BLOCKS for line in lines(block, "airflow extend webhooks")]
    assert len(typed) > 5
    for line in typed:
        words = shlex.split(line.replace("/dev/shm", str(tmp_path)))
        assert extend_command(*words[2:]) == 0, line
    (left,) = extend_api.call("GET", "/webhook_endpoints").json()["data"]
    assert ".execute-api." in left["url"]


def test_the_queue_and_its_gateway_are_made(
    sqs: Sqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", sqs.connection_json(region_name=REGION))
    run_block(QUEUE, sqs.endpoint_url, tmp_path)
    gateway = client("apigatewayv2", sqs.endpoint_url)
    (api,) = gateway.get_apis()["Items"]
    (integration,) = gateway.get_integrations(ApiId=api["ApiId"])["Items"]
    (route,) = gateway.get_routes(ApiId=api["ApiId"])["Items"]
    assert route["RouteKey"] == "POST /extend"
    assert route["Target"] == f"integrations/{integration['IntegrationId']}"
    queue = client("sqs", sqs.endpoint_url).get_queue_url(QueueName="extend-webhooks")["QueueUrl"]
    assert integration["RequestParameters"]["QueueUrl"] == queue
    assert dead_letters(sqs, "extend-webhooks") == "extend-webhooks-dead"

    # What the gateway makes of a request, the queue's reader understands.
    headers = {TIMESTAMP: "1790000000", SIGNATURE: "0" * 64, API_VERSION: "2025-04-21"}
    mapped = integration["RequestParameters"]
    assert mapped["MessageBody"] == "$request.body"
    filled = re.sub(
        r"\$\{request\.header\.([\w-]+)\}", lambda found: headers[found[1]], mapped["MessageAttributes"]
    )
    attributes = json.loads(filled.replace("${context.requestTimeEpoch}", "1790000001500"))
    client("sqs", sqs.endpoint_url).send_message(
        QueueUrl=queue, MessageBody='{"a": "ü"}', MessageAttributes=attributes
    )
    (message,) = SqsQueue(queue, "aws_queue").receive(wait_seconds=1)
    read = request_of(message)
    assert read.body == '{"a": "ü"}'.encode()
    assert dict(read.headers) == headers
    assert read.received_at == 1790000001.5


def test_the_bucket_announces_to_a_queue_that_lets_it(sqs: Sqs, tmp_path: Path) -> None:
    s3 = client("s3", sqs.endpoint_url)
    s3.create_bucket(Bucket="acme-inbox", CreateBucketConfiguration={"LocationConstraint": REGION})
    run_block(ARRIVALS, sqs.endpoint_url, tmp_path)
    s3.put_object(Bucket="acme-inbox", Key="elsewhere/a.pdf", Body=b"a")
    s3.put_object(Bucket="acme-inbox", Key="documents/a.pdf", Body=b"a")
    assert dead_letters(sqs, "extend-arrivals") == "extend-arrivals-dead"
    queues = client("sqs", sqs.endpoint_url)
    url = queues.get_queue_url(QueueName="extend-arrivals")["QueueUrl"]
    told = [
        place.uri
        for _ in range(3)
        for message in queues.receive_message(QueueUrl=url).get("Messages", ())
        for place in read_notification(message["Body"]).arrived
    ]
    assert told == ["s3://acme-inbox/documents/a.pdf"]
    s3.delete_object(Bucket="acme-inbox", Key="documents/a.pdf")
    s3.delete_object(Bucket="acme-inbox", Key="elsewhere/a.pdf")
    s3.delete_bucket(Bucket="acme-inbox")


def dead_letters(sqs: Sqs, name: str) -> str:
    """Return the name of a queue's dead-letter queue."""
    queues = client("sqs", sqs.endpoint_url)
    url = queues.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
    return str(json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].rsplit(":", 1)[-1])


@pytest.mark.parametrize(
    ("policy", "read"), zip(POLICIES, ([SqsQueue.receive, SqsQueue.delete], [SqsQueue]), strict=True)
)
def test_the_rights_are_those_that_reading_the_queue_needs(
    policy: dict[str, Any], read: list[Any], sqs: Sqs
) -> None:
    (statement,) = policy["Statement"]
    calls = [call for each in read for call in re.findall(r"_client\.(\w+)\(", inspect.getsource(each))]
    needed = {f"sqs:{call.removesuffix('_batch').title().replace('_', '')}" for call in calls}
    assert {*statement["Action"]} == needed
    made = client("iam", sqs.endpoint_url).create_policy(
        PolicyName=statement["Resource"].rsplit(":", 1)[-1], PolicyDocument=json.dumps(policy)
    )
    assert made["Policy"]["Arn"]


def test_what_is_quoted_is_said() -> None:
    said = messages()
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    quoted = quotations(text)
    assert len(quoted) > 2
    assert [part for part in quoted if not any(part in message for message in said)] == []
    reasons = {*re.findall(r"`([a-z]+_[a-z_]+)`", text)}
    assert {"wrong_signature", "no_webhook_inbox"} <= reasons
    missing = {f"no_{setting}" for setting in ("webhook_secrets", "webhook_inbox")}
    fields = {field.name for field in dataclasses.fields(Arrivals)}
    dags = {file.stem for file in (ROOT / "dags").glob("*.py")}
    assert reasons - missing - said - fields - dags == set()


def test_the_receiver_runs_alone() -> None:
    (line,) = (line for block in BLOCKS for line in lines(block, "uvicorn"))
    from sandbox.stack.processes.network import free_ports

    (port,) = free_ports(1)
    command = [sys.executable, "-m", *shlex.split(line.replace("8788", str(port)))]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            assert answer(process, f"http://127.0.0.1:{port}/extend_default") == 401
            assert answer(process, f"http://127.0.0.1:{port}/another") == 404
        finally:
            process.terminate()


def answer(process: subprocess.Popen[bytes], url: str) -> int:
    """Return what a request without a signature is answered, once somebody listens."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return requests.post(url, json={}, timeout=60).status_code
        except requests.ConnectionError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
