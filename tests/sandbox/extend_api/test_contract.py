"""Every route of the emulator, held strictly against the official SDK's models and the older contract."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fixtures.extend.api import NEWEST, ExtendApi
from fixtures.extend.contract import (
    NEWEST_ENDPOINTS,
    OLDER,
    OLDER_ENDPOINTS,
    Exchange,
    endpoint_of,
    faults_of,
)
from fixtures.extend.recorder import recording
from fixtures.sources.spreadsheets import workbook

INVOICE = "INVOICE\nInvoice number: INV-7\nInvoice date: 2026-11-02\nTotal: 119.00 EUR\n"
EVENTS = ["workflow_run.completed", "workflow_run.step_run.processed"]
MAIL = f"{INVOICE}\fRECEIPT\nReceipt number: 4\nTotal: 3.00 EUR\n"


@pytest.fixture
def recorded(extend_api: ExtendApi) -> Iterator[tuple[ExtendApi, list[Exchange]]]:
    """The emulator behind a recorder."""
    with recording(extend_api.url) as (url, exchanges):
        yield ExtendApi(url, pid=extend_api.pid), exchanges


def everything(api: ExtendApi, version: str) -> None:
    """Go through all routes: what succeeds, what is refused, runs in all their states."""
    call: Callable[..., Any] = lambda method, path, **more: api.call(method, path, version=version, **more)  # noqa: E731
    uploaded = call("POST", "/files/upload", files={"file": ("a.txt", INVOICE)}).json()
    file_id = uploaded["id"] if version == NEWEST else uploaded["file"]["id"]
    book = call(
        "POST", "/files/upload", files={"file": ("b.xlsx", workbook([["INVOICE"], ["Total", "1.50"]]))}
    )
    book_id = book.json()["id"] if version == NEWEST else book.json()["file"]["id"]
    seen(call, version, batch(call, version, "workflow_invoices", [("id", book_id)]))
    for path in (f"/files/{file_id}", "/files", "/workflows", "/workflows/workflow_mailroom"):
        call("GET", path)
    call("GET", "/workflows/workflow_mailroom/versions")
    webhooks(call)
    api.configure(hold=True)
    held = create(call, version, "workflow_invoices", INVOICE)
    call("GET", f"/workflow_runs/{held}")
    call("POST", f"/workflow_runs/{held}", json={"metadata": {"a": 1}})
    call("POST", f"/workflow_runs/{held}/cancel", json={})
    api.configure(hold=False, cancelling_seconds=0)
    api.configure(parse_credits_per_page=0.5)
    for workflow in ("workflow_invoices", "workflow_mixed", "workflow_mailroom", "workflow_typed"):
        for text in (INVOICE, MAIL, "nothing"):
            seen(call, version, batch(call, version, workflow, [text]))
    api.configure(outcomes=[{"status": "FAILED", "message": "No."}])
    seen(call, version, batch(call, version, "workflow_mixed", [INVOICE]))
    api.configure(outcomes=[{"status": "NEEDS_REVIEW"}], review_steps=False)
    for decision in ({"decision": "approve", "edits": {"total": 1.0}}, {"decision": "reject", "note": "No."}):
        batch_id = batch(call, version, "workflow_invoices", [INVOICE])
        for run_id in seen(call, version, batch_id):
            api.review(run_id, **decision)
        seen(call, version, batch_id)
    api.configure(outcomes=[])
    if version == OLDER:
        [run_id] = seen(call, version, batch(call, version, "workflow_invoices", [INVOICE]))
        [output] = call("GET", f"/workflow_runs/{run_id}").json()["workflowRun"]["outputs"]
        correction = {"reviewedOutput": {"value": {"total": 1.5}}}
        call("POST", f"/workflow_runs/{run_id}/outputs/{output['id']}", json=correction)
    bad = batch(call, version, "workflow_mailroom", [None])
    seen(call, version, bad)
    call("GET", "/workflow_runs", params={"maxPageSize": 2, "sortBy": "createdAt", "sortDir": "asc"})
    call("GET", "/batch_runs/batch_1")
    api.configure(batch_status="batch_run")
    call("GET", f"/batch_runs/{bad}")
    call("DELETE", f"/workflow_runs/{held}")
    call("GET", f"/workflow_runs/{held}")
    call("DELETE", f"/files/{file_id}")
    call("POST", "/files/upload", files={"file": ("a.exe", b"x")})
    call("POST", "/workflow_runs/batch", json={})
    api.configure(requests_per_second=0.001)
    for _ in range(2):
        call("GET", "/workflow_runs")


def webhooks(call: Callable[..., Any]) -> None:
    """Go through the routes of webhooks; the older version has none."""
    options = {"headers": {"X-Tenant": "acme"}, "payload": {"format": "url", "urlThresholdBytes": 1}}
    endpoint = {"url": "https://acme.test/hook", "name": "Acme", "apiVersion": NEWEST, "enabledEvents": []}
    created = call("POST", "/webhook_endpoints", json={**endpoint, "advancedOptions": options}).json()
    asked = {"resourceType": "workflow", "resourceId": "workflow_invoices", "enabledEvents": EVENTS}
    body = {"webhookEndpointId": created.get("id"), **asked}
    subscribed = call("POST", "/webhook_subscriptions", json=body).json()
    for resource, found, changes in (
        ("webhook_subscriptions", subscribed, {"enabledEvents": EVENTS[:1]}),
        ("webhook_endpoints", created, {"enabledEvents": ["workflow.deployed"], "status": "disabled"}),
    ):
        path = f"/{resource}/{found.get('id')}"
        call("GET", path)
        call("POST", path, json=changes)
        call("GET", f"/{resource}", params={"maxPageSize": 1, "sortDir": "asc"})
        call("DELETE", path)
        call("GET", path)
        call("POST", f"/{resource}", json={})


def create(call: Callable[..., Any], version: str, workflow: str, text: str) -> str:
    if version == NEWEST:
        body: dict[str, Any] = {"workflow": {"id": workflow}, "file": {"text": text}, "priority": 7}
        return str(call("POST", "/workflow_runs", json=body).json()["id"])
    body = {"workflowId": workflow, "rawTexts": [text], "priority": 7}
    return str(call("POST", "/workflow_runs", json=body).json()["workflowRuns"][0]["id"])


def batch(call: Callable[..., Any], version: str, workflow: str, texts: list[Any]) -> str:
    """Submit texts; None is a file that cannot be read, ("id", …) one that was uploaded."""
    names = {"text": "rawText", "url": "fileUrl", "id": "fileId"}
    gone = ("url", "http://127.0.0.1:9/gone.pdf")
    files = [gone if text is None else ("text", text) if isinstance(text, str) else text for text in texts]
    if version == NEWEST:
        inputs: list[Any] = [{"file": dict([file])} for file in files]
        body: dict[str, Any] = {"workflow": {"id": workflow, "version": "2"}, "inputs": inputs}
    else:
        older = [{names[kind]: value} for kind, value in files]
        inputs = [each if "rawText" in each else {"file": each} for each in older]
        body = {"workflowId": workflow, "version": "2", "inputs": inputs}
    return str(call("POST", "/workflow_runs/batch", json=body).json()["batchId"])


def seen(call: Callable[..., Any], version: str, batch_id: str) -> list[str]:
    """Look at a batch's runs until they have settled; return their ids."""
    while True:
        page = call("GET", "/workflow_runs", params={"batchId": batch_id}).json()
        runs = page["data"] if version == NEWEST else page["workflowRuns"]
        if not {run["status"] for run in runs} & {"PENDING", "PROCESSING", "CANCELLING"}:
            break
    for run in runs:
        call("GET", f"/workflow_runs/{run['id']}")
    return [str(run["id"]) for run in runs]


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_every_answer_fits_the_contract(recorded: tuple[ExtendApi, list[Exchange]], version: str) -> None:
    api, exchanges = recorded
    everything(api, version)
    api_exchanges = [each for each in exchanges if not each.path.startswith("/_sandbox")]
    assert sorted({fault for each in api_exchanges for fault in faults_of(each)}) == []
    asked = {endpoint_of(each) for each in api_exchanges if each.status < 300}
    assert asked == (OLDER_ENDPOINTS if version == OLDER else NEWEST_ENDPOINTS).keys()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a JSON value."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with something else, or nothing (``...``), at a path."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return copy


