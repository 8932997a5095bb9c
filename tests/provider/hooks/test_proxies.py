"""Behind a proxy: the connection shows whether a request has left, the kind of error does not."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendConnectionError,
    ExtendError,
    ExtendUnclearSubmissionError,
)
from fixtures.extend.hook_runner import BATCH, RUN, HookRunner, get_run, set_connection, submit_batch
from fixtures.extend.proxy import Mode, Proxy
from fixtures.extend.scripted_server import Reply, ScriptedServer, closed_port


@dataclasses.dataclass
class Route:
    """A way through a proxy to a server, set up in the connection or in the environment."""

    server: ScriptedServer
    use: Callable[[str], None]
    tunnels: bool

    def through(self, proxy: Proxy | str) -> None:
        self.use(proxy if isinstance(proxy, str) else proxy.url)

    @property
    def arrived(self) -> int:
        return len(self.server.requests)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def configured() -> str:
    """Return where the proxy is set; overridden where it matters."""
    return "connection"


CONFIGURED = pytest.mark.parametrize("configured", ["connection", "environment"])


@pytest.fixture(params=["plain", "CONNECT"])
def route(
    request: pytest.FixtureRequest,
    configured: str,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Route]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tunnels = request.param == "CONNECT"
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    tls = None
    if tunnels:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    with ScriptedServer(BATCH, tls=tls) as server:

        def use(proxy: str) -> None:
            extra: dict[str, Any] = {"verify": str(trusted)}
            if configured == "connection":
                extra["proxy"] = proxy
            else:
                monkeypatch.setenv("https_proxy" if tunnels else "http_proxy", proxy)
            set_connection(monkeypatch, server.url, extra=extra)

        yield Route(server, use, tunnels)


@CONFIGURED
def test_a_submission_arrives_through_the_proxy(hooks: HookRunner, route: Route) -> None:
    with Proxy() as proxy:
        route.through(proxy)
        assert hooks.run(submit_batch) == "batch_1"
    assert (proxy.asked, route.arrived) == (1, 1)


@pytest.mark.parametrize(
    ("route", "mode"),
    [("plain", "drops"), ("plain", "resets"), ("plain", "502"), ("CONNECT", "drops"), ("CONNECT", "resets")],
    indirect=["route"],
)
def test_an_answer_lost_by_the_proxy_is_unclear_and_not_sent_again(
    hooks: HookRunner, route: Route, mode: Mode
) -> None:
    with Proxy(mode) as proxy:
        route.through(proxy)
        with pytest.raises(ExtendUnclearSubmissionError):
            hooks.run(submit_batch)
    assert route.arrived == 1


def test_an_answer_lost_on_a_reused_connection_is_unclear(hooks: HookRunner, route: Route) -> None:
    route.server.script = [RUN, Reply(fault="drop"), BATCH]
    with Proxy() as proxy:
        route.through(proxy)
        with pytest.raises(ExtendUnclearSubmissionError):
            hooks.run(get_run, submit_batch)
    assert [request.method for request in route.server.requests] == ["GET", "POST"]


@CONFIGURED
@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_refused_tunnel_proves_that_nothing_was_sent(
    hooks: HookRunner, route: Route, configured: str, status: int
) -> None:
    with Proxy("refuses", refusal=status) as proxy:
        route.through(proxy)
        with pytest.raises(ExtendError) as failure:
            hooks.run(submit_batch)
    assert route.arrived == 0
    if route.tunnels:
        assert isinstance(failure.value, ExtendConnectionError)
        assert "nothing was sent" in str(failure.value)
        assert f"The proxy {proxy.url} of the {configured}'s " in str(failure.value)
        assert proxy.asked == (3 if status == 502 else 1), "credentials that are refused again get locked"
    elif status == 502:
        assert isinstance(failure.value, ExtendUnclearSubmissionError), "it may have been forwarded"
    elif status == 407:
        assert isinstance(failure.value, ExtendConnectionError), "no server asks for that, only a proxy does"
        assert proxy.asked == 1
    else:
        assert type(failure.value) is ExtendAuthError, "the proxy itself says no"


def test_a_proxy_that_dies_may_have_forwarded_the_request(hooks: HookRunner, route: Route) -> None:
    with Proxy("dies") as proxy:
        route.through(proxy)
        with pytest.raises(ExtendConnectionError if route.tunnels else ExtendUnclearSubmissionError):
            hooks.run(submit_batch)
    assert route.arrived == 0
    assert proxy.asked == (3 if route.tunnels else 1)


def test_an_unreachable_proxy_sends_nothing(hooks: HookRunner, route: Route) -> None:
    route.through(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ExtendConnectionError, match="nothing was sent") as failure:
        hooks.run(submit_batch)
    assert failure.value.retryable
    assert route.arrived == 0


@pytest.mark.parametrize("route", ["CONNECT"], indirect=True)
def test_an_untrusted_certificate_inside_the_tunnel_proves_that_nothing_was_sent(
    hooks: HookRunner, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy() as proxy:
        route.through(proxy)
        set_connection(monkeypatch, route.server.url, extra={"proxy": proxy.url})
        with pytest.raises(ExtendConnectionError, match=r"nothing was sent: .*certificate") as failure:
            hooks.run(submit_batch)
    assert not failure.value.retryable
    assert (proxy.asked, route.arrived) == (1, 0)
