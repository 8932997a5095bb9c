"""What an ``extend`` connection says of webhooks."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.connection import Connection

from extend_provider.client.settings import ExtendSettings
from extend_provider.exceptions import ExtendInputError


def settings(**extra: Any) -> ExtendSettings:
    return ExtendSettings.from_connection(
        Connection(conn_id="c", conn_type="extend", password="sk_1"),
        extra,
    )


def test_webhooks_are_off_unless_the_connection_names_an_inbox() -> None:
    read = settings()
    assert (read.webhook_secrets, read.webhook_inbox, read.webhook_queue) == ((), None, None)
    assert read.webhook_queue_conn_id == "aws_default"
    assert read.webhook_payload_hosts == ("*.amazonaws.com", "*.extend.ai", "*.extend.app")


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("webhook_secrets", "wss_1", ("wss_1",)),
        ("webhook_secrets", " wss_1, wss_2\nwss_3 wss_1,", ("wss_1", "wss_2", "wss_3")),
        ("webhook_secrets", ["wss_1", " wss_2 ", ""], ("wss_1", "wss_2")),
        ("webhook_secrets", "", ()),
        ("webhook_secrets", [" "], ()),
        ("webhook_inbox", "s3://aws_default@bucket/extend/inbox/", "s3://aws_default@bucket/extend/inbox"),
        ("webhook_inbox", "file:///shared/inbox", "file:///shared/inbox"),
        ("webhook_inbox", "", None),
        (
            "webhook_queue",
            " https://sqs.eu-west-1.amazonaws.com/1/q",
            "https://sqs.eu-west-1.amazonaws.com/1/q",
        ),
        ("webhook_queue_conn_id", "aws_queue", "aws_queue"),
        ("webhook_queue_conn_id", "", "aws_default"),
        ("webhook_payload_hosts", "*.A.com, b.a.com:8443", ("*.a.com", "b.a.com:8443")),
        ("webhook_payload_hosts", ["http://127.0.0.1:8100", "[::1]"], ("http://127.0.0.1:8100", "[::1]")),
        ("webhook_payload_hosts", "", ("*.amazonaws.com", "*.extend.ai", "*.extend.app")),
    ],
)
def test_a_setting_is_read(field: str, value: Any, read: Any) -> None:
    assert getattr(settings(**{field: value}), field) == read


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("webhook_secrets", 7),
        ("webhook_secrets", ["wss_1", 7]),
        ("webhook_secrets", "wss_ä"),
        ("webhook_inbox", "/shared/inbox"),
        ("webhook_inbox", "s3://bucket/in box"),
        ("webhook_inbox", "s3://bucket/inbox?versionId=1"),
        ("webhook_queue", "extend-webhooks"),
        ("webhook_queue", "https://sqs.eu-west-1.amazonaws.com"),
        ("webhook_queue", "https://[::1/1/q"),
        ("webhook_payload_hosts", "*"),
        ("webhook_payload_hosts", "*.com"),
        ("webhook_payload_hosts", "http://*.example.com"),
        ("webhook_payload_hosts", "ftp://example.com"),
        ("webhook_payload_hosts", "example.com/path"),
        ("webhook_payload_hosts", {"host": "example.com"}),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(field: str, value: Any) -> None:
    with pytest.raises(ExtendInputError, match=rf"Connection 'c': {field}") as refused:
        settings(**{field: value})
    assert "wss_ä" not in str(refused.value)


def test_no_display_shows_a_secret() -> None:
    assert "wss_1" not in repr(settings(webhook_secrets="wss_1,wss_2"))
