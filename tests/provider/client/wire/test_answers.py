"""What Extend answers with: bare or in envelopes, alone or in pages."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest

from extend_provider.client.models import (
    StoredFile,
)
from extend_provider.client.wire import API_VERSIONS, wire_for
from extend_provider.client.wire.reading import UnreadableAnswerError
from fixtures.extend.wire_runs import (
    NEW,
    NEW_RUN,
    OLD,
    OLD_RUN,
)


class TestAnswers:
    def test_2026_answers_are_bare(self) -> None:
        assert NEW.run(NEW_RUN) == NEW.parse_run(NEW_RUN)
        assert NEW.created_runs(NEW_RUN) == (NEW.parse_run(NEW_RUN),)
        assert NEW.batch_id({"batchId": "batch_1"}) == "batch_1"
        assert NEW.file({"id": "file_1", "name": "a.pdf", "type": None}) == StoredFile("file_1", "a.pdf")

    def test_2025_answers_come_in_envelopes(self) -> None:
        assert OLD.run({"success": True, "workflowRun": OLD_RUN}) == OLD.parse_run(OLD_RUN)
        created = OLD.created_runs({"success": True, "workflowRuns": [OLD_RUN, {**OLD_RUN, "id": "r2"}]})
        assert [run.id for run in created] == ["workflow_run_1", "r2"]
        assert OLD.batch_id({"success": True, "batchId": "batch_1"}) == "batch_1"
        assert OLD.file({"success": True, "file": {"id": "file_1"}}) == StoredFile("file_1")

    def test_2026_listing(self) -> None:
        summary = {key: value for key, value in NEW_RUN.items() if key not in {"metadata", "stepRuns"}}
        page = NEW.run_page({"object": "list", "data": [summary], "nextPageToken": "xK9m==:zW/+"})
        (run,) = page.items
        assert (run.id, run.workflow_version, run.file_names) == ("workflow_run_1", "3", ("a.pdf",))
        assert page.next_page_token == "xK9m==:zW/+"

    def test_2025_listing(self) -> None:
        run = {
            "id": "r1",
            "status": "PENDING",
            "workflowId": "workflow_1",
            "workflowName": "Invoices",
            "workflowVersionId": "workflow_version_9",
            "batchId": "batch_1",
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:01Z",
        }
        (summary,) = OLD.run_page({"success": True, "workflowRuns": [run]}).items
        assert (summary.workflow_id, summary.workflow_version) == ("workflow_1", "workflow_version_9")
        assert (summary.created_at, summary.batch_id) == ("2026-01-01T00:00:00Z", "batch_1")

    @pytest.mark.parametrize("ending", [{}, {"nextPageToken": None}, {"nextPageToken": ""}])
    def test_a_listing_ends_without_a_token(self, ending: dict[str, Any]) -> None:
        assert NEW.run_page({"data": [], **ending}).next_page_token is None
        assert OLD.run_page({"workflowRuns": [], **ending}).next_page_token is None
        assert NEW.file_page({"data": [], **ending}).next_page_token is None
        assert OLD.file_page({"files": [], **ending}).next_page_token is None

    @pytest.mark.parametrize("version", API_VERSIONS)
    @pytest.mark.parametrize("body", [None, [], "ok", {}, {"data": None, "workflowRuns": 3, "file": "x"}])
    def test_answers_of_another_shape_are_unreadable(self, version: str, body: object) -> None:
        wire = wire_for(version)
        for read in (wire.run, wire.created_runs, wire.run_page, wire.file, wire.file_page, wire.batch_id):
            with pytest.raises(UnreadableAnswerError):
                read(body)


def test_a_page_of_a_thousand_runs_takes_little_cpu_time() -> None:
    summary = {key: value for key, value in NEW_RUN.items() if key not in {"metadata", "stepRuns"}}
    body = json.dumps({"data": [{**summary, "id": f"run_{n}"} for n in range(1000)]}).encode()
    times = []
    for _ in range(5):
        start = time.process_time()
        page = NEW.run_page(msgspec.json.decode(body))
        times.append(time.process_time() - start)
    assert len(page.items) == 1000
    assert min(times) < 0.2, f"took {min(times) * 1000:.1f} ms"
