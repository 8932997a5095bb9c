"""What an answer means and what is tried again, decided without I/O for the sync and the async hook alike.

Invariant: a call that could create paid work (``repeatable`` is False) is sent again only when the first try
provably created nothing: it was turned away with 429, or not a byte of it has left. That is not told from the
kind of an error, which a proxy may cause before as well as after: each transport tells a :class:`Departure`
when a request begins to leave. After anything else its fate is unknown, which is an error of its own and is
never retried here.
"""

from __future__ import annotations

import dataclasses
import random
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
import tenacity

from extend_provider.client.endpoints import ApiCall
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


class Log(Protocol):
    """What is asked of a logger; Airflow's are of several types."""

    def warning(self, event: str, *args: Any) -> Any:
        """Log a warning."""


PROXY_AUTHENTICATION_REQUIRED = 407
REQUEST_TIMEOUT = 408
TOO_EARLY = 425
TOO_MANY_REQUESTS = 429
UNAUTHORIZED = 401
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
        "Lower requests_per_second of the connection or run fewer tasks at once.",
    ),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came; ``headers`` ignores case.

    :param via: the proxy that the request was given to, without its password.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)
    via: str | None = None


def result_of(call: ApiCall[T], answer: Answer) -> T:
    """Return what the call asked for, or raise the :class:`ExtendError` that the answer is."""
    if not 200 <= answer.status < 300:
        raise refusal(call, answer)
    try:
        body = decoded(answer.body)
        if isinstance(body, dict) and body.get("success") is False:
            raise refusal(call, answer)
        result = call.read(body)
        return result if call.complete is None else call.complete(result, answer.body)
    except UnreadableAnswerError as error:
        raise _unreadable(call, answer, str(error)) from None
    except (ValueError, RecursionError):
        content_type = answer.headers.get("Content-Type") or "of no stated type"
        raise _unreadable(call, answer, f"its body is not JSON but {content_type}") from None


def refusal(call: ApiCall[Any], answer: Answer) -> ExtendError:
    """Classify an answer that is not a success, by status and by either version's error body or none."""
    body, status = _error_body(answer.body), answer.status
    if status == PROXY_AUTHENTICATION_REQUIRED:
        return proxy_refusal(call, status, answer.via)
    words = _words(body)
    said = _sentence(words) if words else _without_words(answer)
    facts: dict[str, Any] = {
        "said": words,
        "status": status,
        "code": text(body, "code"),
        "request_id": text(body, "requestId") or answer.headers.get("x-extend-request-id"),
        "retry_after": retry_after(answer.headers.get("Retry-After"), now=datetime.now(UTC)),
    }
    if not call.repeatable and (status >= 500 or status == REQUEST_TIMEOUT):
        return unclear(call, f"Extend answered: {said}", **facts)
    facts["retryable"] = _is_retryable(status, body)
    if status >= 500:
        return ExtendServerError(f"Extend failed to {call.intent}: {said}", **facts)
    # A type that says "try again later" for what Extend itself calls retryable: a task's policy goes by type.
    other = ExtendServerError if facts["retryable"] else ExtendBadRequestError
    error_type, advice = _ERRORS.get(status, (other, ""))
    return error_type(f"Extend refused to {call.intent}: {said} {advice}".rstrip(), **facts)


class Departure:
    """Whether a request has begun to leave this machine, whatever becomes of it then.

    :param by: when it must have left, timezone-aware; None: any time.
    :ivar begun: some of it may have left. Only False proves anything.
    """

    def __init__(self, by: datetime | None = None) -> None:
        self._by = by
        self.begun = False

    def leave(self) -> None:
        """Say that a connection has come about, over which the request leaves now.

        :raises ExtendConnectionError: if it is too late for that: it must not leave any more.
        """
        now = datetime.now(UTC)
        if self._by is not None and now > self._by:
            late = (now - self._by).total_seconds()
            raise ExtendConnectionError(
                f"The request was ready {late:.1f} s after it had to leave, so nothing was sent. This "
                "machine, its network or the place of the ledger is too slow.",
                retryable=True,
            )
        self.begun = True


def no_answer(
    call: ApiCall[Any], error: BaseException, base_url: str, *, sent: bool, via: str | None = None
) -> ExtendError:
    """Classify a request that got no answer.

    :param sent: whether any of it may have left this machine, as told by a :class:`Departure`.
    :param via: the proxy that it was to go through, without its password.
    """
    place = f"{base_url} through the proxy {via}" if via else base_url
    if sent:
        what_happened = f"The connection to {place} broke before an answer came: {root_cause(error)}"
    else:
        what_happened = f"No connection to {place}, so nothing was sent: {root_cause(error)}"
    if sent and not call.repeatable:
        return unclear(call, what_happened)
    # Trying again does not make a certificate trusted.
    untrusted = any(isinstance(each, ssl.SSLCertVerificationError) for each in chain_of(error))
    advice = f" {_TRUST}" if untrusted else ""
    return ExtendConnectionError(
        f"Could not {call.intent}. {what_happened}.{advice}", retryable=not untrusted
    )


