"""The page's answers after whole runs, from a DuckDB snapshot and from Postgres."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from extend_pipeline.reviews.approvals import LATER
from fixtures.airflow.approvals import answered, no_receipt, receipt
from fixtures.airflow.dag_runs import Outside
from fixtures.engines.postgres import Database
from fixtures.page.server import PAGE
from sandbox.documents import generate

RunDag = Callable[..., Any]
ClientOf = Callable[..., TestClient]
ON_DEMAND = f"{PAGE}/api/extend_on_demand"
DAY = dt.date(2026, 11, 19)
EVIL = "<img src=x onerror=alert(1)>'; DROP TABLE extend.documents; --.txt"


@pytest.fixture(params=["duckdb", "postgres"])
def read_by_several(
    request: pytest.FixtureRequest, outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A warehouse that the API server may read: its kind."""
    if request.param == "duckdb":
        extra = {"snapshot": str(tmp_path / "readers" / "warehouse.duckdb")}
        connection = {"conn_type": "duckdb", "host": str(outside.warehouse), "extra": extra}
    else:
        new_database: Callable[[], Database] = request.getfixturevalue("new_database")
        connection = new_database().connection()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(connection))
    return str(request.param)


@pytest.fixture(autouse=True)
def ask_anew() -> None:
    """Give no answer twice."""
    from extend_pipeline.page import app

    app._FRESH.clear()


@pytest.fixture
def ask(client_of: ClientOf) -> Callable[..., Any]:
    """Ask as a viewer, who may read all DAGs but those that are named."""

    def ask(path: str, denied: set[str] | None = None, **query: Any) -> Any:
        from extend_pipeline.page import app

        app._FRESH.clear()
        answer = client_of("vera", denied=denied).get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


def run(outside: Outside, run_dag: RunDag, names: list[str], **conf: Any) -> Any:
    """Send files on demand; those named ``fail…`` fail for one reason, ``lost…`` for another."""
    outside.extend.configure(
        outcomes=[
            {"status": "FAILED", "reason": "INTERNAL_ERROR", "name_glob": "fail*"},
            {"status": "FAILED", "reason": "CORRUPT_FILE", "name_glob": "lost*"},
        ]
    )
    for name in names:
        outside.put(f"inbox/{name}", f"Receipt {name}\nTotal: 3.00 EUR\n".encode())
    source = {"source": f"s3://{outside.bucket}/inbox/"} if names else {}
    return run_dag("extend_on_demand", logical_date=None, run_conf={**source, **conf})


def test_the_page_tells_of_a_run(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any]
) -> None:
    samples = generate(days=[DAY], per_day=20, seed=11)
    invoice = next(each for each in samples if each.truth.status == "PROCESSED" and each.key.endswith(".pdf"))
    outside.put("inbox/invoice.pdf", invoice.data)
    names = [f"good{number}.txt" for number in range(3)] + ["fail1.txt", "fail2.txt", "lost.txt", EVIL]
    run(outside, run_dag, names, max_credits=None, max_documents=100)

    (pipeline,) = [each for each in ask(f"{PAGE}/api/pipelines") if each["dag_id"] == "extend_on_demand"]
    assert (pipeline["state"], pipeline["warehouse"]["kind"]) == ("ready", read_by_several)
    assert pipeline["tasks"]["wait"] == "documents_to_warehouse.chunk.wait"

    counts = ask(f"{ON_DEMAND}/overview", days=7)
    assert counts["total"] == {"PROCESSED": 5, "FAILED": 3}
    assert len(counts["days"]) == 7
    assert counts["days"][-1]["documents"] == counts["total"]
    assert counts["credits"] == pytest.approx(counts["runs"][0]["credits"])
    assert counts["dead_letters"] == {"INTERNAL_ERROR": 2, "CORRUPT_FILE": 1}
    assert counts["budget"]["max_documents"] == 100
    assert counts["reservations"] == {"chunks": 0, "documents": 0, "oldest": None}

    letters = ask(f"{ON_DEMAND}/dead_letters", reason="INTERNAL_ERROR", limit=1)
    assert (letters["total"], letters["next"]) == (2, "1")
    following = ask(f"{ON_DEMAND}/dead_letters", reason="INTERNAL_ERROR", limit=1, after=letters["next"])
    assert {row["name"] for row in letters["rows"] + following["rows"]} == {"fail1.txt", "fail2.txt"}
    assert following["next"] is None

    for text in (EVIL, EVIL.upper()):
        found = ask(f"{ON_DEMAND}/search", q=text)
        assert [row["name"] for row in found["rows"]] == ([EVIL] if text == EVIL else [])
    assert ask(f"{ON_DEMAND}/overview")["total"] == counts["total"]
    assert len(ask(f"{ON_DEMAND}/search", q="inbox/good")["rows"]) == 3
    (row,) = ask(f"{ON_DEMAND}/search", q="invoice.pdf")["rows"]
    story = ask(f"{ON_DEMAND}/documents/{row['document_id']}")
    (landed,) = story["landed"]
    assert [moment["what"] for moment in landed["timeline"]][-1] == "landed"
    assert landed["credits"] > 0
    assert landed["fields_total"] == len(landed["fields"]) > 0
    by_run = ask(f"{ON_DEMAND}/search", q=landed["run_id"])
    assert [each["document_id"] for each in by_run["rows"]] == [row["document_id"]]


def test_what_another_dag_landed_in_the_same_dataset_is_left_out_for_who_may_not_read_it(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any]
) -> None:
    run(outside, run_dag, ["good.txt", "fail.txt"])
    run_dag("persistent", logical_date=None)
    theirs = f"{PAGE}/api/persistent"
    assert ask(f"{theirs}/overview")["total"] == {"PROCESSED": 1, "FAILED": 1}
    denied = {"extend_on_demand"}
    shown = {each["dag_id"] for each in ask(f"{PAGE}/api/pipelines", denied)}  # other tests' DAGs, too
    assert "persistent" in shown
    assert not shown & denied
    hidden = ask(f"{theirs}/overview", denied)
    assert (hidden["total"], hidden["dead_letters"], hidden["credits"]) == ({}, {}, 0)
    assert "which you may not read" in hidden["notice"]
    assert ask(f"{theirs}/search", denied, q="good")["rows"] == []
    assert ask(f"{theirs}/dead_letters", denied)["rows"] == []


@pytest.mark.parametrize("chosen", ["reason", "documents"])
def test_only_the_chosen_dead_letters_are_sent_again_and_once(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any], chosen: str
) -> None:
    run(outside, run_dag, ["good.txt", "fail1.txt", "fail2.txt", "lost.txt"])
    letters = ask(f"{ON_DEMAND}/dead_letters", reason="INTERNAL_ERROR")
    (again,) = letters["send_again"]
    conf = again["conf"]
    if chosen == "documents":
        conf["documents"] = letters["rows"][0]["document_id"]
    before = sum(outside.extend.stats()["runs_created"].values())
    outside.extend.configure(outcomes=[])
    assert run_dag(again["dag_id"], logical_date=None, run_conf=conf).state == "success"
    sent = sum(outside.extend.stats()["runs_created"].values()) - before
    assert sent == {"reason": 2, "documents": 1}[chosen]
    assert run_dag(again["dag_id"], logical_date=None, run_conf=conf).state == "success"
    assert sum(outside.extend.stats()["runs_created"].values()) - before == sent
    left = ask(f"{ON_DEMAND}/dead_letters")
    assert left["by_reason"].get("INTERNAL_ERROR", 0) == 2 - sent
    assert left["by_reason"]["CORRUPT_FILE"] == 1


@pytest.mark.full
def test_ten_thousand_dead_letters_are_sent_again_by_reason_each_once(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any]
) -> None:
    documents = 10_000
    names = {f"{('fail', 'lost')[number % 5 == 0]}{number}.txt" for number in range(documents)}
    lost = {name for name in names if name.startswith("lost")}
    run(outside, run_dag, sorted(names), max_credits=None, max_documents=None)
    assert ask(f"{ON_DEMAND}/overview")["dead_letters"] == {
        "INTERNAL_ERROR": documents - len(lost),
        "CORRUPT_FILE": len(lost),
    }
    shown: list[dict[str, Any]] = []
    after: str | None = "0"
    while after is not None:
        letters = ask(f"{ON_DEMAND}/dead_letters", limit=200, after=after)
        shown += letters["rows"]
        after = letters["next"]
    assert sorted(row["name"] for row in shown) == sorted(names), "each on one page"
    (again,) = ask(f"{ON_DEMAND}/dead_letters", reason="CORRUPT_FILE")["send_again"]
    before = outside.extend.stats()["runs_created"]
    chosen = {row["document_id"]: before[row["document_id"]] + (row["name"] in lost) for row in shown}
    outside.extend.configure(outcomes=[])
    for _ in range(2):  # the second time there is nothing left of that reason
        assert run_dag(again["dag_id"], logical_date=None, run_conf=again["conf"]).state == "success"
        assert outside.extend.stats()["runs_created"] == chosen
    assert ask(f"{ON_DEMAND}/overview")["dead_letters"] == {"INTERNAL_ERROR": documents - len(lost)}


