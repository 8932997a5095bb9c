"""Both hooks: runs that they create, and every endpoint of the emulator."""

from __future__ import annotations

import io
import operator
import time
from typing import Any

import pytest

from extend_provider.client.models import BatchInput, FileInput, RunInput
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendInputError,
    ExtendNotFoundError,
    ExtendUnclearSubmissionError,
)
from fixtures.extend.api import ExtendApi
from fixtures.extend.hook_runner import (
    BROKEN,
    INPUTS,
    RUN,
    HookRunner,
    set_connection,
)
from fixtures.extend.scripted_server import (
    Reply,
)


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
