"""Documents from a folder, a bucket and named files of both, in one run by hand, landed by one DAG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.airflow.approvals import receipt
from fixtures.airflow.dag_runs import Outside
from fixtures.extend.api import running
from fixtures.sources.gcs import GCS
from fixtures.sources.web import Page, Web

RunDag = Callable[..., Any]


def test_addresses_of_several_stores_land_in_one_run(
    outside: Outside, run_dag: RunDag, tmp_path: Path
) -> None:
    folder = tmp_path / "in box"
    for number, name in enumerate(["a.txt", "deep/b #1.txt", "data.parquet", "named.txt", "other.txt"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"Receipt {number}\nTotal: {number}.00 EUR\n".encode())
    (folder / "named.txt").rename(tmp_path / "named.txt")
    in_bucket = outside.put("documents/c.txt", b"Receipt c\nTotal: 3.00 EUR\n")
    source = "\n".join(
        [f"file://{folder}/", f"file://{tmp_path}/named.txt", f"s3://{outside.bucket}/documents/"]
    )

    def run(**conf: Any) -> str:
        conf = {"source": source, "workflow_id": "workflow_mixed", **conf}
        return str(run_dag("extend_on_demand", logical_date=None, run_conf=conf).state)

    assert run() == "success"
    landed = {
        uri: (status, bucket, key)
        for uri, status, bucket, key in outside.rows("SELECT uri, status, bucket, key FROM extend.documents")
    }
    files = {
        f"file://{folder}/{name}": status
        for name, status in [
            ("a.txt", "PROCESSED"),
            ("deep/b #1.txt", "PROCESSED"),
            ("data.parquet", "SKIPPED"),
            ("other.txt", "PROCESSED"),
        ]
    }
    files[f"file://{tmp_path}/named.txt"] = "PROCESSED"
    assert {uri: status for uri, (status, _, _) in landed.items()} == {**files, in_bucket: "PROCESSED"}
    assert landed[in_bucket][1:] == (outside.bucket, "documents/c.txt")
    # What has no URL was uploaded, what has one was not; and nothing is sent twice.
    assert outside.extend.requests_to("POST /files/upload") == 4
    (folder / "a.txt").write_bytes(b"Receipt, another one\nTotal: 9.00 EUR\n")
    assert run() == "success"
    assert outside.extend.requests_to("POST /files/upload") == 5
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_a_dry_run_shows_what_is_to_come_in_its_xcom(outside: Outside, run_dag: RunDag) -> None:
    for number in range(5):
        outside.put(f"documents/{number}.txt", f"Receipt {number}\nTotal: 3.00 EUR\n".encode())
    conf: dict[str, Any] = {"source": f"s3://{outside.bucket}/documents/", "chunk_size": 2}
    first = run_dag("extend_on_demand", logical_date=None, run_conf={**conf, "limit": 2})
    run = run_dag("extend_on_demand", logical_date=None, run_conf={**conf, "dry_run": True})
    assert (first.state, run.state) == ("success", "success")

    ti = run.get_task_instance("documents_to_warehouse.plan")
    plan = ti.xcom_pull(task_ids=ti.task_id, key="plan")
    ((charged,),) = outside.rows("SELECT sum(credits)::DOUBLE FROM extend.documents")
    assert {name: plan[name] for name in ("discovered", "already_landed", "to_send", "chunks", "left")} == {
        "discovered": 5,
        "already_landed": 2,
        "to_send": 3,
        "chunks": 2,
        "left": 0,
    }
    assert plan["credits"] == charged / 2 * 3
    assert outside.extend.requests_to("POST /workflow_runs/batch") == 1


def test_documents_in_google_cloud_storage_land_by_signed_url_or_as_bytes(
    outside: Outside, run_dag: RunDag, gcs: GCS, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = gcs.bucket()
    names = ["a.txt", "deep/b #1?.txt", "请求 50%.txt", "data.parquet", "empty.pdf"]
    for number, name in enumerate(names):
        gcs.put(bucket, f"in/{name}", b"" if name == "empty.pdf" else receipt(number))
    gcs.put(bucket, "out/other.txt", receipt(9))

    def run(connection: str) -> dict[str, int]:
        monkeypatch.setenv("AIRFLOW_CONN_INBOX", connection)
        assert run_dag("from_google", logical_date=None).state == "success"
        return dict(outside.extend.stats()["requests"])

    # With a key, Extend reads by itself.
    assert "POST /files/upload" not in run(gcs.connection_json())
    landed = dict(outside.rows("SELECT uri, status FROM extend.documents"))
    statuses = ["PROCESSED", "PROCESSED", "PROCESSED", "SKIPPED", "SKIPPED"]
    expected = {f"gs://{bucket}/in/{name}": status for name, status in zip(names, statuses, strict=True)}
    assert landed == expected
    # With nothing to sign with, what is new is uploaded; what is known is known by any connection.
    gcs.put(bucket, "in/a.txt", receipt(7))
    assert run(gcs.connection_json(is_anonymous=True))["POST /files/upload"] == 1
    assert outside.rows("SELECT count(*) FROM extend.documents WHERE status = 'PROCESSED'") == [(4,)]
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_documents_on_the_web_land_and_a_host_that_is_not_trusted_costs_nothing(
    outside: Outside, run_dag: RunDag, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagged = {"ETag": '"v1"'}
    pages = {
        "/in/a.txt": Page(receipt(1), tagged),
        "/in/b.txt": Page(receipt(2), tagged, head=405),
        "/in/c.txt": Page(receipt(3), tagged, length=None),
        "/moved.txt": Page(status=302, headers={"Location": "/in/a.txt"}),
        "/closed.txt": Page(status=403),
    }
    web.pages.update(pages)
    names = [*pages, "/gone.txt"]
    conf = {"source": "\n".join(web.url + name for name in names), "workflow_id": "workflow_mixed"}

    def run() -> str:
        return str(run_dag("extend_on_demand", logical_date=None, run_conf=conf).state)

    assert run() == "failed"  # nobody trusts this authority yet
    assert outside.extend.stats()["requests"] == {}
    assert not outside.warehouse.exists()

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(web.authority))
    monkeypatch.setenv("SSL_CERT_FILE", str(web.authority))
    with running() as extend:  # one that trusts it
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend.connection_json())
        assert [run(), run()] == ["success", "success"]
        stats = extend.stats()
    assert set(stats["runs_created"].values()) == {1}
    assert len(stats["runs_created"]) == 4
    assert "POST /files/upload" not in stats["requests"]
    landed = outside.rows("SELECT uri, status, reason, size_bytes FROM extend.documents")
    size = len(receipt(1))
    assert sorted((uri.removeprefix(web.url), *rest) for uri, *rest in landed) == [
        ("/closed.txt", "FAILED", "OBJECT_FORBIDDEN", 0),
        ("/gone.txt", "FAILED", "OBJECT_DELETED", 0),
        *((f"/in/{name}.txt", "PROCESSED", None, size) for name in "abc"),
        ("/moved.txt", "PROCESSED", None, size),
    ]
