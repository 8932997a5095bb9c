"""Large values leave what small ones leave, in time that grows with their length."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.warehouse.transform.values import large_values
from fixtures.warehouse.files import contents, land, provenance, query
from fixtures.warehouse.parts import parts_of_every_kind
from fixtures.warehouse.runs import document, extract_step, raw_lines, run

TEXT = {"type": ["string", "null"]}
LINE = {"type": "object", "properties": {"day": TEXT, "text": TEXT, "amount": {"type": "number"}}}
SCHEMA = {"type": "object", "properties": {"lines": {"type": "array", "items": LINE}, "note": TEXT}}
AWKWARD: dict[str, Any] = {
    "lines": [
        {"day": "1", "text": 'a "b" [3].c', "amount": 1.25},
        {"day": None, "text": ["no", {"text": 1}], "amount": "?"},
        {"a.b": {'c"d': [1, [2, {"": None}]]}, "amount": 0.1234567891},
        [],
        {},
        "text",
    ],
    "note": {"an": "object"},
    "unknown $.x": [[], {}, [[1.5, True, None]]],
}
EVIDENCE: dict[str, Any] = {
    "lines[0].text": {"ocrConfidence": 0.5, "citations": [{"page": 3, "referenceText": "as it says"}]},
    "lines.1.amount": {"ocrConfidence": 7},
    "lines[99].day": {"logprobsConfidence": 0.25},
    "note": "what",
}


def landed(folder: Path, step: dict[str, Any]) -> dict[str, Any]:
    """Land one document, and one beside it that is small; return what there is."""
    file = folder / "warehouse.duckdb"
    file.unlink(missing_ok=True)
    steps = [[step], [extract_step({"note": "small"}, schema=SCHEMA)]]
    lines = raw_lines(*(run(document(number), steps=each) for number, each in enumerate(steps)))
    land(file, [document(0), document(1)], lines, origin=provenance(raw_uri="raw/1"))
    return contents(file)


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let values be broken up that are longer than so many bytes."""
    return lambda longest: monkeypatch.setattr(large_values, "LONGEST", longest)


def test_parts_of_every_kind_leave_the_same_rows(
    tmp_path: Path, all_are_large: Callable[[int], None]
) -> None:
    whole, broken = tmp_path / "whole.duckdb", tmp_path / "broken.duckdb"
    landings = [land(whole, *part[:2], origin=part[2]) for part in parts_of_every_kind()]
    all_are_large(40)
    assert [land(broken, *part[:2], origin=part[2]) for part in parts_of_every_kind()] == landings
    assert contents(broken) == contents(whole)


@pytest.mark.parametrize(("longest", "metadata"), [(0, EVIDENCE), (0, {}), (40, EVIDENCE), (40, {"": [1]})])
def test_awkward_values_leave_the_same_rows(
    tmp_path: Path, all_are_large: Callable[[int], None], longest: int, metadata: dict[str, Any]
) -> None:
    step = extract_step(AWKWARD, schema=SCHEMA, metadata=metadata)
    reviewed = extract_step({**AWKWARD, "note": "as reviewed"}, schema=SCHEMA, metadata=metadata)
    reviewed["result"]["extractRun"] |= {
        "reviewed": True,
        "initialOutput": {"value": AWKWARD, "metadata": metadata},
    }
    whole = [landed(tmp_path, each) for each in (step, reviewed)]
    all_are_large(longest)
    assert [landed(tmp_path, each) for each in (step, reviewed)] == whole


def test_deep_nesting_lands(tmp_path: Path) -> None:
    value: Any = "x" * 100
    for _ in range(300):
        value = {"text": "x" * 200, "more": [value]}
    landed(tmp_path, extract_step({"note": None, "deep": value}, schema=SCHEMA))
    longest = "SELECT count(*), max(length(path)) FROM fields WHERE path LIKE 'deep%'"
    assert query(tmp_path / "warehouse.duckdb", longest) == [(301, len("deep" + ".more[0]" * 300))]


def a_list(elements: int) -> tuple[Any, dict[str, Any]]:
    lines = [{"day": "1", "text": f"line {number}", "amount": number} for number in range(elements)]
    return {"lines": lines}, {f"lines[{number}].day": {"ocrConfidence": 0.5} for number in range(elements)}


def a_wide_object(elements: int) -> tuple[Any, dict[str, Any]]:
    return {"wide": {f"key {number}": {"text": str(number)} for number in range(elements)}}, {}


@pytest.mark.full
@pytest.mark.parametrize("made", [a_list, a_wide_object])
def test_the_time_grows_as_the_number_of_elements(
    tmp_path: Path, made: Callable[[int], tuple[Any, dict[str, Any]]]
) -> None:
    """Four times as many cost four times as much; were it quadratic, sixteen times. CPU seconds, not time."""

    def seconds(elements: int) -> float:
        value, metadata = made(elements)
        step = extract_step(value, schema=SCHEMA, metadata=metadata)
        begun = time.process_time()
        landed(tmp_path, step)
        return time.process_time() - begun

    few, many = min(seconds(10_000) for _ in range(2)), seconds(40_000)
    assert many < 6 * few
    fields = query(tmp_path / "warehouse.duckdb", "SELECT count(*) FROM fields")
    assert fields == [(40_000 * (3 if made is a_list else 1) + 1,)]
