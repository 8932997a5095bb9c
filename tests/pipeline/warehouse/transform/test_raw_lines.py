"""Lines of the raw zone mean the same whether their large texts are cut out or decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.transform.raw_lines import RawLine, exact_text, read_raw_line
from extend_provider.client.models import WorkflowRun
from extend_provider.client.wire import wire_for
from fixtures.warehouse.files import land, query
from fixtures.warehouse.runs import (
    INVOICE,
    INVOICE_SCHEMA,
    classify_step,
    document,
    extract_step,
    raw_lines,
    run,
    run_of_2025,
)

DOCUMENT = document(1)
LONG = "what makes a text worth cutting out " * 10


def whole(line: bytes) -> WorkflowRun:
    """Return the run of a line that is decoded as a whole."""
    record = json.loads(line)
    return wire_for(record["api_version"]).parse_run(record["run"])


def results(raw: RawLine) -> list[Any]:
    """Return the value, evidence, value before the review and schema of each result, decoded again."""
    return [
        None if part is None else json.loads(raw.text(part))
        for step in raw.run.steps
        if step.result is not None
        for part in (
            step.result.value,
            step.result.metadata,
            step.result.initial and step.result.initial.value,
            step.result.schema,
        )
    ]


def expected(read: WorkflowRun) -> list[Any]:
    return results(RawLine(read, repaired=False, approval=None))


def reviewed(value: Any, initial: Any) -> dict[str, Any]:
    step = extract_step(value)
    step["result"]["extractRun"] |= {"reviewed": True, "initialOutput": {"value": initial, "metadata": {}}}
    return step


REFERENCES: dict[str, Any] = {"references": [], "confidence": 0.9}


def of_fields(more: dict[str, Any] = REFERENCES, **fields: Any) -> dict[str, Any]:
    """Return the step of an extractor defined by a list of fields: its output is a flat map of them."""
    step = extract_step({})
    about = {"id": "f1", "type": "string", **more}
    step["result"]["extractRun"]["output"] = {key: {**about, "value": value} for key, value in fields.items()}
    return step


def of_schemas(value: Any) -> dict[str, Any]:
    """Return a step whose value comes before its schema, as Extend sends them."""
    step = extract_step(value)
    step["result"]["extractRun"]["config"] = step["result"]["extractRun"].pop("config")
    return step


LINES = {
    "an invoice": raw_lines(run(DOCUMENT)),
    "2025-04-21": raw_lines(run_of_2025(DOCUMENT, {**INVOICE, "note": LONG}), api_version="2025-04-21"),
    "the same text thrice": raw_lines(
        run(DOCUMENT, steps=[reviewed(INVOICE, INVOICE), extract_step(INVOICE)])
    ),
    "a text within a text": raw_lines(
        run(DOCUMENT, steps=[extract_step({"copy": INVOICE, **INVOICE}), extract_step(INVOICE)])
    ),
    "its schema within its value": raw_lines(run(DOCUMENT, steps=[of_schemas({"copy": INVOICE_SCHEMA})])),
    "its schema within a list": raw_lines(run(DOCUMENT, steps=[of_schemas([INVOICE_SCHEMA, LONG])])),
    "its text in a string": raw_lines(run(DOCUMENT, {**INVOICE, "note": json.dumps(INVOICE)})),
    "fields-array": raw_lines(run(DOCUMENT, steps=[of_fields(total=LONG, other="x")])),
    "a field called value": raw_lines(run(DOCUMENT, steps=[of_fields(value=LONG, metadata=LONG)])),
    "a field called value, without references": raw_lines(
        run(DOCUMENT, steps=[of_fields({}, value=LONG, other="x")])
    ),
    "other steps": raw_lines(run(DOCUMENT, steps=[classify_step(), {"id": "s", "result": {"note": LONG}}])),
    "no steps": raw_lines(run(DOCUMENT, steps=[])),
    "a step of another shape": raw_lines(run(DOCUMENT, steps=[{"result": [1]}, extract_step(INVOICE)])),
}


@pytest.mark.parametrize("line", [line for (line,) in LINES.values()], ids=LINES)
def test_what_is_cut_out_is_what_would_have_been_decoded(line: bytes) -> None:
    raw = read_raw_line(line, "line")
    assert results(raw) == expected(whole(line))
    assert [step.type for step in raw.run.steps] == [step.type for step in whole(line).steps]


def test_little_is_left_to_decode() -> None:
    (line,) = raw_lines(run(DOCUMENT, {**INVOICE, "note": LONG * 100}))
    assert sum(map(len, read_raw_line(line, "line").cuts)) > 0.9 * len(line)


def test_what_a_reviewer_changed_is_kept_if_it_is_all_of_the_value(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    before, after = ({**INVOICE, "note": f"{word} " * 50} for word in ("before", "after"))
    answer = extract_step(after)
    extraction = answer["result"]["extractRun"]
    edits = {"": {"originalValue": before, "editedValue": after}}
    # The texts of the values stand in the edits first.
    answer["result"]["extractRun"] = {
        "edits": edits,
        "initialOutput": {"value": before, "metadata": {}},
        **extraction,
        "reviewed": True,
        "edited": True,
    }
    land(file, [DOCUMENT], raw_lines(run(DOCUMENT, steps=[answer])))
    ((kept,),) = query(file, "SELECT edits::VARCHAR FROM runs")
    assert json.loads(kept) == {"exr_1": edits}
    notes = query(file, "SELECT value, machine_value FROM fields WHERE path = 'note'")
    assert notes == [("after " * 50, "before " * 50)]


@pytest.mark.parametrize("last", ["config", "output", "id"])
def test_large_texts_are_cut_out_in_whatever_order_they_come(last: str) -> None:
    step = extract_step({**INVOICE, "note": LONG}, metadata={"note": {"ocrConfidence": 0.5, "note": LONG}})
    extraction = step["result"]["extractRun"]
    extraction[last] = extraction.pop(last)
    (line,) = raw_lines(run(DOCUMENT, steps=[step]))
    cuts = [json.loads(cut) for cut in read_raw_line(line, "line").cuts]
    assert len(cuts) == 3
    for large in (*extraction["output"].values(), extraction["config"]["schema"]):
        assert large in cuts


def test_a_cut_text_is_byte_for_byte_what_was_received() -> None:
    (line,) = raw_lines(run(DOCUMENT, {"note": LONG, "amount": "?"}))
    raw = read_raw_line(line.replace(b'"?"', b"1.50"), "line")
    value = raw.run.steps[0].result
    assert value is not None
    assert value.value is not None
    assert raw.text(value.value) == b'{"note": "%s", "amount": 1.50}' % LONG.encode()


text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda values: st.lists(values, max_size=5) | st.dictionaries(text, values, max_size=5),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(value=st.dictionaries(text, anything), initial=st.dictionaries(text, anything))
def test_whatever_the_values_are_nothing_is_lost_by_cutting(value: Any, initial: Any) -> None:
    step = reviewed({**value, "long": LONG}, {**initial, "longer": LONG})
    (line,) = raw_lines(run(DOCUMENT, steps=[step]))
    assert results(read_raw_line(line, "line")) == expected(whole(line))


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("1.50", b"1.50"),
        ("123456789012345", b"123456789012345"),
        ("0.1234567890123", b"0.1234567890123"),
        ("1e-300", b"1e-300"),
        ("0.1234567890123456", b"0.1234567890123456"),  # a double's own digits
        ("0.12345678901234567890", b'"0.12345678901234567890"'),
        ("12345678901234567890.5", b'"12345678901234567890.5"'),
        ("1e-400", b'"1e-400"'),
        ("-1E-0400", b'"-1E-0400"'),
        ("123456789012345678901234567890", b'"123456789012345678901234567890"'),
    ],
)
def test_a_number_that_a_double_would_not_keep_becomes_its_text(number: str, kept: bytes) -> None:
    assert exact_text(b'{"a":%s}' % number.encode()) == b'{"a":%s}' % kept


@pytest.mark.parametrize("junk", [b"{", b"[]", b"", b'{"api_version":"2026-02-09"}', b"[" * 100_000])
def test_what_is_no_run_is_named_and_never_shown(junk: bytes) -> None:
    with pytest.raises(WarehouseError, match=r"^Line 7 is not a run that can be read \(\w+\)") as caught:
        read_raw_line(junk, "Line 7")
    assert caught.value.__cause__ is caught.value.__context__ is None