def proxy_refusal(call: ApiCall[Any], status: int, via: str | None) -> ExtendError:
    """Return the error of a request that a proxy would not pass on, or make a tunnel for.

    Asking again helps where the proxy itself failed; credentials that it refuses over and over get locked.
    """
    if status == PROXY_AUTHENTICATION_REQUIRED:
        advice = "It wants other credentials: write them into its URL, http://user:password@host:port."
    elif status >= 500:
        advice = "It does not get through to the host: see whether it knows its name and may reach it."
    else:
        advice = "Have the connection's host allowed there, or go past the proxy: name the host in NO_PROXY."
    return ExtendConnectionError(
        f"Could not {call.intent}. The proxy {via or 'on the way'} did not pass the request on (HTTP "
        f"{status}), so nothing was sent to Extend. {advice}",
        retryable=status >= 500 or status in _RETRYABLE_4XX,
    )


def is_unauthorized(error: ExtendError) -> bool:
    """Whether Extend does not know the API key, so that it has done nothing."""
    return error.status == UNAUTHORIZED


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
    """Return what lies at the bottom of a transport error, without the URLs that the layers above put in."""
    *_, first = chain_of(error)
    said = getattr(first, "strerror", None) or (str(first) if isinstance(first, OSError) else "")
    return without_credentials(f"{type(first).__name__}{': ' if said else ''}{said}")


def unclear(call: ApiCall[Any], what_happened: str, **facts: Any) -> ExtendUnclearSubmissionError:
    """Return the error of a request that was sent and may or may not have created something."""
    return ExtendUnclearSubmissionError(
        f"It is unknown whether the request to {call.intent} took effect. {what_happened.rstrip('.')}. It "
        "was not sent again, because that could create and bill the work twice: look for the work at Extend "
        "before submitting it again.",
        **facts,
    )


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


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries, in seconds.

    The n-th wait is ``initial * 2 ** (n - 1)`` up to ``maximum``, of which jitter takes up to a half, so that
    tasks which failed together do not come back together. What Extend asks for by ``Retry-After`` is never
    undercut. Once waiting would exceed ``total``, the call fails with what it has.
    """

    initial: float = 1.0
    maximum: float = 60.0
    total: float = 300.0

    def delay(self, attempt: int, asked: float | None, *, chance: float) -> float:
        """Return the wait after failed try number ``attempt`` (from 1); ``chance`` is uniform in [0, 1)."""
        own = min(self.maximum, self.initial * 2.0 ** min(attempt - 1, 32)) * (1 - chance / 2)
        return own if asked is None else max(own, asked * (1 + chance / 10))


def may_repeat(call: ApiCall[Any], error: BaseException) -> bool:
    """Return whether ``call`` is sent again after ``error``, see this module's invariant."""
    if not isinstance(error, ExtendError) or not error.retryable:
        return False
    return call.repeatable or isinstance(error, ExtendRateLimitError | ExtendConnectionError)


def retrying(
    call: ApiCall[Any],
    *,
    max_attempts: int,
    backoff: Backoff,
    log: Log,
    chance: Callable[[], float] = random.random,
) -> dict[str, Any]:
    """Return the arguments of ``tenacity.Retrying`` and ``tenacity.AsyncRetrying`` that retry ``call``."""

    def wait(state: tenacity.RetryCallState) -> float:
        return backoff.delay(
            state.attempt_number, getattr(_failure(state), "retry_after", None), chance=chance()
        )

    def stop(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= max_attempts or state.idle_for + state.upcoming_sleep > backoff.total

    def tell(state: tenacity.RetryCallState) -> None:
        log.warning(
            "Try %d of %d, the next one in %.1f s: %s",
            state.attempt_number,
            max_attempts,
            state.upcoming_sleep,
            _failure(state),
        )

    return {
        "retry": tenacity.retry_if_exception(lambda error: may_repeat(call, error)),
        "wait": wait,
        "stop": stop,
        "before_sleep": tell,
        "reraise": True,
    }


def _failure(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    return error if error is not None else RuntimeError("a wait without a failure")


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


def _without_words(answer: Answer) -> str:
    """Describe an answer without a message of Extend's; its body may be anybody's, so it is not shown."""
    location = urlsplit(answer.headers.get("Location") or "")
    if location.hostname:
        return f"a redirect to {location.scheme}://{location.hostname}; check the connection's host."
    content_type = answer.headers.get("Content-Type")
    if not (content_type and answer.body):
        return "no message."
    who = f"the proxy {answer.via}" if answer.via else "a proxy or gateway on the way"
    return f"no message, a body of type {content_type}, which may be of {who}."


def _unreadable(call: ApiCall[Any], answer: Answer, why: str) -> ExtendError:
    facts: dict[str, Any] = {
        "status": answer.status,
        "request_id": answer.headers.get("x-extend-request-id"),
    }
    if not call.repeatable:
        return unclear(call, f"The answer could not be read: {why}", **facts)
    return ExtendServerError(
        f"Could not {call.intent}: the answer could not be read, {why}. "
        "Check the host and the API version of the connection.",
        retryable=True,
        **facts,
    )
