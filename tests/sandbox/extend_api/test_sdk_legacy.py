"""The last SDK of API version 2025-04-21 as the client, in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.extend.api import ExtendApi
from fixtures.extend.emulated import INVOICE

LEGACY_SDK = "0.2.0"
#: What a single invoice becomes in the workflow that merges and checks.
MAILROOM = {
    "outputs": [
        ["CLASSIFY", "Mail"],
        ["EXTRACT", "Invoice head"],
        ["EXTRACT", "Invoice lines"],
        ["EXTRACT", "Invoice"],
    ],
    "merged": ["dp_invoice_head", "dp_invoice_lines"],
    "steps": [["RULE_VALIDATION", "Check invoice", "PROCESSED"]],
    "rules": [
        [False, "VALUE_ERROR", "subtotal is empty"],
        [True, None, None],
        [False, "VALUE_ERROR", "subtotal is empty"],
        [False, "RULE_FAILED", None],
    ],
}


@pytest.fixture(scope="module")
def legacy_sdk() -> Path:
    """The folder where `make setup` has put the legacy SDK; without it nothing would be proven."""
    folder = Path(sys.prefix) / "legacy-sdk"
    if not folder.is_dir():
        pytest.fail(f"The legacy SDK is not in {folder}: run `make setup`.")
    return folder


@pytest.fixture
def seen(legacy_sdk: Path, extend_api: ExtendApi) -> dict[str, Any]:
    """What the legacy SDK understood of every endpoint."""
    script = Path(__file__).with_name("sdk_legacy.py")
    ended = subprocess.run(
        [sys.executable, str(script), extend_api.url, extend_api.key, INVOICE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(legacy_sdk)},
    )
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def test_legacy_sdk_understands_every_endpoint(seen: dict[str, Any]) -> None:
    assert seen["sdk"] == LEGACY_SDK
    assert seen["created"] == [["workflow_run", "2"]] * 2
    run = seen["run"]
    assert (run["status"], run["name"], run["class"]) == ("PROCESSED", "raw_text.txt", "invoice")
    assert run["url"].startswith("https://dashboard.extend.ai/workflows/workflow_mixed?workflowRunId=")
    assert run["outputs"] == [
        ["CLASSIFY", "PROCESSED", "document_processor_run"],
        ["EXTRACT", "PROCESSED", "document_processor_run"],
    ]
    assert (run["number"], run["schema"], run["credits"], run["step_runs"]) == ("INV-7", True, 2.0, [])
    assert run["citation"]["page"] == 1
    assert run["citation"]["pageWidth"] > 0
    assert seen["corrected"] == [1.5, 119.0]
    assert seen["file"] == ["seven.txt", "TXT", True]
    assert seen["files"] is True
    assert seen["listed"] == [["workflow_invoices", "Invoices", "workflow_version_invoices_1"]] * 2
    assert seen["batch"] == [{"n": 1}, {"n": 2}]
    assert seen["pages"] == [1, 1, None]
    assert seen["updated"] == ["Renamed", {"a": 1, "b": 2}]
    assert seen["deleted"] is True
    assert seen["file_deleted"] is True
    assert seen["mailroom"] == MAILROOM


def test_legacy_sdk_raises_its_own_errors(seen: dict[str, Any]) -> None:
    errors = {name: (error["type"], error["status"]) for name, error in seen["errors"].items()}
    assert errors == {
        "not_cancellable": ("BadRequestError", 400),
        "not_found": ("NotFoundError", 404),
        "bad_file": ("BadRequestError", 400),
        "no_input": ("BadRequestError", 400),
        "unauthorized": ("UnauthorizedError", 401),
    }
    assert seen["errors"]["bad_file"]["body"]["code"] == "FILE_TYPE_NOT_SUPPORTED"
    assert seen["errors"]["unauthorized"]["body"] == {"success": False, "error": "Invalid API key."}
