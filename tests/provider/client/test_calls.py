"""Requests as values: what is sent twice, what is refused before it is sent, when a list ends."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.client import endpoints
from extend_provider.client.calls import ApiCall, Cursor
from extend_provider.client.models import BatchInput, FileInput, Page, RunInput
from extend_provider.client.wire import wire_for
from extend_provider.exceptions import ExtendServerError

WIRE = wire_for("2026-02-09")
GET = endpoints.get_run(WIRE, "run_1")
SUBMIT = endpoints.create_batch(WIRE, "workflow_1", [BatchInput(FileInput(file_id="f"))])
RUN = next(endpoints.create_runs(WIRE, "workflow_1", [RunInput(FileInput(file_id="f"))]))
UPLOAD = endpoints.upload_file(WIRE, "a.pdf", b"%PDF")


class TestCalls:
    @pytest.mark.parametrize(
        ("call", "repeatable"),
        [
            pytest.param(SUBMIT, False, id="batch"),
            pytest.param(RUN, False, id="run"),
            pytest.param(UPLOAD, True, id="upload"),
            pytest.param(GET, True, id="get"),
            pytest.param(endpoints.iter_run_pages(WIRE), True, id="list"),
            pytest.param(endpoints.update_run(WIRE, "r", name="n"), True, id="update"),
            pytest.param(endpoints.cancel_run(WIRE, "r"), True, id="cancel"),
            pytest.param(endpoints.delete_run(WIRE, "r"), True, id="delete"),
            pytest.param(endpoints.get_file(WIRE, "f"), True, id="get-file"),
            pytest.param(endpoints.iter_file_pages(WIRE), True, id="list-files"),
            pytest.param(endpoints.delete_file(WIRE, "f"), True, id="delete-file"),
        ],
    )
    def test_only_creating_calls_are_not_repeatable(self, call: ApiCall[Any], repeatable: bool) -> None:
        assert call.repeatable is repeatable

    def test_ids_are_escaped_in_the_path(self) -> None:
        assert endpoints.get_run(WIRE, "a/b?c=1#d").path == "/workflow_runs/a%2Fb%3Fc%3D1%23d"

    def test_an_empty_id_is_refused_before_it_lists_everything(self) -> None:
        with pytest.raises(ValueError, match="id is missing"):
            endpoints.delete_run(WIRE, "")

    def test_a_body_that_is_not_json_is_refused(self) -> None:
        with pytest.raises(ValueError, match="JSON"):
            endpoints.update_run(WIRE, "r", metadata={"when": object()})

    def test_a_call_does_not_show_what_it_sends(self) -> None:
        call = endpoints.create_batch(WIRE, "w", [BatchInput(FileInput(url="https://b/k?sig=c0ffee"))])
        assert "c0ffee" not in repr(call)


class TestCursor:
    FIRST = endpoints.iter_run_pages(WIRE, batch_id="batch_1")

    def tokens(self, *given: str | None) -> list[str | None]:
        """Return the tokens of the pages that are asked for where these tokens are given."""
        cursor, call, asked = Cursor(self.FIRST), self.FIRST, []
        for token in given:
            asked.append(call.params.get("nextPageToken"))
            assert call.params["batchId"] == "batch_1"
            following = cursor.after(Page((), token))
            if following is None:
                break
            call = following
        return asked

    def test_a_cursor_follows_tokens_through_empty_pages(self) -> None:
        assert self.tokens("a", "b", None, "never") == [None, "a", "b"]

    @pytest.mark.parametrize("given", [("a", "b", "a"), ("a", "a")], ids=["circle", "standing"])
    def test_a_repeated_token_is_not_the_end_of_the_list(self, given: tuple[str, ...]) -> None:
        with pytest.raises(ExtendServerError, match="incomplete") as failure:
            self.tokens(*given)
        assert failure.value.retryable
