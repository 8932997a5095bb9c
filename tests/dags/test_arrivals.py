"""Documents that S3 has announced: each run takes what waits, and every document lands once."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.arrivals.intake import Intake
from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.arrivals.watch_settings import WatchSettings
from extend_pipeline.batches.reservations import Planner
from extend_provider.webhooks.sqs import SqsQueue
from fixtures.airflow.dag_runs import Outside
from fixtures.sources.arrivals import Inbox
from sandbox.s3 import announce

ARRIVALS, NIGHTLY = "extend_arrivals", "extend_nightly"
BATCH = "POST /workflow_runs/batch"
RECEIPT = b"Receipt\nTotal: 3.00 EUR\n"
DAY = dt.date(2026, 11, 19)
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)

RunDag = Callable[..., Any]


@pytest.fixture
def inbox(outside: Outside) -> Inbox:
    return Inbox(outside.s3, outside.bucket, announce(outside.s3.endpoint_url, outside.bucket, "arrivals"))


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(f"file://{tmp_path / 'workspace'}", ARRIVALS)


@pytest.fixture
def take_in(inbox: Inbox, bundles: Bundles) -> Callable[[], None]:
    """Do what the trigger does until the queue is empty."""
    settings = WatchSettings(arrivals=ARRIVALS, queue=inbox.url, workspace="file:///none/extend")
    intake = Intake(SqsQueue(inbox.url), bundles, settings.reason_against, logging.getLogger("test"))

    def drain() -> None:
        while intake.step(0):
            pass

    return drain


def ended(run_dag: RunDag, dag_id: str = ARRIVALS, **options: Any) -> str:
    return str(run_dag(dag_id, **{"logical_date": None, **options}).state)


def keys(count: int, first: int = 0) -> list[str]:
    return [f"documents/{DAY}/{number} red+blue.txt" for number in range(first, first + count)]


def paid(outside: Outside) -> Counter[str]:
    return Counter(outside.extend.stats()["runs_created"])


@pytest.mark.unit
def test_what_has_arrived_lands_once_however_often_it_is_announced(
    outside: Outside, run_dag: RunDag, inbox: Inbox, bundles: Bundles, take_in: Callable[[], None]
) -> None:
    assert ended(run_dag) == "success"
    assert outside.extend.stats()["requests"] == {}  # nothing waits

    inbox.put(*keys(5), data=RECEIPT)
    inbox.tell(*(key.replace(" ", "%20").replace("+", "%2B") for key in keys(2)))  # redelivered
    take_in()
    run = run_dag(ARRIVALS, logical_date=None)
    assert run.state == "success"
    (discover,) = [ti for ti in run.get_task_instances() if ti.task_id.endswith(".discover")]
    folder = ObjectStoragePath(discover.xcom_pull(task_ids=discover.task_id))
    assert "red+blue" not in (folder / "settings.json").read_text()  # which each chunk reads
    assert outside.statuses() == dict.fromkeys(keys(5), ("PROCESSED", None))
    assert outside.extend.requests_to(BATCH) == 1
    assert bundles._list() == ([], set())

    inbox.tell(*(key.replace("+", "%2B") for key in keys(5)))  # and again, after they have landed
    inbox.put(*keys(1, first=5), data=RECEIPT)
    take_in()
    assert ended(run_dag) == "success"
    assert outside.statuses() == dict.fromkeys(keys(6), ("PROCESSED", None))
    assert set(paid(outside).values()) == {1}
    assert paid(outside).total() == 6
    assert bundles.waiting() == []


def test_the_nightly_run_finds_what_was_never_announced_and_pays_once(
    outside: Outside, run_dag: RunDag, inbox: Inbox, take_in: Callable[[], None]
) -> None:
    inbox.put(*keys(3), data=RECEIPT)
    take_in()
    inbox.put(*keys(2, first=3), data=RECEIPT)
    inbox.lose()
    assert ended(run_dag) == "success"
    assert set(outside.statuses()) == set(keys(3))
    assert ended(run_dag, NIGHTLY, logical_date=NIGHT) == "success"
    assert outside.statuses() == dict.fromkeys(keys(5), ("PROCESSED", None))
    assert (set(paid(outside).values()), paid(outside).total()) == ({1}, 5)


def test_the_nightly_run_and_arrivals_at_once_pay_once(
    outside: Outside, run_dag: RunDag, inbox: Inbox, bundles: Bundles, take_in: Callable[[], None]
) -> None:
    inbox.put(*keys(4), data=RECEIPT)
    take_in()

    # When the night has planned its chunk and is about to send it, what has arrived is landed.
    inner: list[str] = []

    def arrivals_come_between() -> None:
        if not inner:
            inner.append("begun")
            inner.append(ended(run_dag))

    outer = ended(run_dag, NIGHTLY, logical_date=NIGHT, before={"submit": arrivals_come_between})
    assert (outer, inner[-1]) == ("success", "success")
    assert outside.statuses() == dict.fromkeys(keys(4), ("PROCESSED", None))
    assert (set(paid(outside).values()), paid(outside).total()) == ({1}, 4)
    assert (
        len(bundles._list()[0]) == 1
    )  # left to the next run of arrivals, because the other might have failed
    assert ended(run_dag) == "success"
    assert bundles._list() == ([], set())
    assert paid(outside).total() == 4


def test_objects_that_are_gone_or_have_odd_names_stop_no_other(
    outside: Outside,
    run_dag: RunDag,
    inbox: Inbox,
    bundles: Bundles,
    take_in: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A star, braces, a line end: an author who writes them is refused; an object that has them is there."""
    inbox.tell("documents/never.txt")
    take_in()
    with caplog.at_level("INFO"):
        assert ended(run_dag) == "success"
    assert outside.statuses() == {}
    assert outside.extend.requests_to(BATCH) == 0
    assert bundles._list() == ([], set())
    never = f"s3://{outside.bucket}/documents/never.txt"
    assert f"Gone since they arrived, and left out: {never}." in caplog.text

    odd = ["documents/*.txt", "documents/{a,b}.txt", "documents/a,s3://b.txt"]
    inbox.put(*odd, data=RECEIPT)
    inbox.put("documents/a.exe", data=b"MZ")
    inbox.tell("documents/never.txt", "documents/a%0Ab.txt")
    take_in()
    assert ended(run_dag) == "success"
    found = outside.statuses()
    assert {key: found.pop(key) for key in odd} == dict.fromkeys(odd, ("PROCESSED", None))
    assert Counter(reason for _, reason in found.values()) == {
        "NAME_UNUSABLE": 1,
        "UNSUPPORTED_FILE_TYPE": 1,
    }


