"""Signatures: Extend's own SDK and this agree; nothing else is trusted."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from extend_ai import Extend
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.webhooks.signature import Headers, SignatureError, header, verify
from fixtures.webhooks.deliveries import SECRET, headers, signature

NOW = 1_795_755_600.0
BODY = b'{"eventId":"e"}'


def reason_of(body: bytes, given_headers: Headers, *secrets: str, now: float = NOW) -> str | None:
    try:
        verify(body, given_headers, secrets or (SECRET,), now=now)
    except SignatureError as error:
        return error.reason
    return None


def signed(timestamp: str, **changed: str) -> Headers:
    named = {
        "X-Extend-Request-Timestamp": timestamp,
        "X-Extend-Request-Signature": signature(BODY, timestamp),
        **changed,
    }
    return list(named.items())


def test_what_extend_has_signed_just_now_is_trusted() -> None:
    assert reason_of(BODY, list(headers(BODY, now=NOW).items())) is None


def test_the_sdk_of_extend_trusts_the_same_request() -> None:
    sent: dict[str, Any] = headers(BODY)
    assert Extend(token="x").webhooks.verify(BODY, sent, SECRET)
    assert not Extend(token="x").webhooks.verify(BODY, sent, "wss_another")


@pytest.mark.parametrize("order", [("wss_old", SECRET), (SECRET, "wss_new"), ("a", "b", SECRET, "c")])
def test_several_secrets_count_while_one_is_rotated(order: tuple[str, ...]) -> None:
    assert reason_of(BODY, signed(str(int(NOW))), *order) is None
    assert reason_of(BODY, signed(str(int(NOW))), "wss_old", "wss_new") == "wrong_signature"


def test_an_empty_secret_makes_no_signature() -> None:
    empty = hmac.new(b"", b"v0:%d:" % NOW + BODY, hashlib.sha256).hexdigest()
    forged = signed(str(int(NOW)), **{"X-Extend-Request-Signature": empty})
    assert reason_of(BODY, forged, "", SECRET) == "wrong_signature"


@pytest.mark.parametrize(
    ("age", "reason"),
    [(0, None), (300, None), (301, "too_old"), (86_400, "too_old"), (-60, None), (-61, "too_early")],
)
def test_the_clock_may_be_five_minutes_late_and_one_early(age: int, reason: str | None) -> None:
    assert reason_of(BODY, signed(str(int(NOW) - age))) == reason


@pytest.mark.parametrize(
    "timestamp",
    ["", "-1", "+1795755600", "1795755600.0", "1e9", "nan", "inf", "１７９", " 1795755600", "0x6b", "9" * 13],
)
def test_a_timestamp_is_seconds_and_nothing_else(timestamp: str) -> None:
    assert reason_of(BODY, signed(timestamp)) == "unsigned"


def test_a_huge_timestamp_is_too_early() -> None:
    assert reason_of(BODY, signed("9" * 12)) == "too_early"


@pytest.mark.parametrize("form", ["upper", "short", "long", "sha256=", "empty"])
def test_a_signature_has_one_form(form: str) -> None:
    right = signature(BODY, str(int(NOW)))
    wrong = {
        "upper": right.upper(),
        "short": right[:-1],
        "long": right + "0",
        "sha256=": f"sha256={right}",
        "empty": "",
    }[form]
    assert reason_of(BODY, signed(str(int(NOW)), **{"X-Extend-Request-Signature": wrong})) == "unsigned"


@pytest.mark.parametrize("name", ["x-extend-request-timestamp", "x-extend-request-signature"])
def test_a_header_that_is_missing_or_twice_signs_nothing(name: str) -> None:
    right = [(each.lower(), value) for each, value in signed(str(int(NOW)))]
    assert reason_of(BODY, [each for each in right if each[0] != name]) == "unsigned"
    assert reason_of(BODY, [*right, *(each for each in right if each[0] == name)]) == "unsigned"
    assert header([*right, (name.upper(), "x")], name) is None


def test_a_changed_body_or_time_is_noticed() -> None:
    right = signed(str(int(NOW)))
    assert reason_of(BODY + b" ", right) == "wrong_signature"
    later = [("x-extend-request-timestamp", str(int(NOW) + 1)), right[1]]
    assert reason_of(BODY, later) == "wrong_signature"


def test_every_secret_is_compared_so_that_time_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(left: str, right: str) -> bool:
        compared.append(left)
        return left == right

    monkeypatch.setattr("extend_provider.webhooks.signature.hmac.compare_digest", compare)
    assert reason_of(BODY, signed(str(int(NOW))), SECRET, "wss_b", "wss_c") is None
    assert len(compared) == 3


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["x-extend-request-timestamp", "X-Extend-Request-Signature", "x-extend-api-version"])
        | st.text(),
        st.text()
        | st.integers().map(str)
        | st.floats().map(str)
        | st.just(signature(BODY, str(int(NOW)), "wss_x")),
    )
)


@given(st.binary(), HEADERS)
def test_nothing_that_is_made_without_the_secret_is_trusted(body: bytes, made: Headers) -> None:
    assert reason_of(body, made) is not None
