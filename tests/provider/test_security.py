"""What may be shown of URLs, texts, passwords and secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendServerError
from extend_provider.security import (
    Sealed,
    describe_error,
    show_inputs,
    show_secrets,
    show_texts,
    without_credentials,
)

PRESIGNED = "https://bucket.s3.amazonaws.com/in/invoice 1.pdf?X-Amz-Credential=AKIA&X-Amz-Signature=5ecre7"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/a.pdf?sig=5ecre7", "https://h/a.pdf?***"),
        ("at 'https://h/a.pdf?sig=5ecre7', then", "at 'https://h/a.pdf?***', then"),
        ("https://h/a.pdf#5ecre7", "https://h/a.pdf?***"),
        ("https://user:5ecre7@h/a.pdf", "https://h/a.pdf"),
        ("HTTPS://h/a?5ecre7 and http://h/b?5ecre7", "HTTPS://h/a?*** and http://h/b?***"),
        ("https://h/in voice.pdf?sig=5ecre7&x=5ecre7", "https://h/in voice.pdf?sig=***&x=***"),
        ("Authorization: Bearer 5ecre7", "Authorization: Bearer ***"),
        ("key sk_5ecre7", "key sk_***"),
        ("signed with wss_5ecre7", "signed with wss_***"),
        ("https://h/a.pdf is fine", "https://h/a.pdf is fine"),
    ],
)
def test_credentials_are_taken_out_of_text(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    "value",
    [
        {
            "file": {"url": PRESIGNED, "name": "invoice.pdf", "password": "5ecre7"},
            "metadata": {"document_id": "abc", "link": "https://h/?5ecre7"},
            "secrets": {"token": "5ecre7"},
        },
        BatchInput(
            FileInput(url=PRESIGNED, name="invoice.pdf", password="5ecre7"),
            metadata={"document_id": "abc", "link": "https://h/?5ecre7"},
            secrets={"token": "5ecre7"},
        ),
    ],
    ids=["mapping", "dataclass"],
)
def test_inputs_show_names_and_addresses_but_no_credentials(value: Any) -> None:
    assert show_inputs([value]) == [
        {
            "file": {
                "url": "https://bucket.s3.amazonaws.com/in/invoice 1.pdf?***",
                "name": "invoice.pdf",
                "password": "***",
            },
            "metadata": {"document_id": "abc", "link": "https://h/?***"},
            "secrets": {"token": "***"},
        }
    ]


def test_texts_show_their_length() -> None:
    assert show_texts(["top secret"]) == ["<text of 10 characters>"]
    assert show_inputs([{"file": {"text": "top secret"}}]) == [{"file": {"text": "<text of 10 characters>"}}]


def test_secrets_show_their_names() -> None:
    assert show_secrets({"token": "5ecre7"}) == {"token": "***"}
    assert show_secrets("5ecre7") == "***"


def test_a_long_list_is_shown_in_part() -> None:
    shown = show_inputs([{"file": {"file_id": f"file_{index}"}} for index in range(1000)])
    assert len(shown) == 21
    assert shown[-1] == "… 980 more"


def test_the_display_of_any_value_is_json() -> None:
    odd = [b"5ecre7", object(), {1: {2}}, None, 1.5, ("a",)]
    assert "5ecre7" not in json.dumps(show_inputs(odd))


def test_a_sealed_value_displays_redacted_and_opens_to_itself() -> None:
    value = [{"file": {"url": "https://h/a?5ecre7"}}]
    sealed = Sealed(value, show_inputs)
    assert "5ecre7" not in f"{sealed} {sealed!r} {sealed.serialize()}"
    assert Sealed.open(sealed) is value
    assert Sealed.open(value) is value


def test_errors_are_described_in_one_line() -> None:
    extend = ExtendServerError("Extend failed.", status=503)
    assert describe_error(extend) == "Extend failed. (HTTP 503)"
    assert describe_error(ValueError("bad\nhttps://h/?5ecre7")) == "ValueError: bad"
    assert describe_error(RuntimeError()) == "RuntimeError"
