"""The route to Extend for both hooks: which proxy is used, which certificates are trusted.

The connection takes precedence over the environment, which is read as ``requests`` reads it: HTTP_PROXY,
HTTPS_PROXY, ALL_PROXY and NO_PROXY in either case, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE. SSL_CERT_FILE and
SSL_CERT_DIR, which most other programs read, come next; certifi's authorities are the default.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import certifi
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import create_urllib3_context

from extend_provider.client.settings import ExtendSettings
from extend_provider.exceptions import ExtendInputError

#: The environment's names of the authorities to trust, the first that is set.
CA_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """How requests get to the connection's host.

    :param proxy: its URL, which may hold a password; None for a direct connection.
    :param verify: whether to check certificates, or the file or folder of the authorities to trust.
    :param cert: path of a client certificate, or (certificate, key).
    :param tls: the TLS context that ``verify`` and ``cert`` result in.
    :param via: the proxy for a message: its URL without the password, and where it is set.
    """

    proxy: str | None = dataclasses.field(repr=False)
    verify: bool | str
    cert: str | tuple[str, str] | None
    tls: ssl.SSLContext
    via: str | None = None


def route_of(settings: ExtendSettings) -> Route:
    """Return the route of a connection's requests. Reads certificates, which is slow.

    :raises ExtendInputError: naming the setting of the connection, or of the environment, that is wrong.
    """
    proxy, via = _proxy(settings)
    verify, source = _authorities(settings)
    return Route(proxy, verify, settings.cert, _tls(settings, verify, source), via)


def _proxy(settings: ExtendSettings) -> tuple[str | None, str | None]:
    """Return the proxy's URL, and its name for a message."""
    url = settings.base_url
    value, source = select_proxy(url, dict(settings.proxies)), "the connection's extra"
    if value is None and settings.trust_env:
        environment = get_environ_proxies(url, no_proxy=settings.proxies.get("no_proxy"))
        scheme = urlsplit(url).scheme
        name = f"{scheme}_proxy" if scheme in environment else "all_proxy"
        value, source = select_proxy(url, environment), f"the environment's {name.upper()}"
    if not value:  # an empty one in the connection means none
        return None, None
    try:
        proxy = value if "://" in value else f"http://{value.removeprefix('//')}"
        parts = urlsplit(proxy)
        host, _ = parts.hostname, parts.port
        for each in (parts.username, parts.password):
            unquote(each or "").encode("latin-1")  # what a proxy's credentials are sent as
    except ValueError:  # it would show the password
        host = None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ExtendInputError(
            f"Connection {settings.conn_id!r}: the proxy in {source} must be a URL such as "
            "http://user:password@host:3128, with special characters of the password percent-encoded."
        )
    if parts.scheme not in ("http", "https"):
        raise ExtendInputError(
            f"Connection {settings.conn_id!r}: the proxy {parts.scheme}://{host} in {source} is not "
            "supported; name an http:// or https:// one, or an empty one in the connection for none."
        )
    if parts.scheme == "https" and url.startswith("http://"):
        raise ExtendInputError(
            f"Connection {settings.conn_id!r}: an http:// host is not reached through the https:// proxy "
            f"{host} in {source}; use https:// for the host, or http:// for the proxy."
        )
    return proxy, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} of {source}"


def _authorities(settings: ExtendSettings) -> tuple[bool | str, str]:
    """Return what certificates are checked against, and where that is set."""
    if settings.verify is True and settings.trust_env:
        for name in CA_BUNDLES:
            if os.environ.get(name):
                return os.environ[name], f"the environment's {name}"
    return settings.verify, "its verify"


def _tls(settings: ExtendSettings, verify: bool | str, source: str) -> ssl.SSLContext:
    authorities = certifi.where() if verify is True else verify or None
    files = [authorities] if authorities else []
    try:
        files += [settings.cert] if isinstance(settings.cert, str) else settings.cert or []
        # Once per process, because a triggerer has hundreds of hooks; anew when a file is.
        return _context(authorities, settings.cert, tuple(_changed(files)))
    except OSError as error:  # of ssl's, too
        what = f"{source} or cert" if settings.cert else source
        raise ExtendInputError(
            f"Connection {settings.conn_id!r}: {what} names no certificates in PEM format that can be read: "
            f"{', '.join(map(repr, files))} ({getattr(error, 'reason', None) or error.strerror})."
        ) from None


def _changed(files: list[str]) -> Iterator[float]:
    for file in files:
        yield Path(file).stat().st_mtime


@functools.lru_cache(maxsize=16)
def _context(
    authorities: str | None, cert: str | tuple[str, str] | None, changed: tuple[float, ...]
) -> ssl.SSLContext:
    # With the flags that requests' connections have, which are not those of Python's default.
    context = create_urllib3_context()
    context.set_alpn_protocols(["http/1.1"])
    if authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif Path(authorities).is_dir():
        context.load_verify_locations(capath=authorities)
    else:
        context.load_verify_locations(cafile=authorities)
    if cert is not None:
        certificate, key = (cert, None) if isinstance(cert, str) else cert
        # Without a password that is given, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    return context
