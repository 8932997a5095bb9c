"""Globs: patterns for the names below a prefix. Pure.

| pattern | matches |
|---|---|
| `*`, `?` | any characters, also `/`; exactly one |
| `**/` | any folders, or none |
| `[ab]`, `[a-z]`, `[!a]` | one of these; one that is none of these |
| `{pdf,PDF}` | either; may stand within another |
| `[*]`, `[?]`, `[{]`, `[,]` … | the character itself |

Upper and lower case differ, as in keys. Syntax of other tools is refused, because a glob that matches nothing
looks like a source without documents.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import Final

#: A class in brackets, or one character.
_TOKEN: Final = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)
_ANY_FOLDERS: Final = re.compile(r"(?:^|(?<=[/{,]))(?:\*\*/)+")
#: The most alternatives that the braces of one glob may make.
_MOST: Final = 1000


def check_glob(glob: str) -> str:
    """Return the glob if it is valid.

    :raises ValueError: if it is not; the message says what to write instead.
    """
    if "://" in glob:
        raise ValueError("an address belongs in source; the glob matches what follows it")
    if glob.startswith(("!", "^")):
        raise ValueError("a glob cannot exclude files; say which to include, such as *.{pdf,png}")
    parts = _TOKEN.findall(glob)
    if "\\" in parts:
        raise ValueError("a backslash escapes nothing; write [*] for a star itself, [\\] for a backslash")
    for part in parts:
        if re.fullmatch(r"\[\w\]", part):
            raise ValueError(f"{part} matches only {part[1]}; to match the brackets: [[]{part[1:]}")
    depth = 0
    for part in parts:
        depth += {"{": 1, "}": -1}.get(part, 0)
        if part in {",", ";", "|"} and not depth:
            raise ValueError(
                f"write several globs as one in braces, {{*.pdf,*.png}}; to match {part!r} itself: [{part}]"
            )
    _alternatives(glob)
    return glob


def matches(glob: str, name: str) -> bool:
    """Return True if a glob matches a name: what follows the prefix, without leading slashes."""
    return _compiled(glob).match(name) is not None


@functools.lru_cache(maxsize=64)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(each) for each in _alternatives(glob)))


def _alternatives(glob: str) -> list[str]:
    """Resolve the braces: return one glob for each combination."""
    glob = glob.removeprefix("./").lstrip("/")
    glob = _ANY_FOLDERS.sub("{*/,}", f"{glob}*" if glob.endswith("/") else glob)
    left, plain = [_TOKEN.findall(glob)], list[str]()
    while left:
        parts = left.pop()
        if "{" not in parts:
            if "}" in parts:
                raise ValueError("a brace is closed that is not opened; write [}] for a brace itself")
            plain.append("".join(parts))
            continue
        begin = len(parts) - 1 - parts[::-1].index("{")
        if "}" not in parts[begin:]:
            raise ValueError("a brace is not closed; write [{] for a brace itself")
        end = parts.index("}", begin)
        if "," not in parts[begin:end]:
            raise ValueError(
                "braces need alternatives, as in {pdf,png}; write [{] and [}] for braces themselves"
            )
        choices = _split(parts[begin + 1 : end])
        left += [[*parts[:begin], *choice, *parts[end + 1 :]] for choice in choices]
        if len(left) + len(plain) > _MOST:
            raise ValueError(f"its braces expand to more than {_MOST:,} globs")
    return plain


def _split(parts: list[str]) -> list[list[str]]:
    """Split the content of a pair of braces at its commas; spaces after a comma do not count."""
    choices: list[list[str]] = [[]]
    for part in parts:
        if part == ",":
            choices.append([])
        elif part != " " or choices[-1]:
            choices[-1].append(part)
    return choices
