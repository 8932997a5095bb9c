r"""Names of files that are not sent: what systems leave behind, and names that not every store can hold.

A file name is bytes, and an object's key may hold any character. But JSON and warehouses hold text, Postgres
holds no NUL, and a line of a log ends at a line feed. A document with such a name is not sent; its row has
the name with escapes, ``caf\xe9.txt`` or ``a\x0ab.pdf``.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final

from extend_provider.client.validation import SUPPORTED_EXTENSIONS

#: ASCII control characters and surrogates; Python reads a byte that is not UTF-8 as a surrogate.
_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: The surrogates that Python uses for such bytes.
_BYTES: Final = range(0xDC80, 0xDD00)
#: Path segments that every reader of a URL resolves.
_DOTS: Final = re.compile(r"/\.\.?(?:/|$)")
#: Folders and file names that macOS, Windows, Office and file servers leave behind.
_LITTER: Final = re.compile(
    r"(?:^|/)(?:"
    r"(?:__MACOSX|\.AppleDouble|\.DocumentRevisions-V100|\.fseventsd|\.Spotlight-V100|\.TemporaryItems"
    r"|\.Trashes|\.Trash-\d+|\$RECYCLE\.BIN|System Volume Information|lost\+found"
    r"|@eaDir|#recycle|#snapshot|\.snapshot)/"
    r"|(?:\._[^/]*|~\$[^/]*|\.~lock\.[^/]*\#|\.DS_Store|\.localized|(?:eh)?thumbs\.db|desktop\.ini"
    r"|icon\r?|\.nfs[0-9a-f]{8,})$"
    r")",
    re.IGNORECASE,
)


def written(text: str) -> str:
    r"""Return a text of a store with escapes such as ``\x0a`` for what cannot be stored."""
    return _UNWRITABLE.sub(lambda found: _spelt(ord(found[0])), text)


def _spelt(code: int) -> str:
    if code in _BYTES:
        code -= _BYTES.start - 0x80
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def leads_elsewhere(uri: str) -> bool:
    """Return True if no URL can address the object, because its key has a folder ``.`` or ``..``."""
    return not uri.startswith(("file:", "https:")) and _DOTS.search(uri) is not None


def is_litter(key: str) -> bool:
    """Return True if a system left the file behind: ``._a.pdf``, ``~$a.docx``, ``Thumbs.db``, ``.pdf``.

    Any other hidden file is a document if its type is supported.
    """
    name = posixpath.basename(key)
    if name.startswith(".") and name[1:].lower() in SUPPORTED_EXTENSIONS:
        return True
    return _LITTER.search(key) is not None
