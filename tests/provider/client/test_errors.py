"""What the end of a request means: was it sent, did it take effect, may it be sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from extend_provider.client import endpoints
from extend_provider.client.calls import ApiCall
from extend_provider.client.errors import Answer, Transmission, may_repeat, retry_after
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.client.wire import wire_for
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendCreditsError,
    ExtendError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendServerError,
    ExtendUnclearSubmissionError,
)

WIRE = wire_for("2026-02-09")
GET = endpoints.get_run(WIRE, "run_1")
SUBMIT = endpoints.create_batch(WIRE, "workflow_1", [BatchInput(FileInput(file_id="f"))])
URL = "https://api.extend.ai"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CaseInsensitiveDict(named), body)


def sent(call: ApiCall[Any]) -> Transmission[Any]:
    """Return the try of a call that has left."""
    transmission = Transmission(call, URL)
    transmission.begin()
    return transmission


class TestClassification:
    @pytest.mark.parametrize(
        ("status", "error_type", "retryable"),
        [
            (400, ExtendBadRequestError, False),
            (401, ExtendAuthError, False),
            (402, ExtendCreditsError, False),
            (403, ExtendAuthError, False),
            (404, ExtendNotFoundError, False),
            (408, ExtendServerError, True),
            (409, ExtendBadRequestError, False),
            (410, ExtendBadRequestError, False),
            (413, ExtendBadRequestError, False),
            (418, ExtendBadRequestError, False),
            (422, ExtendBadRequestError, False),
            (429, ExtendRateLimitError, True),
            (301, ExtendBadRequestError, False),
            (500, ExtendServerError, True),
            (503, ExtendServerError, True),
            (599, ExtendServerError, True),
        ],
    )
    def test_each_status_has_its_error(
        self, status: int, error_type: type[ExtendError], retryable: bool
    ) -> None:
        error = sent(GET).refusal(answer(status))
        assert (type(error), error.retryable, error.status) == (error_type, retryable, status)
        assert "get run run_1" in str(error)

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
    def test_a_server_fault_after_submitting_is_unclear(self, status: int) -> None:
        error = sent(SUBMIT).refusal(answer(status, b'{"message": "oops", "retryable": true}'))
        assert isinstance(error, ExtendUnclearSubmissionError)
        assert not error.retryable
        assert "unknown" in str(error)

    @pytest.mark.parametrize(
        ("body", "headers", "facts"),
        [
            pytest.param(
                b'{"code":"INVALID_REQUEST","message":"No; Path: a.b","retryable":false,"requestId":"req_1"}',
                {},
                ("INVALID_REQUEST", "req_1", "No; Path: a.b"),
                id="2026-02-09",
            ),
            pytest.param(
                b'{"success":false,"error":"File is corrupt","code":"CORRUPT_FILE"}',
                {},
                ("CORRUPT_FILE", None, "File is corrupt"),
                id="2025-04-21",
            ),
            pytest.param(
                b'{"error":{"code":"NOT_FOUND","message":"Gone"},"requestId":"req_2"}',
                {},
                ("NOT_FOUND", "req_2", "Gone"),
                id="nested",
            ),
            pytest.param(b"<html>", {"Content_Type": "text/html"}, (None, None, "text/html"), id="html"),
            pytest.param(b"", {"X_Extend_Request_Id": "req_3"}, (None, "req_3", "no message"), id="empty"),
            pytest.param(b'["a"]', {}, (None, None, "no message"), id="a-list"),
            pytest.param(b'{"message": 3, "code": null}', {}, (None, None, "3"), id="wrong-types"),
            pytest.param(b"\xff\xfe", {}, (None, None, "no message"), id="not-unicode"),
        ],
    )
    def test_error_bodies_of_all_kinds_are_read(
        self, body: bytes, headers: dict[str, str], facts: tuple[str | None, str | None, str]
    ) -> None:
        error = sent(GET).refusal(answer(400, body, **headers))
        code, request_id, said = facts
        assert (error.code, error.request_id) == (code, request_id)
        assert said in error.message

    @pytest.mark.parametrize(
        ("status", "body", "error_type", "retryable"),
        [
            pytest.param(409, b'{"retryable":true}', ExtendServerError, True, id="409-says-retry"),
            pytest.param(500, b'{"retryable":false}', ExtendServerError, False, id="500-says-no"),
            pytest.param(429, b'{"retryable":false}', ExtendRateLimitError, True, id="429-passes-anyway"),
            pytest.param(500, b'{"retryable":"no"}', ExtendServerError, True, id="not-a-boolean"),
        ],
    )
    def test_retryable_in_the_error_body_wins_over_the_status(
        self, status: int, body: bytes, error_type: type[ExtendError], retryable: bool
    ) -> None:
        error = sent(GET).refusal(answer(status, body))
        assert (type(error), error.retryable) == (error_type, retryable)

    def test_a_refusal_inside_a_success_is_a_refusal(self) -> None:
        with pytest.raises(ExtendBadRequestError, match="No such workflow"):
            sent(GET).result(answer(200, b'{"success":false,"error":"No such workflow"}'))

    def test_file_urls_and_keys_in_extends_messages_are_removed(self) -> None:
        said = b'{"message":"Cannot get https://u:pw@bucket/key?X-Amz-Signature=c0ffee with key sk_live_77"}'
        error = sent(GET).refusal(answer(400, said))
        assert "bucket/key" in str(error)
        assert not any(secret in str(error) for secret in ("c0ffee", "pw", "live_77"))

    def test_a_redirect_is_named_without_its_query(self) -> None:
        error = sent(GET).refusal(answer(302, Location="https://login.example.com/in?token=c0ffee"))
        assert "https://login.example.com;" in str(error)
        assert "c0ffee" not in str(error)

    @pytest.mark.parametrize("body", [b"<html>", b"", b'{"id":', b"{}", b'{"id":null}', b"[]", b"\xff"])
    def test_a_success_that_cannot_be_read_is_an_error(self, body: bytes) -> None:
        with pytest.raises(ExtendServerError) as read:
            sent(GET).result(answer(200, body, X_Extend_Request_Id="req_1"))
        assert (read.value.retryable, read.value.request_id) == (True, "req_1")
        with pytest.raises(ExtendUnclearSubmissionError):
            sent(SUBMIT).result(answer(200, body))

    def test_a_broken_connection_is_unclear_only_for_what_creates_and_was_sent(self) -> None:
        broken = ConnectionResetError(104, "Connection reset by peer")
        assert isinstance(sent(SUBMIT).failure(broken), ExtendUnclearSubmissionError)
        for error in (Transmission(SUBMIT, URL).failure(broken), sent(GET).failure(broken)):
            assert isinstance(error, ExtendConnectionError)
            assert error.retryable
        assert "ConnectionResetError: Connection reset by peer" in str(error)


class TestRepeating:
    ERRORS = (
        ExtendRateLimitError("", retryable=True),
        ExtendConnectionError("", retryable=True),
        ExtendServerError("", retryable=True),
        ExtendUnclearSubmissionError(""),
        ExtendConnectionError("", retryable=False),
        ExtendBadRequestError(""),
        ValueError(),
    )

    def test_a_repeatable_call_is_retried_after_a_transient_error(self) -> None:
        assert [may_repeat(GET, e) for e in self.ERRORS] == [True, True, True, False, False, False, False]

    def test_a_creating_call_is_retried_only_if_nothing_was_created(self) -> None:
        assert [may_repeat(SUBMIT, e) for e in self.ERRORS] == [True, True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("30", 30, id="seconds"),
        pytest.param("0.5", 0.5, id="fraction"),
        pytest.param("-3", 0, id="negative"),
        pytest.param(format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90, id="date"),
        pytest.param(format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0, id="date-in-the-past"),
        pytest.param("Sun, 01 Mar 2026 13:00:30 +0100", 30, id="date-with-offset"),
        pytest.param("soon", None, id="nonsense"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("nan", None, id="nan"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds
