"""The receiver as Extend meets it: a real process, what arrives there, and what it answers."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
import requests

from extend_provider.webhooks.intake import LARGEST_BODY
from fixtures.webhooks import deliveries
from fixtures.webhooks.receiver import RunningReceiver

EVENT = "runs/batch_1/workflow_run_1~PROCESSED~20261127T050000000000Z~event_1.json.gz"


def result(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["result"]


def logged(receiver: RunningReceiver, *parts: str) -> bool:
    """Return whether a line of the log has all parts, within the seconds that a busy machine takes."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(all(part in line for part in parts) for line in list(receiver.log)):
            return True
        time.sleep(0.05)
    return False


def raw(receiver: RunningReceiver, request: bytes) -> bytes:
    """Send bytes as they are, and return the beginning of the answer."""
    with socket.create_connection(receiver.address, timeout=30) as client:
        client.sendall(request)
        return client.recv(65536)


def head(body: bytes, *lines: str, length: str | None = None, **changed: str) -> bytes:
    sent = {**deliveries.headers(body), **changed}
    written = [f"{name}: {value}" for name, value in sent.items()]
    size = f"Content-Length: {len(body) if length is None else length}"
    return "\r\n".join(["POST /extend_default HTTP/1.1", "Host: x", size, *written, *lines, "", ""]).encode()


# ---------------------------------------------------------------------- what is stored


def test_an_event_is_stored_before_it_is_answered(receiver: RunningReceiver) -> None:
    assert result(receiver.deliver()) == (200, "stored")
    assert receiver.stored() == [EVENT]
    delivered = receiver.inbox.read("batch_1", receiver.inbox.arrived("batch_1")["workflow_run_1"])
    assert delivered.run.id == "workflow_run_1"


def test_the_same_event_again_changes_nothing(receiver: RunningReceiver) -> None:
    assert [result(receiver.deliver()) for _ in range(2)] == [(200, "stored"), (200, "repeated")]
    assert receiver.stored() == [EVENT]


def test_both_api_versions_are_taken(receiver: RunningReceiver) -> None:
    legacy = {
        "id": "workflow_run_2",
        "status": "FAILED",
        "batchId": "batch_1",
        "outputs": [],
        "success": False,
    }
    for payload, version in ((deliveries.run(), "2026-02-09"), (legacy, "2025-04-21")):
        body = deliveries.body(payload, f"event_{version}")
        assert result(receiver.deliver(body, deliveries.headers(body, version=version))) == (200, "stored")
    arrived = receiver.inbox.arrived("batch_1")
    versions = {run_id: receiver.inbox.read("batch_1", each).api_version for run_id, each in arrived.items()}
    assert versions == {"workflow_run_1": "2026-02-09", "workflow_run_2": "2025-04-21"}


def test_an_event_of_a_batch_that_nobody_knows_is_kept(receiver: RunningReceiver) -> None:
    assert result(receiver.deliver(deliveries.body(deliveries.run(batchId="batch_of_others")))) == (
        200,
        "stored",
    )
    assert set(receiver.inbox.arrived("batch_of_others")) == {"workflow_run_1"}


def test_a_later_state_of_a_run_that_has_landed_is_kept(receiver: RunningReceiver) -> None:
    receiver.deliver(deliveries.body(deliveries.run(status="NEEDS_REVIEW")))
    receiver.inbox.remove("batch_1", receiver.inbox.arrived("batch_1")["workflow_run_1"].names)
    assert result(receiver.deliver(deliveries.body(event_id="event_2"))) == (200, "stored")
    assert receiver.inbox.arrived("batch_1")["workflow_run_1"].status == "PROCESSED"


def test_an_unknown_type_is_kept_apart(receiver: RunningReceiver) -> None:
    body = deliveries.body({"id": "x"}, eventType="workflow_run.archived")
    assert result(receiver.deliver(body)) == (200, "unknown_type")
    assert receiver.stored() == ["unknown/event_1.json.gz"]