@pytest.mark.parametrize(
    "died_at",
    [
        pytest.param("plan", marks=pytest.mark.full),
        "submit",
        pytest.param("load", marks=pytest.mark.full),
    ],
)
def test_what_a_failed_run_had_taken_the_next_run_takes(
    outside: Outside,
    run_dag: RunDag,
    inbox: Inbox,
    bundles: Bundles,
    take_in: Callable[[], None],
    died_at: str,
) -> None:
    inbox.put(*keys(3), data=RECEIPT)
    take_in()
    assert ended(run_dag, dies_at=died_at) == "failed"
    assert len(bundles._list()[0]) == 1
    assert ended(run_dag) == "success"
    assert outside.statuses() == dict.fromkeys(keys(3), ("PROCESSED", None))
    assert (set(paid(outside).values()), paid(outside).total()) == ({1}, 3)
    assert bundles._list() == ([], set())


def test_a_run_leaves_what_another_run_works_on(
    outside: Outside, run_dag: RunDag, inbox: Inbox, bundles: Bundles, take_in: Callable[[], None]
) -> None:
    inbox.put(*keys(3), data=RECEIPT)
    take_in()
    other = Planner(plan="1", airflow="elsewhere", dag_id=ARRIVALS, run_id="a", group_id="g")
    theirs = bundles.take(other, lambda *_: True, most=1000)
    inbox.put(*keys(2, first=3), data=RECEIPT)
    take_in()
    assert ended(run_dag) == "success"
    assert set(outside.statuses()) == set(keys(2, first=3))
    assert [bundle.name for bundle in bundles._list()[0]] == [bundle.name for bundle in theirs]