#: Below these, anything is allowed.
FREE = ("metadata", "value", "schema", "config", "edits", "data", "dataRetention")
#: Words that stand under names of enumerations without being of one.
OPEN = {("output", "type"), ("workflow", "object"), ("matchedBranch", "type")}


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_checker_finds_wrong_types_and_missing_fields(
    recorded: tuple[ExtendApi, list[Exchange]], version: str
) -> None:
    api, exchanges = recorded
    call: Callable[..., Any] = lambda method, path, **more: api.call(method, path, version=version, **more)  # noqa: E731
    seen(call, version, batch(call, version, "workflow_mixed", [INVOICE]))
    exchange = exchanges[-1]
    assert endpoint_of(exchange) == "GET /workflow_runs/{id}"
    assert faults_of(exchange) == []
    unseen = []
    for path in places(exchange.answer):
        if any(key in FREE for key in path):
            continue
        wrong = dataclasses.replace(exchange, answer=changed(exchange.answer, path, ["a", {}]))
        if not faults_of(wrong):
            unseen.append(path)
        if isinstance(path[-1], str):
            extra = dataclasses.replace(exchange, answer=changed(exchange.answer, (*path[:-1], "strange"), 1))
            if not faults_of(extra):
                unseen.append((*path[:-1], "strange"))
        if path[-1] in ("status", "object", "stepType", "unit", "type") and path[-2:] not in OPEN:
            other = dataclasses.replace(exchange, answer=changed(exchange.answer, path, "OTHER"))
            if not faults_of(other):
                unseen.append(path)
    assert unseen == []


