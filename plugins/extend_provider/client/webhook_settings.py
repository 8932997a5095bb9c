"""What an ``extend`` connection says of webhooks: secrets, inbox, queue, hosts of payloads. Pure."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from extend_provider.exceptions import ExtendInputError

#: Where Extend keeps payloads that are too large for a request: presigned URLs of S3, or its own hosts.
PAYLOAD_HOSTS: Final = ("*.amazonaws.com", "*.extend.ai", "*.extend.app")
DEFAULT_QUEUE_CONN_ID: Final = "aws_default"

_SEPARATORS: Final = re.compile(r"[\s,]+")
_INBOX: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s?#]+")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_PAYLOAD_HOST: Final = re.compile(
    rf"(?:\*(?:\.{_LABEL}){{2,}}|(?:https?://)?(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\]))(?::\d{{1,5}})?"
)


def webhook_secrets(conn_id: str, value: Any) -> tuple[str, ...]:
    """Return the signing secrets, in the order that they are given.

    :param value: one secret, several in a text with commas or blanks between them, or a list.
    :raises ExtendInputError: for anything else; the error shows no secret.
    """
    secrets = _several(value)
    if secrets is None or not all("!" <= character <= "~" for each in secrets for character in each):
        raise ExtendInputError(
            f"Connection {conn_id!r}: webhook_secrets must be a signing secret (wss_…) or a list of them; "
            "paste it again."
        )
    return secrets


def webhook_inbox(conn_id: str, value: Any) -> str | None:
    """Return the address of the inbox without a trailing slash; None if webhooks are off."""
    address = str(value or "").strip().rstrip("/")
    if not address:
        return None
    if not _INBOX.fullmatch(address):
        raise ExtendInputError(
            f"Connection {conn_id!r}: webhook_inbox is {address!r}; use an address of Airflow's object "
            "storage such as s3://aws_default@bucket/extend/inbox or file:///shared/extend/inbox."
        )
    return address


def webhook_queue(conn_id: str, value: Any) -> str | None:
    """Return the URL of the SQS queue that carries webhooks; None if there is none."""
    url = str(value or "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and parts.hostname and parts.path.strip("/")
    except ValueError:
        is_url = False
    if not is_url or re.search(r"\s", url):
        raise ExtendInputError(
            f"Connection {conn_id!r}: webhook_queue must be the URL of an SQS queue, such as "
            "https://sqs.eu-west-1.amazonaws.com/123456789012/extend-webhooks."
        )
    return url


def payload_hosts(conn_id: str, value: Any) -> tuple[str, ...]:
    """Return the hosts that payloads may be fetched from, in lower case.

    A wildcard (``*.amazonaws.com``) stands in front of a domain; a host may have a port; a host without a
    wildcard may begin with ``http://``, otherwise https is used.
    """
    hosts = _several(value)
    if hosts is None or not all(_PAYLOAD_HOST.fullmatch(host) for host in hosts):
        raise ExtendInputError(
            f"Connection {conn_id!r}: webhook_payload_hosts is {value!r}; use hosts such as "
            f"{', '.join(PAYLOAD_HOSTS)}, with a comma between them."
        )
    return tuple(host.lower() for host in hosts) or PAYLOAD_HOSTS


def _several(value: Any) -> tuple[str, ...] | None:
    """Return the words of a text or the texts of a list, each once; None if it is neither."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = _SEPARATORS.split(value)
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        return None
    return tuple(dict.fromkeys(stripped for each in value if (stripped := each.strip())))
