"""The three ways in (nightly, by hand, backfill), each run whole in this process against the stand-ins."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.dag_runs import Outside
from sandbox.documents import generate

BATCH = "POST /workflow_runs/batch"
DAY = dt.date(2026, 11, 19)
#: When the night that processes DAY begins: at the end of the interval that DAY begins.
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)

RunDag = Callable[..., Any]


def fill(outside: Outside, *days: dt.date, per_day: int = 20) -> dict[str, tuple[str, str | None]]:
    """Put a day's documents into S3; return how each must end."""
    truth: dict[str, tuple[str, str | None]] = {}
    for sample in generate(days=days, per_day=per_day, seed=11):
        outside.put(sample.key, sample.data)
        truth[sample.key] = (sample.truth.status, sample.truth.reason)
    return truth


def test_a_night_lands_every_document_of_its_day_once(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    fill_other_day = outside.put("documents/2026-11-15/other.txt", b"another day")
    run = run_dag("extend_nightly", logical_date=NIGHT)

    assert run.state == "success"
    assert outside.statuses() == truth
    assert fill_other_day.rsplit("/", 1)[-1] not in {uri.rsplit("/", 1)[-1] for uri in outside.statuses()}
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert outside.extend.requests_to(BATCH) == 1


def test_the_same_night_again_sends_nothing(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    run_dag("extend_nightly", logical_date=NIGHT)
    again = run_dag("extend_nightly", logical_date=NIGHT)

    assert again.state == "success"
    assert outside.statuses() == truth
    assert outside.extend.requests_to(BATCH) == 1
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_a_document_that_arrives_late_is_sent_alone(outside: Outside, run_dag: RunDag) -> None:
    fill(outside, DAY)
    run_dag("extend_nightly", logical_date=NIGHT)
    before = Counter(outside.extend.stats()["runs_created"])
    outside.put("documents/2026-11-19/late.txt", b"Receipt\nTotal: 3.00 EUR\n")
    run_dag("extend_nightly", logical_date=NIGHT)

    assert (Counter(outside.extend.stats()["runs_created"]) - before).total() == 1
    assert "documents/2026-11-19/late.txt" in outside.statuses()


def test_an_empty_day_is_a_success_without_a_request(outside: Outside, run_dag: RunDag) -> None:
    run = run_dag("extend_nightly", logical_date=NIGHT)
    assert run.state == "success"
    assert outside.extend.requests_to(BATCH) == 0


def test_a_run_without_a_date_takes_the_day_it_runs_on(outside: Outside, run_dag: RunDag) -> None:
    today = dt.datetime.now(dt.UTC).date()
    truth = fill(outside, today)
    run = run_dag("extend_nightly", logical_date=None, run_after=dt.datetime.now(dt.UTC))
    assert run.state == "success"
    assert run.logical_date is None
    assert outside.statuses() == truth


def on_demand(outside: Outside, **conf: Any) -> dict[str, Any]:
    return {"source": f"s3://{outside.bucket}/documents/{DAY}/", **conf}


def test_by_hand_without_a_date_a_prefix_lands(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    assert run.state == "success"
    assert outside.statuses() == truth


def test_by_hand_a_list_of_addresses_lands(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    chosen = [key for key, (status, _) in truth.items() if status == "PROCESSED"][:2]
    lines = "\n".join(f"s3://{outside.bucket}/{key}" for key in chosen)
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, source=lines))
    assert run.state == "success"
    assert set(outside.statuses()) == set(chosen)


def test_a_dry_run_sends_and_lands_nothing(outside: Outside, run_dag: RunDag) -> None:
    fill(outside, DAY)
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, dry_run=True))
    assert run.state == "success"
    assert outside.extend.requests_to(BATCH) == 0
    assert outside.statuses() == {}


def test_a_limit_leaves_the_rest_for_later(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, limit=3))
    sent = outside.extend.stats()["runs_created"]
    assert sum(sent.values()) == 3
    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert outside.statuses() == truth


def test_only_reprocess_sends_a_document_again(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, reprocess="all"))
    assert set(outside.extend.stats()["runs_created"].values()) == {2}
    assert outside.statuses() == truth


def test_version_and_priority_reach_extend(outside: Outside, run_dag: RunDag) -> None:
    fill(outside, DAY)
    conf = on_demand(outside, workflow_id="workflow_invoices", version="1", priority=5, glob="*.pdf")
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf).state == "success"
    asked = "SELECT DISTINCT workflow_id, workflow_version_requested FROM extend.documents"
    assert outside.rows(f"{asked} WHERE run_id IS NOT NULL") == [("workflow_invoices", "1")]


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"workflow_id": "workflow_unknown"}, id="unknown workflow"),
        pytest.param({"version": "99"}, id="unknown version"),
        pytest.param({"source": "s3://no-such-bucket-here/p/"}, id="no such bucket"),
    ],
)
def test_what_cannot_work_fails_before_anything_is_created(
    outside: Outside, run_dag: RunDag, conf: dict[str, Any]
) -> None:
    fill(outside, DAY, per_day=16)
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, **conf))
    assert run.state == "failed"
    assert outside.extend.stats()["runs_created"] == {}


