"""The plugin that mounts the receiver of webhooks in Airflow's API server, below ``/extend/webhooks``.

Every process of Airflow loads its plugins, so nothing is imported here that the first webhook does not need:
the receiver itself is imported when that comes.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from airflow.providers.common.compat.sdk import AirflowPlugin

PREFIX: Final = "/extend/webhooks"

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]


class LazyReceiver:
    """The receiver as an ASGI app, imported with its first request."""

    def __init__(self) -> None:
        self._app: Callable[[_Scope, _Receive, _Send], Awaitable[None]] | None = None
        self._importing = asyncio.Lock()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a request as ASGI has it."""
        if self._app is None:
            async with self._importing:
                if self._app is None:
                    module = await asyncio.to_thread(
                        importlib.import_module, "extend_provider.webhooks.receiver"
                    )
                    self._app = module.app
        await self._app(scope, receive, send)


class ExtendWebhooksPlugin(AirflowPlugin):
    """Lets Extend deliver webhooks to Airflow's API server."""

    name = "extend_webhooks"
    fastapi_apps = [  # noqa: RUF012  # as Airflow declares it
        {"app": LazyReceiver(), "url_prefix": PREFIX, "name": "Extend webhooks"}
    ]
