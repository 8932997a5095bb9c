"""Payloads behind a URL: fetched from allowed hosts at public addresses, whole and bounded, or not at all."""

from __future__ import annotations

import gzip
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.webhooks import payloads
from extend_provider.webhooks.payloads import (
    PayloadRefusedError,
    PayloadUnavailableError,
    fetch_payload,
    is_public,
)
from fixtures.extend.proxy import Proxy
from fixtures.webhooks.payload_host import (
    MOVED,
    RUN,
    Script,
    Start,
    answering,
    endless,
    silent,
    trickling,
    trickling_chunks,
    trickling_head,
)


def settings(*hosts: str, **fields: Any) -> ExtendSettings:
    return ExtendSettings(
        "c", "https://api.extend.ai", Secret("sk_1"), webhook_payload_hosts=hosts, trust_env=False, **fields
    )


def refusal(url: str, *hosts: str, addresses: tuple[str, ...] = ("127.0.0.1",), **bounds: Any) -> str:
    with pytest.raises(PayloadRefusedError) as refused:
        fetch_payload(url, settings(*hosts), resolver=lambda *_: addresses, **bounds)
    assert "Signature" not in str(refused.value)
    return refused.value.reason


def test_an_allowed_host_is_asked_once_with_the_whole_address(
    payload_host: Start,
) -> None:
    host = payload_host()
    url = f"http://127.0.0.1:{host.port}/k%20ey?X-Amz-Signature=1&b=%2F"
    assert fetch_payload(url, settings(f"http://127.0.0.1:{host.port}")) == RUN
    (head,) = host.asked
    assert head.startswith(b"GET /k%20ey?X-Amz-Signature=1&b=%2F HTTP/1.1\r\n")
    assert b"Host: 127.0.0.1:%d\r\n" % host.port in head
    assert b"sk_1" not in head
    assert b"authorization" not in head.lower()


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/k?X-Amz-Signature=1",
        "https://amazonaws.com.evil.com/k",
        "https://evilamazonaws.com/k",
        "https://amazonaws.com/k",
        "http://b.s3.amazonaws.com/k",
        "https://b.s3.amazonaws.com:8443/k",
        "https://user@b.s3.amazonaws.com/k",
        "https://b.s3.amazonaws.com@evil.example.com/k",
        "https://evil.example.com\\.amazonaws.com/k",
        "https://evil.example.com#.amazonaws.com/k",
        "https://evil.example.com?.amazonaws.com",
        "https://b.s3.amazonaws.com/k\r\nX-Evil: 1",
        "https://b.s3.amazonaws.com/k y",
        "https://bücket.amazonaws.com/k",
        "https://b.s3.amazonaws.com./k",
        "https://[::1/k",
        "https://[::1]/k",
        "https://[v1.x]/k",
        "https://b.s3.amazonaws.com:99999/k",
        "https://b.s3.amazonaws.com:x/k",
        "https://169.254.169.254/latest/meta-data",
        "https://2852039166/",
        "https://0x7f.1/",
        "https:///k",
        "https:b.s3.amazonaws.com",
        "//b.s3.amazonaws.com/k",
        "file:///etc/passwd",
        "gopher://b.s3.amazonaws.com/k",
        "ftp://b.s3.amazonaws.com/k",
        "",
        "\x00",
    ],
)
def test_another_host_is_not_even_looked_up(url: str) -> None:
    def resolver(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(PayloadRefusedError) as refused:
        fetch_payload(url, settings("*.amazonaws.com"), resolver=resolver)
    assert refused.value.reason == "payload_host"


PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_resolves_to_a_private_address_is_refused(address: str) -> None:
    url = "https://b.s3.amazonaws.com/k?X-Amz-Signature=1"
    assert refusal(url, "*.amazonaws.com", addresses=(address,)) == "payload_address"
    assert refusal(url, "*.amazonaws.com", addresses=("52.216.1.1", address)) == "payload_address"


@pytest.mark.parametrize("address", ["52.216.1.1", "2600:1f18::1", "64:ff9b::34d8:101"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_the_address_that_was_checked_is_the_one_connected_to(
    payload_host: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second answer of the name server, made to get inside, is never asked for."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("b.s3.amazonaws.com").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    host = payload_host(tls=context)
    connect, asked = socket.create_connection, []

    def detour(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        asked.append(address)
        return connect(("127.0.0.1", host.port), *args, **options)

    def no_lookup(*args: Any, **options: Any) -> Any:
        assert args[0] in {"127.0.0.1", "52.216.1.1"}, f"{args[0]} was looked up again"
        return lookup(*args, **options)

    lookup = socket.getaddrinfo
    monkeypatch.setattr("extend_provider.webhooks.payloads.socket.create_connection", detour)
    monkeypatch.setattr("socket.getaddrinfo", no_lookup)

    def fetched(url: str) -> bytes:
        allowed = settings("*.amazonaws.com", verify=str(bundle))
        return fetch_payload(url, allowed, resolver=lambda *_: ["52.216.1.1"])

    assert fetched("https://b.s3.amazonaws.com/k") == RUN
    assert asked == [("52.216.1.1", 443)]
    assert b"Host: b.s3.amazonaws.com\r\n" in host.asked[0]
    with pytest.raises(PayloadUnavailableError, match=r"SSL|Certificate"):
        fetched("https://another.s3.amazonaws.com/k")


def test_a_host_in_the_list_itself_may_be_private(payload_host: Start) -> None:
    host = payload_host()
    url = f"http://files.internal:{host.port}/k"
    allowed = settings(f"http://files.internal:{host.port}")
    assert fetch_payload(url, allowed, resolver=lambda *_: ["127.0.0.1"]) == RUN


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            "payload_redirect",
        ),
        (b"HTTP/1.1 308 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", "payload_redirect"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "payload_status"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "payload_status"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", "payload_status"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "payload_status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, "payload_size"),
    ],
)
def test_what_is_no_payload_is_refused(payload_host: Start, answer: bytes, reason: str) -> None:
    host = payload_host(answering(answer))
    place = f"http://127.0.0.1:{host.port}"
    assert refusal(f"{place}/k?X-Amz-Signature=1", place, largest=1000) == reason
    assert len(host.asked) == 1


def test_a_small_file_that_is_large_when_unpacked_is_refused(
    payload_host: Start,
) -> None:
    packed = gzip.compress(b"0" * 10_000_000)
    host = payload_host(
        answering(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
        )
    )
    place = f"http://127.0.0.1:{host.port}"
    assert refusal(f"{place}/k", place, largest=1_000_000) == "payload_size"
    assert fetch_payload(f"{place}/k", settings(place)) == b"0" * 10_000_000


def test_an_endless_body_ends_at_its_bound_of_bytes(payload_host: Start) -> None:
    place = f"http://127.0.0.1:{payload_host(endless).port}"
    assert refusal(f"{place}/k", place, largest=1_000_000, seconds=60) == "payload_size"


@pytest.mark.parametrize("script", [trickling, trickling_head, trickling_chunks, silent])
def test_a_body_that_trickles_ends_at_its_bound_of_seconds(payload_host: Start, script: Script) -> None:
    place = f"http://127.0.0.1:{payload_host(script).port}"
    started = time.monotonic()
    assert refusal(f"{place}/k", place, seconds=0.5) == "payload_slow"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"no http\r\n\r\n",
        b"",
    ],
)
def test_what_may_be_better_later_is_no_refusal(payload_host: Start, answer: bytes) -> None:
    place = f"http://127.0.0.1:{payload_host(answering(answer)).port}"
    with pytest.raises(PayloadUnavailableError) as failed:
        fetch_payload(f"{place}/k?X-Amz-Signature=1", settings(place))
    assert "Signature" not in str(failed.value)


