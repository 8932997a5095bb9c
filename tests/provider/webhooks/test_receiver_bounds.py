"""The receiver's own bounds, made short, in this process: slow stores, floods, rotated secrets, fuzz."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.observability import stats as of_servers
from airflow.sdk.log import redact  # type: ignore[attr-defined]
from airflow.sdk.observability import stats as of_tasks
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.exceptions import ExtendError
from extend_provider.webhooks import counts as counts_module
from extend_provider.webhooks.connections import Connections, read_settings, webhook_conn_ids
from extend_provider.webhooks.counts import Counts
from extend_provider.webhooks.inbox.store import Inbox
from extend_provider.webhooks.intake import Answer, take
from extend_provider.webhooks.receiver import Receiver, application
from fixtures.webhooks import deliveries
from fixtures.webhooks.payload_host import MOVED, OK, RUN, Script, Start, answering, endless
from fixtures.webhooks.receiver import connection
from sandbox.s3 import airflow_connection


def settings(inbox: str, *secrets: str, **fields: Any) -> ExtendSettings:
    return ExtendSettings(
        "extend_default",
        "https://api.extend.ai",
        Secret("sk_1"),
        webhook_secrets=tuple(map(Secret, secrets or (deliveries.SECRET,))),
        webhook_inbox=inbox,
        **fields,
    )


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(f"file://{tmp_path}/inbox")


@contextlib.contextmanager
def client_of(read: Callable[[str], ExtendSettings], **bounds: Any) -> Iterator[TestClient]:
    receiver = Receiver(
        connections=Connections(read), conn_ids=lambda: frozenset({"extend_default"}), **bounds
    )
    with TestClient(application(receiver), raise_server_exceptions=True) as client:
        yield client


def deliver(
    client: TestClient, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    body = deliveries.body() if body is None else body
    answer = client.post("/extend_default", content=body, headers=headers or deliveries.headers(body))
    return answer.status_code, answer.json()["result"]


# ---------------------------------------------------------------------- slow, and too much


def test_a_store_that_does_not_answer_is_503_long_before_extend_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S3 that takes connections and says nothing, as behind a firewall that drops packets."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        quick = {"read_timeout": 1, "connect_timeout": 1, "retries": {"max_attempts": 0}}
        there = airflow_connection(endpoint, config_kwargs=quick)
        monkeypatch.setenv("AIRFLOW_CONN_AWS_SILENT", json.dumps(there))
        silent_inbox = settings("s3://aws_silent@bucket/inbox")
        with client_of(lambda _: silent_inbox, answer_seconds=0.3) as client:
            started = time.monotonic()
            assert deliver(client) == (503, "slow")
            assert time.monotonic() - started < 15


def test_what_is_stored_too_late_is_whole_and_the_second_delivery_is_a_repetition(inbox: Inbox) -> None:
    may_go_on = threading.Event()

    def slow(*args: Any) -> Answer:
        may_go_on.wait(30)
        return take(*args)

    with client_of(lambda _: settings(inbox.address), take=slow, answer_seconds=0.2) as client:
        assert deliver(client) == (503, "slow")
        assert inbox.arrived("batch_1") == {}
        may_go_on.set()
        deadline = time.monotonic() + 30
        while not inbox.arrived("batch_1") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert deliver(client) == (200, "repeated")
    (arrived,) = inbox.arrived("batch_1").values()
    assert inbox.read("batch_1", arrived).run.id == "workflow_run_1"


def test_when_too_many_wait_the_next_is_503_at_once_and_places_come_back(inbox: Inbox) -> None:
    may_go_on = threading.Event()

    def stuck(*args: Any) -> Answer:
        may_go_on.wait(30)
        return take(*args)

    with client_of(lambda _: settings(inbox.address), take=stuck, answer_seconds=0.1, waiting=2) as client:
        assert [deliver(client)[1] for _ in range(4)] == ["slow", "slow", "busy", "busy"]
        may_go_on.set()
        deadline = time.monotonic() + 30
        while deliver(client)[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert deliver(client) == (200, "repeated")


def test_bodies_together_are_bounded_and_the_memory_comes_back(inbox: Inbox) -> None:
    large = deliveries.body(deliveries.run(text="x" * 5_000))
    with client_of(lambda _: settings(inbox.address), held_bytes=4_000) as client:
        assert deliver(client, large) == (503, "busy")
        assert [deliver(client)[0] for _ in range(10)] == [200] * 10


def test_a_body_over_the_limit_is_413_with_and_without_a_length(inbox: Inbox) -> None:
    large = deliveries.body(deliveries.run(text="x" * 5_000))
    with client_of(lambda _: settings(inbox.address), largest_body=4_000) as client:
        assert deliver(client, large) == (413, "too_large")
        answer = client.post("/extend_default", content=iter([large]), headers=deliveries.headers(large))
        assert "content-length" not in answer.request.headers
        assert (answer.status_code, answer.json()["result"]) == (413, "too_large")
    assert inbox.arrived("batch_1") == {}


async def test_a_body_that_trickles_is_given_up(inbox: Inbox) -> None:
    receiver = Receiver(
        connections=Connections(lambda _: settings(inbox.address)),
        conn_ids=lambda: frozenset({"extend_default"}),
        body_seconds=0.2,
    )
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in deliveries.headers(b"").items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/extend_default",
        "headers": headers,
        "query_string": b"",
    }
    await application(receiver)(scope, receive, send)
    assert sent[0]["status"] == 408


def test_an_error_that_nobody_expected_is_503(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> Answer:
        raise ZeroDivisionError

    with client_of(lambda _: settings(inbox.address), take=broken) as client:
        assert deliver(client) == (503, "failed")
    assert "ZeroDivisionError" in caplog.text


# ---------------------------------------------------------------------- payloads behind a URL


def deliver_url(inbox: Inbox, url: str, *hosts: str) -> tuple[int, str]:
    payload = {"object": "signed_data_url", "data": url, "id": "workflow_run_1", "metadata": {"key": "k1"}}
    with client_of(lambda _: settings(inbox.address, webhook_payload_hosts=hosts, trust_env=False)) as client:
        return deliver(client, deliveries.body(payload, eventType="workflow_run.completed"))


def test_a_payload_behind_a_url_is_fetched_and_stored(inbox: Inbox, payload_host: Start) -> None:
    place = f"http://127.0.0.1:{payload_host().port}"
    assert deliver_url(inbox, f"{place}/k?X-Amz-Signature=1", place) == (200, "stored")
    (arrived,) = inbox.arrived("batch_1").values()
    assert inbox.read("batch_1", arrived).received == RUN


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (answering(MOVED), "payload_redirect"),
        (endless, "payload_size"),
        (answering(OK.replace(b"workflow_run_1", b"workflow_run_2")), "payload_shape"),
        (answering(OK.replace(b"{", b"[")), "payload_shape"),
    ],
)
def test_what_is_no_payload_is_answered_once_and_for_all_and_counted(
    inbox: Inbox,
    payload_host: Start,
    script: Script,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = f"http://127.0.0.1:{payload_host(script).port}"
    assert deliver_url(inbox, f"{place}/k?X-Amz-Signature=s3cr3t", place) == (200, reason)
    assert inbox.arrived("batch_1") == {}
    assert f"{reason}. The payload of event event_1, run workflow_run_1" in caplog.text
    assert "Extend is asked for the run" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_name_with_a_private_address_is_refused(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = socket.getaddrinfo

    def inside(host: str, port: int, *args: Any, **options: Any) -> Any:
        return lookup("10.0.0.1" if host.endswith(".amazonaws.com") else host, port, *args, **options)

    monkeypatch.setattr("socket.getaddrinfo", inside)
    url = "https://b.s3.amazonaws.com/k?X-Amz-Signature=1"
    assert deliver_url(inbox, url, "*.amazonaws.com") == (200, "payload_address")


def test_a_payload_that_cannot_be_had_now_is_503_so_that_extend_delivers_again(inbox: Inbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        place = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert deliver_url(inbox, f"{place}/k", place) == (503, "payload_unavailable")


# ---------------------------------------------------------------------- connections


def test_a_rotated_secret_counts_within_a_minute_without_a_restart() -> None:
    now = [0.0]
    current = [settings("file:///x", "wss_old")]
    connections = Connections(lambda _: current[0], clock=lambda: now[0])
    assert connections.get("extend_default").webhook_secrets == ("wss_old",)
    current[0] = settings("file:///x", "wss_old", "wss_new")
    assert connections.get("extend_default").webhook_secrets == ("wss_old",)
    now[0] = 60.0
    assert connections.remembered("extend_default") is None
    assert connections.get("extend_default").webhook_secrets == ("wss_old", "wss_new")
    assert connections.remembered("extend_default") is current[0]


def test_a_connection_is_read_once_however_many_ask() -> None:
    reads = []

    def read(conn_id: str) -> ExtendSettings:
        reads.append(conn_id)
        time.sleep(0.05)
        return settings("file:///x")

    connections = Connections(read)
    threads = [threading.Thread(target=connections.get, args=("extend_default",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == ["extend_default"]


def test_a_connection_that_cannot_be_read_is_tried_again_after_seconds() -> None:
    now, reads = [0.0], []

    def read(conn_id: str) -> ExtendSettings:
        reads.append(conn_id)
        raise ExtendError("The secrets backend does not answer.")

    connections = Connections(read, clock=lambda: now[0])
    for moment in (0.0, 1.0, 6.0):
        now[0] = moment
        assert connections.remembered("c") is None
        with pytest.raises(ExtendError, match="secrets backend"):
            connections.get("c")
    assert len(reads) == 2


def test_the_connections_are_those_of_airflows_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert webhook_conn_ids() == {"extend_default"}
    monkeypatch.setenv("AIRFLOW__EXTEND__WEBHOOK_CONN_IDS", "extend_eu, extend_us,")
    assert webhook_conn_ids() == {"extend_eu", "extend_us"}


def test_each_secret_is_masked_in_logs_once_the_connection_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_MASKED", connection("file:///x", "wss_first_of_two, wss_second_of_two")
    )
    assert read_settings("extend_masked").webhook_secrets == ("wss_first_of_two", "wss_second_of_two")
    assert redact("a wss_second_of_two b") == "a *** b"
    assert redact({"webhook_secrets": ["wss_unread"]}) == {"webhook_secrets": ["***"]}  # as the UI shows it
    with pytest.raises(ExtendError, match="could not be read"):
        read_settings("extend_of_nobody")


# ---------------------------------------------------------------------- counts


def test_reasons_are_counted_logged_once_and_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            counts.add("extend_default", "wrong_signature", "None of the secrets makes this signature.")
            counts.add("extend_default", "stored")
        assert caplog.text.count("None of the secrets") == 1
        counts.report()
        counts.report()
    assert "3 stored, 3 wrong_signature" in caplog.text
    assert len(caplog.records) == 2
    assert counts.totals == {("extend_default", "wrong_signature"): 3, ("extend_default", "stored"): 3}


def test_the_sums_are_logged_by_themselves(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Counts(interval=0.05).add("extend_default", "stored")
        deadline = time.monotonic() + 20
        while "1 stored" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "1 stored" in caplog.text


@pytest.mark.parametrize("context", ["server", "client"])
def test_reasons_are_metrics_of_airflow(monkeypatch: pytest.MonkeyPatch, context: str) -> None:
    """Counted by StatsD, as Airflow's own metrics, in servers and in tasks."""
    counted = []

    class Backend:
        def incr(self, name: str, **_: Any) -> None:
            counted.append(name)

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", context)
    stats: Any = of_servers if context == "server" else of_tasks
    stats.initialize(factory=Backend, export_legacy_names=False)
    try:
        counts_module.increment("extend.webhooks.stored", "extend_default")
    finally:
        stats.initialize(factory=NoStatsLogger, export_legacy_names=True)
    assert counted == ["extend.webhooks.stored"]


