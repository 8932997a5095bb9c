"""What the end of a request means: was it sent, did it take effect, what is to be changed.

Invariant: a call that could create paid work (``repeatable`` is False) is sent again only when the first try
provably created nothing: Extend turned it away with 429, or no byte of it has left. The kind of an error does
not prove that, because a proxy may cause the same error before and after: each transport tells a
:class:`Transmission` when a request begins to leave. After anything else it is unknown whether the work
exists, which is an error of its own (:class:`~extend_provider.exceptions.ExtendUnclearSubmissionError`) and
is never retried here.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from extend_provider.client.calls import ApiCall
from extend_provider.client.wire.reading import Json, UnreadableAnswerError, decoded, mapping, text
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendCreditsError,
    ExtendError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendServerError,
    ExtendUnclearSubmissionError,
)
from extend_provider.security import without_credentials

T = TypeVar("T")

UNAUTHORIZED = 401
PROXY_AUTHENTICATION_REQUIRED = 407
REQUEST_TIMEOUT = 408
TOO_EARLY = 425
TOO_MANY_REQUESTS = 429
_RETRYABLE_4XX = {REQUEST_TIMEOUT, TOO_EARLY, TOO_MANY_REQUESTS}
#: How much of a message of Extend's is repeated, in characters.
MESSAGE_LENGTH = 1000

_TRUST = (
    "Where a proxy inspects TLS, name the file of its authorities in the connection's extra (verify) or in "
    "REQUESTS_CA_BUNDLE."
)
_ERRORS: Mapping[int, tuple[type[ExtendError], str]] = {
    UNAUTHORIZED: (
        ExtendAuthError,
        "Check the API key of the connection; a key works in the region it was made in.",
    ),
    402: (ExtendCreditsError, "The workspace is out of credits; add credits in Extend's billing settings."),
    403: (
        ExtendAuthError,
        "The API key may not do this; an organization's key also needs the connection's workspace_id.",
    ),
    404: (
        ExtendNotFoundError,
        "Check the id, and that it belongs to the workspace and region of the connection.",
    ),
    TOO_MANY_REQUESTS: (
        ExtendRateLimitError,
        "The pace adapts by itself. If this goes on, another program uses the same organization's limit up.",
    ),
}


def may_repeat(call: ApiCall[Any], error: BaseException) -> bool:
    """Return whether ``call`` is sent again after ``error``, see this module's invariant."""
    if not isinstance(error, ExtendError) or not error.retryable:
        return False
    return call.repeatable or isinstance(error, ExtendRateLimitError | ExtendConnectionError)


def is_unauthorized(error: ExtendError) -> bool:
    """Return whether Extend does not know the API key, so that it has done nothing."""
    return error.status == UNAUTHORIZED


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came; ``headers`` ignores case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """The seconds that it asks to wait for; None if it asks for nothing."""
        return retry_after(self.headers.get("Retry-After"), now=datetime.now(UTC))


