"""Only evidence sends again: no empty or short list, no other workspace, no outage and no old decision."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import TaskDeferred

from extend_pipeline.__main__ import main
from extend_pipeline.batches.chunk_state import ChunkRound
from extend_pipeline.batches.evidence import read_evidence
from extend_pipeline.batches.sending.attempts import Evidence
from extend_pipeline.dag.wait import WaitChunkOperator
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import read_settings, write_settings
from extend_provider.batch.waiting.polling import Outcome, PollResult
from extend_provider.batch.waiting.progress import BatchProgress
from extend_provider.exceptions import ExtendBatchError
from extend_provider.sensors.batch import ExtendBatchTimeoutError
from extend_provider.triggers.submission import ExtendSubmissionTrigger
from fixtures.extend.api import running
from fixtures.pipeline.chunk_tasks import BATCH, Waiting
from fixtures.tasks.task_support import Task, resume, run_on

STORED = Path(__file__).parents[1] / "stored"
RUN = "GET /workflow_runs/{id}"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    monkeypatch.setattr("extend_pipeline.dag.conventions.FIRST_PAUSE", 0.1)


def operator(waiting: Waiting, timeout: float = 60.0, **options: Any) -> WaitChunkOperator:
    made = waiting.operator()
    made.timeout, made.poke_interval = timeout, 0.2
    for name, value in options.items():
        setattr(made, name, value)
    return made


def settings_of(waiting: Waiting, **changes: Any) -> None:
    """Let the run that works now have other settings."""
    folder = ObjectStoragePath(waiting.chunk["folder"])
    write_settings(folder, read_settings(folder).model_copy(update=changes))


def delete(waiting: Waiting, *runs: dict[str, Any]) -> None:
    for run in runs:
        assert waiting.api.call("DELETE", f"/workflow_runs/{run['id']}").ok


def same_wait(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("batch_id", "run_count"))


def folder_of(waiting: Waiting) -> Path:
    return Path(ChunkRound.first(waiting.chunk).folder.path)


def test_a_batch_of_another_workspace_is_waited_for_and_never_sent_again(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = waiting.api.connection_json(timeout=2, listing_grace=1)
    waiting.api.runs(waiting.submit())
    wait = operator(waiting, timeout=3)
    wait.missing_after = dt.timedelta(seconds=0.1)
    with running() as elsewhere:
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", elsewhere.connection_json())
        says = r"Not one run was ever listed: check that connection 'extend_default'.*Nothing was sent again"
        with pytest.raises(ExtendBatchTimeoutError, match=says):
            run_on(wait, Task().attempt())
        assert elsewhere.requests_to("GET /workflow_runs") > 3
        assert elsewhere.requests_to(BATCH) == 0
    assert not (folder_of(waiting) / "evidence.json").exists()

    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", right)
    assert run_on(operator(waiting), Task().attempt())["by_status"] == {"PROCESSED": 2}
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_an_empty_list_for_hours_sends_nothing_again(waiting: Waiting) -> None:
    """Also when a trigger of the release before reports it."""
    waiting.api.configure(listing_lag_seconds=600)
    first = waiting.execute()
    short = PollResult(
        Outcome.RUNS_MISSING,
        "nothing has changed",
        BatchProgress(4, {}).as_dict(),
        batch_id=first["batch_id"],
        policy=first["policy"],
    )
    with pytest.raises(TaskDeferred) as goes_on:
        waiting.operator().execute_complete(waiting.context, short.as_event())
    assert same_wait(goes_on.value.trigger.serialize()[1], first)
    assert waiting.times_paid() == [1, 1, 1, 1]


@pytest.mark.parametrize("endpoint", [RUN, "GET /workflow_runs"])
def test_a_batch_of_which_extend_knows_nothing_is_waited_for(waiting: Waiting, endpoint: str) -> None:
    """Each run is listed and none is there; or there is no such batch."""
    waiting.api.runs(waiting.submit())
    refused = {"endpoint": endpoint, "kind": "error", "status": 404}
    waiting.api.configure(faults=[{**refused, "count": None}])
    says = "Not one run was ever listed: check that connection .*Nothing was sent again"
    with pytest.raises(ExtendBatchTimeoutError, match=says):
        run_on(operator(waiting, timeout=1.5), Task().attempt())
    assert waiting.api.requests_to(BATCH) == 1
    waiting.api.configure(faults=[{**refused, "count": 6}])
    assert run_on(operator(waiting), Task().attempt())["by_status"] == {"PROCESSED": 2}
    assert waiting.times_paid() == [1, 1, 2, 2]


@pytest.fixture
def short(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """Two of four runs are not listed, and at most one is sent again automatically."""
    monkeypatch.setattr("extend_pipeline.batches.sending.attempts.MISSING_FEW", 1)
    waiting.api.configure(outcomes=[])
    delete(waiting, *waiting.api.runs(waiting.submit())[:2])
    return waiting


def test_more_missing_runs_than_the_bound_fail_the_wait_and_send_nothing(short: Waiting) -> None:
    says = "2 of 4 documents have no run at Extend, and at most 1 are sent again .*Nothing was sent again"
    for _ in range(2):
        with pytest.raises(ExtendBatchError, match=says):
            short.complete(short.execute(), Outcome.RUNS_MISSING)
    assert short.times_paid() == [1, 1, 1, 1]


def test_runs_accepted_as_gone_land_as_missing_and_are_not_sent_again(
    short: Waiting, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExtendBatchError) as failure:
        short.complete(short.execute(), Outcome.RUNS_MISSING)
    found = re.search(r"gone for good: (python .+?); then", failure.value.message)
    assert found is not None
    command = shlex.split(found[1])
    assert command[:3] == ["python", "-m", "extend_pipeline"]
    assert main([part for part in command[3:] if part != "--accept"]) == 0
    with pytest.raises(ExtendBatchError):
        short.complete(short.execute(), Outcome.RUNS_MISSING)
    assert main(command[3:]) == 0
    assert "Extend has 2 of the 4 runs" in capsys.readouterr().out

    again = short.execute()
    assert again["run_count"] == 2
    assert short.complete(again)["by_status"] == {"PROCESSED": 2}
    assert [part["runs"] for part in short.collect()] == [2]
    assert [part["documents"] for part in short.collect()] == [4]
    assert short.times_paid() == [1, 1, 1, 1]


def test_a_batch_that_is_gone_as_a_whole_is_accepted_too(short: Waiting) -> None:
    delete(short, *short.api.runs(short.submit()))
    assert main(["missing", str(ChunkRound.first(short.chunk).folder), "--accept"]) == 0
    assert run_on(operator(short), Task().attempt())["by_status"] == {}
    assert [(part["runs"], part["documents"]) for part in short.collect()] == [(0, 4)]
    assert short.times_paid() == [1, 1, 1, 1]


def test_the_command_accepts_nothing_while_runs_are_at_work(
    waiting: Waiting, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting.api.configure(hold=True)
    waiting.submit()
    assert main(["missing", str(ChunkRound.first(waiting.chunk).folder), "--accept"]) == 1
    assert "4 runs of batch" in " ".join(capsys.readouterr().err.split())
    assert not (folder_of(waiting) / "evidence.json").exists()
    assert main(["missing", f"file://{folder_of(waiting)}/nothing"]) == 1


def test_the_stored_evidence_is_judged_by_the_settings_of_the_current_run(
    waiting: Waiting,
) -> None:
    settings_of(waiting, max_attempts=1)
    assert waiting.complete(waiting.execute())["by_status"] == {"FAILED": 2, "PROCESSED": 2}
    stored = json.loads((folder_of(waiting) / "evidence.json").read_text())
    assert stored["format"] == 2
    assert (stored["listed"], stored["missing"], stored["without_run"]) == (4, 0, [])
    assert [(end["status"], end["reason"]) for end in stored["ends"]] == [("FAILED", "INTERNAL_ERROR")] * 2
    assert all(end["run_id"] and end["document_id"] and end["started_at"] for end in stored["ends"])
    assert "again" not in stored

    settings_of(waiting, max_attempts=3)
    second = waiting.complete(waiting.execute())
    assert second["run_count"] == 2
    settings_of(waiting, max_attempts=1)  # what was begun is continued, whatever would be decided now
    assert same_wait(waiting.complete(waiting.execute()), second)
    assert waiting.complete(second)["by_status"] == {"PROCESSED": 2}
    assert [part["runs"] for part in waiting.collect()] == [4, 2]
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_a_begun_round_is_continued_without_the_list_of_its_documents(
    waiting: Waiting,
) -> None:
    second = waiting.complete(waiting.execute())
    (listed,) = folder_of(waiting).glob("round-2/documents-*.jsonl")
    listed.unlink()
    settings_of(waiting, max_attempts=1)
    assert same_wait(waiting.complete(waiting.execute()), second)
    assert len(ChunkRound.latest(waiting.chunk).documents) == 2


def old_verdict(waiting: Waiting, **verdict: Any) -> None:
    """Leave what the release before has written down of the first round."""
    file = folder_of(waiting) / "verdict.json"
    kept = json.loads((STORED / "verdict.json").read_text())
    file.write_text(json.dumps({**kept, **verdict}))


def test_an_older_releases_verdict_sends_no_document_that_had_a_run(waiting: Waiting) -> None:
    waiting.api.configure(outcomes=[])
    runs = waiting.api.runs(waiting.submit())
    old_verdict(waiting, again=[], missing=0)
    delete(waiting, runs[0])
    waiting.complete(waiting.execute(), Outcome.RUNS_MISSING)
    assert waiting.times_paid() == [1, 1, 1, 1]
    assert [part["runs"] for part in waiting.collect()] == [3]


def test_an_older_releases_verdict_is_checked_and_the_next_round_begins(waiting: Waiting) -> None:
    failed = [run["metadata"]["document_id"] for run in waiting.api.runs(waiting.submit())[:2]]
    old_verdict(waiting, again=failed, missing=0, added_by="a release in between")
    second = waiting.complete(waiting.execute())
    assert second["run_count"] == 2
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_an_older_releases_verdict_is_read_as_evidence(waiting: Waiting) -> None:
    waiting.submit()
    old_verdict(waiting)
    first = ChunkRound.first(waiting.chunk)
    sent, evidence = first.sent(required=True), first.evidence()
    assert sent is not None
    assert evidence is not None
    assert first.expected(sent) == 3
    assert evidence.without_run == ("0000000000000000000000000000000a",)
    (folder_of(waiting) / "verdict.json").write_text("{}")
    assert first.expected(sent) == 4


@pytest.mark.parametrize("change", [{"format": 3}, {"format": "x"}, {"ends": 1}], ids=str)
def test_unreadable_evidence_raises_before_anything_is_sent(waiting: Waiting, change: dict[str, Any]) -> None:
    waiting.complete(waiting.execute())
    file = folder_of(waiting) / "evidence.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(PipelineInputError, match=r"evidence.json (is of format 3|cannot be read)"):
        ChunkRound.first(waiting.chunk).evidence()


@pytest.mark.parametrize(
    ("schema_version", "reads"), [({"schema_version": 2}, True), ({"schema_version": 3}, False)]
)
def test_evidence_with_a_schema_version_of_an_older_release_is_read(
    tmp_path: Path, schema_version: dict[str, int], reads: bool
) -> None:
    stored = {"listed": 4, "missing": 1, "gone": [], "ends": [], "without_run": ["d"], "accepted": 1}
    (tmp_path / "evidence.json").write_text(json.dumps({**stored, **schema_version}))
    folder = ObjectStoragePath(f"file://{tmp_path}")
    if reads:
        assert read_evidence(folder) == Evidence(listed=4, missing=1, without_run=("d",), accepted=1)
    else:
        with pytest.raises(PipelineInputError, match="cannot be read"):
            read_evidence(folder)


def test_unknown_keys_of_a_newer_release_stay_in_the_evidence(waiting: Waiting) -> None:
    waiting.complete(waiting.execute())
    file = folder_of(waiting) / "evidence.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "of_tomorrow": [1], "listed": 3}))
    waiting.complete(waiting.execute())
    stored = json.loads(file.read_text())
    assert (stored["of_tomorrow"], stored["listed"]) == ([1], 4)


def deferral(call: Callable[[], Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        call()
    return deferred.value


def test_an_outage_during_the_inspection_is_waited_for_without_a_retry(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.client.pacing.retries.Backoff.delay", lambda *_, **__: 0.01)
    fault = {"endpoint": RUN, "kind": "error", "status": 503, "count": 25}
    waiting.api.configure(faults=[fault])
    task = Task()
    assert run_on(operator(waiting), task.attempt())["by_status"] == {"PROCESSED": 2}
    assert len(task.attempts) == 1
    assert waiting.times_paid() == [1, 1, 2, 2]
    assert waiting.api.stats()["responses"][f"{RUN} 503"] == 25


def test_runs_given_up_before_an_outage_are_not_waited_for_again(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.client.pacing.retries.Backoff.delay", lambda *_, **__: 0.01)
    waiting.api.configure(outcomes=[])
    first = waiting.execute()
    delete(waiting, waiting.api.runs(first["batch_id"])[0])
    waiting.api.configure(faults=[{"endpoint": RUN, "kind": "drop", "count": None}])
    ended = PollResult(
        Outcome.RUNS_MISSING,
        "short",
        BatchProgress(4, {"PROCESSED": 3}).as_dict(),
        batch_id=first["batch_id"],
        policy=first["policy"],
    )
    wait = operator(waiting)
    deferred = deferral(lambda: wait.execute_complete(waiting.context, ended.as_event()))
    assert isinstance(deferred.trigger, ExtendSubmissionTrigger)
    waiting.api.configure(faults=[])
    assert resume(wait, deferred, waiting.context)["by_status"] == {"PROCESSED": 1}
    assert waiting.times_paid() == [1, 1, 1, 2]


def test_an_outage_that_lasts_past_the_deadline_fails_the_wait_and_loses_nothing(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.client.pacing.retries.Backoff.delay", lambda *_, **__: 0.01)
    waiting.api.configure(faults=[{"endpoint": RUN, "kind": "error", "status": 500, "count": None}])
    says = "no answer by the deadline .*nothing was sent again. Nothing was cancelled.*Clear this task"
    with pytest.raises(ExtendBatchTimeoutError, match=says):
        run_on(operator(waiting, timeout=1.5), Task().attempt())
    waiting.api.configure(faults=[])
    assert run_on(operator(waiting), Task().attempt())["by_status"] == {"PROCESSED": 2}
    assert waiting.times_paid() == [1, 1, 2, 2]
