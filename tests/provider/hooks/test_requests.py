"""What both hooks send, over real sockets, and that nothing secret is told of it."""

from __future__ import annotations

import io
import traceback
from pathlib import Path
from typing import Any

import pytest

from extend_provider.exceptions import (
    ExtendBadRequestError,
    ExtendError,
    ExtendInputError,
    ExtendServerError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.hook_runner import (
    BROKEN,
    CONN_ID,
    FILE,
    KEY,
    RUN,
    HookRunner,
    get_run,
    set_connection,
    submit_batch,
)
from fixtures.extend.scripted_server import (
    Reply,
    form_parts,
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
