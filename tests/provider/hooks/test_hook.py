"""Both hooks, over real sockets: what they send, what they make of every kind of answer, what they repeat."""

from __future__ import annotations

import io
import json
import operator
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from extend_provider.client.models import BatchInput, FileInput, RunInput
from extend_provider.client.rate_limit import RateLimiter
from extend_provider.client.retries import Backoff
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendServerError,
    ExtendUnclearSubmissionError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.extend.hook_runner import (
    BATCH,
    CONN_ID,
    INPUTS,
    KEY,
    RUN,
    HookRunner,
    Use,
    get_run,
    set_connection,
    submit_batch,
)
from fixtures.extend.scripted_server import Received, Reply, ScriptedServer, closed_port, unreachable_port

FILE = Reply(body={"id": "file_1", "name": "a.pdf"})
BUSY = Reply(429, {"code": "RATE_LIMIT_EXCEEDED", "message": "Slow down."})
BROKEN = Reply(500, {"code": "INTERNAL_ERROR", "message": "Oops.", "retryable": True})


def submit_run(hook: Any) -> Any:
    return hook.create_run("workflow_1", FileInput(file_id="file_1"))


SUBMISSIONS = pytest.mark.parametrize(
    ("submit", "done"),
    [
        pytest.param(submit_batch, BATCH, id="batch"),
        pytest.param(submit_run, RUN, id="run"),
    ],
)


