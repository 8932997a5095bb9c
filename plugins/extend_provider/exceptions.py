"""The errors between Airflow and Extend, by types that a retry policy can distinguish.

They derive from :class:`Exception`, not from ``AirflowException``: a sensor with ``soft_fail`` turns any
``AirflowException`` into a skip, and a wrong API key must never become one.
"""

from __future__ import annotations


class ExtendError(Exception):
    """Extend refused a request, or no answer came.

    :param message: what happened and what to do next; free of secrets and file URLs.
    :param status: HTTP status of the answer, None when there was none.
    :param code: Extend's error code, e.g. ``INVALID_REQUEST``.
    :param retryable: whether the same request may succeed later.
    :param request_id: Extend's id of the request, for their support.
    :param retry_after: seconds that Extend asked to wait.
    :param said: Extend's own message, complete; without credentials, and not displayed.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retryable: bool = False,
        request_id: str | None = None,
        retry_after: float | None = None,
        said: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retryable = retryable
        self.request_id = request_id
        self.retry_after = retry_after
        self.said = said
        #: Runs that earlier requests of the same call had created when this one failed.
        self.created_run_ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status}" if self.status else None,
            self.code,
            f"retry after {self.retry_after:.0f} s" if self.retry_after else None,
            f"request id {self.request_id}" if self.request_id else None,
        ]
        known = ", ".join(fact for fact in facts if fact)
        text = f"{self.message} ({known})" if known else self.message
        if self.created_run_ids:
            text += f" Runs created before this failure, still at work: {', '.join(self.created_run_ids)}."
        return text


class ExtendAuthError(ExtendError):
    """The API key is wrong (401) or may not do this (403)."""


class ExtendCreditsError(ExtendError):
    """The workspace is out of credits (402)."""


class ExtendBadRequestError(ExtendError):
    """The request itself is refused (400, 410, 413, 422 and every other 4xx without a type of its own)."""


class ExtendNotFoundError(ExtendError):
    """No such workflow, version, run or file in this workspace and region (404)."""


class ExtendRateLimitError(ExtendError):
    """Too many requests (429); nothing was done."""


class ExtendServerError(ExtendError):
    """Extend failed (5xx), asks to try again later, or gave an answer that could not be understood."""


class ExtendConnectionError(ExtendError):
    """No answer: the host could not be reached, or the connection broke."""


class ExtendUnclearSubmissionError(ExtendError):
    """A request that creates paid work was sent, and it is unknown whether the work exists.

    Raised for 5xx, a timeout, a dropped connection. Never retried by the hooks: the caller must search for
    the work before it submits again.
    """


class ExtendInputError(ExtendError, ValueError):
    """The caller's input was refused before any request."""


class ExtendBatchError(ExtendError):
    """A batch is over and counts as failed, or its deadline has passed; the message says what remains."""
