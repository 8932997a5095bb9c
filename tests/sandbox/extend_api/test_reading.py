"""What the engine makes of the files it is given: real downloads, real reading, failures of one run only."""

from __future__ import annotations

import contextlib
import http.server
import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pypdf
import pytest

from fixtures.extend.api import ExtendApi
from fixtures.sources.s3 import S3

INVOICE = b"""INVOICE
Vendor: Acme GmbH
Invoice number: INV-7
Invoice date: 2026-11-02
Currency: EUR
Total: 119.00
"""


class _Statuses(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names; ``/slow`` takes longer than anyone waits."""

    def do_GET(self) -> None:
        """Answer."""
        name = self.path.split("?")[0].strip("/")
        if name == "slow":
            time.sleep(1.5)
        self.send_response(int(name) if name.isdigit() else 200)
        self.send_header("Content-Length", str(len(INVOICE)))
        self.end_headers()
        self.wfile.write(INVOICE)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def statuses() -> Iterator[str]:
    """URL of a server whose answers have the status in their path."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Statuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _run(
    extend_api: ExtendApi, file: dict[str, Any], workflow_id: str = "workflow_invoices"
) -> dict[str, Any]:
    [run] = extend_api.runs(extend_api.submit_batch([{"file": file}], workflow_id))
    return run


def _extract(run: dict[str, Any]) -> dict[str, Any]:
    extract: dict[str, Any] = run["stepRuns"][-1]["result"]["extractRun"]
    return extract


def test_presigned_url_is_downloaded_and_read(extend_api: ExtendApi, s3: S3) -> None:
    key = "2026-11-21/invoice 001 + 5% #ä.txt"
    s3.put(s3.bucket(), key, INVOICE)
    run = _run(extend_api, {"url": s3.presigned_url("acme-inbox", key)})
    assert run["status"] == "PROCESSED"
    assert (run["files"][0]["name"], run["files"][0]["type"]) == ("invoice 001 + 5% #ä.txt", "TXT")
    assert _extract(run)["output"]["value"]["invoice_number"] == "INV-7"


@pytest.mark.parametrize("expired", [True, False], ids=["expired", "no such key"])
def test_url_refused_by_s3_fails_only_its_run_and_stays_secret(
    extend_api: ExtendApi, s3: S3, expired: bool
) -> None:
    bucket = s3.bucket()
    s3.put(bucket, "good.txt", INVOICE)
    url = s3.presigned_url(bucket, "good.txt" if expired else "gone.txt", 1 if expired else 300)
    if expired:
        time.sleep(2.1)
    inputs = [
        {"file": {"url": url, "name": "bad.txt"}},
        {"file": {"url": s3.presigned_url(bucket, "good.txt")}},
    ]
    bad, good = extend_api.runs(extend_api.submit_batch(inputs))
    assert (bad["status"], good["status"]) == ("FAILED", "PROCESSED")
    assert bad["failureReason"] == "FAILED_TO_PROCESS_FILE"
    status = 403 if expired else 404
    assert bad["failureMessage"] == f"UNABLE_TO_DOWNLOAD_FILE: the file's URL answered HTTP {status}"
    assert "Signature" not in str(bad)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("403", "HTTP 403", id="forbidden"),
        pytest.param("404", "HTTP 404", id="not found"),
        pytest.param("503", "HTTP 503", id="unavailable"),
        pytest.param("slow", "TimeoutError", id="too slow"),
    ],
)
def test_unreadable_url_fails_the_run(extend_api: ExtendApi, statuses: str, path: str, said: str) -> None:
    extend_api.configure(download_timeout_seconds=0.5)
    run = _run(extend_api, {"url": f"{statuses}/{path}?X-Amz-Signature=abc"})
    assert (run["status"], run["failureReason"]) == ("FAILED", "FAILED_TO_PROCESS_FILE")
    assert run["failureMessage"].startswith("UNABLE_TO_DOWNLOAD_FILE: ")
    assert said in run["failureMessage"]
    assert "abc" not in str(run)
    extract = _extract(run)
    assert (extract["status"], extract["output"]) == ("FAILED", None)
    assert extract["failureMessage"] == run["failureMessage"]
    assert run["usage"]["credits"] == 0


def test_unreachable_address_fails_the_run(extend_api: ExtendApi) -> None:
    run = _run(extend_api, {"url": "http://127.0.0.1:9/a.pdf?token=abc"})
    assert run["status"] == "FAILED"
    assert run["failureMessage"].startswith("UNABLE_TO_DOWNLOAD_FILE: the file's URL could not be reached")
    assert "abc" not in str(run)


def test_file_above_the_size_limit_fails_the_run(extend_api: ExtendApi, statuses: str) -> None:
    extend_api.configure(max_file_bytes=20)
    run = _run(extend_api, {"url": f"{statuses}/200"})
    assert run["failureMessage"].startswith("FILE_SIZE_TOO_LARGE: ")


