"""Which input of a batch Extend has refused."""

from __future__ import annotations

import pytest

from extend_provider.batch.refusals import refused_inputs
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import (
    ExtendBadRequestError,
    ExtendError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendUnclearSubmissionError,
)

URL = "https://inbox.example/in/b%20c.pdf"
INPUTS = [
    BatchInput(FileInput(url="https://inbox.example/in/a.pdf?X-Amz-Signature=1", name="a.pdf")),
    BatchInput(FileInput(url=f"{URL}?X-Amz-Signature=2", name="b c.pdf")),
    BatchInput(FileInput(file_id="file_1")),
    BatchInput(FileInput(file_id="file_12")),
    BatchInput(FileInput(file_id="file_12")),
]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param("UNABLE_TO_DOWNLOAD_FILE: HTTP 403; Path: inputs[1].file", [1], id="path"),
        pytest.param("Invalid url; Path: inputs.3.file.url", [3], id="path with dots"),
        pytest.param("Invalid url at /inputs/4/file/fileUrl", [4], id="pointer"),
        pytest.param('Invalid input at ["inputs", 0, "file"]', [0], id="path as a list"),
        pytest.param("Bad; Path: inputs[2].file; Bad; Path: inputs[0].metadata", [0, 2], id="two paths"),
        pytest.param("File 'file_1' not found.", [2], id="id"),
        pytest.param("File file_1.", [2], id="id at the end"),
        pytest.param("File 'file_12' is a duplicate.", [], id="id of two inputs"),
        pytest.param(f"Cannot read {URL}?***.", [1], id="url"),
        pytest.param("Cannot read https://inbox.example/in/a.pdf.", [0], id="url without a query"),
        pytest.param("Cannot read https://inbox.example/in/", [], id="another url"),
        pytest.param("Expected between 1 and 1000 inputs; Path: inputs", [], id="all inputs"),
        pytest.param("Invalid; Path: inputs[5].file", [], id="no such input"),
        pytest.param("Invalid; Path: priority", [], id="another field"),
        pytest.param("Workflow 'workflow_1' not found.", [], id="workflow"),
        pytest.param(None, [], id="no words"),
    ],
)
@pytest.mark.parametrize("kind", [ExtendBadRequestError, ExtendNotFoundError])
def test_an_input_is_found_by_path_id_or_url(
    kind: type[ExtendError], said: str | None, expected: list[int]
) -> None:
    found = refused_inputs(kind("No.", status=400, said=said), INPUTS)
    assert [each.index for each in found] == expected


@pytest.mark.parametrize("kind", [ExtendUnclearSubmissionError, ExtendRateLimitError])
def test_only_a_refusal_proves_that_nothing_was_created(kind: type[ExtendError]) -> None:
    assert refused_inputs(kind("No.", said="Bad; Path: inputs[1].file"), INPUTS) == []
    again = ExtendBadRequestError("No.", retryable=True, said="Bad; Path: inputs[1].file")
    assert refused_inputs(again, INPUTS) == []


@pytest.mark.parametrize(
    ("code", "said", "reason", "of_the_file"),
    [
        ("INVALID_REQUEST", "CORRUPT_FILE: it ends; Path: inputs[1].file", "CORRUPT_FILE", True),
        ("FILE_SIZE_TOO_LARGE", "Too large; Path: inputs[1].file", "FILE_SIZE_TOO_LARGE", True),
        ("INVALID_REQUEST", "Invalid url; Path: inputs[1].file", "INVALID_REQUEST", False),
        (None, "UNABLE_TO_DOWNLOAD_FILE; Path: inputs[1].file", "UNABLE_TO_DOWNLOAD_FILE", False),
        (None, "Invalid url; Path: inputs[1].file", "INVALID_REQUEST", False),
    ],
)
def test_the_reason_is_extends_own(code: str | None, said: str, reason: str, of_the_file: bool) -> None:
    [found] = refused_inputs(ExtendBadRequestError("No.", code=code, said=said), INPUTS)
    assert (found.reason, found.is_of_the_file) == (reason, of_the_file)
    assert found.message == said.partition(";")[0]
