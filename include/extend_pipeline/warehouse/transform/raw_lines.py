"""Reading lines of the raw zone exactly, without decoding what only SQL takes apart.

Most of a line is extracted values, their evidence and the extractor's schema. These texts are cut out before
the rest is decoded, and are copied as they were received. Only the API version's wire decides what a line
means. This module knows where the large texts are only for speed; a line of another shape is decoded whole.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from extend_pipeline.warehouse.records import WarehouseError
from extend_provider.client.models import WorkflowRun
from extend_provider.client.wire import wire_for

#: Digits that a double always keeps, and characters of a number that has no more of them.
_SAFE_DIGITS: Final = 15
_SAFE_LENGTH: Final = _SAFE_DIGITS + len(".")
#: Shorter texts are not worth cutting out.
_SHORTEST_CUT: Final = 128
#: The only key of the object that replaces a text that was cut out; it cannot be guessed.
_CUT: Final = f"cut {secrets.token_hex(16)}"
_CUT_KEY: Final = _CUT.encode()
#: The members of an extraction's output, unless it is a map of fields.
_OF_AN_EXTRACTION: Final = frozenset({"value", "metadata"})
#: Makes every digit a zero, and every exponent one with a small letter.
_DIGITS: Final = bytes.maketrans(b".123456789E", b"0000000000e")
#: Parts of the numbers that a double may not keep, once their digits are zeros: they are long, or very small.
_LONG: Final = b"0" * (_SAFE_LENGTH + 1)
_SMALL: Final = b"0e-000"
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
#: Escapes of JSON: surrogates, and escaped backslashes, so that ``\\ud800`` does not count as a surrogate.
_ESCAPES: Final = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class RawLine(NamedTuple):
    """One line of the raw zone.

    :ivar run: large texts in it are cut out, wherever in it they stand: read its results' values by
        :meth:`text`, and whatever else can hold an object by :meth:`whole`.
    :ivar repaired: whether characters that are no text (half a surrogate pair) became U+FFFD in the run.
    :ivar approval: the decision about its low confidence: ``APPROVED`` or ``REJECTED``.
    :ivar cuts: the texts that were cut out.
    :ivar decided: ``by`` whom, and ``at`` what time.
    """

    run: WorkflowRun
    repaired: bool
    approval: str | None
    cuts: tuple[bytes, ...] = ()
    decided: Mapping[str, Any] = MappingProxyType({})

    def text(self, value: Any) -> bytes:
        """Return a value of the run as JSON on one line; what was cut out, as it was received."""
        number = value.get(_CUT) if isinstance(value, dict) else None
        if number is not None:
            return self.cuts[number]
        text = encoded(value)
        return encoded(self.whole(value)) if _CUT_KEY in text else text

    def whole(self, value: Any) -> Any:
        """Return any value of the run with the texts put back that were cut out of it."""
        if isinstance(value, list):
            return [self.whole(item) for item in value]
        if not isinstance(value, dict) or not self.cuts:
            return value
        number = value.get(_CUT)
        if number is not None:
            return decoded(self.cuts[number])
        return {key: self.whole(item) for key, item in value.items()}


class _Config(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw()


class _Extraction(msgspec.Struct, rename="camel"):
    config: _Config | None = None
    output: dict[str, msgspec.Raw] | None = None
    initial_output: dict[str, msgspec.Raw] | None = None

    def texts(self) -> Iterator[bytes]:
        """Yield the texts that are usually large, unless the output is a map of fields, which a wire reads.

        Such a map comes from a fields-array extractor. Its fields can be called ``value`` and ``metadata``.
        """
        if self.config is not None:
            yield bytes(self.config.schema)
        for output in (self.output, self.initial_output):
            if output is not None and output.keys() <= _OF_AN_EXTRACTION:
                value = bytes(output.get("value", b""))
                if b'"references"' not in value:
                    yield value
                    yield bytes(output.get("metadata", b""))


class _Result(msgspec.Struct, rename="camel"):
    extract_run: _Extraction | None = None


class _Step(msgspec.Struct):
    result: _Result | None = None


class _Run(msgspec.Struct, rename="camel"):
    step_runs: list[_Step] = []
    outputs: list[_Extraction] = []

    def texts(self) -> Iterator[bytes]:
        """Yield the texts that are usually large."""
        for step in self.step_runs:
            if step.result is not None and step.result.extract_run is not None:
                yield from step.result.extract_run.texts()
        for extraction in self.outputs:
            yield from extraction.texts()


class _Line(msgspec.Struct):
    api_version: str
    run: _Run


_LINE: Final = msgspec.json.Decoder(_Line)
_ANYTHING: Final = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()


def read_raw_line(line: bytes, name: str) -> RawLine:
    """Read one line of the raw zone, in whichever API version it was received.

    :raises WarehouseError: if the line is no run.
    """
    try:
        text, repaired = readable_text(line)
        rest, cuts = _without_large_texts(text)
        record = decoded(rest)
        run = wire_for(record["api_version"]).parse_run(record["run"])
        return RawLine(run, repaired, record.get("approval"), cuts, record.get("decided") or {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fault = type(error).__name__
    # Raised outside of the handler: the decoder's error holds the line.
    raise WarehouseError(f"{name} is not a run that can be read ({fault}). Nothing of the part has landed.")


def readable_text(line: bytes) -> tuple[bytes, bool]:
    """Return a line of JSON as text that is UTF-8, escapes decoded or not, and whether that changed it."""
    try:
        text, repaired = line.decode(), False
    except UnicodeDecodeError:
        text, repaired = line.decode("utf-8", "replace"), True
    if "\\" not in text or _SURROGATE.search(text) is None:
        return (text.encode() if repaired else line), repaired
    readable = _ESCAPES.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)
    return readable.encode(), repaired or readable != text


def decoded(text: bytes) -> Any:
    """Return the value of a JSON text; a number that Python would not keep exactly becomes its text."""
    if _is_exact(text):
        try:
            return _ANYTHING.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass  # Python also reads NaN and deeper nesting
    return json.loads(text, parse_float=_exact_float, parse_int=_exact_int, parse_constant=str)


def encoded(value: Any) -> bytes:
    """Return a value as JSON on one line."""
    return _ENCODER.encode(value)


def exact_text(text: bytes) -> bytes:
    """Return a JSON text in which a number that a double would not keep exactly is a text."""
    return text if _is_exact(text) else encoded(decoded(text))


def _without_large_texts(line: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the line with ``{"cut …": 3}`` in place of each large text, and these texts."""
    line, cuts, place = line.strip(), list[bytes](), 0
    if b"\n" in line or b"\r" in line:
        return line, ()
    try:
        run = _LINE.decode(line).run
    except (msgspec.DecodeError, RecursionError):
        return line, ()
    for text in run.texts():
        if len(text) >= _SHORTEST_CUT and text.startswith(b"{"):
            place = _place(line, text, place)
            if place >= 0:
                line = b'%b{"%b":%d}%b' % (line[:place], _CUT_KEY, len(cuts), line[place + len(text) :])
                cuts.append(text)
    return line, tuple(cuts)


def _place(line: bytes, text: bytes, after: int) -> int:
    """Find a text in the line: by its beginning, since a search for all of it is slow to set up.

    Of equal texts it does not matter which one is found. Inside of a string none is: it has quotes.

    :param after: where the text before it was; most texts are in the order that they are asked for.
    """
    head = text[:_SHORTEST_CUT]
    place = line.find(head, after)
    if place < 0:
        place = line.find(head)
    while place >= 0 and not line.startswith(text, place):
        place = line.find(head, place + 1)
    return place


def _is_exact(text: bytes) -> bool:
    zeros = text.translate(_DIGITS)
    return _LONG not in zeros and _SMALL not in zeros


def _exact_float(text: str) -> float | str:
    """Return a number, or its text where a double would not keep every digit of it."""
    number = float(text)
    plain = len(text) <= _SAFE_DIGITS and "e" not in text and "E" not in text
    return number if plain or Decimal(repr(number)) == Decimal(text) else text


def _exact_int(text: str) -> int | str:
    """Return a number, or its text where it is beyond 64 bits."""
    return int(text) if len(text) <= _SAFE_DIGITS + 3 else text
