"""Opens object stores other than S3: with the Airflow provider, or with its library alone.

The providers of Google and Microsoft install dozens of packages, and no release of Google's fits the pins of
a current Airflow. Reading documents needs only one library of each. It is configured by the fields of the
provider's own connection form, so that installing the provider changes nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow.providers.common.compat.sdk import BaseHook

from extend_pipeline.exceptions import PipelineInputError

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from fsspec import AbstractFileSystem


class AzureStorageHook(BaseHook):
    """Registers the connection type of Azure's storage if Azure's own provider is not installed.

    Airflow then stores the connection with this type; nothing is read through the hook.
    """

    conn_name_attr = "wasb_conn_id"
    default_conn_name = "wasb_default"
    conn_type = "wasb"
    hook_name = "Azure Blob Storage"


def open_filesystem(root: str, conn_id: str | None) -> AbstractFileSystem:
    """Open the store of addresses that begin with ``root``.

    :param conn_id: the connection that opens it; None for the library's default credentials.
    :raises PipelineInputError: if no installed library reads such addresses.
    """
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import has_fs

    scheme = root.partition("://")[0]
    library = _LIBRARIES.get(scheme)
    if has_fs(scheme):
        fs = ObjectStoragePath(f"{root}/", conn_id=conn_id).fs
    elif library and importlib.util.find_spec(library.module):
        fs = library.open(None if conn_id is None else BaseHook.get_connection(conn_id))
    else:
        remedy = f"the extra {library.extra!r}" if library else "the provider package that brings them"
        raise PipelineInputError(
            f"No installed package reads {scheme}:// addresses. Nothing was sent to Extend. "
            f"Install {remedy} where tasks run."
        )
    fs.invalidate_cache()  # earlier listings may be outdated
    return fs


def pages_of(fs: AbstractFileSystem, bucket: str, prefix: str) -> Iterator[list[Mapping[str, Any]]] | None:
    """Return the objects below a prefix, a page at a time; None if the library lists whole folders."""
    return _google_pages(fs, bucket, prefix) if "gs" in fs.protocol else None


def _google_pages(fs: AbstractFileSystem, bucket: str, prefix: str) -> Iterator[list[Mapping[str, Any]]]:
    wanted = {"prefix": prefix, "maxResults": 1000}
    while True:
        answer = fs.call("GET", "b/{}/o", bucket, json_out=True, **wanted)
        yield answer.get("items", [])
        if not answer.get("nextPageToken"):
            return
        wanted["pageToken"] = answer["nextPageToken"]


def can_sign(fs: AbstractFileSystem) -> bool:
    """Return True if the credentials have a key that can sign URLs; a token has none."""
    if "gs" in fs.protocol:
        from google.auth.credentials import Signing

        return isinstance(fs.credentials.credentials, Signing)
    if "abfs" in fs.protocol:
        return bool(fs.account_key) or "accountkey=" in (fs.connection_string or "").lower()
    return True


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn a library's error of a refused request into a PermissionError; other errors stay as they are.

    :raises PermissionError: if the store refused the request.
    """
    try:
        yield
    except Exception as error:
        # gcsfs raises a plain OSError with this text.
        if str(error).startswith("Forbidden") or status_of(error) in (401, 403):
            raise PermissionError("The store refused the request.") from None
        raise


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of a library's error; Azure's have one, and some of gcsfs."""
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(code, str) and code.isdecimal():
        return int(code)
    return code if isinstance(code, int) else None


def _open_google(connection: Connection | None) -> AbstractFileSystem:
    """Open Google Cloud Storage with a service account's key, anonymously, or with the machine's identity."""
    # The class that the package exports asks for the kind of each bucket by gRPC, for up to a minute.
    from gcsfs.core import GCSFileSystem

    extra = connection.extra_dejson if connection else {}
    key = extra.get("keyfile_dict")
    token = json.loads(key) if isinstance(key, str) else key or extra.get("key_path")
    if extra.get("is_anonymous"):
        token = "anon"  # noqa: S105  # the library's name for none
    return GCSFileSystem(
        project=extra.get("project") or "",
        access="read_only",
        token=token or "google_default",
        requester_pays=extra.get("gcs.requester-pays", False),
        endpoint_url=extra.get("gcs.endpoint"),
    )


#: Extra fields that adlfs has under the same name.
_OF_AZURE: Final = (
    *("account_name", "account_key", "account_host", "connection_string", "sas_token", "anon"),
    *("tenant_id", "client_id", "client_secret"),
)


def _open_azure(connection: Connection | None) -> AbstractFileSystem:
    """Open Azure's blobs with account and key, service principal, SAS token or the machine's identity."""
    from adlfs import AzureBlobFileSystem

    if connection is None:
        return AzureBlobFileSystem(anon=False)
    extra: Mapping[str, Any] = connection.extra_dejson
    if extra.get("tenant_id"):
        given = {"client_id": connection.login, "client_secret": connection.password}
    else:
        given = {"account_name": connection.login, "account_key": connection.password}
    given |= {name: extra[name] for name in _OF_AZURE if extra.get(name) not in (None, "")}
    # The host of the form is the address of the account; it begins with the account's name.
    host = (connection.host or "").removeprefix("https://").strip("/")
    if host and not given.get("account_name"):
        given["account_name"] = host.partition(".")[0]
    if "." in host:
        given.setdefault("account_host", host)
    return AzureBlobFileSystem(**{name: value for name, value in given.items() if value is not None})


class _Library(NamedTuple):
    """A library that reads addresses of one kind.

    :param module: the module that has to be installed.
    :param extra: the extra of this project that installs it.
    """

    module: str
    extra: str
    open: Callable[[Connection | None], AbstractFileSystem]


_GOOGLE: Final = _Library("gcsfs", "gcs", _open_google)
_AZURE: Final = _Library("adlfs", "azure", _open_azure)
_LIBRARIES: Final = {
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("abfs", "abfss", "az"), _AZURE),
}
