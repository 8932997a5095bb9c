"""Refusals of the API; the shapes of each version turn them into a body."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """A refusal of a request.

    :param code: Extend's error code, e.g. ``INVALID_REQUEST``.
    :param file_code: ``code`` in the 2025-04-21 body if a file is the cause.
    :param headers: extra response headers, e.g. ``Retry-After``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        file_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.file_code = file_code
        self.headers = dict(headers or {})

    @property
    def retryable(self) -> bool:
        """True if Extend says that a retry may help."""
        return self.code in ("RATE_LIMIT_EXCEEDED", "INTERNAL_ERROR")


class InvalidRequest(ApiError):  # noqa: N818 - named after the API's code
    """A request that violates the contract: 400 or 422, as the setting ``validation_status`` says.

    :param path: the place in the body or query, e.g. ``inputs[3].file``; it is appended to the message.
    """

    def __init__(self, message: str, path: str | None = None, *, file_code: str | None = None) -> None:
        super().__init__(
            400, "INVALID_REQUEST", f"{message}; Path: {path}" if path else message, file_code=file_code
        )


def not_found(what: str, identifier: str) -> ApiError:
    """Return the refusal for an unknown id."""
    return ApiError(404, "NOT_FOUND", f"{what} {identifier!r} not found.")
