"""The emulator as a process: it starts, says where it is, and answers."""

from __future__ import annotations

import requests
from fixtures.extend_api import ExtendApi


def test_a_batch_ends_as_one_settled_run_per_input(extend_api: ExtendApi) -> None:
    extend_api.configure(synthetic=True)
    headers = {"Authorization": f"Bearer {extend_api.key}", "x-extend-api-version": "2026-02-09"}
    inputs = [{"file": {"text": f"text {n}", "name": f"{n}.txt"}} for n in range(3)]
    body = {"workflow": {"id": "workflow_invoices"}, "inputs": inputs}
    answer = requests.post(f"{extend_api.url}/workflow_runs/batch", json=body, headers=headers, timeout=10)
    batch_id = answer.json()["batchId"]
    for _ in range(100):
        runs = requests.get(
            f"{extend_api.url}/workflow_runs", params={"batchId": batch_id}, headers=headers, timeout=10
        ).json()["data"]
        if all(run["status"] == "PROCESSED" for run in runs):
            break
    assert sorted(run["files"][0]["name"] for run in runs) == ["0.txt", "1.txt", "2.txt"]
    assert {run["status"] for run in runs} == {"PROCESSED"}
    assert extend_api.stats()["runs_created"] == {"0.txt": 1, "1.txt": 1, "2.txt": 1}
