"""What a run has reserved and not landed: whose it is, how it is corrected, how it goes on; in whole runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.__main__ import main
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.plan import Plan
from extend_pipeline.sources.s3.store import S3Store
from extend_provider.hooks.extend import ExtendHook
from fixtures.airflow.dag_runs import Outside
from fixtures.pipeline.other_runs import plan_of_another_run

RunDag = Callable[..., Any]


@pytest.fixture
def on_demand(outside: Outside, run_dag: RunDag) -> Callable[..., str]:
    """Run ``extend_on_demand`` over all documents; return its state."""

    def run(
        *, dies_at: str | None = None, before: Mapping[str, Callable[[], object]] | None = None, **conf: Any
    ) -> str:
        conf = {"source": f"s3://{outside.bucket}/documents/", **conf}
        ended = run_dag(
            "extend_on_demand",
            logical_date=None,
            run_conf=conf,
            dies_at=dies_at,
            before=before or {},
        )
        return str(ended.state)

    return run


def put(outside: Outside, count: int) -> None:
    for number in range(count):
        outside.put(f"documents/{number:02}.txt", f"Receipt {number}\nTotal: 3.00 EUR\n".encode())


def times_paid(outside: Outside) -> list[int]:
    return sorted(outside.extend.stats()["runs_created"].values())


def reserved(outside: Outside) -> int:
    ((count,),) = outside.rows("SELECT count(*) FROM extend.claims")
    return int(count)


@pytest.mark.parametrize("wrong", ["a key that is refused", "credentials that end before the URLs"])
def test_a_run_whose_settings_were_wrong_is_followed_by_one_with_the_right_ones(
    outside: Outside, on_demand: Callable[..., str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    put(outside, 4)
    with monkeypatch.context() as at_first:
        if wrong == "a key that is refused":
            connection = json.loads(outside.extend.connection_json())
            refused = json.dumps({**connection, "password": "sk_of_somebody_else"})
            at_first.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", refused)
        else:

            def ends_before(store: S3Store, expires_in: int) -> None:
                raise PipelineInputError(f"expires_in: {expires_in}")

            at_first.setattr(S3Store, "check_signing", ends_before)
        assert on_demand(chunk_size=3) == "failed"
    assert reserved(outside) == 4
    assert on_demand() == "success"
    assert times_paid(outside) == [1] * 4
    assert {status for status, _ in outside.statuses().values()} == {"PROCESSED"}
    assert reserved(outside) == 0


def test_what_a_dead_run_has_reserved_is_within_the_bounds_of_the_runs_after_it(
    outside: Outside, on_demand: Callable[..., str]
) -> None:
    put(outside, 50)
    assert on_demand(dies_at="submit") == "failed"
    assert reserved(outside) == 50

    assert on_demand(limit=1) == "success"
    assert times_paid(outside) == [1]
    assert on_demand(max_documents=10) == "failed"
    assert times_paid(outside) == [1]
    assert on_demand() == "success"
    assert times_paid(outside) == [1] * 50
    assert len(outside.statuses()) == 50


def test_reprocessing_everything_in_steps_sends_each_document_once_and_says_when_it_is_through(
    outside: Outside, on_demand: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    put(outside, 6)
    assert on_demand() == "success"
    for step in (1, 2, 3):
        assert on_demand(reprocess="all", limit=2) == "success"
        assert times_paid(outside) == [1] * (6 - 2 * step) + [2] * (2 * step)
    with caplog.at_level("INFO", logger="extend_pipeline.dag.tasks"):
        assert on_demand(reprocess="all", limit=2) == "success"
    assert "Nothing left: all 6 documents have landed in the repetition" in caplog.text
    assert times_paid(outside) == [2] * 6
    names = outside.rows("SELECT DISTINCT repetition FROM extend.documents")
    assert len(names) == 1
    assert on_demand(reprocess="all") == "success"
    assert times_paid(outside) == [3] * 6, "it is through, so to say it again is to pay again"


@pytest.mark.full
def test_a_repetition_that_has_a_name_is_continued_by_its_name(
    outside: Outside, on_demand: Callable[..., str]
) -> None:
    put(outside, 3)
    for expected in ([1, 1], [1, 1, 1], [1, 1, 1]):
        assert on_demand(reprocess="all", repetition="schema 7", limit=2) == "success"
        assert times_paid(outside) == expected
    assert outside.rows("SELECT DISTINCT repetition FROM extend.documents") == [("schema 7",)]
    assert on_demand(repetition="schema 7") == "failed", "it names what is reprocessed"


def test_one_dead_letter_is_one_document_whatever_was_reserved_before(
    outside: Outside, on_demand: Callable[..., str]
) -> None:
    put(outside, 6)
    assert on_demand(reprocess="all", dies_at="submit") == "failed"
    assert reserved(outside) == 6
    fails = {"status": "FAILED", "reason": "INVALID_WORKFLOW", "name_glob": "03.txt"}
    outside.extend.configure(outcomes=[fails])
    assert on_demand(reprocess="all", repetition="another way") == "success"
    assert reserved(outside) == 0, "a landing ends the reservations of every repetition"
    assert times_paid(outside) == [1] * 6

    outside.extend.configure(outcomes=[])
    assert on_demand(source=None, reprocess="failed") == "success"
    assert times_paid(outside) == [1] * 5 + [2]


def plan_on_demand(outside: Outside, tmp_path: Path, **options: Any) -> Plan:
    """Plan all documents for another run of ``extend_on_demand``."""
    values = {
        "source": f"s3://{outside.bucket}/documents/",
        "workflow_id": "workflow_mixed",
        "workspace": f"file://{tmp_path / 'workspace'}",
        "chunk_size": 2,
    }
    return plan_of_another_run("extend_on_demand", values, **options)


def test_a_run_whose_documents_were_taken_over_sends_nothing_and_ends_well(
    outside: Outside,
    on_demand: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    put(outside, 3)
    plans: list[Plan] = []

    def meanwhile() -> None:
        """Take the first run for over, although it is about to send."""
        plans.append(plan_on_demand(outside, tmp_path, is_active=lambda *_: False))

    with caplog.at_level("INFO"):
        assert on_demand(before={"submit": meanwhile}) == "success"
    assert plans[0].to_send == 3
    assert "run another of DAG extend_on_demand has its documents now" in capsys.readouterr().out
    assert "1 chunks were not sent: other runs have their documents now." in caplog.text
    assert times_paid(outside) == []
    assert on_demand() == "success", "the run that has them is over: Airflow does not know it"
    assert times_paid(outside) == [1] * 3
    assert len(outside.statuses()) == 3


def test_documents_of_an_active_run_are_left_to_it(
    outside: Outside, on_demand: Callable[..., str], tmp_path: Path
) -> None:
    put(outside, 3)
    plans: list[Plan] = []
    assert on_demand(before={"submit": lambda: plans.append(plan_on_demand(outside, tmp_path))}) == "success"
    assert plans[0].theirs.total() == 3
    assert plans[0].chunks == []
    assert "3 left to the run that has planned them (3 to run manual" in plans[0].describe()
    assert times_paid(outside) == [1] * 3


def test_a_chunk_that_waits_outlives_the_folder_of_the_run_that_planned_it(
    outside: Outside, on_demand: Callable[..., str], tmp_path: Path
) -> None:
    put(outside, 3)
    assert on_demand(dies_at="wait") == "failed"
    shutil.rmtree(tmp_path / "workspace" / "runs")
    assert on_demand() == "success"
    assert times_paid(outside) == [1] * 3
    assert len(outside.statuses()) == 3


def test_the_command_lists_reservations_and_releases_what_is_not_sent(
    outside: Outside,
    on_demand: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    put(outside, 5)
    create, calls = ExtendHook.create_batch, iter(range(9))

    def refuses_the_second(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        if next(calls):
            raise PipelineInputError("refused")
        return create(hook, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(ExtendHook, "create_batch", refuses_the_second)
        assert on_demand(chunk_size=3, dies_at="wait") == "failed"
    capsys.readouterr()

    assert main(["reservations"]) == 0
    shown = capsys.readouterr().out
    assert "run manual" in shown
    states = [line.split("│")[5].strip() for line in shown.splitlines() if "workflow_mixed" in line]
    assert sorted(states) == ["not sent", "sent"]
    assert "5 documents in 2 chunks reserved." in shown
    assert main(["reservations", "--older-than", "1"]) == 0
    assert "0 documents in 0 chunks reserved." in capsys.readouterr().out

    assert main(["reservations", "--release", "--older-than", "24"]) == 0
    assert reserved(outside) == 5, "none is as old"
    capsys.readouterr()
    assert main(["reservations", "--release"]) == 0
    told = capsys.readouterr().out
    (sent,) = {2, 3} - {5 - reserved(outside)}
    assert f"{5 - sent} documents in 1 chunks released; {sent} documents in 1 chunks are sent" in told
    assert on_demand() == "success"
    assert times_paid(outside) == [1] * 5
