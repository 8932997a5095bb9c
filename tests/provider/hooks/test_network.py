"""The way to Extend, decided once for both hooks: real proxies, real certificates."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from extend_provider.batch.waiting.polling import Outcome, PollResult
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.client.settings import ExtendSettings
from extend_provider.exceptions import ExtendConnectionError, ExtendInputError
from extend_provider.hooks.extend import ExtendHook
from extend_provider.hooks.network import CA_BUNDLES, route_of
from extend_provider.triggers.batch import ExtendBatchTrigger
from fixtures.extend.api import ExtendApi
from fixtures.extend.hook_runner import BATCH, CONN_ID, RUN, HookRunner, get_run, set_connection, submit_batch
from fixtures.extend.proxy import Proxy
from fixtures.extend.scripted_server import Reply, ScriptedServer, closed_port

#: What ``openssl x509 -hash`` gives for the authority's name, by which OpenSSL looks into a folder.
NAME_HASH = "5054f112"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in CA_BUNDLES:
        monkeypatch.delenv(name, raising=False)


@dataclasses.dataclass(frozen=True)
class Inside:
    """A company's network: its own authority, and what it has signed.

    :param bundle: file with the authority's certificate.
    :param folder: the same as OpenSSL looks it up by.
    """

    bundle: str
    folder: str
    certified: Callable[[], ssl.SSLContext]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Inside:
    authority = trustme.CA(organization_name="Acme", organization_unit_name="Network")
    home = tmp_path_factory.mktemp("authority")
    bundle, folder = home / "bundle.pem", home / "certs"
    authority.cert_pem.write_to_path(str(bundle))
    folder.mkdir()
    (folder / f"{NAME_HASH}.0").write_bytes(bundle.read_bytes())

    def certified() -> ssl.SSLContext:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(tls)
        return tls

    return Inside(str(bundle), str(folder), certified)


@pytest.fixture
def server(inside: Inside) -> Iterator[ScriptedServer]:
    with ScriptedServer(RUN, tls=inside.certified()) as server:
        yield server


class Front(Proxy):
    """TLS before a server that speaks plain HTTP, as a company's gateway has it."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        super().__init__(tls=tls)
        self._target = urlsplit(url)

    def _serve(self, client: socket.socket, stream: Any) -> bool:
        with socket.create_connection((str(self._target.hostname), int(self._target.port or 80))) as server:
            self._tunnel(client, server)
        return False


