"""Bad documents of every kind among good ones, in one run: the good ones are sent, and each has its row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.documents import (
    EMPTY_FILE,
    NAME_UNUSABLE,
    NOT_A_FILE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_UNIDENTIFIED,
    OBJECT_UNREACHABLE,
    SYSTEM_FILE,
)
from fixtures.airflow.approvals import receipt
from fixtures.airflow.dag_runs import Outside
from fixtures.engines.postgres import Database
from fixtures.extend.api import running
from fixtures.sources.web import Page, Web

RunDag = Callable[..., Any]
GOOD = ("PROCESSED", None)
SKIPPED, FAILED = "SKIPPED", "FAILED"
LONG = "long " + "x" * (1024 - len("in/long .txt")) + ".txt"
IN_BUCKET = {
    "good.txt": GOOD,
    " .txt": GOOD,
    "caf\u00e9.txt": GOOD,
    "cafe\u0301.txt": GOOD,
    "50%25 + #1?.txt": GOOD,
    LONG: GOOD,
    "empty.txt": (SKIPPED, EMPTY_FILE),
    "._good.txt": (SKIPPED, SYSTEM_FILE),
    "nul\0.txt": (FAILED, NAME_UNUSABLE),
    "tab\t.txt": (FAILED, NAME_UNUSABLE),
    "a/../up.txt": (FAILED, NAME_UNUSABLE),
}
IN_FOLDER = {
    b"good.txt": GOOD,
    b" \"quoted\"; 'name=\\x'.txt": GOOD,
    "请求 é.txt".encode(): GOOD,
    b"~$good.docx": (SKIPPED, SYSTEM_FILE),
    b"Thumbs.db": (SKIPPED, SYSTEM_FILE),
    b".txt": (SKIPPED, SYSTEM_FILE),
    b"caf\xe9.txt": (FAILED, NAME_UNUSABLE),
    b"line\nfeed.txt": (FAILED, NAME_UNUSABLE),
}
ON_THE_WEB = {
    "good.txt": (Page(receipt(50), {"ETag": '"v1"', "Last-Modified": "-1"}, head=403), GOOD),
    "untold.txt": (Page(receipt(51)), (FAILED, OBJECT_UNIDENTIFIED)),
    "closed.txt": (Page(status=403), (FAILED, OBJECT_FORBIDDEN)),
    "busy.txt": (Page(status=503), (FAILED, OBJECT_UNREACHABLE)),
    "gone.txt": (Page(status=404), (FAILED, OBJECT_DELETED)),
}


def test_good_documents_are_sent_and_bad_ones_have_their_rows(
    outside: Outside,
    run_dag: RunDag,
    web: Web,
    new_database: Callable[[], Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They land in Postgres, which is the strictest about text."""
    database = new_database()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(database.connection()))
    expected: dict[str, tuple[str, str | None]] = {}

    def spelt(root: str, name: str, end: tuple[str, str | None]) -> None:
        name = name.replace("\0", r"\x00").replace("\t", r"\x09").replace("\n", r"\x0a")
        expected[f"{root}/{name.replace(chr(0xDCE9), chr(92) + 'xe9')}"] = end

    for number, (name, end) in enumerate(IN_BUCKET.items()):
        outside.put(f"in/{name}", b"" if name == "empty.txt" else receipt(number))
        spelt(f"s3://{outside.bucket}/in", name, end)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, (raw, end) in enumerate(IN_FOLDER.items(), 20):
        (inbox / os.fsdecode(raw)).write_bytes(receipt(number))
        spelt(f"file://{inbox}", os.fsdecode(raw), end)
    os.mkfifo(inbox / "pipe.txt")
    (inbox / "broken.txt").symlink_to(inbox / "nowhere.txt")
    expected |= {
        f"file://{inbox}/pipe.txt": (SKIPPED, NOT_A_FILE),
        f"file://{inbox}/broken.txt": (FAILED, OBJECT_DELETED),
    }
    for name, (page, end) in ON_THE_WEB.items():
        web.pages[f"/{name}"] = page
        expected[f"{web.url}/{name}"] = end
    expected["https://no-such-host.invalid/a.txt"] = (FAILED, OBJECT_UNREACHABLE)

    named = [address for address in expected if address.startswith("https://")]
    source = "\n".join([f"s3://{outside.bucket}/in/", f"file://{inbox}/", *named])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(web.authority))
    monkeypatch.setenv("SSL_CERT_FILE", str(web.authority))
    with running() as extend:  # one that trusts the host
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend.connection_json())
        for _ in range(2):
            conf = {"source": source, "workflow_id": "workflow_mixed"}
            run = run_dag("extend_on_demand", logical_date=None, run_conf=conf)
            assert run.state == "success"
            rows = database.rows("SELECT document_id, uri, status, reason, message FROM extend.documents")
            assert {uri: (status, reason) for _, uri, status, reason, _ in rows} == expected
            assert len({document_id for document_id, *_ in rows}) == len(rows) == len(expected)
            assert all(message for *_, status, _, message in rows if status != "PROCESSED")
        created = extend.stats()["runs_created"]
    assert set(created.values()) == {1}
    assert len(created) == list(expected.values()).count(GOOD)
