"""The wire in both versions: which keys an answer has, and what a request that does not fit gets."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fixtures.extend.api import NEWEST, ExtendApi

OLDER = "2025-04-21"


def _keys(names: str) -> set[str]:
    return set(names.split())


# Written from the contract, section 3 (2026-02-09) and section 7 (2025-04-21).
FILE = _keys("object id name type parentFileId metadata createdAt updatedAt")
WORKFLOW = _keys("object id name createdAt updatedAt createdBy")
WORKFLOW_VERSION = _keys("object id version name createdAt createdBy")
SUMMARY = _keys("""
    object id status workflow workflowVersion dashboardUrl reviewedByUser reviewedAt initialRunAt startTime
    endTime batchId rejectionNote files createdAt updatedAt usage
""")
RUN = _keys("""
    object id workflow workflowVersion dashboardUrl status metadata batchId files initialRunAt reviewedByUser
    reviewed rejectionNote reviewedAt startTime endTime stepRuns usage
""")
UNDOCUMENTED = _keys("dataRetention")
STEP_RUN = _keys("object id workflowRunId status files stepType step result")
PROCESSOR_RUN = _keys("""
    object id status output initialOutput reviewedOutput failureReason failureMessage metadata reviewed edited
    config file parseRunId dashboardUrl usage createdAt updatedAt
""")
EXTRACT_RUN = PROCESSOR_RUN | _keys("edits files extractor extractorVersion")
CLASSIFY_RUN = PROCESSOR_RUN | _keys("classifier classifierVersion")
OLDER_SUMMARY = _keys("""
    id status initialRunAt startTime endTime workflowId workflowName workflowVersionId batchId createdAt
    updatedAt usage
""")
OLDER_RUN = _keys("""
    object id name url status metadata batchId files initialRunAt reviewed startTime endTime outputs stepRuns
    workflow usage
""")
OLDER_OUTPUT = _keys("""
    object id processorId processorVersionId processorName status output metadata reviewed edited edits type
    config files mergedProcessors url usage