def test_an_event_of_no_use_is_not_stored(receiver: RunningReceiver) -> None:
    body = deliveries.body({"id": "x"}, eventType="extract_run.processed")
    assert result(receiver.deliver(body)) == (200, "of_no_use")
    assert receiver.stored() == []


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "changed",
    [
        {"x-extend-request-signature": None},
        {"x-extend-request-timestamp": None},
        {"x-extend-request-signature": "0" * 64},
        {"x-extend-request-signature": "sha256=1"},
        {"x-extend-request-timestamp": "nan"},
        {"x-extend-request-timestamp": "-1"},
        {"x-extend-request-timestamp": "9" * 400},
    ],
)
def test_no_or_a_wrong_signature_is_401(receiver: RunningReceiver, changed: dict[str, str | None]) -> None:
    sent = {**deliveries.headers(deliveries.body()), **changed}
    answer = receiver.deliver(headers={name: value for name, value in sent.items() if value is not None})
    assert result(answer) == (401, "unauthorized")
    assert receiver.stored() == []


@pytest.mark.parametrize("off_by", [-400, 400])
def test_a_clock_that_is_off_is_401_and_the_log_says_which_way(
    receiver: RunningReceiver, off_by: int
) -> None:
    body = deliveries.body()
    sent = deliveries.headers(body, now=time.time() + off_by)
    assert result(receiver.deliver(body, sent)) == (401, "unauthorized")
    assert receiver.stored() == []
    assert logged(receiver, "too_early" if off_by > 0 else "too_old", "seconds")


def test_another_secret_is_401(receiver: RunningReceiver) -> None:
    body = deliveries.body()
    assert result(receiver.deliver(body, deliveries.headers(body, secret="wss_x"))) == (401, "unauthorized")
    assert receiver.stored() == []
    assert logged(receiver, "extend_default", "wrong_signature")


@pytest.mark.parametrize(
    "body", [b"", b"<xml/>", b"\xff\xfe", b"[" * 200_000, b'{"eventId": "\\ud800"', b"\x00"]
)
def test_what_is_no_json_is_400(receiver: RunningReceiver, body: bytes) -> None:
    assert result(receiver.deliver(body)) == (400, "not_json")
    assert receiver.stored() == []


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        deliveries.body(event_id="../../etc/passwd"),
        deliveries.body(deliveries.run("../x")),
        deliveries.body(deliveries.run(batchId="a/b")),
        deliveries.body(deliveries.run(batchId="a\x00b")),
        deliveries.body(deliveries.run(status="~")),
    ],
)
def test_json_of_another_shape_is_400(receiver: RunningReceiver, body: bytes) -> None:
    assert result(receiver.deliver(body)) == (400, "shape")
    assert receiver.stored() == []


def test_a_body_over_the_limit_is_413_before_it_is_read(receiver: RunningReceiver) -> None:
    answer = raw(receiver, head(b"{}", length=str(LARGEST_BODY + 1)))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_say_how_long_it_is_ends_at_the_limit(receiver: RunningReceiver) -> None:
    sent = deliveries.headers(b"")

    def chunks() -> Any:
        for _ in range(LARGEST_BODY // 2**20 + 8):
            yield b" " * 2**20

    try:
        answer = requests.post(f"{receiver.url}/extend_default", data=chunks(), headers=sent, timeout=60)
    except requests.ConnectionError:
        answer = None  # it was closed while it was written to
    assert answer is None or result(answer) == (413, "too_large")
    assert receiver.stored() == []
    assert logged(receiver, "too_large")
    assert result(receiver.deliver()) == (200, "stored")


@pytest.mark.parametrize("name", ["x-extend-request-signature", "x-extend-request-timestamp"])
def test_a_header_twice_is_401(receiver: RunningReceiver, name: str) -> None:
    body = deliveries.body()
    again = f"{name}: {deliveries.headers(body)[name]}"
    assert raw(receiver, head(body, again) + body).startswith(b"HTTP/1.1 401 ")
    assert receiver.stored() == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /extend_default HTTP/9.9\r\n\r\n",
        head(b"{}", length="-1"),
        head(b"{}", length="1e3"),
        head(b"{}", "Transfer-Encoding: gzip"),
        head(b"{}", "Transfer-Encoding: chunked", length="2") + b"zz\r\n",
        head(b"{}", **{"x-extend-request-signature": "\x00"}),
    ],
)
def test_what_is_no_http_stores_nothing_and_breaks_nothing(
    receiver: RunningReceiver, request_bytes: bytes
) -> None:
    with socket.create_connection(receiver.address, timeout=30) as client:
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65536)
    assert answer == b"" or answer.split(b" ")[1].startswith(b"4")
    assert receiver.stored() == []
    assert result(receiver.deliver()) == (200, "stored")


