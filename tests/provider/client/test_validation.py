"""What is refused before any request, and that the refusal names field, value and index but no content."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import XComArg
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.client import validation
from extend_provider.client.models import BatchInput, FileInput, RunInput
from extend_provider.exceptions import ExtendInputError

SECRET_URL = "https://bucket.s3.amazonaws.com/a.pdf?X-Amz-Signature=5ecre7"


class Resolvable(XComArg):
    def __init__(self) -> None:
        pass


def refusal(check: Any, *args: Any) -> str:
    with pytest.raises(ExtendInputError) as caught:
        check(*args)
    assert isinstance(caught.value, ValueError)
    assert caught.value.retryable is False
    return str(caught.value)


@given(st.integers(1, 100))
def test_priorities_from_1_to_100_pass_as_number_and_as_rendered_digits(value: int) -> None:
    assert validation.priority(value) == validation.priority(f" {value} ") == value


@pytest.mark.parametrize("value", [0, 101, -1, True, 1.0, "0", "101", "high", "1.5", "１", [50]], ids=repr)
def test_other_priorities_are_refused_with_the_value(value: Any) -> None:
    assert f"priority is {value!r}" in refusal(validation.priority, value)


@pytest.mark.parametrize("check", [validation.priority, validation.version], ids=["priority", "version"])
@pytest.mark.parametrize("value", [None, "", " ", "None"], ids=repr)
def test_nothing_given_leaves_the_default_to_extend(check: Any, value: Any) -> None:
    assert check(value) is None


@pytest.mark.parametrize(
    ("value", "sent"), [(3, "3"), ("3", "3"), (" 12 ", "12"), ("draft", "draft")], ids=repr
)
def test_versions(value: Any, sent: str) -> None:
    assert validation.version(value) == sent


@pytest.mark.parametrize("value", ["v3", "Draft", "1.0", -1, 1.0, True, ["3"]], ids=repr)
def test_other_versions_are_refused_with_the_value(value: Any) -> None:
    message = refusal(validation.version, value)
    assert f"version is {value!r}" in message
    assert "Leave version out" not in message


@pytest.mark.parametrize("value", ["latest", " Latest "], ids=repr)
def test_latest_is_refused_with_the_hint_to_leave_it_out(value: str) -> None:
    assert "Leave version out" in refusal(validation.version, value)


@pytest.mark.parametrize("value", [None, "", "  ", "None", 7, ["workflow_1"]], ids=repr)
def test_a_workflow_id_must_be_given(value: Any) -> None:
    assert f"workflow_id is {value!r}" in refusal(validation.workflow_id, value)


def test_metadata_may_be_10_kb_of_utf8_json_and_not_a_byte_more() -> None:
    def of_size(size: int) -> dict[str, str]:
        filler = "é" * ((size - len('{"k":""}')) // 2)
        value = {"k": filler + "x" * (size - len('{"k":""}') - 2 * len(filler))}
        assert len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) == size
        return value

    assert validation.metadata(of_size(10_240)) == of_size(10_240)
    message = refusal(validation.metadata, of_size(10_241))
    assert "metadata is 10,241 bytes" in message
    assert "é" not in message


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"k": object()}, id="object"),
        pytest.param({"k": float("nan")}, id="nan"),
        pytest.param({("a", "b"): 1}, id="tuple-key"),
        pytest.param({"k": "\ud800"}, id="lone-surrogate"),
        pytest.param([1], id="list"),
        pytest.param("text", id="text"),
    ],
)
def test_metadata_and_secrets_must_be_json_objects(value: Any) -> None:
    assert "metadata" in refusal(validation.metadata, value)
    assert "secrets" in refusal(validation.secrets, value)


def test_a_policy_must_be_one_of_its_names() -> None:
    assert validation.choice("land", "on_needs_review", ("land", "wait")) == "land"
    message = refusal(validation.choice, "ignore", "on_needs_review", ("land", "wait"))
    assert message == "on_needs_review is 'ignore'; it must be one of 'land', 'wait'."


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"url": SECRET_URL, "name": "a.pdf"}, FileInput(url=SECRET_URL, name="a.pdf")),
        ({"url": "http://h/a", "password": "p"}, FileInput(url="http://h/a", password="p")),
        ({"file_id": "file_1"}, FileInput(file_id="file_1")),
        ({"text": "a text"}, FileInput(text="a text")),
        (FileInput(file_id="file_1"), FileInput(file_id="file_1")),
    ],
    ids=["url", "password", "id", "text", "ready"],
)
def test_a_file_is_a_url_an_id_or_a_text(value: Any, expected: FileInput) -> None:
    assert validation.file_input(value, "inputs[0].file") == expected


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param({}, "none of them", id="none"),
        pytest.param({"name": "a.pdf"}, "none of them", id="name-only"),
        pytest.param({"url": SECRET_URL, "file_id": "file_1"}, "url and file_id", id="two"),
        pytest.param({"url": SECRET_URL, "text": "top secret"}, "url and text", id="url-and-text"),
        pytest.param({"url": "s3://bucket/5ecre7"}, "inputs[7].file.url must be an http", id="s3"),
        pytest.param({"url": "/tmp/5ecre7"}, "its scheme is ''", id="path"),
        pytest.param({"url": "https://"}, "it has no host", id="no-host"),
        pytest.param({"url": "https://[5ecre7/"}, "is not a URL", id="malformed"),
        pytest.param({"url": ""}, "inputs[7].file.url must be a string", id="empty"),
        pytest.param({"file_id": 5}, "it is of type int", id="number"),
        pytest.param({"file_id": "f", "name": 5}, "inputs[7].file.name", id="name-number"),
        pytest.param({"fileUrl": SECRET_URL}, "unknown 'fileUrl'", id="unknown-key"),
        pytest.param(SECRET_URL, "it is of type str", id="bare-string"),
    ],
)
def test_other_files_are_refused_by_index_and_without_their_content(value: Any, says: str) -> None:
    message = refusal(validation.batch_inputs, [{"file": {"file_id": "ok"}}] * 7 + [{"file": value}])
    assert says in message
    assert "inputs[7].file" in message
    assert "5ecre7" not in message
    assert "top secret" not in message


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_of_0_or_1001_inputs_is_refused(count: int) -> None:
    message = refusal(validation.batch_inputs, [{"file": {"file_id": "f"}}] * count)
    assert f"inputs has {count:,} elements; it takes 1 to 1,000" in message


@pytest.mark.parametrize("count", [1, 1000])
def test_a_batch_of_1_to_1000_inputs_passes(count: int) -> None:
    assert len(validation.batch_inputs([{"file": {"file_id": "f"}}] * count)) == count


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param({"metadata": {}}, "inputs[1] has no file", id="no-file"),
        pytest.param({"file": {"file_id": "f"}, "priority": 3}, "unknown 'priority'", id="unknown-key"),
        pytest.param(
            {"file": {"file_id": "f"}, "metadata": {"k": "x" * 10_240}}, "inputs[1].metadata is", id="size"
        ),
        pytest.param(
            {"file": {"file_id": "f"}, "secrets": "5ecre7"}, "inputs[1].secrets must be", id="secrets"
        ),
        pytest.param("file_1", "inputs[1] must be a mapping", id="bare-string"),
        pytest.param(BatchInput(FileInput()), "inputs[1].file must have exactly one", id="ready-but-empty"),
    ],
)
def test_other_inputs_are_refused_by_index(value: Any, says: str) -> None:
    message = refusal(validation.batch_inputs, [{"file": {"file_id": "ok"}}, value])
    assert says in message
    assert "5ecre7" not in message


@pytest.mark.parametrize("value", ["[{'file': 1}]", {"file": 1}, 5], ids=["text", "mapping", "number"])
def test_inputs_must_be_a_list_and_text_gets_the_hint_at_xcomarg(value: Any) -> None:
    assert "XComArg" in refusal(validation.batch_inputs, value)


def test_a_run_takes_files_with_predetermined_outputs() -> None:
    outputs = [{"processorId": "dp_1", "output": {"id": "c1", "type": "invoice"}}]
    (run,) = validation.run_inputs([{"url": "https://h/a", "name": "a.pdf", "outputs": outputs}], None)
    assert run == RunInput(FileInput(url="https://h/a", name="a.pdf"), outputs)


def test_a_run_takes_raw_texts() -> None:
    assert validation.run_inputs(None, ["one", "two"]) == [
        RunInput(FileInput(text="one")),
        RunInput(FileInput(text="two")),
    ]


@pytest.mark.parametrize(
    ("files", "raw_texts", "says"),
    [
        pytest.param(None, None, "neither was given", id="neither"),
        pytest.param([{"file_id": "f"}], ["text"], "both was given", id="both"),
        pytest.param([], None, "files has 0 elements", id="no-file"),
        pytest.param(None, [], "raw_texts has 0 elements", id="no-text"),
        pytest.param([{"file_id": "f"}] * 51, None, "files has 51 elements; it takes 1 to 50", id="too-many"),
        pytest.param([{"file_id": "f"}, {"text": "t"}], None, "files[1] is a text", id="text-among-files"),
        pytest.param(None, ["ok", ""], "raw_texts[1] must be a text that is not empty", id="empty-text"),
        pytest.param(None, ["ok", 5], "raw_texts[1]", id="number"),
        pytest.param(None, "a text", "raw_texts must be a list", id="one-string"),
        pytest.param(
            [{"file_id": "f", "outputs": [{"processor": "p"}]}],
            None,
            "files[0].outputs[0] has the unknown",
            id="key",
        ),
        pytest.param(
            [{"file_id": "f", "outputs": [{"processorId": "p"}]}],
            None,
            "files[0].outputs[0] must be",
            id="no-output",
        ),
    ],
)
def test_other_runs_are_refused(files: Any, raw_texts: Any, says: str) -> None:
    assert says in refusal(validation.run_inputs, files, raw_texts)


@pytest.mark.parametrize("value", [0, 5, "5", " 1000 "], ids=repr)
def test_run_counts(value: Any) -> None:
    assert validation.run_count(value) == int(value)


@pytest.mark.parametrize("value", [None, "", "None", "five", -1, True, 1.5], ids=repr)
def test_other_run_counts_are_refused(value: Any) -> None:
    assert "run_count is" in refusal(validation.run_count, value)


@pytest.mark.parametrize("value", [None, "", "None", 5], ids=repr)
def test_a_batch_id_must_be_known_when_runs_were_submitted(value: Any) -> None:
    assert "run_count is 3" in refusal(validation.batch_id, value, 3)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "5", timedelta(0)], ids=repr)
def test_durations_must_be_positive_and_finite(value: Any) -> None:
    assert "timeout is" in refusal(validation.positive_seconds, value, "timeout")


@pytest.mark.parametrize(
    "value",
    [
        "{{ params.priority }}",
        "{% if x %}3{% endif %}",
        Resolvable(),
        {"file": {"url": Resolvable()}},
        [1, {"a": ("{{ b }}",)}],
        lambda context, jinja_env: 3,
    ],
    ids=["jinja", "statement", "xcomarg", "nested-xcomarg", "nested-jinja", "callable"],
)
def test_templates_are_left_to_execution(value: Any) -> None:
    assert validation.is_templated(value)
    validation.check_literal(validation.priority, value)


@pytest.mark.parametrize("value", ["3", 3, None, {"a": [1]}, Path("a/b"), "a { brace"], ids=repr)
def test_literals_are_checked_at_once(value: Any) -> None:
    assert not validation.is_templated(value)


def test_among_literal_elements_a_templated_one_is_left_to_execution() -> None:
    templated = {"file": {"url": "{{ var.value.url }}"}}
    validation.check_literal_elements([templated], "inputs", 1000, validation.batch_input)
    message = refusal(
        validation.check_literal_elements,
        [templated, {"file": {"url": "ftp://h/a"}}],
        "inputs",
        1000,
        validation.batch_input,
    )
    assert "inputs[1].file.url" in message
