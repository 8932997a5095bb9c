"""What the nightly job decides before it does anything that could cost money or prove nothing."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.airflow_settings import AirflowSettings, load_settings
from sandbox.stack.client import AirflowClient, Dag
from sandbox.stack.nightly.job import next_day, require_stand_ins, run_first_night
from sandbox.stack.places import DOCUMENTED_EXTEND_URL, DOCUMENTED_S3_URL
from sandbox.stack.processes.process import StackError
from sandbox.stack.samples import source_of
from sandbox.stack.supervisor import Stack

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack that was never started, with the project's settings and the addresses that they document."""
    stack = Stack(tmp_path / "home", project=PROJECT)
    stack.extend_url, stack.s3_url = DOCUMENTED_EXTEND_URL, DOCUMENTED_S3_URL
    stack.settings = load_settings(PROJECT / "airflow_settings.yaml")
    return stack


def test_project_settings_lead_to_the_sandbox(stack: Stack) -> None:
    require_stand_ins(stack)


@pytest.mark.parametrize("address", [DOCUMENTED_EXTEND_URL, DOCUMENTED_S3_URL])
def test_sample_documents_are_not_sent_to_a_real_service(stack: Stack, address: str) -> None:
    stack.settings = stack.settings.relocated({address: "https://api.extend.ai"})
    with pytest.raises(StackError, match=r"outside of the sandbox\. Sample documents are not sent there"):
        require_stand_ins(stack)


def test_sample_documents_are_not_sent_without_connections(stack: Stack) -> None:
    stack.settings = AirflowSettings()
    with pytest.raises(StackError, match="extend_default or aws_default"):
        require_stand_ins(stack)


@pytest.mark.parametrize("address", [DOCUMENTED_EXTEND_URL, DOCUMENTED_S3_URL])
def test_stack_that_stays_open_starts_no_run_where_it_would_cost_money(stack: Stack, address: str) -> None:
    stack.settings = stack.settings.relocated({address: "https://api.extend.ai"})
    said = io.StringIO()
    assert not run_first_night(stack, Console(file=said, width=200), documents=4, random_seed=1)
    assert "leads outside of the sandbox" in said.getvalue()
    assert said.getvalue().strip().endswith("No run was started.")


def test_first_night_that_fails_is_told_and_leaves_the_stack_open(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unparsed(AirflowClient):
        def wait_for_dag(self, dag_id: str, *, timeout: float = 300) -> Dag:
            raise TimeoutError(f"{dag_id} was not parsed [within {timeout} s]")

    monkeypatch.setattr(Stack, "client", Unparsed("http://127.0.0.1:1", "user", "password"))
    said = io.StringIO()
    assert run_first_night(stack, Console(file=said, width=200), documents=4, random_seed=1)
    assert "extend_nightly was not parsed [within" in said.getvalue()
    assert "The stack stays open" in said.getvalue()


def test_day_is_the_start_of_the_next_interval_in_utc() -> None:
    east = dt.timezone(dt.timedelta(hours=5))
    start = dt.datetime(2026, 11, 22, 3, tzinfo=east)
    dag = Dag(dag_id="nightly", is_paused=True, next_dagrun_data_interval_start=start)
    assert next_day(dag) == dt.date(2026, 11, 21)
    with pytest.raises(StackError, match="nightly has no next scheduled run"):
        next_day(Dag(dag_id="nightly", is_paused=True))


def test_source_is_a_bucket_and_a_prefix(stack: Stack) -> None:
    assert source_of(stack.settings) == ("extend-sandbox-inbox", "documents/")
    for wrong in ("gs://bucket/prefix", "s3://bucket", "s3:///prefix"):
        settings = stack.settings.relocated({"s3://extend-sandbox-inbox/documents": wrong})
        with pytest.raises(StackError, match="extend_source must have the form s3://bucket/prefix"):
            source_of(settings)
