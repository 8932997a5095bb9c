"""What the API answers when it refuses: one exception, turned into a body by each version's shapes."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """A refusal, raised anywhere below a route.

    :param status: HTTP status.
    :param code: Extend's error code, e.g. ``INVALID_REQUEST``.
    :param message: the sentence for the caller.
    :param file_code: what the 2025-04-21 body carries as ``code`` when a file is at fault.
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
        """Whether Extend says that asking again may help."""
        return self.code in ("RATE_LIMIT_EXCEEDED", "INTERNAL_ERROR")


class InvalidRequest(ApiError):  # noqa: N818 - named after the API's own code
    """A request that does not fit the contract: 400 or 422, as the setting ``validation_status`` says.

    :param path: where in the body or query, e.g. ``inputs[3].file``; appended to the message as Extend does.
    """

    def __init__(self, message: str, path: str | None = None, *, file_code: str | None = None) -> None:
        super().__init__(
            400, "INVALID_REQUEST", f"{message}; Path: {path}" if path else message, file_code=file_code
        )


def not_found(what: str, identifier: str) -> ApiError:
    """Return the refusal for an id that names nothing here."""
    return ApiError(404, "NOT_FOUND", f"{what} {identifier!r} not found.")
