"""The Airflow connection of type ``extend``, read once and checked: host, credentials, limits.

The settings in the connection's extra are read here by name. Nothing else of the extra reaches Extend: the
http provider's hooks would send each unknown key as an HTTP header.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from extend_provider import __version__
from extend_provider.client import webhook_settings
from extend_provider.client.wire import API_VERSIONS, DEFAULT_API_VERSION
from extend_provider.exceptions import ExtendConnectionError, ExtendError, ExtendInputError
from extend_provider.security import describe_error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

DEFAULT_BASE_URL: Final = "https://api.extend.ai"
#: The hosts of Extend's regions.
REGIONS: Final[Mapping[str, str]] = {
    "US": DEFAULT_BASE_URL,
    "US2 (HIPAA)": "https://api.us2.extend.app",
    "EU": "https://api.eu1.extend.ai",
}

_PORTS: Final = {"http": 80, "https": 443}
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 60.0
#: How long Extend may still accept a request that has left, in seconds, whether or not its client still waits
#: for the answer. Not documented; Extend's own clients wait for five minutes.
ACCEPTANCE_WINDOW: Final = 300.0
#: How long accepted runs may be missing from Extend's list, in seconds. Not documented. An absence proves
#: something only when this has passed since the request could last have been accepted.
LISTING_GRACE: Final = 120.0


class Secret(str):
    """A string that is hidden in the ``repr`` of whatever holds it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclasses.dataclass(frozen=True, slots=True)