# ---------------------------------------------------------------------- signed, and bad

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda run, event: json.dumps({**json.loads(deliveries.body(run)), **event}).encode(),
        st.builds(
            lambda fields: {**deliveries.run(), **fields},
            st.dictionaries(
                st.sampled_from(["id", "status", "batchId", "object", "updatedAt", "data"]), JSON
            ),
        ),
        st.dictionaries(st.sampled_from(["eventId", "eventType", "payload"]), JSON),
    ),
    st.builds(lambda cut: deliveries.body()[:cut], st.integers(0, 400)),
    st.builds(lambda size: b'{"a":"' + b"x" * size + b'"}', st.integers(3_900, 5_000)),
)
SIGNING = st.sampled_from(["right", "wrong secret", "other body", "old", "early", "none", "twice", "garbage"])
EXTRA = st.lists(
    st.tuples(
        st.sampled_from(
            ["x-extend-api-version", "content-type", "content-encoding", "x-forwarded-for", "x-a"]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    ),
    max_size=3,
)


def headers_of(body: bytes, signing: str, garbage: str) -> list[tuple[str, str]]:
    offset = {"old": -400, "early": 400}.get(signing, 0)
    signed = deliveries.headers(
        body + b"x" if signing == "other body" else body,
        secret="wss_x" if signing == "wrong secret" else deliveries.SECRET,
        now=time.time() + offset,
    )
    pairs = [(name, value) for name, value in signed.items() if name.endswith(("timestamp", "signature"))]
    if signing == "garbage":
        return [(name, garbage) for name, _ in pairs]
    return {"none": [], "twice": pairs * 2}.get(signing, pairs)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    root = tmp_path_factory.mktemp("fuzzed")
    with client_of(lambda _: settings(f"file://{root}/inbox"), largest_body=4_000) as client:
        yield client, root


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(BODIES, SIGNING, EXTRA, st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_nothing_is_stored_that_is_not_signed_and_nothing_breaks(
    fuzzed: tuple[TestClient, Path], body: bytes, signing: str, extra: list[tuple[str, str]], garbage: str
) -> None:
    client, root = fuzzed
    before = files(root)
    answer = client.post(
        "/extend_default", content=body, headers=[*headers_of(body, signing, garbage), *extra]
    )
    assert answer.status_code in (200, 400, 401, 413)
    stored = files(root) - before
    if signing != "right":
        assert answer.status_code in (401, 413)
    assert not stored or answer.json()["result"] in ("stored", "unknown_type")
    # What is stored has its place below the inbox, and is whole.
    for path in stored:
        assert path.parts[0] in ("runs", "unknown")
        assert path.name.endswith(".json.gz")


def files(root: Path) -> set[Path]:
    inbox = root / "inbox"
    return {Path(folder, name).relative_to(inbox) for folder, _, names in os.walk(inbox) for name in names}


def test_the_inbox_of_a_rightly_signed_event_is_the_one_of_its_connection(tmp_path: Path) -> None:
    def read(conn_id: str) -> ExtendSettings:
        return dataclasses.replace(settings(f"file://{tmp_path}/{conn_id}"), conn_id=conn_id)

    receiver = Receiver(connections=Connections(read), conn_ids=lambda: frozenset({"extend_eu", "extend_us"}))
    with TestClient(application(receiver)) as client:
        body = deliveries.body()
        assert client.post("/extend_us", content=body, headers=deliveries.headers(body)).status_code == 200
    assert set(Inbox(f"file://{tmp_path}/extend_us").arrived("batch_1")) == {"workflow_run_1"}
    assert Inbox(f"file://{tmp_path}/extend_eu").arrived("batch_1") == {}
