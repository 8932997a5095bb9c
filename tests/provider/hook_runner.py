"""Runs one piece of test code with the sync or the async hook: what is proven of one is proven of both."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from extend_provider.hooks.extend import ExtendAsyncHook, ExtendHook
from extend_provider.policy import Backoff

CONN_ID = "extend_test"
QUICK = Backoff(initial=0.01, maximum=0.05, total=5.0)

Use = Callable[[Any], Any]


def set_connection(monkeypatch: pytest.MonkeyPatch, url: str, *, key: str = "sk_test", **fields: Any) -> None:
    """Define the connection; ``fields`` are its other fields, ``extra`` among them."""
    connection = {"conn_type": "extend", "host": url, "password": key, **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))


class HookRunner:
    """``run(lambda hook: hook.get_run("x"))``: the result, with pages gathered into a list."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self, *uses: Use, pause: float = 0.0, enter: bool = True, **options: Any) -> Any:
        """Do one use after the other with one hook and return the result of the last.

        :param pause: seconds between them.
        :param enter: False leaves an async hook to read its connection when it is first used.
        """
        options = {"backoff": QUICK, "max_attempts": 3, **options}
        if self.kind == "async":
            return asyncio.run(self._run_async(uses, pause, enter, options))
        with ExtendHook(CONN_ID, **options) as hook:
            for use in uses:
                result = use(hook)
                result = list(result) if inspect.isgenerator(result) else result
                time.sleep(pause)
            return result

    async def _run_async(
        self, uses: tuple[Use, ...], pause: float, enter: bool, options: dict[str, Any]
    ) -> Any:
        hook = ExtendAsyncHook(CONN_ID, **options)
        try:
            if enter:
                await hook.__aenter__()
            for use in uses:
                result = use(hook)
                if inspect.isasyncgen(result):
                    result = [page async for page in result]
                elif inspect.isawaitable(result):
                    result = await result
                await asyncio.sleep(pause)
            return result
        finally:
            await hook.close()
