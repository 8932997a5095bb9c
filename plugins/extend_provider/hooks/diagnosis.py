"""The report of Airflow's Test button: why a connection does not work, and what to change."""

from __future__ import annotations

from extend_provider.client.errors import is_unauthorized
from extend_provider.client.settings import REGIONS, ExtendSettings
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendCreditsError,
    ExtendError,
    ExtendInputError,
    ExtendRateLimitError,
)

_HOSTS = ", ".join(f"{host} ({region})" for region, host in REGIONS.items())
_INVALID = {400, 422}


def connection_report(settings: ExtendSettings | None, error: ExtendError | None = None) -> tuple[bool, str]:
    """Return whether a connection works, and the message for the user.

    :param settings: None if the connection cannot be read.
    """
    if settings is None:
        return False, str(error)
    if error is not None:
        return False, _diagnosis(settings, error)
    return True, f"Connected to {settings.base_url}, API version {settings.api_version}."


def _diagnosis(settings: ExtendSettings, error: ExtendError) -> str:
    """Return what is wrong and what to change in the connection."""
    if isinstance(error, ExtendInputError):
        return str(error)
    if isinstance(error, ExtendConnectionError):
        advice = (
            f"No answer from {settings.base_url}. Check the host, its port, and proxies and firewalls "
            f"between Airflow and it. Extend's hosts: {_HOSTS}."
        )
    elif is_unauthorized(error):
        advice = (
            "Extend does not know this API key. Paste it again, and check that it belongs to the region of "
            f"{settings.base_url}."
        )
    elif isinstance(error, ExtendCreditsError):
        advice = "The connection works, but the workspace is out of credits: add some in Extend's billing."
    elif isinstance(error, ExtendRateLimitError):
        advice = "The connection works, but Extend's rate limit is exceeded: try again in a minute."
    elif isinstance(error, ExtendAuthError) or _invalid(error, about="workspace"):
        advice = (
            "The API key is not allowed into this workspace. A key of an organization needs the workspace id "
            "(ws_…); a key of a workspace needs none."
        )
    elif _invalid(error, about="version"):
        advice = f"Extend does not accept API version {settings.api_version}. Choose another one."
    elif error.status is not None and error.status >= 500:
        advice = "Extend was reached, but answers with an error of its own: try again later."
    else:
        advice = f"{settings.base_url} answers, but not as Extend's API. Check host and region: {_HOSTS}."
    return f"{advice} [{error}]"


def _invalid(error: ExtendError, *, about: str) -> bool:
    """Return True if Extend itself refused the request because of ``about``."""
    return (
        isinstance(error, ExtendBadRequestError)
        and error.status in _INVALID
        and about in error.message.lower()
    )
