"""Identifiers for what a schema calls its fields, and an extractor itself.

The rule, in this order:

1. ``camelCase`` is taken apart, letters become lower case, and every run of characters that are neither
   letters nor digits becomes one underscore: ``Invoice No.`` → ``invoice_no``. Letters of every script stay.
2. An empty result becomes ``field``; a leading digit gets an underscore before it, an SQL keyword one after.
3. More than 63 bytes (PostgreSQL's limit, the smallest of the warehouses') are cut.
4. Where a name was cut, and where two names meet in one identifier, it ends in an underscore and the first 8
   hexadecimal digits of its path's SHA-256; of those that meet, the least changed one has no suffix.
5. A field whose type has changed for one that the column cannot be widened to has a second column, named like
   the first with two underscores and the kind of value after it: ``total__text``. No other name has two.

The result depends on the names alone, except that an identifier, once given, stays: the warehouse's
``dictionary`` table remembers it and maps each identifier back to its path.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Final

#: A place in a JSON value: keys, and None for "each item of this list".
Path = tuple[str | None, ...]

MAX_BYTES: Final = 63
_SHORTEST_HASH: Final = 8

# Words that at least one of DuckDB, PostgreSQL, Snowflake, BigQuery and Redshift reserves.
_KEYWORDS = """
    account all analyse analyze and anti any array as asc asof assert_rows_modified asymmetric at
    authorization between binary both by case cast check collate collation column concurrently connect
    connection constraint contains create cross cube current current_catalog current_date current_role
    current_schema current_time current_timestamp current_user database default deferrable define delete
    desc describe distinct do drop else end enum escape except exclude exists extract false fetch following
    for foreign freeze from full generated glob grant group grouping groups gscluster hash having if
    ignore ilike in increment initially inner insert intersect interval into is isnull issue join lambda
    lateral leading left like limit localtime localtimestamp lookup map merge minus natural new no not
    notnull null nulls of offset on only or order organization outer over overlaps partition pivot
    pivot_longer pivot_wider placing positional preceding primary proto qualify range recursive references
    regexp respect returning revoke right rlike rollup row rows sample schema select semi session_user set
    show similar some start struct summarize symmetric sysdate table tablesample then to top trailing
    treat trigger true try_cast unbounded union unique unnest unpivot update user using values variadic
    verbose view when whenever where window with within
"""
KEYWORDS: Final = frozenset(_KEYWORDS.split())

_LOWER_THEN_UPPER: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_A_NAME: Final = re.compile(r"[\W_]+")


def identifier(name: str) -> str:
    """Return what ``name`` becomes when no other name is in its way: rules 1 to 3."""
    apart = _LOWER_THEN_UPPER.sub("_", unicodedata.normalize("NFKC", name))
    plain = _NOT_IN_A_NAME.sub("_", unicodedata.normalize("NFC", apart.lower())).strip("_") or "field"
    if plain[0].isdigit():
        plain = f"_{plain}"
    return _cut(f"{plain}_" if plain in KEYWORDS else plain, MAX_BYTES)


def identifiers(wanted: Mapping[Path, str], given: Mapping[str, Path | None]) -> dict[Path, str]:
    """Return an identifier of its own for every path of one table, or for every table.

    :param wanted: a name for each path.
    :param given: identifiers that are taken, with the path that has them; None for the table's own columns.
    """
    taken = {_folded(name): path for name, path in given.items()}
    found = {path: name for name, path in given.items() if path is not None}
    for path in sorted(wanted.keys() - found.keys(), key=lambda path: _change(path, wanted[path])):
        chosen = _free_identifier(path, wanted[path], taken)
        taken[_folded(chosen)] = path
        found[path] = chosen
    return {path: found[path] for path in wanted}


def beside(plain: str, family: str, path: Path, given: Iterable[str]) -> str:
    """Return the identifier of a column for a second kind of value of the field whose column is ``plain``."""
    return _free_identifier(path, plain, {_folded(name) for name in given}, f"__{family}")


def path_text(path: Path) -> str:
    """Return a path as a JSON array, ``["line_items", null, "amount"]``: unique, whatever the keys hold."""
    return json.dumps(path, ensure_ascii=False)


def path_of(text: str) -> Path:
    """Read a path back from what :func:`path_text` wrote."""
    return tuple(json.loads(text))


def pointer(path: Path) -> str:
    """Return a path of keys as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def _change(path: Path, name: str) -> tuple[bool, int, str]:
    """Order by how much a name has to be changed; shorter paths first among equals."""
    return identifier(name) != name, len(path), path_text(path)


def _free_identifier(path: Path, name: str, taken: Collection[str], ending: str = "") -> str:
    plain = identifier(name)
    room = MAX_BYTES - len(ending)
    whole = len(unicodedata.normalize("NFKC", name).encode("utf-8", "replace")) < room
    if whole and _folded(plain + ending) not in taken:
        return plain + ending
    digest = hashlib.sha256(path_text(path).encode("utf-8", "surrogatepass")).hexdigest()
    for length in range(_SHORTEST_HASH, len(digest) // 2):
        suffix = f"_{digest[:length]}"
        candidate = _cut(plain, room - len(suffix)).rstrip("_") + suffix + ending
        if _folded(candidate) not in taken:
            return candidate
    raise ValueError(f"no identifier is left for {path_text(path)}")


def _folded(name: str) -> str:
    """Return the same text for two identifiers that an engine may treat as equal."""
    return name.casefold()


def _cut(name: str, size: int) -> str:
    return name.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