def test_a_sender_that_leaves_in_the_middle_stores_nothing(receiver: RunningReceiver) -> None:
    body = deliveries.body()
    with socket.create_connection(receiver.address, timeout=30) as client:
        client.sendall(head(body) + body[:-1])
    assert result(receiver.deliver(deliveries.body(event_id="event_2"))) == (200, "stored")
    assert len(receiver.stored()) == 1


# ---------------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "extend_default"),
        ("HEAD", "extend_default"),
        ("PUT", "extend_default"),
        ("DELETE", "extend_default"),
        ("OPTIONS", "extend_default"),
        ("POST", ""),
        ("POST", "extend_default/"),
        ("POST", "extend_default/x"),
        ("POST", "extend_secret"),  # there is such a connection, but not for webhooks
        ("POST", "postgres_default"),
        ("POST", "%2e%2e"),
        ("POST", "extend_default%2f"),
        ("POST", "EXTEND_DEFAULT"),
        ("GET", "docs"),
        ("GET", "openapi.json"),
    ],
)
def test_everything_else_is_404(receiver: RunningReceiver, method: str, path: str) -> None:
    answer = receiver.deliver(conn_id=path, method=method)
    assert answer.status_code == 404
    assert method == "HEAD" or answer.json() == {"result": "not_found"}
    assert receiver.stored() == []


# ---------------------------------------------------------------------- what is not right here


def test_a_workspace_that_cannot_be_written_to_is_503(receiver: RunningReceiver) -> None:
    answer = receiver.deliver(conn_id="extend_readonly")
    assert result(answer) == (503, "not_writable")
    assert answer.headers["Retry-After"]
    assert logged(receiver, "extend_readonly", "not_writable")


@pytest.mark.parametrize(
    ("conn_id", "setting"),
    [("extend_bare", "webhook_secrets"), ("extend_homeless", "webhook_inbox")],
)
def test_a_missing_setting_is_503_and_the_log_names_it(
    receiver: RunningReceiver, conn_id: str, setting: str
) -> None:
    assert result(receiver.deliver(conn_id=conn_id)) == (503, f"no_{setting}")
    assert receiver.stored() == []
    assert logged(receiver, f"'{conn_id}'", setting)


def test_a_connection_that_is_not_defined_is_503(receiver: RunningReceiver) -> None:
    assert result(receiver.deliver(conn_id="extend_undefined")) == (503, "no_connection")
    assert logged(receiver, "'extend_undefined'", "could not be read")


def test_no_log_shows_a_secret_a_signature_or_content(receiver: RunningReceiver) -> None:
    body = deliveries.body(deliveries.run(text="the document's own words"))
    sent = deliveries.headers(body)
    receiver.deliver(body, sent)
    receiver.deliver(body, {**sent, "x-extend-request-signature": "0" * 64})
    whole = "".join(receiver.log)
    for hidden in (deliveries.SECRET, sent["x-extend-request-signature"], "own words", "sk_sandbox"):
        assert hidden not in whole


def test_a_signed_url_to_another_host_is_refused_and_the_run_is_asked_for(receiver: RunningReceiver) -> None:
    for url, reason in (
        ("https://evil.example.com/k?X-Amz-Signature=s3cr3t", "payload_host"),
        ("http://169.254.169.254/latest/meta-data?X-Amz-Signature=s3cr3t", "payload_host"),
    ):
        body = deliveries.body({"object": "signed_data_url", "data": url, "id": "workflow_run_1"})
        assert result(receiver.deliver(body)) == (200, reason)
    assert receiver.stored() == []
    assert logged(receiver, "payload_host", "workflow_run_1", "asked for the run")
    assert "s3cr3t" not in "".join(receiver.log)


def test_the_answer_comes_in_milliseconds(receiver: RunningReceiver) -> None:
    """The bound is far above what is measured (``make bench``): a second, for a busy machine."""
    receiver.deliver()
    with requests.Session() as session:
        seconds = []
        for number in range(20):
            body = deliveries.body(event_id=f"event_{number}")
            started = time.monotonic()
            answer = session.post(
                f"{receiver.url}/extend_default", data=body, headers=deliveries.headers(body), timeout=30
            )
            seconds.append(time.monotonic() - started)
            assert answer.status_code == 200
    assert sorted(seconds)[len(seconds) // 2] < 1
    assert json.loads(answer.content)["result"] == "stored"