class Transmission(Generic[T]):
    """One try of a call: whether any of it has left this machine, and what its end means.

    :param base_url: of the connection.
    :param proxy: the proxy that the request is given to, without its password; None if there is none.
    :ivar begun: some of the request may have left. Only False proves anything.
    """

    def __init__(self, call: ApiCall[T], base_url: str, proxy: str | None = None) -> None:
        self._call = call
        self._base_url = base_url
        self._proxy = proxy
        self.begun = False

    def begin(self) -> None:
        """Note that there is a connection, over which the request leaves now.

        :raises ExtendConnectionError: if ``leave_by`` has passed; the request must not leave any more.
        """
        now = datetime.now(UTC)
        if self._call.leave_by is not None and now > self._call.leave_by:
            late = (now - self._call.leave_by).total_seconds()
            raise ExtendConnectionError(
                f"The request was ready {late:.1f} s after it had to leave, so nothing was sent. This "
                "machine, its network or the place of the ledger is too slow.",
                retryable=True,
            )
        self.begun = True

    def result(self, answer: Answer) -> T:
        """Return what the call asked for, or raise the :class:`ExtendError` that the answer is."""
        if not 200 <= answer.status < 300:
            raise self.refusal(answer)
        try:
            body = decoded(answer.body)
            if isinstance(body, dict) and body.get("success") is False:
                raise self.refusal(answer)
            result = self._call.read(body)
            return result if self._call.complete is None else self._call.complete(result, answer.body)
        except UnreadableAnswerError as error:
            raise self._unreadable(answer, str(error)) from None
        except (ValueError, RecursionError):
            content_type = answer.headers.get("Content-Type") or "of no stated type"
            raise self._unreadable(answer, f"its body is not JSON but {content_type}") from None

    def refusal(self, answer: Answer) -> ExtendError:
        """Classify an answer that is not a success, by status and by either version's error body or none."""
        body, status = _error_body(answer.body), answer.status
        if status == PROXY_AUTHENTICATION_REQUIRED:
            return self._proxy_refusal(status)
        words = _words(body)
        said = _sentence(words) if words else self._without_words(answer)
        facts: dict[str, Any] = {
            "said": words,
            "status": status,
            "code": text(body, "code"),
            "request_id": text(body, "requestId") or answer.headers.get("x-extend-request-id"),
            "retry_after": answer.retry_after,
        }
        if not self._call.repeatable and (status >= 500 or status == REQUEST_TIMEOUT):
            return self._unclear(f"Extend answered: {said}", **facts)
        facts["retryable"] = _is_retryable(status, body)
        if status >= 500:
            return ExtendServerError(f"Extend failed to {self._call.intent}: {said}", **facts)
        # What Extend calls retryable gets a type that says so, because a task's retry policy goes by type.
        other = ExtendServerError if facts["retryable"] else ExtendBadRequestError
        error_type, advice = _ERRORS.get(status, (other, ""))
        return error_type(f"Extend refused to {self._call.intent}: {said} {advice}".rstrip(), **facts)

    def failure(self, error: BaseException, tunnel_status: int | None = None) -> ExtendError:
        """Classify a request that got no answer.

        :param tunnel_status: the status with which the proxy refused to make a tunnel, if it did.
        """
        if tunnel_status is not None:
            return self._proxy_refusal(tunnel_status)
        place = f"{self._base_url} through the proxy {self._proxy}" if self._proxy else self._base_url
        if self.begun:
            what_happened = f"The connection to {place} broke before an answer came: {root_cause(error)}"
        else:
            what_happened = f"No connection to {place}, so nothing was sent: {root_cause(error)}"
        if self.begun and not self._call.repeatable:
            return self._unclear(what_happened)
        # Trying again does not make a certificate trusted.
        untrusted = any(isinstance(each, ssl.SSLCertVerificationError) for each in chain_of(error))
        advice = f" {_TRUST}" if untrusted else ""
        return ExtendConnectionError(
            f"Could not {self._call.intent}. {what_happened}.{advice}", retryable=not untrusted
        )

    def _proxy_refusal(self, status: int) -> ExtendError:
        """Return the error of a request that a proxy would not pass on, or make a tunnel for.

        Asking again helps where the proxy itself failed; credentials that are refused repeatedly get locked.
        """
        if status == PROXY_AUTHENTICATION_REQUIRED:
            advice = "It wants other credentials: write them into its URL, http://user:password@host:port."
        elif status >= 500:
            advice = "It does not reach the host: check whether it knows the host's name and may reach it."
        else:
            advice = "Have it allow the connection's host, or bypass the proxy: name the host in NO_PROXY."
        return ExtendConnectionError(
            f"Could not {self._call.intent}. The proxy {self._proxy or 'on the way'} did not pass the "
            f"request on (HTTP {status}), so nothing was sent to Extend. {advice}",
            retryable=status >= 500 or status in _RETRYABLE_4XX,
        )

    def _unreadable(self, answer: Answer, why: str) -> ExtendError:
        facts: dict[str, Any] = {
            "status": answer.status,
            "request_id": answer.headers.get("x-extend-request-id"),
        }
        if not self._call.repeatable:
            return self._unclear(f"The answer could not be read: {why}", **facts)
        return ExtendServerError(
            f"Could not {self._call.intent}: the answer could not be read, {why}. "
            "Check the host and the API version of the connection.",
            retryable=True,
            **facts,
        )

    def _unclear(self, what_happened: str, **facts: Any) -> ExtendUnclearSubmissionError:
        """Return the error of a request that was sent and may or may not have created something."""
        return ExtendUnclearSubmissionError(
            f"It is unknown whether the request to {self._call.intent} took effect. "
            f"{what_happened.rstrip('.')}. It was not sent again, because that could create and bill the "
            "work twice: look for the work at Extend before submitting it again.",
            **facts,
        )

    def _without_words(self, answer: Answer) -> str:
        """Describe an answer without a message of Extend's. Its body may be anybody's, so it is not shown."""
        location = urlsplit(answer.headers.get("Location") or "")
        if location.hostname:
            return f"a redirect to {location.scheme}://{location.hostname}; check the connection's host."
        content_type = answer.headers.get("Content-Type")
        if not (content_type and answer.body):
            return "no message."
        sender = f"the proxy {self._proxy}" if self._proxy else "a proxy or gateway on the way"
        return f"no message, a body of type {content_type}, which may come from {sender}."


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, down to the first cause."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = getattr(current, "reason", None) or next(iter(current.args), None)
        wrapped = inner if isinstance(inner, BaseException) else None
        current = current.__cause__ or wrapped or current.__context__


def root_cause(error: BaseException) -> str:
    """Return the first cause of a transport error, without the URLs that the layers above put in."""
    *_, first = chain_of(error)
    said = getattr(first, "strerror", None) or (str(first) if isinstance(first, OSError) else "")
    return without_credentials(f"{type(first).__name__}{': ' if said else ''}{said}")


def retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, given as seconds or as HTTP date."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(seconds, 0.0) if seconds < float("inf") else None


def _is_retryable(status: int, body: Json) -> bool:
    """Go by what Extend says of its error, and by the status where it says nothing; 429 always passes."""
    stated = body.get("retryable")
    if isinstance(stated, bool) and status != TOO_MANY_REQUESTS:
        return stated
    return status >= 500 or status in _RETRYABLE_4XX


def _error_body(body: bytes) -> Json:
    """Return the error's fields, flat or nested in ``error``; none when the body is something else."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {**decoded, **mapping(decoded, "error")} if isinstance(decoded, dict) else {}


def _words(body: Json) -> str | None:
    """Return Extend's message, without the credentials of file URLs that it may quote."""
    return without_credentials(text(body, "message") or text(body, "error") or "").strip() or None


def _sentence(words: str) -> str:
    message = words[:MESSAGE_LENGTH].strip()
    return message if message.endswith((".", "!", "?")) else f"{message}."
