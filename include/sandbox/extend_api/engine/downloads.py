"""Downloads of inputs. A presigned URL is a secret, so no message contains one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from sandbox.extend_api.settings import Settings

CHUNK_BYTES = 256 * 1024


class DownloadFailed(Exception):  # noqa: N818 - the name says what happened
    """The file could not be downloaded.

    :param code: Extend's reason, e.g. ``UNABLE_TO_DOWNLOAD_FILE`` or ``FILE_SIZE_TOO_LARGE``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


async def download(session: aiohttp.ClientSession, url: str, target: Path, settings: Settings) -> None:
    """Stream ``url`` into ``target``.

    :raises DownloadFailed: with the HTTP status or the type of connection error, never with the URL.
    """
    size = 0
    try:
        async with session.get(_encoded(url), timeout=_timeout(settings)) as response:
            _check_status(response.status)
            with target.open("wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    size += len(chunk)
                    check_size(size, settings)
                    file.write(chunk)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise _unreachable(error) from None


async def probe(session: aiohttp.ClientSession, url: str, settings: Settings) -> None:
    """Request ``url`` without reading the body; raises DownloadFailed as :func:`download` does."""
    try:
        async with session.get(_encoded(url), timeout=_timeout(settings)) as response:
            _check_status(response.status)
            check_size(response.content_length or 0, settings)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise _unreachable(error) from None


def check_size(size: int, settings: Settings) -> None:
    """Raise DownloadFailed if a file of ``size`` bytes is above the limit."""
    if settings.max_file_bytes is not None and size > settings.max_file_bytes:
        raise DownloadFailed(
            "FILE_SIZE_TOO_LARGE", f"the file is larger than {settings.max_file_bytes} bytes"
        )


def _encoded(url: str) -> URL:
    # The signature of a presigned URL covers its spelling, so the URL must be sent byte for byte.
    return URL(url, encoded=True)


def _timeout(settings: Settings) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=settings.download_timeout_seconds)


def _check_status(status: int) -> None:
    if status != 200:
        raise DownloadFailed("UNABLE_TO_DOWNLOAD_FILE", f"the file's URL answered HTTP {status}")


def _unreachable(error: Exception) -> DownloadFailed:
    return DownloadFailed(
        "UNABLE_TO_DOWNLOAD_FILE", f"the file's URL could not be reached ({type(error).__name__})"
    )