def _pdf(password: str | None = None) -> bytes:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(595, 842)
    writer.add_blank_page(595, 842)
    if password is not None:
        writer.encrypt(password, algorithm="AES-256")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        pytest.param("a.pdf", b"%PDF-1.7\nnot really", "CORRUPT_FILE", id="corrupt"),
        pytest.param("a.pdf", _pdf("s3cret"), "PASSWORD_PROTECTED_FILE", id="protected"),
        pytest.param("a.png", b"\x89PNG\r\n", "FILE_TYPE_NOT_SUPPORTED", id="no text in it"),
    ],
)
def test_unreadable_file_fails_the_run_with_its_code(
    extend_api: ExtendApi, name: str, content: bytes, code: str
) -> None:
    uploaded = extend_api.call("POST", "/files/upload", files={"file": (name, content)}).json()
    run = _run(extend_api, {"id": uploaded["id"]})
    assert (run["status"], run["failureReason"]) == ("FAILED", "FAILED_TO_PROCESS_FILE")
    assert run["failureMessage"].startswith(f"{code}: ")


def test_password_opens_a_protected_file_by_url_and_by_upload(extend_api: ExtendApi, s3: S3) -> None:
    content = _pdf("s3cret")
    form: dict[str, Any] = {"data": {"password": "s3cret"}, "files": {"file": ("a.pdf", content)}}
    uploaded = extend_api.call("POST", "/files/upload", **form).json()
    assert _run(extend_api, {"id": uploaded["id"]})["status"] == "PROCESSED"
    s3.put(s3.bucket(), "a.pdf", content)
    file = {"url": s3.presigned_url("acme-inbox", "a.pdf"), "settings": {"password": "s3cret"}}
    run = _run(extend_api, file)
    assert (run["status"], run["files"][0]["metadata"]) == ("PROCESSED", {"pageCount": 2})
    assert run["usage"]["credits"] == 2.0
    assert "s3cret" not in str(run)


def test_invoice_sent_as_a_receipt_gives_nulls_with_low_confidence(extend_api: ExtendApi) -> None:
    file = {"text": INVOICE.decode()}
    run = _run(extend_api, file, "workflow_receipts")
    output = _extract(run)["output"]
    assert run["status"] == "PROCESSED"
    leaves = {path: entry["logprobsConfidence"] for path, entry in output["metadata"].items()}
    empty = [path for path in leaves if path in output["value"] and output["value"][path] is None]
    assert empty
    assert max(leaves[path] for path in empty) < 0.5


def test_document_of_class_other_is_not_extracted(extend_api: ExtendApi) -> None:
    run = _run(extend_api, {"text": "Dear diary, nothing happened today."}, "workflow_mixed")
    assert run["status"] == "PROCESSED"
    [step] = run["stepRuns"]
    assert step["result"]["classifyRun"]["output"]["type"] == "other"


def test_raw_text_is_read_as_text_under_any_name(extend_api: ExtendApi) -> None:
    run = _run(extend_api, {"text": INVOICE.decode(), "name": "invoice.pdf"})
    assert run["files"][0]["name"] == "invoice.pdf.txt"
    assert _extract(run)["output"]["value"]["invoice_number"] == "INV-7"


def test_emulator_answers_while_a_document_is_read(extend_api: ExtendApi) -> None:
    [run] = extend_api.runs(extend_api.submit_batch([{"file": {"text": "warm up the reader"}}]))
    batch_id = extend_api.submit_batch([{"file": {"text": INVOICE.decode() * 8_000}}])
    answers = 0
    while extend_api.stats()["runs"].get("PROCESSED", 0) < 2:
        assert extend_api.call("GET", f"/workflow_runs/{run['id']}").status_code == 200
        answers += 1
    assert answers > 10
    assert extend_api.runs(batch_id)[0]["files"][0]["metadata"]["pageCount"] > 100


def test_dead_reader_fails_its_run_and_is_replaced(extend_api: ExtendApi) -> None:
    assert _run(extend_api, {"text": "start a reader"})["status"] == "PROCESSED"
    batch_id = extend_api.submit_batch([{"file": {"text": INVOICE.decode() * 8_000}}])
    while not extend_api.stats()["runs"].get("PROCESSING"):
        time.sleep(0.01)
    for reader in psutil.Process(extend_api.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # another child, which has ended by itself
            if "spawn_main" in " ".join(reader.cmdline()):
                reader.kill()
    [run] = extend_api.runs(batch_id)
    assert (run["status"], run["failureReason"]) == ("FAILED", "FAILED_TO_PROCESS_FILE")
    assert run["failureMessage"] == "INTERNAL_ERROR: the process that read the file died"
    assert _run(extend_api, {"text": INVOICE.decode()})["status"] == "PROCESSED"


def test_file_deleted_before_it_is_read_fails_the_run(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    uploaded = extend_api.call("POST", "/files/upload", files={"file": ("a.txt", INVOICE)}).json()
    batch_id = extend_api.submit_batch([{"file": {"id": uploaded["id"]}}])
    extend_api.call("DELETE", f"/files/{uploaded['id']}")
    extend_api.configure(hold=False)
    [run] = extend_api.runs(batch_id)
    assert run["failureMessage"].startswith("UNABLE_TO_DOWNLOAD_FILE: ")
