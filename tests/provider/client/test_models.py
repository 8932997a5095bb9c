"""What the provider's records and errors are to their users."""

from __future__ import annotations

import pickle

import pytest

from extend_provider import exceptions
from extend_provider.client.models import BatchInput, FileInput, RunSummary, StoredFile, WorkflowRun
from extend_provider.client.validation import SUPPORTED_EXTENSIONS, is_supported_type
from extend_provider.exceptions import ExtendError, ExtendInputError, ExtendServerError

SECRET = "X-Amz-Signature=c0ffee"


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(
            FileInput(url=f"https://bucket/key?{SECRET}", password=SECRET), id="file-url-and-password"
        ),
        pytest.param(FileInput(text=SECRET), id="file-text"),
        pytest.param(BatchInput(FileInput(url=SECRET), secrets={"token": SECRET}), id="batch-input"),
        pytest.param(StoredFile("file_1", presigned_url=SECRET), id="stored-file"),
        pytest.param(WorkflowRun("run_1", "PROCESSED", raw={"url": SECRET}), id="run"),
    ],
)
def test_repr_shows_neither_urls_nor_secrets(record: object) -> None:
    assert SECRET not in repr(record)


def test_a_run_is_a_summary_and_cannot_be_changed() -> None:
    run = WorkflowRun("run_1", "SOMETHING_NEW")
    assert isinstance(run, RunSummary)
    with pytest.raises(AttributeError):
        run.status = "PROCESSED"  # type: ignore[misc]  # the point of the test


def test_an_error_tells_message_status_code_and_request_id() -> None:
    error = ExtendServerError(
        "No luck.", status=503, code="INTERNAL_ERROR", request_id="req_1", retry_after=7
    )
    assert str(error) == "No luck. (HTTP 503, INTERNAL_ERROR, retry after 7 s, request id req_1)"


def test_an_error_names_the_runs_that_were_created_before_it() -> None:
    error = ExtendServerError("No luck.")
    error.created_run_ids = ("run_1", "run_2")
    assert "run_1, run_2" in str(error)


def test_errors_survive_pickling_between_processes() -> None:
    error = ExtendServerError("No luck.", status=503, retryable=True)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.retryable) == (ExtendServerError, str(error), True)


def test_no_error_is_an_airflow_exception_that_soft_fail_would_swallow() -> None:
    family = [e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, ExtendError)]
    assert len(family) == 11
    assert not any("airflow" in base.__module__ for error in family for base in error.__mro__)
    assert issubclass(ExtendInputError, ValueError)


@pytest.mark.parametrize(
    ("name", "supported"),
    [
        ("invoice.pdf", True),
        ("documents/2026 Q1/INVOICE #1.PDF", True),
        ("mail.eml", True),
        ("archive.tar.gz", False),
        ("movie.mp4", False),
        ("no_extension", False),
        (".pdf", False),
        ("invoice.pdf.", False),
        ("", False),
    ],
)
def test_the_extension_decides_whether_a_file_is_supported(name: str, supported: bool) -> None:
    assert is_supported_type(name) is supported


def test_extensions_are_lower_case_without_dots() -> None:
    assert all(extension.isalnum() and extension == extension.lower() for extension in SUPPORTED_EXTENSIONS)
