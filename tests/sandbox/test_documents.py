"""The sample documents say what their truth says, for every look, type and awkward kind."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pypdf
import pytest
import requests

from fixtures.s3 import S3
from sandbox.documents import (
    WORKFLOW_KINDS,
    ExpectedResult,
    SampleObject,
    Truth,
    expected_result,
    generate,
    generate_mail,
    read_truth,
    replacement,
)
from sandbox.documents.catalogue import BANKS, SHOPS, VENDORS
from sandbox.reading import (
    SCHEMAS,
    Extraction,
    ReadDocument,
    UnreadableDocument,
    classify,
    empty_value,
    extract,
    find_parts,
    read_document,
)
from sandbox.reading.values import find_dates, parse_amount, parse_currency, parse_quantity, parse_rate
from sandbox.s3 import seed

# The months before have the longest and one of the shortest names.
DAYS = [dt.date(2026, 4, 1), dt.date(2026, 10, 5)]
PER_DAY = 200


@pytest.fixture(scope="module")
def samples() -> list[SampleObject]:
    return [sample for number in (7, 8) for sample in generate(DAYS, PER_DAY, number)]


@pytest.fixture(scope="module")
def read(samples: list[SampleObject]) -> dict[int, ReadDocument]:
    """The readable samples, read once: by their position."""
    return {
        at: read_document(sample.data, sample.key)
        for at, sample in enumerate(samples)
        if sample.truth.status == "PROCESSED"
    }


@pytest.fixture(scope="module")
def extracted(
    samples: list[SampleObject], read: dict[int, ReadDocument]
) -> list[tuple[SampleObject, ReadDocument, Extraction]]:
    return [
        (samples[at], doc, extract(doc, kind))
        for at, doc in read.items()
        if (kind := samples[at].truth.kind) is not None
    ]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, field in value.items():
            yield from leaves(field, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, f"{path}[{at}]")
    else:
        yield path, value


def test_each_document_is_classified_as_what_it_is(
    samples: list[SampleObject], read: dict[int, ReadDocument]
) -> None:
    mistaken = {
        samples[at].key: answer.type
        for at, doc in read.items()
        if (answer := classify(doc)).type != (samples[at].truth.kind or "other")
    }

    assert mistaken == {}
    assert all(0.5 < classify(doc).confidence <= 1 for doc in read.values())


def test_what_is_read_is_exactly_the_truth(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    assert len(extracted) > 600
    for sample, _, extraction in extracted:
        assert extraction.value == sample.truth.value, sample.key


def test_every_look_and_every_type_of_file_is_among_them(samples: list[SampleObject]) -> None:
    seen = Counter(
        (str(sample.truth.kind), sample.key.rsplit(".", 1)[1], _issuer(sample.truth))
        for sample in samples
        if sample.truth.kind
    )

    for issuers, kind, suffixes in (
        (VENDORS, "invoice", ("pdf", "txt", "csv")),
        (SHOPS, "receipt", ("pdf", "txt")),
        (BANKS, "bank_statement", ("pdf", "csv")),
    ):
        for issuer in issuers:
            for suffix in suffixes:
                assert seen[kind, suffix, issuer.name], (kind, suffix, issuer.name)


def _issuer(truth: Truth) -> str:
    assert truth.value is not None
    vendor = truth.value.get("vendor")
    name: str = vendor["name"] if vendor else truth.value.get("merchant") or truth.value["bank"]
    return name


def test_they_are_as_varied_as_real_ones(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    pages = Counter(len(doc.pages) for _, doc, _ in extracted if doc.file_type == "PDF")
    invoices = [extraction.value for sample, _, extraction in extracted if sample.truth.kind == "invoice"]

    assert {1, 2, 3} <= set(pages)
    assert {len(invoice["line_items"]) for invoice in invoices} >= {1, 2, 8, 20}
    assert any(invoice["due_date"] is None for invoice in invoices)
    assert any(invoice["vendor"]["tax_id"] is None for invoice in invoices)
    assert any(not invoice["customer"]["name"].isascii() for invoice in invoices)
    assert {invoice["currency"] for invoice in invoices} == {"USD", "GBP", "EUR", "CHF", "CAD"}


def test_invoices_and_statements_add_up(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    for sample, _, extraction in extracted:
        value = extraction.value
        if sample.truth.kind == "invoice":
            assert value["subtotal"] == pytest.approx(sum(item["amount"] for item in value["line_items"]))
            assert value["total"] == pytest.approx(value["subtotal"] + value["tax"])
        elif sample.truth.kind == "bank_statement":
            moved = sum(transaction["amount"] for transaction in value["transactions"])
            assert value["closing_balance"] == pytest.approx(value["opening_balance"] + moved)


def test_every_value_is_valid_against_its_schema_and_survives_json(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    validators = {kind: jsonschema.Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}
    for sample, _, extraction in extracted:
        assert sample.truth.kind is not None
        validators[sample.truth.kind].validate(extraction.value)
        assert json.loads(json.dumps(extraction.value)) == extraction.value


def test_amounts_print_as_decimals_of_two_places(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    for _, _, extraction in extracted:
        for path, value in leaves(extraction.value):
            if isinstance(value, float):
                assert re.fullmatch(r"-?\d+\.\d{1,2}", json.dumps(value)), path


def test_every_leaf_is_cited_inside_its_page_with_a_text_that_shows_the_value(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    for sample, doc, extraction in extracted:
        values = dict(leaves(extraction.value))
        assert set(extraction.metadata) == set(values), sample.key
        for path, value in values.items():
            citations = extraction.metadata[path]["citations"]
            assert bool(citations) == (value is not None), (sample.key, path)
            for citation in citations:
                _assert_inside_page(citation, doc)
            if value is not None:
                text = " ".join(citation["referenceText"] for citation in citations)
                assert _shows(text, path, value), (sample.key, path, value, text)


def _assert_inside_page(citation: dict[str, Any], doc: ReadDocument) -> None:
    page = doc.pages[citation["page"]["number"] - 1]
    assert citation["page"] == {"number": page.number, "width": page.width, "height": page.height}
    if doc.file_type == "CSV":
        assert re.fullmatch(r"[A-Z]+[1-9]\d*", citation["cellRange"])
        return
    corners = [(point["x"], point["y"]) for point in citation["polygon"]]
    assert len(corners) == 4
    assert all(0 <= x <= page.width + 0.01 and 0 <= y <= page.height + 0.01 for x, y in corners)
    assert corners[0][0] < corners[1][0]
    assert corners[0][1] < corners[2][1]


def _shows(text: str, path: str, value: float | str) -> bool:
    if isinstance(value, float):
        printed = (parse_amount(text), parse_quantity(text), parse_rate(text))
        uncounted_item = path.startswith("items") and path.endswith("quantity") and value == 1
        return abs(value) in [abs(number) for number in printed if number is not None] or uncounted_item
    if path == "currency":
        return parse_currency(text) == value
    if path == "payment_method":
        return bool(text)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return value in find_dates(text) + find_dates(text, month_first=True)
    words = set(re.findall(r"\w+", value))
    return words <= set(re.findall(r"\w+", text))


def test_confidences_are_mostly_high_and_a_few_are_low(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    seen = [
        entry["ocrConfidence"]
        for _, _, extraction in extracted
        for entry in extraction.metadata.values()
        if entry["ocrConfidence"] is not None
    ]

    assert all(0 <= confidence <= 1 for confidence in seen)
    assert 0.005 < sum(confidence < 0.75 for confidence in seen) / len(seen) < 0.06
    by_label = [
        entry["logprobsConfidence"]
        for _, _, extraction in extracted
        for entry in extraction.metadata.values()
    ]
    assert 0 < sum(confidence < 0.75 for confidence in by_label) / len(by_label) < 0.2


def test_text_and_tables_are_not_seen_through_a_scanner(
    extracted: list[tuple[SampleObject, ReadDocument, Extraction]],
) -> None:
    for _, doc, extraction in extracted:
        if doc.file_type != "PDF":
            assert {entry["ocrConfidence"] for entry in extraction.metadata.values()} == {None}


def test_reading_twice_gives_the_same(samples: list[SampleObject]) -> None:
    for sample in samples[:6]:
        first, second = (
            extract(read_document(sample.data, sample.key), sample.truth.kind or "invoice") for _ in range(2)
        )
        assert first == second


@pytest.mark.parametrize("per_day", [16, 40])
def test_each_day_has_every_awkward_kind(per_day: int) -> None:
    for day in DAYS:
        objects = list(generate([day], per_day, seed=1))
        names = [sample.key.split("/", 2)[2] for sample in objects]
        contents = Counter(sample.data for sample in objects)

        assert len(set(names)) == per_day
        for character in (" ", "%", "%20", "+", "#", "?", "&", "Ü", "請"):
            assert any(character in name for name in names), character
        assert max(contents.values()) == 2
        assert Counter((s.truth.status, s.truth.reason, s.truth.code) for s in objects) == {
            ("SKIPPED", "EMPTY_FILE", None): 1,
            ("SKIPPED", "UNSUPPORTED_FILE_TYPE", None): 1,
            ("FAILED", "FAILED_TO_PROCESS_FILE", "CORRUPT_FILE"): 1,
            ("FAILED", "FAILED_TO_PROCESS_FILE", "PASSWORD_PROTECTED_FILE"): 1,
            ("PROCESSED", None, None): per_day - 4,
        }
        assert {s.truth.kind for s in objects} == {"invoice", "receipt", "bank_statement", None}


def test_an_awkward_file_is_unreadable_for_the_reason_that_its_truth_names(
    samples: list[SampleObject],
) -> None:
    unreadable = [sample for sample in samples if sample.truth.status == "FAILED"]

    assert len(unreadable) == 40
    for sample in unreadable:
        with pytest.raises(UnreadableDocument) as caught:
            read_document(sample.data, sample.key)
        assert caught.value.code == sample.truth.code, sample.key


def test_what_is_skipped_is_empty_or_of_an_unsupported_type(samples: list[SampleObject]) -> None:
    for sample in samples:
        if sample.truth.reason == "EMPTY_FILE":
            assert sample.data == b""
        elif sample.truth.reason == "UNSUPPORTED_FILE_TYPE":
            assert sample.key.endswith(".zip")
            assert sample.data.startswith(b"PK")


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    first, again, other = (list(generate(DAYS[:1], 40, number)) for number in (3, 3, 4))

    assert first == again
    assert sum(one.data == two.data for one, two in zip(first, other, strict=True)) == 1  # the empty ones


def test_a_day_does_not_depend_on_the_days_before_it() -> None:
    assert list(generate(DAYS, 20, 3))[20:] == list(generate(DAYS[1:], 20, 3))


def test_the_objects_are_a_stream() -> None:
    stream = generate([DAYS[0]], 10**9, seed=1)

    assert next(stream).key.startswith(f"documents/{DAYS[0]}/")


def test_a_replacement_is_another_readable_document_under_the_same_key() -> None:
    for sample in generate(DAYS[:1], 40, 3):
        if sample.truth.status != "PROCESSED":
            with pytest.raises(ValueError, match="only a readable document"):
                replacement(sample, seed=1)
            continue
        replaced = replacement(sample, seed=1)
        assert replaced.key == replaced.truth.key == sample.key
        assert replaced.data != sample.data
        doc = read_document(replaced.data, replaced.key)
        if replaced.truth.kind:
            assert extract(doc, replaced.truth.kind).value == replaced.truth.value != sample.truth.value


def test_every_third_piece_of_mail_holds_several_documents_that_reading_tells_apart() -> None:
    mail, plain = (
        list(generate_mail(DAYS[:1], 18, seed=2)),
        list(generate(DAYS[:1], 18, seed=2, prefix="mail/")),
    )
    assert mail == list(generate_mail(DAYS[:1], 18, seed=2))
    assert [each for each in mail if not each.truth.parts] == [
        each for number, each in enumerate(plain) if number % 3 != 1
    ]
    bundles = [each for each in mail if each.truth.parts]
    assert len(bundles) == 6
    for sample in bundles:
        assert Truth.from_mapping(json.loads(sample.truth.to_json())) == sample.truth
        found = find_parts(read_document(sample.data, sample.key))
        assert [(part.classification.type, part.first_page, part.last_page) for part in found] == [
            (part.type, part.first_page, part.last_page) for part in sample.truth.parts
        ]
        with pytest.raises(ValueError, match="several documents"):
            expected_result(sample.truth, "workflow_mailroom")


def test_what_says_nothing_of_a_second_document_is_one() -> None:
    writer = pypdf.PdfWriter()
    for _ in range(3):
        writer.add_blank_page(595, 842)
    target = io.BytesIO()
    writer.write(target)
    for data, name, pages in ((target.getvalue(), "blank.pdf", 3), (b"INVOICE\n" * 100, "long.txt", 2)):
        (part,) = find_parts(read_document(data, name))
        assert (part.first_page, part.last_page) == (1, pages)


INVOICE_VALUE = {"invoice_number": "1"}


@pytest.mark.parametrize(
    ("truth", "workflow_id", "expected"),
    [
        pytest.param(
            Truth("k", kind="invoice", value=INVOICE_VALUE),
            "workflow_mixed",
            ExpectedResult("k", "PROCESSED", None, "invoice", INVOICE_VALUE),
            id="mixed extracts what it classified",
        ),
        pytest.param(
            Truth("k"),
            "workflow_mixed",
            ExpectedResult("k", "PROCESSED", None, None, None),
            id="mixed extracts nothing from a letter",
        ),
        pytest.param(
            Truth("k", kind="invoice", value=INVOICE_VALUE),
            "workflow_invoices",
            ExpectedResult("k", "PROCESSED", None, "invoice", INVOICE_VALUE),
            id="own kind",
        ),
        pytest.param(
            Truth("k", kind="invoice", value=INVOICE_VALUE),
            "workflow_receipts",
            ExpectedResult("k", "PROCESSED", None, "receipt", empty_value("receipt")),
            id="another kind has nulls",
        ),
        pytest.param(
            Truth("k", "FAILED", "FAILED_TO_PROCESS_FILE", code="CORRUPT_FILE"),
            "workflow_statements",
            ExpectedResult("k", "FAILED", "FAILED_TO_PROCESS_FILE", None, None),
            id="unreadable",
        ),
    ],
)
def test_the_truth_tells_what_each_workflow_returns(
    truth: Truth, workflow_id: str, expected: ExpectedResult
) -> None:
    assert expected_result(truth, workflow_id) == expected


def test_an_unknown_workflow_has_no_expected_result() -> None:
    with pytest.raises(ValueError, match="workflow_mixed"):
        expected_result(Truth("k"), "workflow_unknown")


def test_the_truth_agrees_with_what_reading_yields_in_every_workflow(samples: list[SampleObject]) -> None:
    for sample in list(samples[:30]):
        for workflow_id, kind in WORKFLOW_KINDS.items():
            expected = expected_result(sample.truth, workflow_id)
            if expected.value is not None and expected.kind is not None:
                doc = read_document(sample.data, sample.key)
                assert extract(doc, expected.kind).value == expected.value
                assert kind in (None, expected.kind)


def test_the_command_writes_files_and_their_truth(tmp_path: Path) -> None:
    out = tmp_path / "sample documents"
    arguments = [
        "--out",
        str(out),
        "--days",
        "2",
        "--per-day",
        "20",
        "--seed",
        "5",
        "--end-date",
        "2026-11-21",
    ]

    subprocess.run([sys.executable, "-m", "sandbox.documents", *arguments], check=True, capture_output=True)

    days = [dt.date(2026, 11, 20), dt.date(2026, 11, 21)]
    expected = {sample.key: sample for sample in generate(days, 20, 5)}
    written = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    truth = list(read_truth(out / "truth.jsonl"))
    del written["truth.jsonl"]
    assert written == {key: sample.data for key, sample in expected.items()}
    assert truth == [sample.truth for sample in expected.values()]


@pytest.mark.parametrize(
    "arguments", [["--per-day", "0"], ["--days", "-1"], ["--end-date", "yesterday"]], ids=lambda each: each[0]
)
def test_the_command_refuses_nonsense(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.documents", "--out", str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert arguments[1] in done.stderr


def test_seeding_stores_every_object_where_a_presigned_url_finds_it(s3: S3) -> None:
    objects = list(generate(DAYS, 40, seed=2))

    assert seed(s3.endpoint_url, "acme-inbox", iter(objects)) == 80

    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket="acme-inbox")
    listed = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
    assert listed == {sample.key: len(sample.data) for sample in objects}
    for sample in objects[:16]:
        answer = requests.get(s3.presigned_url("acme-inbox", sample.key), timeout=10)
        assert answer.content == sample.data, sample.key


def test_seeding_twice_replaces_objects(s3: S3) -> None:
    (original,) = generate(DAYS[:1], 1, seed=2)
    seed(s3.endpoint_url, "acme-inbox", [original])

    changed = replacement(original, seed=1)
    seed(s3.endpoint_url, "acme-inbox", [changed])

    stored = s3.client.get_object(Bucket="acme-inbox", Key=original.key)["Body"].read()
    assert stored == changed.data
