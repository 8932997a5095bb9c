"""Whatever a value is, and however the keys of its evidence are spelled, the same rows land."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fixtures.warehouse.files import document_problems, land, query
from fixtures.warehouse.runs import (
    document,
    extract_step,
    raw_lines,
    run,
)

#: A field's place: names, and positions in lists.
Segments = tuple[str | int, ...]


def places(value: Any, at: Segments = ()) -> Iterator[tuple[Segments, Any]]:
    """Yield all places below the value itself, with what is there."""
    if at:
        yield at, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for segment, item in inner:
        yield from places(item, (*at, segment))


def spell(segments: Segments, dotted: Callable[[int], bool]) -> str:
    """Return a place's key, positions between dots where ``dotted`` says so."""
    return "".join(
        f"[{segment}]" if isinstance(segment, int) and not dotted(depth) else f"{'.' * (depth > 0)}{segment}"
        for depth, segment in enumerate(segments)
    )


def folded(segments: Segments) -> str:
    return ".".join(filter(None, re.split(r"[][./$\"'\\]+", ".".join(map(str, segments)))))


def landed(folder: Path, values: list[Any], keyed: Callable[[Segments], str]) -> list[tuple[Any, ...]]:
    """Land the values, each place with its own confidence under the key; return the rows of ``fields``."""
    file = folder / "warehouse.duckdb"
    documents = [document(number) for number in range(len(values))]
    runs = [
        run(each, steps=[extract_step(value, schema=None, metadata=evidence(value, keyed))])
        for each, value in zip(documents, values, strict=True)
    ]
    land(file, documents, raw_lines(*runs))
    assert document_problems(file) == []
    columns = "document_id, path, value, ocr_confidence, logprobs_confidence"
    return query(file, f"SELECT {columns} FROM fields ORDER BY ALL")


def evidence(value: Any, keyed: Callable[[Segments], str]) -> Mapping[str, Any]:
    return {
        keyed(at): {"ocrConfidence": number / 1000, "logprobsConfidence": None}
        for number, (at, _) in enumerate(places(value))
    }


name = st.text(st.sampled_from("ab0.[]\"'\\$/ é"), min_size=1, max_size=4) | st.sampled_from(
    ["a.b", "a[0]", "0"]
)
leaf = st.none() | st.booleans() | st.integers(0, 9) | st.text("xy.", max_size=3)
nested = st.dictionaries(
    name,
    st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(name, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
several = st.lists(nested, min_size=1, max_size=8)
few, many = (
    settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    )
    for examples in (4, 40)
)


def check_either_spelling(folders: pytest.TempPathFactory, values: list[Any]) -> None:
    values = [value for value in values if _tells_apart(value)]
    assume(values)
    brackets, dots = (
        landed(folders.mktemp("spelled"), values, lambda at, way=way: spell(at, lambda _: way))  # type: ignore[misc]
        for way in (False, True)
    )
    assert brackets == dots
    expected = {
        (document(number).id, spell(at, lambda _: False)): place / 1000
        for number, value in enumerate(values)
        for place, (at, _) in enumerate(places(value))
    }
    assert {(each, path): confidence for each, path, _, confidence, _ in brackets} == expected


@few
@given(values=several)
def test_any_value_spelled_either_way_leads_to_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    check_either_spelling(tmp_path_factory, values)


@pytest.mark.full
@pytest.mark.timeout(1800)
@many
@given(values=several)
def test_many_values_spelled_either_way_lead_to_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    check_either_spelling(tmp_path_factory, values)


def _tells_apart(value: Any) -> bool:
    """Whether no spelling of one place is a spelling of another one, too."""
    spellings = [{spell(at, lambda _: True), spell(at, lambda _: False)} for at, _ in places(value)]
    return sum(map(len, spellings)) == len(set().union(*spellings))


def check_mixture(folders: pytest.TempPathFactory, values: list[Any], mixed: list[bool]) -> None:
    values = [value for value in values if _folds_apart(value)]
    assume(values)
    brackets, mixture = (
        landed(folders.mktemp("spelled"), values, lambda at, way=way: spell(at, way))  # type: ignore[misc]
        for way in (lambda _: False, mixed.__getitem__)
    )
    assert brackets == mixture


ways = st.lists(st.booleans(), min_size=12, max_size=12)


@few
@given(values=several, mixed=ways)
def test_any_value_spelled_in_a_mixture_leads_to_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], mixed: list[bool]
) -> None:
    check_mixture(tmp_path_factory, values, mixed)


@pytest.mark.full
@pytest.mark.timeout(1800)
@many
@given(values=several, mixed=ways)
def test_many_values_spelled_in_a_mixture_lead_to_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], mixed: list[bool]
) -> None:
    check_mixture(tmp_path_factory, values, mixed)


def _folds_apart(value: Any) -> bool:
    folds = [folded(at) for at, _ in places(value)]
    return len(set(folds) - {""}) == len(folds)