""")

TEXT = {"file": {"text": "INVOICE\nInvoice number: 7\nTotal: 1.00 EUR"}}


@pytest.fixture
def batch_id(extend_api: ExtendApi) -> str:
    """A batch of one run through the mixed workflow, done."""
    batch_id = extend_api.submit_batch([{**TEXT, "metadata": {"n": 1}}], "workflow_mixed")
    extend_api.runs(batch_id)
    return batch_id


def test_newest_answers_have_the_documented_keys(extend_api: ExtendApi, batch_id: str) -> None:
    listed = extend_api.call("GET", "/workflow_runs", params={"batchId": batch_id}).json()
    [summary] = listed["data"]
    run = extend_api.call("GET", f"/workflow_runs/{summary['id']}").json()
    classify, extract = run["stepRuns"]
    assert listed.keys() == {"object", "data"}
    assert listed["object"] == "list"
    assert summary.keys() == SUMMARY
    assert run.keys() == RUN | UNDOCUMENTED
    assert run["files"][0].keys() == FILE
    assert run["workflow"].keys() == WORKFLOW
    assert run["workflowVersion"].keys() == WORKFLOW_VERSION
    assert classify.keys() == extract.keys() == STEP_RUN
    assert classify["step"]["type"] == classify["stepType"] == "CLASSIFY"
    assert classify["result"]["classifyRun"].keys() == CLASSIFY_RUN
    assert extract["result"]["extractRun"].keys() == EXTRACT_RUN
    assert extract["result"]["extractRun"]["output"].keys() == {"value", "metadata"}
    assert run["usage"].keys() == {"credits", "totalCredits", "breakdown"}
    assert summary["usage"] == {"credits": run["usage"]["credits"], "totalCredits": run["usage"]["credits"]}
    assert run["rejectionNote"] is run["reviewedByUser"] is run["reviewedAt"] is None


def test_older_answers_have_the_documented_keys_and_omit_missing_values(
    extend_api: ExtendApi, batch_id: str
) -> None:
    listed = extend_api.call("GET", "/workflow_runs", version=OLDER, params={"batchId": batch_id}).json()
    [summary] = listed["workflowRuns"]
    answer = extend_api.call("GET", f"/workflow_runs/{summary['id']}", version=OLDER).json()
    run = answer["workflowRun"]
    assert listed.keys() == {"success", "workflowRuns"}
    assert answer.keys() == {"success", "workflowRun"}
    assert summary.keys() == OLDER_SUMMARY
    assert run.keys() == OLDER_RUN
    assert run["workflow"].keys() == {"object", "id", "name", "version"}
    assert [output.keys() for output in run["outputs"]] == [OLDER_OUTPUT] * 2
    assert [output["id"][:4] for output in run["outputs"]] == ["dpr_"] * 2


def test_ids_have_the_documented_prefixes(extend_api: ExtendApi, batch_id: str) -> None:
    [run] = extend_api.runs(batch_id)
    classify, extract = run["stepRuns"]
    prefixes = {
        "batch_": batch_id,
        "workflow_run_": run["id"],
        "workflow_version_": run["workflowVersion"]["id"],
        "file_": run["files"][0]["id"],
        "workflow_step_run_": extract["id"],
        "step_": extract["step"]["id"],
        "exr_": extract["result"]["extractRun"]["id"],
        "clr_": classify["result"]["classifyRun"]["id"],
        "ex_": extract["result"]["extractRun"]["extractor"]["id"],
        "cl_": classify["result"]["classifyRun"]["classifier"]["id"],
    }
    assert {prefix: value for prefix, value in prefixes.items() if not value.startswith(prefix)} == {}


def test_only_failed_run_has_a_failure_reason(extend_api: ExtendApi) -> None:
    extend_api.configure(
        outcomes=[{"status": "FAILED", "reason": "DOCUMENT_PROCESSOR_ERROR", "message": "No."}]
    )
    [run] = extend_api.runs(extend_api.submit_batch([TEXT]))
    assert run.keys() == RUN | UNDOCUMENTED | {"failureReason", "failureMessage"}
    assert (run["failureReason"], run["failureMessage"]) == ("DOCUMENT_PROCESSOR_ERROR", "No.")


def test_answers_echo_the_version_and_name_the_request(extend_api: ExtendApi) -> None:
    for version in (NEWEST, OLDER):
        answer = extend_api.call("GET", "/workflow_runs", version=version)
        assert answer.headers["x-extend-api-version"] == version
        assert answer.headers["x-extend-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param({"Authorization": ""}, 401, "UNAUTHORIZED", id="no key"),
        pytest.param({"Authorization": "Bearer sk_wrong"}, 401, "UNAUTHORIZED", id="wrong key"),
        pytest.param({"Authorization": "Basic sk_sandbox"}, 401, "UNAUTHORIZED", id="wrong scheme"),
        pytest.param({"x-extend-api-version": ""}, 400, "INVALID_REQUEST", id="no version"),
        pytest.param({"x-extend-api-version": "2024-12-23"}, 400, "INVALID_REQUEST", id="version not spoken"),
        pytest.param({"x-extend-workspace-id": "ws_foreign"}, 403, "FORBIDDEN", id="foreign workspace"),
    ],
)
def test_rejected_request_gets_the_reason(
    extend_api: ExtendApi, headers: dict[str, str], status: int, code: str
) -> None:
    answer = extend_api.call("GET", "/workflow_runs", headers=headers)
    body = answer.json()
    assert answer.status_code == status
    assert body.keys() == {"code", "message", "retryable", "requestId"}
    assert (body["code"], body["retryable"]) == (code, False)
    assert body["requestId"] == answer.headers["x-extend-request-id"]


def _body(**changes: Any) -> dict[str, Any]:
    return {"workflow": {"id": "workflow_invoices"}, "inputs": [TEXT], **changes}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param(_body(inputs=[]), "inputs", id="no input"),
        pytest.param(_body(inputs=[TEXT] * 1001), "inputs", id="1001 inputs"),
        pytest.param(_body(priority=0), "priority", id="priority 0"),
        pytest.param(_body(priority=101), "priority", id="priority 101"),
        pytest.param(_body(priority="high"), "priority", id="priority no number"),
        pytest.param(_body(workflow={"id": 7}), "workflow.id", id="workflow id no text"),
        pytest.param(
            _body(workflow={"id": "workflow_invoices", "version": 1}), "workflow.version", id="version"
        ),
        pytest.param(_body(inputs=[TEXT, {"file": {}}]), "inputs[1].file", id="nothing in a file"),
        pytest.param(_body(inputs=[{"file": {"text": "x", "id": "y"}}]), "inputs[0].file", id="text and id"),
        pytest.param(_body(inputs=[{"file": {"text": ""}}]), "inputs[0].file", id="empty text"),
        pytest.param(_body(inputs=[{"file": {"url": "s3://a/b"}}]), "inputs[0].file", id="no http url"),
        pytest.param(
            _body(inputs=[TEXT, {**TEXT, "metadata": {"k": "x" * 10_240}}]),
            "inputs[1].metadata",
            id="metadata over 10 KB",
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_invalid_batch_is_refused_with_the_path_and_creates_nothing(
    extend_api: ExtendApi, body: dict[str, Any], path: str, status: int
) -> None:
    extend_api.configure(validation_status=status)
    answer = extend_api.call("POST", "/workflow_runs/batch", json=body)
    assert answer.status_code == status
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert answer.json()["message"].endswith(f"; Path: {path}")
    assert extend_api.stats()["runs_created"] == {}


def test_invalid_run_is_refused(extend_api: ExtendApi) -> None:
    package = {"files": [{"id": "a"}, {"id": "a"}]}
    refused: tuple[dict[str, Any], ...] = ({}, {**TEXT, "package": package}, {"package": package})
    for fields in refused:
        body = {"workflow": {"id": "workflow_invoices"}, **fields}
        assert extend_api.call("POST", "/workflow_runs", json=body).status_code == 400
    assert extend_api.call("POST", "/workflow_runs", data=b"{").status_code == 400


def test_older_version_refuses_in_its_own_shape(extend_api: ExtendApi) -> None:
    invalid = {"workflowId": "workflow_invoices", "files": [{"fileId": "a"}], "rawTexts": ["b"]}
    answer = extend_api.call("POST", "/workflow_runs", version=OLDER, json=invalid)
    assert answer.status_code == 400
    assert answer.json().keys() == {"success", "error"}
    unknown = {"workflowId": "workflow_invoices", "files": [{"fileId": "file_nothing"}]}
    assert extend_api.call("POST", "/workflow_runs", version=OLDER, json=unknown).status_code == 404


def test_older_version_creates_one_run_per_file_up_to_fifty(extend_api: ExtendApi) -> None:
    body = {"workflowId": "workflow_invoices", "rawTexts": ["a", "b", "c"], "name": "Three"}
    answer = extend_api.call("POST", "/workflow_runs", version=OLDER, json=body).json()
    assert [run["name"] for run in answer["workflowRuns"]] == ["Three"] * 3
    assert {run["status"] for run in answer["workflowRuns"]} == {"PENDING"}
    files = [{"fileUrl": f"http://127.0.0.1:9/{n}.pdf"} for n in range(51)]
    many = {"workflowId": "workflow_invoices", "files": files}
    assert extend_api.call("POST", "/workflow_runs", version=OLDER, json=many).status_code == 400


def test_endpoint_of_the_older_version_is_removed_in_the_newest(extend_api: ExtendApi, batch_id: str) -> None:
    [run] = extend_api.runs(batch_id)
    answer = extend_api.call("POST", f"/workflow_runs/{run['id']}/outputs/dpr_x", json={"reviewedOutput": {}})
    assert (answer.status_code, answer.json()["code"]) == (410, "ENDPOINT_REMOVED")


def test_unknown_id_is_not_found(extend_api: ExtendApi, batch_id: str) -> None:
    for method, path in (
        ("GET", "/workflow_runs/workflow_run_nothing"),
        ("DELETE", "/workflow_runs/workflow_run_nothing"),
        ("POST", "/workflow_runs/workflow_run_nothing/cancel"),
        ("GET", "/files/file_nothing"),
        ("GET", f"/batch_runs/{batch_id}"),
        ("GET", "/no/such/path"),
        ("PUT", "/workflow_runs"),
    ):
        answer = extend_api.call(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), path


@pytest.mark.parametrize(
    ("settings", "status"), [({}, 404), ({"deleted_status": 410}, 410)], ids=["default", "410"]
)
def test_deleted_run_is_not_found(
    extend_api: ExtendApi, batch_id: str, settings: dict[str, Any], status: int
) -> None:
    extend_api.configure(**settings)
    [run] = extend_api.runs(batch_id)
    assert extend_api.call("DELETE", f"/workflow_runs/{run['id']}").json() == {"id": run["id"]}
    assert extend_api.call("GET", f"/workflow_runs/{run['id']}").status_code == status
    assert extend_api.call("GET", "/workflow_runs").json()["data"] == []


def test_uploaded_file_is_downloaded_only_from_its_signed_address(extend_api: ExtendApi) -> None:
    content = bytes(range(256))
    uploaded = extend_api.call("POST", "/files/upload", files={"file": ("a b+%.pdf", content)}).json()
    assert uploaded.keys() == FILE | UNDOCUMENTED
    url = extend_api.call("GET", f"/files/{uploaded['id']}").json()["presignedUrl"]
    assert requests.get(url, timeout=10).content == content
    assert requests.get(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=10).status_code == 403
    assert requests.get(url.split("?")[0], timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        pytest.param("a.docx", "", "PDF", id="Word is always converted"),
        pytest.param("a.png", "", "IMG", id="an image as it is"),
        pytest.param("a.png", "?convertToPdf=true", "PDF", id="an image when asked to"),
        pytest.param("a.csv", "?convertToPdf=true", "CSV", id="a table never"),
    ],
)
def test_file_type_comes_from_the_name(extend_api: ExtendApi, name: str, query: str, expected: str) -> None:
    answer = extend_api.call("POST", f"/files/upload{query}", files={"file": (name, b"x", "text/html")})
    assert answer.json()["type"] == expected


def test_missing_or_too_large_file_is_refused(extend_api: ExtendApi) -> None:
    extend_api.configure(max_file_bytes=10)
    large = {"file": ("a.txt", b"x" * 11)}
    older = extend_api.call("POST", "/files/upload", version=OLDER, files=large)
    assert (older.status_code, older.json()["code"]) == (400, "FILE_SIZE_TOO_LARGE")
    assert extend_api.call("POST", "/files/upload", data={"file": "text"}).status_code == 400
    assert extend_api.call("GET", "/files").json()["data"] == []


STATEMENT = b"""\
"Account statement"
"Bank","Orwell Savings"
"Account no","0042"
"Currency","GBP"
"Opening balance","(10.00)"
"Date","Details","Amount","Balance"
"2026-01-04","Feed","-1,000.50","(1,010.50)"
"Closing balance","","","(1,010.50)"
"""


def _statement(extend_api: ExtendApi, content: bytes) -> str:
    """Return the id of a run that has read this file as a bank statement."""
    upload = extend_api.call("POST", "/files/upload", files={"file": ("statement.csv", content)}).json()
    batch_id = extend_api.submit_batch([{"file": {"id": upload["id"]}}], "workflow_statements")
    [run] = extend_api.runs(batch_id)
    return str(run["id"])


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_extraction_follows_the_switches(extend_api: ExtendApi, version: str) -> None:
    def output(content: bytes) -> Any:
        run_id = _statement(extend_api, content)
        run = extend_api.call("GET", f"/workflow_runs/{run_id}", version=version).json()
        if version == OLDER:
            return run["workflowRun"]["outputs"][0]["output"]
        return run["stepRuns"][0]["result"]["extractRun"]["output"]

    plain = output(STATEMENT)
    assert "transactions[0].amount" in plain["metadata"]
    assert output(b'"nothing","at all"')["value"]["transactions"] == []
    extend_api.configure(metadata_keys="dots", nothing_found="null")
    dotted = output(STATEMENT)
    assert dotted["value"] == plain["value"]
    assert {key.replace("[0]", ".0") for key in plain["metadata"]} == set(dotted["metadata"])
    assert output(b'"nothing","at all"') == {"value": None, "metadata": {}}


def test_review_finds_the_page_of_a_field_in_both_spellings(extend_api: ExtendApi) -> None:
    extend_api.configure(metadata_keys="dots", outcomes=[{"status": "NEEDS_REVIEW"}])
    run_id = _statement(extend_api, STATEMENT)
    edited = extend_api.review(run_id, "approve", edits={"transactions[0].amount": 12.5})
    [step] = edited["stepRuns"]
    assert step["result"]["extractRun"]["edits"]["transactions[0].amount"]["page"] == 1
