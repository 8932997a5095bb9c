"""Payloads that are too large for a request are fetched, from the hosts that the connection allows alone.

The URL comes from outside, so no request may be made with it that its sender should not be able to make:

- the host must be in ``webhook_payload_hosts``; https only, unless the entry itself begins with ``http://``;
- a host that matches a wildcard must have public addresses only, and the connection is made to an address
  that was checked, so that a second answer of the name server changes nothing;
- redirects are not followed; size and time are bounded.

Through a proxy, the proxy resolves the name, so the list of hosts is all that is checked here. It is the
proxy that the ``extend`` connection or the environment names for that host. All of it blocks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from extend_provider.client.settings import ExtendSettings
from extend_provider.hooks.network import Route, route_of
from extend_provider.hooks.requests_transport import route_session

#: The largest payload that is taken, in bytes, before and after decompression.
LARGEST_PAYLOAD: Final = 64 * 2**20
#: Seconds that fetching one payload may take; Extend waits 30 for the answer to its request.
LONGEST_FETCH: Final = 10.0

_CHUNK: Final = 2**16
_URL: Final = re.compile(r"https?://[!-\[\]-~]+")
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_IPV6: Final = ipaddress.ip_network("2000::/3")
_TUNNELS: Final = (ipaddress.ip_network("2001::/32"), ipaddress.ip_network("2002::/16"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Returns the addresses of a host and port, as ``socket.getaddrinfo`` orders them.
Resolver = Callable[[str, int], Sequence[str]]


class PayloadRefusedError(Exception):
    """A payload that is not fetched, now or later; the message names no URL.

    :param reason: for a count: ``payload_host``, ``payload_address``, ``payload_redirect``,
        ``payload_status``, ``payload_size``, ``payload_slow``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PayloadUnavailableError(Exception):
    """A payload that could not be fetched at this moment: no connection, or the server failed."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, by the machine's own resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def fetch_payload(
    url: str,
    settings: ExtendSettings,
    *,
    resolver: Resolver = resolve,
    largest: int = LARGEST_PAYLOAD,
    seconds: float = LONGEST_FETCH,
) -> bytes:
    """Return what the URL of a payload holds.

    :raises PayloadRefusedError: it must not be fetched, or is not what a payload is.
    :raises PayloadUnavailableError: another try may succeed.
    """
    parts, is_literal = _allowed(url, settings.webhook_payload_hosts)
    place = dataclasses.replace(settings, base_url=f"{parts.scheme}://{parts.netloc}", cert=None)
    route = route_of(place)
    deadline = time.monotonic() + seconds
    try:
        if route.proxy:
            with _through_proxy(url, route, seconds) as answer:
                return _body(answer, largest, deadline)
        addresses = _addresses(parts, resolver, check=not is_literal)
        with _directly(parts, addresses, route, deadline) as answer:
            return _body(answer, largest, deadline)
    except (OSError, HTTPException, urllib3.exceptions.HTTPError, requests.RequestException) as error:
        if time.monotonic() >= deadline:
            raise PayloadRefusedError(
                "payload_slow", f"It did not arrive whole within {seconds:g} seconds."
            ) from None
        # The error's own text would show the URL.
        raise PayloadUnavailableError(
            f"No payload came from {parts.hostname}: {type(error).__name__}."
        ) from None


# ---------------------------------------------------------------------- where to


def _allowed(url: str, hosts: Iterable[str]) -> tuple[SplitResult, bool]:
    """Return the parts of an allowed URL, and whether its host is allowed literally."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        origin = _origin(parts) if _URL.fullmatch(url) else None
        for entry in hosts if origin else ():
            if _matches(entry, origin):
                return parts, not entry.startswith("*")
    raise PayloadRefusedError(
        "payload_host",
        "Its host is not among the connection's webhook_payload_hosts, or its URL has an unusual form.",
    )


def _matches(entry: str, origin: tuple[str, str, int] | None) -> bool:
    if entry.startswith("*."):
        wanted, _, port = entry[1:].partition(":")
        scheme, host, actual = origin or ("", "", 0)
        return scheme == "https" and host.endswith(wanted) and actual == int(port or 443)
    return _origin(urlsplit(entry if "://" in entry else f"https://{entry}")) == origin


def _origin(parts: SplitResult) -> tuple[str, str, int] | None:
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        return None
    if not _HOST.fullmatch(host):
        ipaddress.IPv6Address(host)
    return parts.scheme, host, parts.port or _PORTS[parts.scheme]