class ExtendSettings:
    """What an ``extend`` connection says.

    :param base_url: without a trailing slash; a path prefix is kept.
    :param requests_per_second: None for no limit of our own.
    :param timeout: (connect, read) in seconds if the connection sets it; it then holds for every request.
    :param acceptance_window: see :data:`ACCEPTANCE_WINDOW`.
    :param listing_grace: see :data:`LISTING_GRACE`.
    :param proxies: by URL scheme, as ``requests`` has them; they go before the environment's.
    :param verify: whether to check certificates, or the path of a CA bundle.
    :param cert: path of a client certificate, or (certificate, key).
    :param trust_env: whether HTTP_PROXY, REQUESTS_CA_BUNDLE and the like count.
    :param webhook_secrets: what webhooks may be signed with; several while one is rotated.
    :param webhook_inbox: where webhooks are kept until their batch has landed, an address of Airflow's object
        storage; None if there are none, and results are polled for.
    :param webhook_queue: URL of the SQS queue that carries webhooks where Airflow cannot be reached.
    :param webhook_queue_conn_id: connection of type ``aws`` for that queue.
    :param webhook_payload_hosts: hosts that large payloads may be fetched from.
    """

    conn_id: str
    base_url: str
    api_key: Secret
    api_version: str = DEFAULT_API_VERSION
    workspace_id: str | None = None
    requests_per_second: float | None = None
    timeout: tuple[float, float] | None = None
    acceptance_window: float = ACCEPTANCE_WINDOW
    listing_grace: float = LISTING_GRACE
    proxies: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    trust_env: bool = True
    webhook_secrets: tuple[Secret, ...] = ()
    webhook_inbox: str | None = None
    webhook_queue: str | None = None
    webhook_queue_conn_id: str = webhook_settings.DEFAULT_QUEUE_CONN_ID
    webhook_payload_hosts: tuple[str, ...] = webhook_settings.PAYLOAD_HOSTS

    @classmethod
    def from_connection(cls, connection: Connection, extra: Mapping[str, Any]) -> ExtendSettings:
        """Read a connection; ``extra`` is its decoded extra, which async callers must decode asynchronously.

        :raises ExtendInputError: naming the field of the connection that is missing or wrong.
        """
        conn_id = connection.conn_id
        api_key = _header_value(conn_id, "the API key (password)", connection.password)
        if api_key is None:
            raise ExtendInputError(
                f"Connection {conn_id!r} has no API key; paste one into its password field "
                "(Extend dashboard, Developers, API keys)."
            )
        api_version = extra.get("api_version") or DEFAULT_API_VERSION
        if api_version not in API_VERSIONS:
            raise ExtendInputError(
                f"Connection {conn_id!r}: api_version is {api_version!r}; "
                f"use one of {', '.join(API_VERSIONS)}."
            )
        return cls(
            conn_id=conn_id,
            base_url=_base_url(connection),
            api_key=Secret(api_key),
            api_version=api_version,
            workspace_id=_header_value(conn_id, "workspace_id", extra.get("workspace_id")),
            requests_per_second=_positive(conn_id, "requests_per_second", extra.get("requests_per_second")),
            timeout=_timeout(conn_id, extra.get("timeout")),
            acceptance_window=_positive(conn_id, "acceptance_window", extra.get("acceptance_window"))
            or ACCEPTANCE_WINDOW,
            listing_grace=_listing_grace(conn_id, extra.get("listing_grace")),
            proxies=_proxies(conn_id, extra.get("proxies") or extra.get("proxy")),
            verify=_verify(conn_id, extra.get("verify", extra.get("verify_ssl"))),
            cert=_cert(conn_id, extra.get("cert")),
            trust_env=extra.get("trust_env") is not False,
            **_webhooks(conn_id, extra),
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        headers = {
            "Authorization": Secret(f"Bearer {self.api_key}"),
            "x-extend-api-version": self.api_version,
            "Accept": "application/json",
            "User-Agent": f"airflow-provider-extend/{__version__}",
        }
        if self.workspace_id:
            headers["x-extend-workspace-id"] = self.workspace_id
        return headers

    def timeouts(self, *, brief: bool) -> tuple[float, float]:
        """Return (connect, read) timeouts in seconds for a request.

        The answer to a request that creates work is awaited as long as Extend may accept the request, and no
        longer; after that, whoever submits looks for the work.

        :param brief: see :attr:`~extend_provider.client.calls.ApiCall.is_brief`.
        """
        if brief:
            return self.timeout or (CONNECT_TIMEOUT, READ_TIMEOUT)
        connect, read = self.timeout or (CONNECT_TIMEOUT, self.acceptance_window)
        return connect, min(read, self.acceptance_window)

    @property
    def departure_window(self) -> float:
        """Seconds after a submission was begun in which its request leaves, or not at all."""
        return 2 * self.timeouts(brief=False)[0]

    @property
    def submission_window(self) -> float:
        """Seconds after a submission was begun in which Extend may still accept it."""
        return self.departure_window + self.acceptance_window


def unreadable_connection(conn_id: str, error: Exception) -> ExtendError:
    """Return the error of a connection that could not be looked up; a later try may find it."""
    return ExtendConnectionError(
        f"Connection {conn_id!r} could not be read, so nothing was sent: {describe_error(error)}. Unless it "
        "is not defined at all, its secrets backend or Airflow's API does not answer at the moment.",
        retryable=True,
    )


def _webhooks(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    secrets = webhook_settings.webhook_secrets(conn_id, extra.get("webhook_secrets"))
    return {
        "webhook_secrets": tuple(map(Secret, secrets)),
        "webhook_inbox": webhook_settings.webhook_inbox(conn_id, extra.get("webhook_inbox")),
        "webhook_queue": webhook_settings.webhook_queue(conn_id, extra.get("webhook_queue")),
        "webhook_queue_conn_id": str(extra.get("webhook_queue_conn_id") or "").strip()
        or webhook_settings.DEFAULT_QUEUE_CONN_ID,
        "webhook_payload_hosts": webhook_settings.payload_hosts(conn_id, extra.get("webhook_payload_hosts")),
    }


def _base_url(connection: Connection) -> str:
    host = (connection.host or "").strip() or DEFAULT_BASE_URL
    try:
        parts = urlsplit(host if "://" in host else f"{connection.schema or 'https'}://{host}")
        # The port that the form suggests, for Airflow's Test of a stored connection, adds nothing.
        implied = parts.port or connection.port in (None, 0, _PORTS.get(parts.scheme))
        netloc = parts.netloc if implied else f"{parts.netloc}:{connection.port}"
        rest = parts.username or parts.password or parts.query or parts.fragment
        is_base_url = parts.scheme in {"http", "https"} and parts.hostname and not rest
    except ValueError:
        is_base_url = False
    if not is_base_url:
        raise ExtendInputError(
            f"Connection {connection.conn_id!r}: the host must be a base URL such as {DEFAULT_BASE_URL}."
        )
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def _positive(conn_id: str, field: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise ExtendInputError(f"Connection {conn_id!r}: {field} is {value!r}; it must be a positive number.")
    return number


def _listing_grace(conn_id: str, value: Any) -> float:
    # 0 is for a service whose list is known to be up to date.
    given = LISTING_GRACE if value is None or value == "" else value
    return 0.0 if given in (0, "0") else _positive(conn_id, "listing_grace", given) or LISTING_GRACE


def _header_value(conn_id: str, field: str, value: Any) -> str | None:
    stripped = str(value or "").strip()
    if not all("!" <= character <= "~" for character in stripped):
        raise ExtendInputError(
            f"Connection {conn_id!r}: {field} has a blank or a special character in it; paste it again."
        )
    return stripped or None


def _timeout(conn_id: str, value: Any) -> tuple[float, float] | None:
    pair = value if isinstance(value, list | tuple) else [value, value]
    if len(pair) != 2:
        raise ExtendInputError(
            f"Connection {conn_id!r}: timeout is {value!r}; use seconds or [connect, read]."
        )
    connect, read = (_positive(conn_id, "timeout", each) for each in pair)
    return None if connect is None or read is None else (connect, read)


def _proxies(conn_id: str, value: Any) -> Mapping[str, str]:
    if not value:
        return {}
    if isinstance(value, str):
        return {"http": value, "https": value}
    if not isinstance(value, Mapping) or not all(isinstance(url, str | None) for url in value.values()):
        raise ExtendInputError(f'Connection {conn_id!r}: proxies must be a URL or {{"https": URL}}.')
    return {scheme: url or "" for scheme, url in value.items()}


def _verify(conn_id: str, value: Any) -> bool | str:
    if isinstance(value, str) and value.lower() not in {"", "true", "false"}:
        return _existing(conn_id, "verify", value)
    return str(value).lower() != "false"


def _cert(conn_id: str, value: Any) -> str | tuple[str, str] | None:
    match value:
        case None | "":
            return None
        case str():
            return _existing(conn_id, "cert", value)
        case [certificate, key]:
            return _existing(conn_id, "cert", certificate), _existing(conn_id, "cert", key)
    raise ExtendInputError(f"Connection {conn_id!r}: cert must be a path or [certificate, key].")


def _existing(conn_id: str, field: str, path: str) -> str:
    if not Path(path).exists():
        raise ExtendInputError(f"Connection {conn_id!r}: {field} is {path!r}, and there is no such file.")
    return path
