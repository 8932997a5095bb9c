"""The file types Extend reads, by file name: docs.extend.ai/2026-02-09/general/supported-file-types."""

from __future__ import annotations

import posixpath
from typing import Final

#: Extensions in lower case, without the dot.
SUPPORTED_EXTENSIONS: Final = frozenset[str]().union(
    ["pdf"],
    ["png", "jpg", "jpeg", "tiff", "tif", "svg", "heic", "heif", "bmp", "gif", "webp", "psd", "pcx", "ppm"],
    ["xls", "xlsx", "xltm", "xltx", "ods", "csv"],
    ["docx", "doc", "wpd", "dotx", "odt", "rtf"],
    ["pptx", "ppt"],
    ["txt", "html", "xml", "lis", "md", "eml"],
)


def is_supported(name: str) -> bool:
    """Return whether a file called ``name`` (a path or key will do) can be processed, by its extension."""
    return posixpath.splitext(name)[1].removeprefix(".").lower() in SUPPORTED_EXTENSIONS
