"""What both hooks have in common: their connection type, and how an endpoint becomes a method of each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from extend_provider.client.settings import ExtendSettings
from extend_provider.client.wire import Wire, wire_for

Method = TypeVar("Method", bound=Callable[..., Any])

#: The arguments of both hooks, see :class:`~extend_provider.hooks.extend.ExtendHook`.
DEFAULT_CONN_ID: Final = "extend_default"
DEFAULT_MAX_ATTEMPTS: Final = 5


class ExtendHookMixin:
    """The names that Airflow knows the hooks by, and what follows from their settings."""

    conn_name_attr = "extend_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "extend"
    hook_name = "Extend"

    @property
    def settings(self) -> ExtendSettings:
        """What the connection says."""
        raise NotImplementedError

    @property
    def wire(self) -> Wire:
        """The wire shapes of the connection's API version."""
        return wire_for(self.settings.api_version)

    @property
    def api_version(self) -> str:
        """The connection's API version."""
        return self.settings.api_version


def documented_by(endpoint: Callable[..., Any]) -> Callable[[Method], Method]:
    """Give a hook's method the name, the docstring and the parameters of its endpoint.

    The endpoint's first parameter, the wire, is the method's ``self``; what a method returns, its docstring
    says and the type checker knows.
    """

    def document(method: Method) -> Method:
        signature = inspect.signature(endpoint)
        wire, *others = signature.parameters.values()
        documented: Any = functools.update_wrapper(method, endpoint)
        del documented.__wrapped__
        documented.__signature__ = signature.replace(
            parameters=[wire.replace(name="self", annotation=inspect.Parameter.empty), *others],
            return_annotation=inspect.Signature.empty,
        )
        return method

    return document