def test_a_document_in_review_is_shown_until_it_is_reviewed_and_its_story_says_by_whom(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any]
) -> None:
    outside.extend.configure(
        outcomes=[{"status": "NEEDS_REVIEW", "name_glob": "doubtful*", "first_attempts": 1}]
    )
    for name in ("doubtful.txt", "sure.txt"):
        outside.put(f"inbox/{name}", receipt(4))
    run_dag("extend_on_demand", logical_date=None, run_conf={"source": f"s3://{outside.bucket}/inbox/"})
    (row,) = ask(f"{ON_DEMAND}/reviews")["rows"]
    assert (row["name"], row["waits_for"], row["actions_path"]) == ("doubtful.txt", "review", None)
    assert ask(f"{ON_DEMAND}/overview")["in_review"] == 1
    (landed,) = ask(f"{ON_DEMAND}/documents/{row['document_id']}")["landed"]
    assert row["dashboard_url"] == landed["dashboard_url"]
    assert landed["run_id"] in row["dashboard_url"]
    outside.extend.review(landed["run_id"], "approve", edits={"total": 99.5}, reviewer="jane@acme.example")
    looked = run_dag("extend_reviews", logical_date=dt.datetime.now(dt.UTC), run_conf={})
    assert looked.state == "success"
    assert ask(f"{ON_DEMAND}/reviews")["rows"] == []
    (landed,) = ask(f"{ON_DEMAND}/documents/{row['document_id']}")["landed"]
    by = [moment["by"] for moment in landed["timeline"] if moment["what"] == "reviewed"]
    assert (landed["status"], by) == ("PROCESSED", ["jane@acme.example"])
    (edited,) = [field for field in landed["fields"] if field["edited"]]
    assert (edited["path"], edited["value"]) == ("total", "99.5")
    assert edited["machine_value"] not in (None, "99.5")


def test_a_document_that_waits_for_an_approval_leads_to_the_runs_required_actions(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any]
) -> None:
    outside.put("documents/doubtful.txt", no_receipt(1))
    outside.put("documents/sure.txt", receipt(2))
    landed, _ = answered(outside, run_dag, LATER)
    theirs = f"{PAGE}/api/confident"
    (row,) = ask(f"{theirs}/reviews")["rows"]
    run_page = f"dags/confident/runs/{quote(landed.run_id, safe='')}"
    assert (row["name"], row["waits_for"]) == ("doubtful.txt", "approval")
    assert row["actions_path"] == f"{run_page}/required_actions"
    assert row["low_confidence"] > 0
    counts = ask(f"{theirs}/overview")
    assert (counts["waiting_for_approval"], counts["in_review"]) == (1, 0)
    (pipeline,) = [each for each in ask(f"{PAGE}/api/pipelines") if each["dag_id"] == "confident"]
    assert pipeline["tasks"]["approve"] == "documents_to_warehouse.approve"


def test_documents_that_are_reserved_are_counted(
    outside: Outside, run_dag: RunDag, read_by_several: str, ask: Callable[..., Any]
) -> None:
    run(outside, run_dag, ["good.txt"])
    run(outside, run_dag, ["late.txt", "fail.txt"])
    outside.put("inbox/more.txt", b"Receipt\nTotal: 3.00 EUR\n")
    conf = {"source": f"s3://{outside.bucket}/inbox/"}
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf, dies_at="load").state == "failed"
    reserved = ask(f"{ON_DEMAND}/overview")["reservations"]
    assert (reserved["chunks"], reserved["documents"]) == (1, 1)
    assert reserved["oldest"]


def test_without_a_snapshot_the_page_says_so_and_shows_what_the_run_counted(
    outside: Outside, run_dag: RunDag, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(outside, run_dag, ["good.txt", "fail.txt"])
    counts = ask(f"{ON_DEMAND}/overview")
    assert counts["state"] == "unreadable"
    assert '"snapshot"' in counts["notice"]
    assert counts["runs"][0]["by_status"] == {"PROCESSED": 1, "FAILED": 1}
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT")
    assert "does not know the connection" in ask(f"{ON_DEMAND}/overview")["notice"]
    secret = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "u", "password": "hush-hush"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(secret))
    down = ask(f"{ON_DEMAND}/overview")
    assert down["state"] == "unreadable"
    assert "hush-hush" not in json.dumps(down)
    assert "127.0.0.1" not in json.dumps(down)


def test_an_old_snapshot_says_so(
    outside: Outside,
    run_dag: RunDag,
    ask: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "copy.duckdb"
    connection = {"conn_type": "duckdb", "host": str(outside.warehouse), "extra": {"snapshot": str(copy)}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(connection))
    run(outside, run_dag, ["good.txt"])
    assert ask(f"{ON_DEMAND}/overview")["state"] == "ready"
    os.utime(copy, (0, 1_700_000_000))
    assert ask(f"{ON_DEMAND}/overview")["state"] == "old_snapshot"