class TestWhatIsSent:
    def test_headers_hold_key_version_and_workspace_and_nothing_else_of_the_connection(
        self, hooks: HookRunner, serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login netrc_user password netrc_password\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        extra = {
            "workspace_id": "ws_1",
            "api_version": "2026-02-09",
            "requests_per_second": 1000,
            "timeout": 5,
            "x-note": "to-nobody",
            "cookie": "to-nobody",
        }
        server = serve(RUN, login="somebody", extra=extra)
        hooks.run(get_run)
        (request,) = server.requests
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["x-extend-api-version"] == "2026-02-09"
        assert request.headers["x-extend-workspace-id"] == "ws_1"
        assert request.headers["user-agent"].startswith("airflow-provider-extend/")
        assert set(request.headers) <= {
            *("authorization", "x-extend-api-version", "x-extend-workspace-id", "user-agent"),
            *("host", "accept", "accept-encoding", "connection"),
        }

    def test_no_workspace_sends_no_workspace_header(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(RUN)
        hooks.run(get_run)
        assert "x-extend-workspace-id" not in server.requests[0].headers

    def test_a_base_urls_path_is_kept(
        self, hooks: HookRunner, serve: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(RUN)
        set_connection(monkeypatch, f"{server.url}/v1/")
        hooks.run(get_run)
        assert server.requests[0].path == "/v1/workflow_runs/run_1"

    def test_host_and_port_fields_make_a_url(
        self, hooks: HookRunner, serve: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(RUN)
        set_connection(monkeypatch, "127.0.0.1", port=server.port, schema="http")
        assert hooks.run(get_run).id == "run_1"

    def test_a_listing_asks_for_all_filters_on_each_page(self, hooks: HookRunner, serve: Any) -> None:
        token = "xK9mLPq+R/tN3==:zWvU&x=Y?#é "
        page = {"data": [{"id": "r1", "status": "NEW"}], "nextPageToken": token}
        server = serve(Reply(body=page), Reply(body={"data": []}))
        pages = hooks.run(
            lambda hook: hook.iter_run_pages(
                batch_id="batch_1", workflow_id="w", status="FAILED", file_name_contains="a&b +c%"
            )
        )
        assert [[run.id for run in each] for each in pages] == [["r1"], []]
        first, second = server.requests
        assert first.params == {
            "batchId": "batch_1",
            "workflowId": "w",
            "status": "FAILED",
            "fileNameContains": "a&b +c%",
            "sortBy": "createdAt",
            "sortDir": "asc",
            "maxPageSize": "1000",
        }
        assert second.params == {**first.params, "nextPageToken": token}

    @pytest.mark.parametrize("pages", ["iter_run_pages", "iter_file_pages"])
    def test_a_repeated_page_token_ends_the_listing_with_an_error(
        self, hooks: HookRunner, serve: Any, pages: str
    ) -> None:
        server = serve(Reply(body={"data": [{"id": "r1"}], "files": [], "nextPageToken": "again"}))
        with pytest.raises(ExtendServerError, match="incomplete"):
            hooks.run(lambda hook: getattr(hook, pages)())
        assert len(server.requests) == 2

    def test_requests_share_one_connection(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(Reply(body={"data": [], "nextPageToken": "a"}), Reply(body={"data": []}))
        hooks.run(lambda hook: hook.iter_run_pages())
        assert (len(server.requests), server.connections) == (2, 1)

    def test_an_upload_is_a_form_with_the_file_from_its_position(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(FILE)
        content = io.BytesIO(b"skipped%PDF" + b"x" * 1_000_000)
        content.seek(7)
        stored = hooks.run(
            lambda hook: hook.upload_file("räché #1 +50%.pdf", content, password="open", convert_to_pdf=True)
        )
        assert stored.id == "file_1"
        (request,) = server.requests
        assert request.params == {"convertToPdf": "true"}
        assert "transfer-encoding" not in request.headers
        parts = form_parts(request)
        assert parts["password"][1] == b"open"
        header, body = parts["file"]
        assert 'filename="räché #1 +50%.pdf"' in header
        assert body == b"%PDF" + b"x" * 1_000_000

    def test_a_stream_that_cannot_be_rewound_is_refused(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(FILE)

        class Pipe(io.RawIOBase):
            def seekable(self) -> bool:
                return False

        with pytest.raises(ExtendInputError, match="seek"):
            hooks.run(lambda hook: hook.upload_file("a.pdf", Pipe()))
        assert server.requests == []

    def test_a_redirect_is_not_followed(self, hooks: HookRunner, serve: Any) -> None:
        elsewhere = serve(RUN)
        server = serve(Reply(307, headers={"Location": f"{elsewhere.url}/workflow_runs/batch"}))
        with pytest.raises(ExtendBadRequestError, match="redirect"):
            hooks.run(submit_batch)
        assert (len(server.requests), len(elsewhere.requests)) == (1, 0)

    def test_the_inherited_run_sends_our_headers_and_none_of_the_extra(self, serve: Any) -> None:
        server = serve(RUN, extra={"workspace_id": "ws_1", "x-note": "to-nobody"}, login="somebody")
        with ExtendHook(CONN_ID) as hook:
            assert hook.run("/workflow_runs/run_1").status_code == 200
        (request,) = server.requests
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert not {"workspace_id", "x-note"} & request.headers.keys()


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
        turns: list[RateLimiter] = []

        def reserve(limiter: RateLimiter) -> float:
            turns.append(limiter)
            return 0.0

        monkeypatch.setattr(RateLimiter, "reserve", reserve)
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


class TestCreatingRuns:
    FILES = tuple(RunInput(FileInput(file_id=f"file_{n}")) for n in range(3))

    def test_2026_sends_one_request_per_file(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(*(Reply(body={"id": f"run_{n}", "status": "PENDING"}) for n in range(3)))
        runs = hooks.run(lambda hook: hook.create_runs("w", self.FILES, version=3, priority=7))
        assert [run.id for run in runs] == ["run_0", "run_1", "run_2"]
        assert [request.json["file"]["id"] for request in server.requests] == ["file_0", "file_1", "file_2"]
        assert server.requests[0].json["workflow"] == {"id": "w", "version": "3"}

    def test_2025_sends_one_request_for_all(self, hooks: HookRunner, serve: Any) -> None:
        created = {"success": True, "workflowRuns": [{"id": f"run_{n}"} for n in range(3)]}
        server = serve(Reply(body=created), extra={"api_version": "2025-04-21"})
        runs = hooks.run(lambda hook: hook.create_runs("w", self.FILES, name="nightly"))
        assert [run.id for run in runs] == ["run_0", "run_1", "run_2"]
        (request,) = server.requests
        assert (len(request.json["files"]), request.json["name"]) == (3, "nightly")

    def test_a_failure_in_the_middle_names_the_runs_that_exist(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(RUN, BROKEN)
        with pytest.raises(ExtendUnclearSubmissionError) as failure:
            hooks.run(lambda hook: hook.create_runs("w", self.FILES))
        assert failure.value.created_run_ids == ("run_1",)
        assert "run_1" in str(failure.value)
        assert len(server.requests) == 2

    def test_2026_names_a_run_once_it_exists(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(RUN)
        hooks.run(lambda hook: hook.create_run("w", FileInput(file_id="f"), name="nightly"))
        create, rename = server.requests
        assert "name" not in create.json
        assert (rename.path, rename.json) == ("/workflow_runs/run_1", {"name": "nightly"})

    def test_a_run_that_cannot_be_named_is_not_lost(self, hooks: HookRunner, serve: Any) -> None:
        serve(RUN, Reply(400, {"message": "No names."}))
        assert hooks.run(lambda hook: hook.create_run("w", FileInput(file_id="f"), name="n")).id == "run_1"

    def test_no_file_is_refused_before_any_request(self, hooks: HookRunner, serve: Any) -> None:
        server = serve(RUN)
        with pytest.raises(ExtendInputError):
            hooks.run(lambda hook: hook.create_runs("w", []))
        assert server.requests == []


class TestSecrets:
    @pytest.mark.parametrize(
        "fault", [BROKEN, Reply(fault="drop"), Reply(400, {"message": f"Bad key {KEY}"})]
    )
    def test_errors_and_logs_hold_neither_key_nor_file_urls(
        self, hooks: HookRunner, serve: Any, fault: Reply, capfd: pytest.CaptureFixture[str]
    ) -> None:
        serve(fault)
        with pytest.raises(ExtendError) as failure:
            hooks.run(submit_batch)
        with pytest.raises(ExtendError):
            hooks.run(get_run)
        logged = capfd.readouterr()
        assert fault is not BROKEN or "Try 1 of 3" in logged.out + logged.err
        told = traceback.format_exception(failure.value)
        assert not any("requests." in line or "aiohttp." in line for line in told if line[0] != " ")
        seen = "".join([*logged, *told, repr(failure.value), repr(vars(failure.value))])
        assert not any(secret in seen for secret in (KEY, "c0ffee"))

    def test_a_hooks_repr_does_not_hold_the_key(self, hooks: HookRunner, serve: Any) -> None:
        serve(RUN)
        assert KEY not in hooks.run(lambda hook: repr((hook.settings, hook.settings.headers)))


class TestAgainstTheEmulator:
    @pytest.mark.parametrize("version", ["2026-02-09", "2025-04-21"])
    def test_every_endpoint_works(
        self, hooks: HookRunner, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, version: str
    ) -> None:
        set_connection(monkeypatch, extend_api.url, key=extend_api.key, extra={"api_version": version})
        call = hooks.run
        assert call(lambda hook: hook.test_connection())[0]
        text = b"INVOICE\nInvoice number: A-1\nTotal: 12.50 EUR\n"
        stored = call(lambda hook: hook.upload_file("über #1 +5%.txt", io.BytesIO(text)))
        assert stored.name == "über #1 +5%.txt"
        assert call(lambda hook: hook.get_file(stored.id)).presigned_url
        assert stored.id in {file.id for page in call(lambda hook: hook.iter_file_pages()) for file in page}

        inputs = [BatchInput(FileInput(file_id=stored.id), {"document_id": f"d{n}"}) for n in range(3)]
        batch_id = call(lambda hook: hook.create_batch("workflow_mixed", inputs, priority=80))
        run = call(
            lambda hook: hook.create_run(
                "workflow_invoices", FileInput(file_id=stored.id), metadata={"document_id": "d9"}, name="one"
            )
        )
        assert run.metadata["document_id"] == "d9"
        deadline = time.monotonic() + 20
        while call(lambda hook: hook.get_run(run.id)).status not in {"PROCESSED", "FAILED"}:
            assert time.monotonic() < deadline
        done = call(lambda hook: hook.get_run(run.id))
        (extraction,) = [step.result for step in done.steps if step.result and step.result.kind == "extract"]
        assert extraction.value
        assert extraction.schema

        pages = call(lambda hook: hook.iter_run_pages(batch_id=batch_id, page_size=2))
        assert [len(page) for page in pages] == [2, 1]
        ids = [summary.id for page in pages for summary in page]
        runs = [call(operator.methodcaller("get_run", run_id)) for run_id in ids]
        documents = {each.metadata["document_id"] for each in runs}
        assert documents == {"d0", "d1", "d2"}

        updated = call(lambda hook: hook.update_run(ids[0], metadata={"seen": True}))
        assert updated.metadata["seen"] is True
        call(lambda hook: hook.delete_run(ids[0]))
        with pytest.raises(ExtendNotFoundError):
            call(lambda hook: hook.get_run(ids[0]))

        extend_api.configure(hold=True)
        held = call(lambda hook: hook.create_run("workflow_invoices", FileInput(file_id=stored.id)))
        assert call(lambda hook: hook.cancel_run(held.id)).status in {"CANCELLING", "CANCELLED"}
        call(lambda hook: hook.delete_file(stored.id))
        with pytest.raises(ExtendNotFoundError):
            call(lambda hook: hook.get_file(stored.id))

    @pytest.mark.parametrize("version", ["2026-02-09", "2025-04-21"])
    def test_refusals_raise_the_errors_of_their_kind(
        self, hooks: HookRunner, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, version: str
    ) -> None:
        set_connection(monkeypatch, extend_api.url, key=extend_api.key, extra={"api_version": version})
        with pytest.raises(ExtendNotFoundError):
            hooks.run(lambda hook: hook.create_batch("workflow_unknown", INPUTS))
        with pytest.raises(ExtendBadRequestError):
            hooks.run(lambda hook: hook.create_batch("workflow_mixed", []))
        set_connection(monkeypatch, extend_api.url, key="sk_wrong", extra={"api_version": version})
        with pytest.raises(ExtendAuthError):
            hooks.run(lambda hook: hook.create_batch("workflow_mixed", INPUTS))
        assert extend_api.stats()["runs_created"] == {}


def form_parts(request: Received) -> dict[str, tuple[str, bytes]]:
    """Take a multipart body apart: by field name, the disposition and the content."""
    boundary = request.headers["content-type"].split("boundary=")[1].encode()
    parts = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, body = part.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1)
        disposition = head.decode().split("\r\n")[0]
        parts[disposition.split('name="')[1].split('"')[0]] = (disposition, body)
    return parts


def strip_boundary(request: Received) -> bytes:
    """Return the body without the boundary, which differs from form to form."""
    if "boundary=" not in request.headers["content-type"]:
        return json.dumps(request.json, sort_keys=True).encode()
    return request.body.replace(request.headers["content-type"].split("boundary=")[1].encode(), b"")