def test_run_has_no_times_before_it_starts(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    body = {"workflow": {"id": "workflow_invoices"}, "file": {"text": INVOICE}}
    created = extend_api.call("POST", "/workflow_runs", json=body).json()
    [listed] = extend_api.call("GET", "/workflow_runs").json()["data"]
    times = ("initialRunAt", "startTime", "endTime")
    assert [created[name] for name in times] == [listed[name] for name in times] == [None] * 3
    extend_api.configure(hold=False)
    while (run := extend_api.call("GET", f"/workflow_runs/{created['id']}").json())["endTime"] is None:
        pass
    assert run["initialRunAt"] == run["startTime"]


@pytest.mark.parametrize(
    ("workflow", "own", "parsed"), [("workflow_mixed", 2.0, 0.5), ("workflow_mailroom", 4.0, 0.0)]
)
def test_file_is_parsed_and_charged_once_for_its_first_step(
    extend_api: ExtendApi, workflow: str, own: float, parsed: float
) -> None:
    extend_api.configure(parse_credits_per_page=0.5)
    [run] = extend_api.runs(extend_api.submit_batch([{"file": {"text": INVOICE}}], workflow))
    usage = run["usage"]
    assert usage["credits"] == usage["totalCredits"] == sum(each["credits"] for each in usage["breakdown"])
    processed = [
        next(iter(step["result"].values()))
        for step in run["stepRuns"]
        if step["stepType"] in ("CLASSIFY", "EXTRACT", "CONDITIONAL_EXTRACT")
    ]
    [parse_run] = {each["parseRunId"] for each in processed}
    paid = [each for each in usage["breakdown"] if each["object"] == "parse_run"]
    assert [each["id"] for each in paid] == [parse_run]
    first, *others = processed
    assert first["usage"]["totalCredits"] - first["usage"]["credits"] == parsed
    assert all(each["usage"]["totalCredits"] == each["usage"]["credits"] for each in others)
    assert usage["credits"] == own + parsed
    if parsed:
        assert paid[0]["charges"] == [
            {"product": "parse_performance", "unit": "page", "quantity": 1, "credits": parsed}
        ]
