"""What is refused of files and texts before any request, by field and index and without their content."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.client import input_validation
from extend_provider.client.models import BatchInput, FileInput, RunInput
from fixtures.extend.refusal import refusal

SECRET_URL = "https://bucket.s3.amazonaws.com/a.pdf?X-Amz-Signature=5ecre7"


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
    assert input_validation.file_input(value, "inputs[0].file") == expected


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
    message = refusal(input_validation.batch_inputs, [{"file": {"file_id": "ok"}}] * 7 + [{"file": value}])
    assert says in message
    assert "inputs[7].file" in message
    assert "5ecre7" not in message
    assert "top secret" not in message


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_of_0_or_1001_inputs_is_refused(count: int) -> None:
    message = refusal(input_validation.batch_inputs, [{"file": {"file_id": "f"}}] * count)
    assert f"inputs has {count:,} elements; it takes 1 to 1,000" in message


@pytest.mark.parametrize("count", [1, 1000])
def test_a_batch_of_1_to_1000_inputs_passes(count: int) -> None:
    assert len(input_validation.batch_inputs([{"file": {"file_id": "f"}}] * count)) == count


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
    message = refusal(input_validation.batch_inputs, [{"file": {"file_id": "ok"}}, value])
    assert says in message
    assert "5ecre7" not in message


@pytest.mark.parametrize("value", ["[{'file': 1}]", {"file": 1}, 5], ids=["text", "mapping", "number"])
def test_inputs_must_be_a_list_and_text_gets_the_hint_at_xcomarg(value: Any) -> None:
    assert "XComArg" in refusal(input_validation.batch_inputs, value)


def test_a_run_takes_files_with_predetermined_outputs() -> None:
    outputs = [{"processorId": "dp_1", "output": {"id": "c1", "type": "invoice"}}]
    (run,) = input_validation.run_inputs([{"url": "https://h/a", "name": "a.pdf", "outputs": outputs}], None)
    assert run == RunInput(FileInput(url="https://h/a", name="a.pdf"), outputs)


def test_a_run_takes_raw_texts() -> None:
    assert input_validation.run_inputs(None, ["one", "two"]) == [
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
    assert says in refusal(input_validation.run_inputs, files, raw_texts)


def test_among_literal_elements_a_templated_one_is_left_to_execution() -> None:
    templated = {"file": {"url": "{{ var.value.url }}"}}
    input_validation.check_literal_elements([templated], "inputs", 1000, input_validation.batch_input)
    message = refusal(
        input_validation.check_literal_elements,
        [templated, {"file": {"url": "ftp://h/a"}}],
        "inputs",
        1000,
        input_validation.batch_input,
    )
    assert "inputs[1].file.url" in message
