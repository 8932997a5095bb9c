"""What both hooks repeat, over real sockets, and that a submission is never among it."""

from __future__ import annotations

import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from extend_provider.client.models import FileInput
from extend_provider.client.pacing.limits import ConnectionLimits, Turn
from extend_provider.client.pacing.retries import Backoff
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendServerError,
    ExtendUnclearSubmissionError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.hook_runner import (
    BATCH,
    BROKEN,
    BUSY,
    CONN_ID,
    FILE,
    INPUTS,
    RUN,
    HookRunner,
    Use,
    get_run,
    set_connection,
    submit_batch,
)
from fixtures.extend.scripted_server import (
    Received,
    Reply,
    ScriptedServer,
    closed_port,
    form_parts,
    unreachable_port,
)


def submit_run(hook: Any) -> Any:
    return hook.create_run("workflow_1", FileInput(file_id="file_1"))


SUBMISSIONS = pytest.mark.parametrize(
    ("submit", "done"),
    [
        pytest.param(submit_batch, BATCH, id="batch"),
        pytest.param(submit_run, RUN, id="run"),
    ],
)


class TestRepeating:
    @pytest.mark.parametrize("fault", [BUSY, BROKEN, Reply(503, b"<html>")], ids=["429", "500", "503-html"])
    def test_a_read_is_repeated_until_it_succeeds(self, hooks: HookRunner, serve: Any, fault: Reply) -> None:
        server = serve(fault, fault, RUN)
        assert hooks.run(get_run).id == "run_1"
        assert len(server.requests) == 3

    @pytest.mark.parametrize("fault", ["drop", "reset", "truncate"])
    def test_a_read_survives_a_broken_connection(self, hooks: HookRunner, serve: Any, fault: Any) -> None:
        serve(Reply(body=RUN.body, fault=fault), RUN)
        assert hooks.run(get_run).id == "run_1"

    @pytest.mark.parametrize(
        ("use", "path"),
        [
            pytest.param(lambda hook: hook.cancel_run("run_1"), "/workflow_runs/run_1/cancel", id="cancel"),
            pytest.param(
                lambda hook: hook.update_run("run_1", name="n"), "/workflow_runs/run_1", id="update"
            ),
            pytest.param(lambda hook: hook.delete_run("run_1"), "/workflow_runs/run_1", id="delete"),
            pytest.param(lambda hook: hook.delete_file("file_1"), "/files/file_1", id="delete-file"),
        ],
    )
    def test_a_change_that_can_be_made_twice_is_repeated(
        self, hooks: HookRunner, serve: Any, use: Use, path: str
    ) -> None:
        server = serve(BROKEN, RUN)
        hooks.run(use)
        assert [request.path for request in server.requests] == [path, path]

    @pytest.mark.parametrize("fault", [BUSY, BROKEN, Reply(fault="drop")], ids=["429", "500", "dropped"])
    def test_an_upload_is_repeated_from_its_first_position(
        self, hooks: HookRunner, serve: Any, fault: Reply
    ) -> None:
        server = serve(fault, FILE)
        content = io.BytesIO(b"skipped%PDF" + b"x" * 100_000)
        content.seek(7)
        assert hooks.run(lambda hook: hook.upload_file("a.pdf", content)).id == "file_1"
        files = [form_parts(request)["file"][1] for request in server.requests]
        assert files == [b"%PDF" + b"x" * 100_000] * 2

    def test_max_attempts_end_with_the_last_error(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(BROKEN)
        with pytest.raises(ExtendServerError) as failure:
            hooks.run(get_run, max_attempts=4)
        assert (failure.value.status, failure.value.code) == (500, "INTERNAL_ERROR")
        assert len(server.requests) == 4

    def test_a_refused_read_is_sent_once(self, hooks: HookRunner, serve: Any) -> None:
        for status, error in (
            (400, ExtendBadRequestError),
            (401, ExtendAuthError),
            (404, ExtendNotFoundError),
        ):
            server = serve(Reply(status, {"message": "No."}))
            with pytest.raises(error):
                hooks.run(get_run)
            assert len(server.requests) == 1

    def test_a_retry_waits_for_retry_after(self, hooks: HookRunner, serve: Any) -> None:
        serve(Reply(429, headers={"Retry-After": "0.3"}), RUN)
        start = time.monotonic()
        assert hooks.run(get_run).id == "run_1"
        assert time.monotonic() - start >= 0.3

    def test_a_wait_beyond_the_total_fails_at_once(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(Reply(429, headers={"Retry-After": "3600"}))
        start = time.monotonic()
        with pytest.raises(ExtendRateLimitError, match="retry after 3600 s"):
            hooks.run(get_run)
        assert time.monotonic() - start < 2
        assert len(server.requests) == 1

    def test_waits_never_exceed_the_total(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(BROKEN)
        with pytest.raises(ExtendServerError):
            hooks.run(get_run, max_attempts=1000, backoff=Backoff(initial=0.05, maximum=0.05, total=0.2))
        assert 4 < len(server.requests) <= 9


class TestSubmittingOnce:
    @SUBMISSIONS
    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param(BROKEN, id="500"),
            pytest.param(Reply(502, b"<html>"), id="502-html"),
            pytest.param(Reply(503, headers={"Retry-After": "0"}), id="503-with-retry-after"),
            pytest.param(Reply(504), id="504"),
            pytest.param(Reply(fault="drop"), id="dropped"),
            pytest.param(Reply(fault="reset"), id="reset"),
            pytest.param(Reply(body={"batchId": "b", "id": "i"}, fault="truncate"), id="answer-broken-off"),
            pytest.param(Reply(200, b"<html>"), id="success-that-is-html"),
            pytest.param(Reply(200, {"strange": True}), id="success-without-id"),
        ],
    )
    def test_a_submission_with_an_unclear_result_is_sent_once(
        self, hooks: HookRunner, serve: Any, submit: Use, done: Reply, fault: Reply
    ) -> None:
        server = serve(fault, done)
        with pytest.raises(ExtendUnclearSubmissionError, match="unknown") as failure:
            hooks.run(submit)
        assert not failure.value.retryable
        assert len(server.requests) == 1

    @SUBMISSIONS
    def test_a_submission_without_an_answer_in_time_is_sent_once(
        self, hooks: HookRunner, serve: Any, submit: Use, done: Reply
    ) -> None:
        server = serve(Reply(body=done.body, delay=1.0), done, extra={"timeout": [1.0, 0.2]})
        with pytest.raises(ExtendUnclearSubmissionError):
            hooks.run(submit)
        time.sleep(0.1)
        assert len(server.requests) == 1

    @SUBMISSIONS
    def test_a_submission_refused_with_429_is_sent_again(
        self, hooks: HookRunner, serve: Any, submit: Use, done: Reply
    ) -> None:
        server = serve(BUSY, BUSY, done)
        hooks.run(submit)
        bodies = {strip_boundary(request) for request in server.requests}
        assert (len(server.requests), len(bodies)) == (3, 1)

    @SUBMISSIONS
    def test_a_refused_connection_is_retried_and_then_sends_once(
        self, hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, submit: Use, done: Reply
    ) -> None:
        port = closed_port()
        set_connection(monkeypatch, f"http://127.0.0.1:{port}")
        servers: list[ScriptedServer] = []
        opening = threading.Timer(0.3, lambda: servers.append(ScriptedServer(done, port=port).__enter__()))
        opening.start()
        try:
            hooks.run(submit, max_attempts=20, backoff=Backoff(initial=0.2, maximum=0.2))
            assert len(servers[0].requests) == 1
        finally:
            opening.join()
            servers[0].__exit__()

    @pytest.mark.parametrize(
        "host",
        [
            pytest.param(lambda: f"http://127.0.0.1:{closed_port()}", id="refused"),
            pytest.param(lambda: "http://no-such-host.invalid", id="unknown-host"),
        ],
    )
    def test_a_failed_connection_sends_nothing_and_the_error_says_so(
        self, hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, host: Any
    ) -> None:
        set_connection(monkeypatch, host())
        with pytest.raises(ExtendConnectionError, match="nothing was sent") as failure:
            hooks.run(submit_batch)
        assert failure.value.retryable

    def test_a_connection_timeout_sends_nothing(
        self, hooks: HookRunner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with unreachable_port() as port:
            set_connection(monkeypatch, f"http://127.0.0.1:{port}", extra={"timeout": [0.2, 5]})
            with pytest.raises(ExtendConnectionError, match="nothing was sent"):
                hooks.run(submit_batch, max_attempts=1)

    def test_a_request_past_its_leave_by_is_not_sent(self, serve: Any) -> None:
        server = serve(BATCH)
        now = datetime.now(UTC)
        with ExtendHook(CONN_ID, max_attempts=1) as hook:
            with pytest.raises(ExtendConnectionError, match="nothing was sent") as failure:
                hook.create_batch("workflow_1", INPUTS, leave_by=now - timedelta(seconds=1))
            assert failure.value.retryable
            assert server.requests == []
            assert hook.create_batch("workflow_1", INPUTS, leave_by=now + timedelta(minutes=1)) == "batch_1"

    def test_a_turn_that_was_waited_for_holds_for_one_request(
        self, serve: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serve(BATCH, extra={"requests_per_second": 1000})
        turns: list[Turn] = []
        take = ConnectionLimits.turn

        def counted(*asked: Any) -> Turn:
            turns.append(take(*asked))
            return turns[-1]

        monkeypatch.setattr(ConnectionLimits, "turn", counted)
        with ExtendHook(CONN_ID) as hook:
            hook.wait_for_turn()
            submit_batch(hook)
            assert len(turns) == 1
            submit_batch(hook)
            assert len(turns) == 2

    def test_a_connection_that_dies_under_the_second_request_does_not_replay_it(
        self, hooks: HookRunner, serve: Any
    ) -> None:
        server = serve(RUN, Reply(fault="drop"), BATCH)

        with pytest.raises(ExtendUnclearSubmissionError):
            hooks.run(get_run, submit_batch)
        assert [(r.method, r.connection) for r in server.requests] == [("GET", 1), ("POST", 1)]

    def test_a_connection_that_the_server_closed_in_between_is_not_used_again(
        self, hooks: HookRunner, serve: Any
    ) -> None:
        server = serve(Reply(body=RUN.body, close=True), BATCH)

        assert hooks.run(get_run, submit_batch, pause=0.1) == "batch_1"
        assert [(r.method, r.connection) for r in server.requests] == [("GET", 1), ("POST", 2)]


def strip_boundary(request: Received) -> bytes:
    """Return the body without the boundary, which differs from form to form."""
    if "boundary=" not in request.headers["content-type"]:
        return json.dumps(request.json, sort_keys=True).encode()
    return request.body.replace(request.headers["content-type"].split("boundary=")[1].encode(), b"")