def test_a_wrong_key_creates_nothing(
    outside: Outside, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(outside, DAY, per_day=16)
    connection = json.loads(outside.extend.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", json.dumps({**connection, "password": "sk_wrong"}))
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    assert run.state == "failed"
    assert outside.extend.stats()["runs_created"] == {}


@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
def test_both_api_versions_land_the_same(
    outside: Outside, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, api_version: str
) -> None:
    truth = fill(outside, DAY)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", outside.extend.connection_json(api_version))
    run = run_dag("extend_nightly", logical_date=NIGHT)
    assert run.state == "success"
    assert outside.statuses() == truth
    assert outside.rows("SELECT count(*) > 0, bool_and(invoice_number IS NOT NULL) FROM extend.invoice") == [
        (True, True)
    ]


def test_a_backfilled_day_and_its_night_share_their_documents(outside: Outside, run_dag: RunDag) -> None:
    days = [DAY + dt.timedelta(days=offset) for offset in range(3)]
    truth = fill(outside, *days)
    for day in reversed(days):
        run_dag("extend_nightly", logical_date=NIGHT + (day - DAY))
    run_dag("extend_on_demand", logical_date=None, run_conf={"source": f"s3://{outside.bucket}/documents/"})
    assert outside.statuses() == truth
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def overlapping(outside: Outside, run_dag: RunDag, *, dies_at: str) -> None:
    """Let a run plan and then die before ``dies_at`` has done anything."""
    conf = on_demand(outside, chunk_size=7)
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf, dies_at=dies_at).state == "failed"
    assert outside.rows("SELECT count(*) > 0 FROM extend.claims") == [(True,)]


@pytest.mark.parametrize("dies_at", ["submit", "wait", "load"])
def test_what_a_dead_run_has_planned_is_finished_by_the_next_one(
    outside: Outside, run_dag: RunDag, dies_at: str
) -> None:
    truth = fill(outside, DAY)
    overlapping(outside, run_dag, dies_at=dies_at)
    late = outside.put(f"documents/{DAY}/late.txt", b"Receipt\nTotal: 3.00 EUR\n")
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))

    assert run.state == "success"
    assert set(outside.statuses()) == {*truth, late.removeprefix(f"s3://{outside.bucket}/")}
    assert {key: ended for key, ended in outside.statuses().items() if key in truth} == truth
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert outside.rows("SELECT count(*) FROM extend.claims") == [(0,)]


def test_what_happens_to_an_object_after_its_discovery_is_its_own_affair(
    outside: Outside, run_dag: RunDag
) -> None:
    for name in ("kept", "deleted", "replaced"):
        outside.put(f"documents/{DAY}/{name}.txt", f"Receipt {name}\nTotal: 3.00 EUR\n".encode())

    def meanwhile() -> None:
        outside.s3.client.delete_object(Bucket=outside.bucket, Key=f"documents/{DAY}/deleted.txt")
        outside.put(f"documents/{DAY}/replaced.txt", b"Receipt, a new one\nTotal: 4.00 EUR\n")

    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside), before_submit=meanwhile)
    assert outside.statuses() == {
        f"documents/{DAY}/kept.txt": ("PROCESSED", None),
        f"documents/{DAY}/deleted.txt": ("FAILED", "OBJECT_DELETED"),
        f"documents/{DAY}/replaced.txt": ("SKIPPED", "OBJECT_REPLACED"),
    }
    assert sum(outside.extend.stats()["runs_created"].values()) == 1

    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    replaced = "SELECT status FROM extend.documents WHERE name = 'replaced.txt' ORDER BY landed_at"
    assert outside.rows(replaced) == [("SKIPPED",), ("PROCESSED",)]


def test_a_presigned_url_that_ended_before_extend_read_it_is_replaced_by_a_fresh_one(
    outside: Outside, run_dag: RunDag
) -> None:
    outside.put("documents/slow.txt", b"Receipt\nTotal: 3.00 EUR\n")
    outside.extend.configure(hold=True)

    def release_too_late() -> None:
        while not outside.extend.requests_to(BATCH):
            time.sleep(0.2)
        time.sleep(6)
        outside.extend.configure(hold=False)

    release = threading.Thread(target=release_too_late, daemon=True)
    release.start()
    run = run_dag("hasty", logical_date=None)
    release.join()

    assert run.state == "success"
    assert outside.rows("SELECT name, status, attempts FROM extend.documents") == [
        ("slow.txt", "PROCESSED", 2)
    ]
    ((reason, message),) = outside.rows("SELECT reason, message FROM extend.runs WHERE status = 'FAILED'")
    assert reason == "FAILED_TO_PROCESS_FILE"
    assert "403" in message
    assert "Signature" not in message