def test_a_host_that_cannot_be_reached_may_be_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        place = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(PayloadUnavailableError):
        fetch_payload(f"{place}/k", settings(place))

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(PayloadUnavailableError):
        fetch_payload("https://b.s3.amazonaws.com/k", settings("*.amazonaws.com"), resolver=unknown)


def test_through_a_proxy_the_list_of_hosts_still_counts(payload_host: Start) -> None:
    host = payload_host()
    place = f"http://127.0.0.1:{host.port}"
    with Proxy() as proxy:
        allowed = settings(place, proxies={"http": proxy.url, "https": proxy.url})
        assert fetch_payload(f"{place}/k", allowed) == RUN
        assert proxy.asked == 1
        with pytest.raises(PayloadRefusedError):
            fetch_payload("http://169.254.169.254/k", allowed)
        assert proxy.asked == 1


def test_through_a_proxy_redirects_and_large_bodies_are_refused_too(
    payload_host: Start,
) -> None:
    moved = payload_host(answering(MOVED))
    long = payload_host(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9_000))
    with Proxy() as proxy:
        for host, reason in ((moved, "payload_redirect"), (long, "payload_size")):
            place = f"http://127.0.0.1:{host.port}"
            allowed = settings(place, proxies={"http": proxy.url})
            with pytest.raises(PayloadRefusedError) as refused:
                fetch_payload(f"{place}/k", allowed, largest=1_000)
            assert refused.value.reason == reason


def test_the_machines_own_resolver_is_the_one_that_is_used() -> None:
    assert "127.0.0.1" in payloads.resolve("localhost", 80) or "::1" in payloads.resolve("localhost", 80)