def test_a_batch_is_sent_waited_for_and_read_through_a_proxy_and_by_an_authority_of_the_companys_own(
    extend_api: ExtendApi, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Front(extend_api.url, inside.certified()) as front, Proxy(login="etl:pw") as proxy:
        set_connection(monkeypatch, front.url, key=extend_api.key)
        monkeypatch.setenv("HTTPS_PROXY", f"http://etl:pw@{proxy.address}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", inside.bundle)
        with ExtendHook(CONN_ID) as hook:
            file = hook.upload_file("a.txt", b"Invoice 1")
            batch_id = hook.create_batch("workflow_invoices", [BatchInput(FileInput(file_id=file.id))])
            tunnels = proxy.asked
            ended = asyncio.run(fire(waiting_for(batch_id)))
            assert ended.outcome is Outcome.DONE
            assert proxy.asked > tunnels >= 1
            ((run,),) = hook.iter_run_pages(batch_id=batch_id)
            assert hook.get_run(run.id).status == "PROCESSED"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://127.0.0.1:port"])
def test_a_trigger_reports_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    set_connection(monkeypatch, "https://extend.test")
    monkeypatch.setenv("ALL_PROXY", proxy)
    ended = asyncio.run(fire(waiting_for("batch_1")))
    assert ended.outcome is Outcome.GAVE_UP
    assert "the environment's ALL_PROXY" in ended.message


def waiting_for(batch_id: str) -> ExtendBatchTrigger:
    policy = {"deadline": time.time() + 30, "poll_interval": 0.1}
    return ExtendBatchTrigger(batch_id=batch_id, run_count=1, extend_conn_id=CONN_ID, policy=policy)


async def fire(trigger: ExtendBatchTrigger) -> PollResult:
    (event,) = [event async for event in trigger.run()]
    return PollResult.from_event(json.loads(json.dumps(event.payload)))


class TestAuthorities:
    @pytest.mark.parametrize("name", CA_BUNDLES)
    def test_an_authority_that_only_the_environment_names_is_trusted(
        self,
        hooks: HookRunner,
        server: ScriptedServer,
        inside: Inside,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        set_connection(monkeypatch, server.url)
        monkeypatch.setenv(name, inside.folder if name.endswith("DIR") else inside.bundle)
        assert hooks.run(get_run).id == "run_1"

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
    @pytest.mark.parametrize("kind", ["bundle", "folder", "none"])
    def test_an_authority_that_the_connection_names_is_trusted(
        self,
        hooks: HookRunner,
        server: ScriptedServer,
        inside: Inside,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
    ) -> None:
        set_connection(monkeypatch, server.url, extra={"verify": getattr(inside, kind, False)})
        assert hooks.run(get_run).id == "run_1"

    @pytest.mark.parametrize("extra", [{}, {"verify": True, "trust_env": False}])
    def test_an_unknown_authority_is_refused_and_the_error_says_where_to_configure_it(
        self,
        hooks: HookRunner,
        server: ScriptedServer,
        inside: Inside,
        monkeypatch: pytest.MonkeyPatch,
        extra: dict[str, Any],
    ) -> None:
        if extra:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", inside.bundle)
        set_connection(monkeypatch, server.url, extra=extra)
        with pytest.raises(ExtendConnectionError, match=r"\(verify\) or in REQUESTS_CA_BUNDLE") as failure:
            hooks.run(submit_batch)
        assert not failure.value.retryable
        assert (server.connections, server.requests) == (1, [])

    @pytest.mark.parametrize("what", ["missing", "no certificates"])
    @pytest.mark.parametrize("by", ["environment", "connection"])
    def test_an_invalid_bundle_is_named(
        self, hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, by: str
    ) -> None:
        bundle, extra = tmp_path / "bundle.pem", {}
        if what != "missing":
            bundle.write_text("nothing")
        if by == "connection":
            extra["verify"] = str(bundle)
        else:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        set_connection(monkeypatch, "https://extend.test", extra=extra)
        names = "verify is|its verify" if by == "connection" else "REQUESTS_CA_BUNDLE"
        with pytest.raises(ExtendInputError, match=rf"'extend_test': .*({names}) .*bundle\.pem"):
            hooks.run(submit_batch)

    def test_a_renewed_bundle_is_read_again(self, inside: Inside, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle.pem"
        trustme.CA().cert_pem.write_to_path(str(bundle))
        settings = ExtendSettings("c", "https://extend.test", "k", verify=str(bundle))  # type: ignore[arg-type]
        before = route_of(settings).tls
        assert route_of(settings).tls is before
        bundle.write_bytes(Path(inside.bundle).read_bytes())
        os.utime(bundle, (1, 1))
        assert route_of(settings).tls is not before

    def test_a_client_certificate_is_shown_and_one_that_is_locked_is_refused(
        self, hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        authority = trustme.CA()
        bundle, mine, locked = (tmp_path / name for name in ("bundle.pem", "mine.pem", "locked.pem"))
        authority.cert_pem.write_to_path(str(bundle))
        mine_pem = authority.issue_cert("airflow")
        mine_pem.private_key_and_cert_chain_pem.write_to_path(str(mine))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.configure_trust(tls)
        tls.verify_mode = ssl.CERT_REQUIRED
        key = load_pem_private_key(mine_pem.private_key_pem.bytes(), None)
        locked.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        )
        with ScriptedServer(RUN, tls=tls) as server:
            trusted = {"verify": str(bundle)}
            set_connection(monkeypatch, server.url, extra={**trusted, "cert": str(mine)})
            assert hooks.run(get_run).id == "run_1"
            set_connection(monkeypatch, server.url, extra={**trusted, "cert": [str(mine), str(locked)]})
            with pytest.raises(ExtendInputError, match=r"cert names no certificates .*locked\.pem"):
                hooks.run(get_run)


class TestProxies:
    @pytest.mark.parametrize("password", ["plain", "p@ss:w/rd#+% é"])
    @pytest.mark.parametrize("tunnels", [True, False])
    def test_a_proxy_gets_the_credentials(
        self,
        hooks: HookRunner,
        server: ScriptedServer,
        inside: Inside,
        monkeypatch: pytest.MonkeyPatch,
        password: str,
        tunnels: bool,
    ) -> None:
        with ScriptedServer(RUN) as plain, Proxy(login=f"acme\\etl:{password}") as proxy:
            target = server if tunnels else plain
            named = f"http://{quote(f'acme{chr(92)}etl')}:{quote(password, safe='')}@{proxy.address}"
            set_connection(monkeypatch, target.url, extra={"verify": inside.bundle, "proxy": named})
            assert hooks.run(get_run).id == "run_1"
            (request,) = target.requests
        assert proxy.asked == 1
        assert not [name for name in request.headers if name.startswith("proxy-")], (
            "that is the proxy's alone"
        )

    @pytest.mark.parametrize("tunnels", [True, False])
    def test_wrong_proxy_credentials_are_not_shown_and_not_retried(
        self,
        hooks: HookRunner,
        server: ScriptedServer,
        inside: Inside,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        tunnels: bool,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with ScriptedServer(BATCH) as plain, Proxy(login="etl:right") as proxy:
            target = server if tunnels else plain
            monkeypatch.setenv(
                "HTTPS_PROXY" if tunnels else "HTTP_PROXY", f"http://etl:c0ffee@{proxy.address}"
            )
            set_connection(monkeypatch, target.url, extra={"verify": inside.bundle})
            with pytest.raises(ExtendConnectionError) as failure:
                hooks.run(submit_batch)
            assert target.requests == []
        said = str(failure.value)
        assert f"The proxy {proxy.url} of the environment's HTTP" in said
        assert "(HTTP 407), so nothing was sent to Extend. It wants other credentials" in said
        assert "c0ffee" not in said + caplog.text
        assert (failure.value.retryable, proxy.asked) == (False, 1)

    def test_a_proxy_that_is_down_is_named_without_its_password(
        self, hooks: HookRunner, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address = f"127.0.0.1:{closed_port()}"
        set_connection(monkeypatch, server.url, extra={"proxies": {"https": f"etl:c0ffee@{address}"}})
        with pytest.raises(ExtendConnectionError) as failure:
            hooks.run(submit_batch)
        assert f"through the proxy http://{address} of the connection's extra, so nothing was sent" in str(
            failure.value
        )
        assert "c0ffee" not in str(failure.value)

    def test_a_proxy_that_never_answers_ends_in_a_timeout(
        self, hooks: HookRunner, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Proxy("hangs") as proxy:
            set_connection(monkeypatch, server.url, extra={"proxy": proxy.url, "timeout": [0.1, 5]})
            with pytest.raises(ExtendConnectionError, match="nothing was sent"):
                hooks.run(submit_batch, max_attempts=1)
        assert proxy.asked == 1

    def test_a_proxy_is_reached_over_tls(
        self,
        hooks: HookRunner,
        server: ScriptedServer,
        inside: Inside,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with Proxy(tls=inside.certified(), login="etl:pw") as proxy:
            named = proxy.url.replace("https://", "https://etl:pw@")
            set_connection(monkeypatch, server.url, extra={"proxy": named, "verify": inside.bundle})
            assert hooks.run(get_run).id == "run_1"
            assert proxy.asked == 1
            set_connection(monkeypatch, server.url, extra={"proxy": named})
            with pytest.raises(ExtendConnectionError, match=r"nothing was sent: .*certificate"):
                hooks.run(get_run)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("proxy", "says"),
        [
            ("socks5h://etl:c0ffee@proxy:1080", r"the proxy socks5h://proxy in .* is not supported"),
            ("http://etl:c0/ffee@proxy:3128", "percent-encoded"),
            ("http://etl:c0ffee@proxy:port", "percent-encoded"),
            ("http://etl:c0ffee%E2%82%AC@proxy:3128", "percent-encoded"),
            ("http://etl:c0ffee@", "percent-encoded"),
        ],
    )
    @pytest.mark.parametrize("by", ["environment", "connection"])
    def test_a_proxy_that_cannot_be_used_is_refused_by_name_before_anything_is_sent(
        self, hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, proxy: str, says: str, by: str
    ) -> None:
        extra = {"proxy": proxy} if by == "connection" else {}
        if by == "environment":
            monkeypatch.setenv("ALL_PROXY", proxy)
        set_connection(monkeypatch, "https://extend.test", extra=extra)
        with pytest.raises(ExtendInputError, match=says) as failure:
            hooks.run(submit_batch)
        source = "the environment's ALL_PROXY" if by == "environment" else "the connection's extra"
        assert source in str(failure.value)
        assert "c0" not in str(failure.value)

    def test_the_test_button_goes_the_same_way(
        self, hooks: HookRunner, server: ScriptedServer, inside: Inside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def test(hook: Any) -> Any:
            return hook.test_connection()

        server.script = [Reply(body={"object": "list", "data": []})]
        with Proxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", inside.bundle)
            set_connection(monkeypatch, server.url)
            good, message = hooks.run(test)
            assert good, message
            proxy.mode = "refuses"
            good, message = hooks.run(test)
            assert not good
            assert f"{proxy.url} of the environment's HTTPS_PROXY" in message
        assert proxy.asked == 2
        monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
        good, message = hooks.run(test, enter=False)
        assert (good, "not supported" in message) == (False, True)

    def test_the_inherited_run_goes_the_same_way(
        self, server: ScriptedServer, inside: Inside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Proxy() as proxy, ExtendHook(CONN_ID) as hook:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", inside.bundle)
            set_connection(monkeypatch, server.url)
            assert hook.run("/workflow_runs/run_1").status_code == 200
        assert proxy.asked == 1


@pytest.mark.parametrize(
    ("extra", "environment", "goes"),
    [
        pytest.param({}, {}, None, id="none"),
        pytest.param({"proxy": "http://p:1"}, {}, "http://p:1", id="one for all"),
        pytest.param({"proxies": "p:1"}, {}, "http://p:1", id="without a scheme"),
        pytest.param({"proxies": {"https": "http://p:2"}}, {}, "http://p:2", id="by scheme"),
        pytest.param({"proxies": {"all": "http://p:2"}}, {}, "http://p:2", id="for all schemes"),
        pytest.param(
            {"proxies": {"https://api.extend.ai": "http://p:2"}}, {}, "http://p:2", id="for the host"
        ),
        pytest.param({"proxies": {"http": "http://p:2"}}, {}, None, id="for another scheme"),
        pytest.param({}, {"https_proxy": "http://p:3"}, "http://p:3", id="environment"),
        pytest.param({}, {"HTTPS_PROXY": "http://p:3"}, "http://p:3", id="upper case"),
        pytest.param({}, {"ALL_PROXY": "http://p:3"}, "http://p:3", id="all of the environment"),
        pytest.param({}, {"HTTP_PROXY": "http://p:3"}, None, id="another scheme of the environment"),
        pytest.param({"proxy": "http://p:1"}, {"https_proxy": "http://p:3"}, "http://p:1", id="ours first"),
        pytest.param(
            {"proxies": {"all": "http://p:1"}},
            {"https_proxy": "http://p:3"},
            "http://p:1",
            id="ours for all schemes first",
        ),
        pytest.param({"proxies": {"https": ""}}, {"https_proxy": "http://p:3"}, None, id="none by ours"),
        pytest.param({"proxies": {"https": None}}, {"https_proxy": "http://p:3"}, None, id="null by ours"),
        pytest.param({"trust_env": False}, {"https_proxy": "http://p:3"}, None, id="not trusted"),
        pytest.param({}, {"https_proxy": "http://p:3", "no_proxy": "extend.ai"}, None, id="suffix"),
        pytest.param({}, {"https_proxy": "http://p:3", "NO_PROXY": ".extend.ai"}, None, id="dotted suffix"),
        pytest.param({}, {"https_proxy": "http://p:3", "NO_PROXY": "tend.ai"}, "http://p:3", id="no suffix"),
        pytest.param(
            {"proxies": {"no_proxy": "extend.ai"}}, {"https_proxy": "http://p:3"}, None, id="our exceptions"
        ),
        pytest.param({}, {"https_proxy": "http://p:3", "no_proxy": "*"}, None, id="all hosts"),
    ],
)
def test_the_connection_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], environment: dict[str, str], goes: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    set_connection(monkeypatch, "https://api.extend.ai", extra=extra)
    assert route_of(ExtendHook(CONN_ID).settings).proxy == goes


@pytest.mark.parametrize(
    ("no_proxy", "goes_past"),
    [
        ("127.0.0.0/8", True),
        ("10.0.0.0/8, 127.0.0.1", True),
        ("10.0.0.0/8", False),
        ("localhost:{port}", True),
        ("localhost", False),
    ],
)
def test_addresses_networks_and_ports_go_past_the_proxy(
    hooks: HookRunner,
    server: ScriptedServer,
    inside: Inside,
    monkeypatch: pytest.MonkeyPatch,
    no_proxy: str,
    goes_past: bool,
) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy.format(port=server.port))
        # Ports are a rule for names alone, in requests.
        host = server.url.replace("127.0.0.1", "localhost") if "{port}" in no_proxy else server.url
        set_connection(monkeypatch, host, extra={"verify": inside.bundle})
        assert hooks.run(get_run).id == "run_1"
    assert proxy.asked == (0 if goes_past else 1)
