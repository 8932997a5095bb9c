"""The methods that both hooks make of the endpoints."""

from __future__ import annotations

import inspect

import pytest

from extend_provider.client import endpoints, webhook_endpoints
from extend_provider.hooks.extend import ExtendAsyncHook, ExtendHook

ENDPOINTS = {
    name: each
    for module in (endpoints, webhook_endpoints)
    for name, each in vars(module).items()
    if inspect.isfunction(each) and list(inspect.signature(each).parameters)[:1] == ["wire"]
}
METHODS = sorted(name for name in vars(ExtendHook) if name in ENDPOINTS and name[0] != "_")


def test_both_hooks_have_every_endpoint() -> None:
    assert (
        {name for name in ENDPOINTS if name[0] != "_"}
        == set(METHODS)
        == set(METHODS) & set(dir(ExtendAsyncHook))
    )


@pytest.mark.parametrize("hook", [ExtendHook, ExtendAsyncHook])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_shows_its_parameters_and_what_it_does(name: str, hook: type) -> None:
    method = getattr(hook, name)
    endpoint = ENDPOINTS[name]
    assert inspect.getdoc(method) == inspect.getdoc(endpoint)
    assert list(inspect.signature(method).parameters) == [
        "self",
        *list(inspect.signature(endpoint).parameters)[1:],
    ]


def test_the_async_hooks_methods_are_coroutines_and_generators() -> None:
    assert inspect.iscoroutinefunction(ExtendAsyncHook.get_run)
    assert inspect.isasyncgenfunction(ExtendAsyncHook.iter_run_pages)
