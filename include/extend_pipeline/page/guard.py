"""What every request and every answer of the page has to be like, whatever the route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from airflow.configuration import conf
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

#: The longest query string, in bytes: an address of S3 has 1,024 at the most, written as ``%XX`` each.
MAX_QUERY: Final = 4096
#: Nothing but the page's own files and answers, framed by Airflow alone.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request, unless it is not one that the page itself sends; a middleware."""
    refused = _objection(request)
    response = refused if refused is not None else await answer(request)
    response.headers.update(_HEADERS)
    return response


def _objection(request: Request) -> Response | None:
    if request.method not in ("GET", "HEAD"):
        return _refusal(405, "This page changes nothing.", Allow="GET, HEAD")
    if len(request.scope.get("query_string", b"")) > MAX_QUERY:
        return _refusal(414, f"The query is longer than {MAX_QUERY:,} bytes.")
    if not _is_own(request):
        return _refusal(403, "The request comes from a page of another site.")
    return None


def _is_own(request: Request) -> bool:
    """Whether no page of another site has sent the request; a link to the page itself may be anywhere."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc not in (
        request.headers.get("host", ""),
        urlsplit(conf.get("api", "base_url", fallback="")).netloc or None,
    ):
        return False
    site = request.headers.get("sec-fetch-site", "none")
    return site in ("none", "same-origin") or request.headers.get("sec-fetch-mode") == "navigate"


def _refusal(status: int, detail: str, **headers: str) -> Response:
    return JSONResponse({"detail": detail}, status, headers)
