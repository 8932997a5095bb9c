"""The plugin that puts the page into Airflow's navigation, and on the page of each DAG.

Every process of Airflow loads its plugins, so nothing is imported here that the first request does not need.
The page is mounted beside the receiver of webhooks, below ``/extend``.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from airflow.providers.common.compat.sdk import AirflowPlugin

log = logging.getLogger(__name__)

#: Where the page is mounted; the receiver of webhooks is at ``/extend/webhooks``.
PREFIX: Final = "/extend/page"
#: Addresses have no leading slash: at a vendor, Airflow is served below a prefix.
_HREF: Final = f"{PREFIX.lstrip('/')}/"
_REFUSED: Final = (
    b'{"detail": "The page of extend_pipeline could not be loaded, so it shows nothing to anybody. '
    b'The log of the API server says why."}'
)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class LazyPage:
    """The page as an ASGI app, imported with its first request.

    If it cannot be imported, Airflow's checks of who may see what included, every request is refused.
    """

    def __init__(self) -> None:
        self._app: _App | None = None
        self._importing = asyncio.Lock()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a request as ASGI has it."""
        if self._app is None:
            async with self._importing:
                if self._app is None:
                    self._app = await asyncio.to_thread(_imported)
        await self._app(scope, receive, send)


def _imported() -> _App:
    try:
        app: _App = importlib.import_module("extend_pipeline.page.app").app
    except Exception:  # whatever it is, nobody gets past it
        log.exception("The page of extend_pipeline cannot be loaded; it refuses every request.")
        return _refuse
    return app


async def _refuse(scope: _Scope, receive: _Receive, send: _Send) -> None:
    """Refuse a request; a web socket is closed by the same answer that refuses a request."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSED})


class ExtendPagePlugin(AirflowPlugin):
    """Shows a pipeline's documents in Airflow's UI."""

    name = "extend_page"
    fastapi_apps = [  # noqa: RUF012  # as Airflow declares it
        {"app": LazyPage(), "url_prefix": PREFIX, "name": "Extend documents"}
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Extend",
            "href": _HREF,
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "extend",
        },
        {
            "name": "Extend",
            "href": f"{_HREF}?dag_id={{DAG_ID}}",
            "destination": "dag",
            "url_route": "extend-documents",
        },
    ]