def _addresses(parts: SplitResult, resolver: Resolver, *, check: bool) -> Sequence[str]:
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    addresses = resolver(host, port)
    if check and not all(map(is_public, addresses)):
        raise PayloadRefusedError(
            "payload_address",
            f"{host} has an address that is not public. If that is meant to be so (a private endpoint of "
            "S3), add the host itself to the connection's webhook_payload_hosts.",
        )
    return addresses


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet, also where it wraps another one."""
    try:
        found: Address = ipaddress.ip_address(address)
    except ValueError:  # with a zone: of a link
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        elif found not in _IPV6 or any(found in tunnel for tunnel in _TUNNELS):
            return False
    return found.is_global and not found.is_multicast


# ---------------------------------------------------------------------- how


@contextlib.contextmanager
def _directly(
    parts: SplitResult, addresses: Sequence[str], route: Route, deadline: float
) -> Iterator[urllib3.BaseHTTPResponse]:
    with contextlib.ExitStack() as open_things:
        connected = _connect(addresses, parts.port or _PORTS[parts.scheme], deadline)
        # Whatever trickles in, a header or a handshake, ends here.
        guard = open_things.enter_context(contextlib.closing(connected.dup()))
        watch = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, (guard,))
        watch.start()
        open_things.callback(watch.cancel)
        connection = _connection(parts, connected, route)
        open_things.callback(connection.close)
        target = parts.path or "/"
        connection.request(
            "GET",
            f"{target}?{parts.query}" if parts.query else target,
            headers={"Host": parts.netloc, "Accept-Encoding": "identity"},
            preload_content=False,
            decode_content=False,
        )
        yield connection.getresponse()


def _connect(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    error: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), max(0.1, deadline - time.monotonic()) / 2)
        except OSError as failed:
            error = failed
    raise error


def _connection(parts: SplitResult, connected: socket.socket, route: Route) -> HTTPConnection:
    """Return a connection that uses a socket, with TLS for the host's name where the URL says https."""
    host = parts.hostname or ""
    connection: HTTPConnection
    if parts.scheme == "https":
        connection = HTTPSConnection(host, parts.port, ssl_context=route.tls, server_hostname=host)
    else:
        connection = HTTPConnection(host, parts.port)
    connection._new_conn = lambda: connected  # type: ignore[method-assign]
    return connection


def _shut(guard: socket.socket) -> None:
    with contextlib.suppress(OSError):
        guard.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _through_proxy(url: str, route: Route, seconds: float) -> Iterator[urllib3.BaseHTTPResponse]:
    with requests.Session() as session:
        route_session(session, route)
        headers = {"Accept-Encoding": "identity"}
        answer = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=seconds / 2)
        with answer:
            yield answer.raw


def _body(answer: urllib3.BaseHTTPResponse, largest: int, deadline: float) -> bytes:
    status = answer.status
    if 300 <= status < 400:
        raise PayloadRefusedError("payload_redirect", f"HTTP {status}: redirects are not followed.")
    if status >= 500 or status == 429:
        raise PayloadUnavailableError(f"The payload's host answered HTTP {status}.")
    if status != 200:
        raise PayloadRefusedError("payload_status", f"HTTP {status}; the URL is valid for an hour.")
    encoding = (answer.headers.get("Content-Encoding") or "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise PayloadRefusedError("payload_status", "It has a content encoding that was not asked for.")
    length = answer.headers.get("Content-Length")
    received = bytearray()
    while chunk := answer.read1(_CHUNK, decode_content=False):
        received += chunk
        if len(received) > largest:
            raise PayloadRefusedError("payload_size", f"It has more than {largest:,} bytes.")
        if time.monotonic() > deadline:
            raise TimeoutError
    if time.monotonic() >= deadline:  # an end that the watch has made
        raise TimeoutError
    if length and length.isdecimal() and int(length) != len(received):
        raise ConnectionError("the connection ended before the payload was whole")
    return _inflated(bytes(received), largest) if encoding == "gzip" else bytes(received)


def _inflated(received: bytes, largest: int) -> bytes:
    inflater: Any = zlib.decompressobj(wbits=31)
    try:
        whole: bytes = inflater.decompress(received, largest + 1)
    except zlib.error:
        whole = b""
    if len(whole) > largest:
        raise PayloadRefusedError("payload_size", f"It has more than {largest:,} bytes.")
    if not inflater.eof:
        raise PayloadRefusedError("payload_status", "Its content is not what its encoding says.")
    return whole
