"""Google credentials from the extra fields of an Airflow connection of type ``google_cloud_platform``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SCOPES: Final = ["https://www.googleapis.com/auth/bigquery"]


def credentials(extra: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the credentials (google-auth's) that the fields name, and the project that these belong to.

    ``keyfile_dict`` (an object, or JSON text) or ``key_path`` is a service account's key; ``is_anonymous``
    means no credentials, for emulators; without any of them, application default credentials are used.
    ``scope`` (separated by commas) replaces BigQuery's scope; ``impersonation_chain`` (a list, or separated
    by commas) ends with the account that is impersonated.

    :raises ValueError: if a key is invalid.
    :raises google.auth.exceptions.GoogleAuthError: if there are no credentials.
    """
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.credentials import AnonymousCredentials
    from google.oauth2 import service_account

    scopes = _listed(extra.get("scope")) or _SCOPES
    key, path = extra.get("keyfile_dict"), extra.get("key_path")
    found: Any
    project: str | None = None
    if extra.get("is_anonymous"):
        found = AnonymousCredentials()
    elif key:
        info = json.loads(key) if isinstance(key, str) else key
        found = service_account.Credentials.from_service_account_info(info, scopes=scopes)
        project = found.project_id
    elif path:
        found = service_account.Credentials.from_service_account_file(path, scopes=scopes)
        project = found.project_id
    else:
        found, project = google.auth.default(scopes=scopes)
    chain = _listed(extra.get("impersonation_chain"))
    if chain:
        found = impersonated_credentials.Credentials(
            source_credentials=found, target_principal=chain[-1], delegates=chain[:-1], target_scopes=scopes
        )
    return found, project


def _listed(value: Any) -> Sequence[str]:
    """Return the entries of a list, or of a text separated by commas."""
    each = value.split(",") if isinstance(value, str) else value or ()
    return [str(one).strip() for one in each if str(one).strip()]
