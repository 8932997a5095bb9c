"""The sample documents carry their truth, and it stands on their pages: every look, type, awkward kind."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import requests

from fixtures.sources.s3 import S3
from sandbox.documents import (
    WORKFLOW_KINDS,
    ExpectedResult,
    SampleObject,
    Truth,
    expected_result,
    generate,
    generate_mail,
)
from sandbox.documents.catalogue import BANKS, SHOPS, VENDORS
from sandbox.reading import (
    SCHEMAS,
    Cell,
    Extraction,
    ReadDocument,
    UnreadableDocument,
    classify,
    cut_pdf,
    empty_value,
    extract,
    find_parts,
    read_document,
)
from sandbox.reading.schemas import leaves
from sandbox.s3 import seed

# The months before have the longest and one of the shortest names.
DAYS = [dt.date(2026, 4, 1), dt.date(2026, 10, 5)]
PER_DAY = 200

Read = tuple[SampleObject, ReadDocument, Extraction]


@pytest.fixture(scope="module")
def samples() -> list[SampleObject]:
    return list(generate(DAYS, PER_DAY, 7))


@pytest.fixture(scope="module")
def documents(samples: list[SampleObject]) -> list[tuple[SampleObject, ReadDocument]]:
    """The readable samples."""
    return [
        (each, read_document(each.data, each.key)) for each in samples if each.truth.status == "PROCESSED"
    ]


@pytest.fixture(scope="module")
def extracted(documents: list[tuple[SampleObject, ReadDocument]]) -> list[Read]:
    return [(sample, doc, extract(doc, sample.truth.kind)) for sample, doc in documents if sample.truth.kind]


def test_each_document_gets_its_class(
    documents: list[tuple[SampleObject, ReadDocument]],
) -> None:
    for sample, doc in documents:
        found = classify(doc)
        assert found.type == (sample.truth.kind or "other"), sample.key
        assert 0.5 < found.confidence < 1


def test_extraction_returns_the_truth_and_fits_the_schema(extracted: list[Read]) -> None:
    validators = {kind: jsonschema.Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}
    assert len(extracted) > 300
    for sample, _, extraction in extracted:
        assert extraction.value == sample.truth.value, sample.key
        assert sample.truth.kind is not None
        validators[sample.truth.kind].validate(extraction.value)
        assert json.loads(json.dumps(extraction.value)) == extraction.value


def test_every_issuer_prints_every_file_type(samples: list[SampleObject]) -> None:
    issuers = {
        "invoice": [vendor.name for vendor in VENDORS],
        "receipt": [shop.name for shop in SHOPS],
        "bank_statement": [bank.name for bank in BANKS],
    }
    suffixes = {"invoice": "pdf txt csv", "receipt": "pdf txt", "bank_statement": "pdf csv"}
    seen = {
        (sample.truth.kind, sample.key.rsplit(".", 1)[1], _issuer(sample.truth))
        for sample in [*samples, *generate(DAYS, PER_DAY, 8)]
        if sample.truth.kind
    }

    assert seen == {
        (kind, suffix, name)
        for kind, names in issuers.items()
        for name in names
        for suffix in suffixes[kind].split()
    }


def _issuer(truth: Truth) -> str:
    assert truth.value is not None
    vendor = truth.value.get("vendor")
    name: str = vendor["name"] if vendor else truth.value.get("merchant") or truth.value["bank"]
    return name


def test_documents_vary_like_real_ones(extracted: list[Read]) -> None:
    pages = Counter(len(doc.pages) for _, doc, _ in extracted if doc.file_type == "PDF")
    invoices = [extraction.value for sample, _, extraction in extracted if sample.truth.kind == "invoice"]

    assert {1, 2, 3} <= set(pages)
    assert {len(invoice["line_items"]) for invoice in invoices} >= {1, 2, 8, 20}
    assert any(invoice["due_date"] is None for invoice in invoices)
    assert any(invoice["vendor"]["tax_id"] is None for invoice in invoices)
    assert any(not invoice["customer"]["name"].isascii() for invoice in invoices)
    assert {invoice["currency"] for invoice in invoices} == {"USD", "GBP", "EUR", "CHF", "CAD"}


def test_invoices_and_statements_add_up(extracted: list[Read]) -> None:
    for sample, _, extraction in extracted:
        value = extraction.value
        if sample.truth.kind == "invoice":
            assert value["subtotal"] == pytest.approx(sum(item["amount"] for item in value["line_items"]))
            assert value["total"] == pytest.approx(value["subtotal"] + value["tax"])
        elif sample.truth.kind == "bank_statement":
            moved = sum(transaction["amount"] for transaction in value["transactions"])
            assert value["closing_balance"] == pytest.approx(value["opening_balance"] + moved)
        for path, field in leaves(value):
            if isinstance(field, float):
                assert re.fullmatch(r"-?\d+\.\d{1,2}", json.dumps(field)), path


def test_every_citation_points_to_text_that_shows_the_value(extracted: list[Read]) -> None:
    for sample, doc, extraction in extracted:
        values = dict(leaves(extraction.value))
        assert set(extraction.metadata) == set(values), sample.key
        for path, value in values.items():
            citations = extraction.metadata[path]["citations"]
            assert bool(citations) == (value is not None), (sample.key, path)
            text = " ".join(_standing_at(citation, doc) for citation in citations)
            assert text == " ".join(citation["referenceText"] for citation in citations)
            if value is not None:
                assert _shows(text, path, value), (sample.key, path, value, text)


def _standing_at(citation: dict[str, Any], doc: ReadDocument) -> str:
    """Return the text that the page itself, read without the truth, has at a citation's place."""
    page = doc.pages[citation["page"]["number"] - 1]
    assert citation["page"] == {"number": page.number, "width": page.width, "height": page.height}
    cells = [cell for line in page.lines for cell in line.cells]
    if doc.file_type == "CSV":
        return _only(cell.text for cell in cells if cell.cell_range == citation["cellRange"])
    corners = [(point["x"], point["y"]) for point in citation["polygon"]]
    assert all(0 <= x <= page.width and 0 <= y <= page.height for x, y in corners)
    return _only(cell.text for cell in cells if _is_at(cell, corners))


def _only(texts: Iterable[str]) -> str:
    found = list(texts)
    assert len(found) == 1
    return found[0]


def _is_at(cell: Cell, corners: Sequence[tuple[float, float]]) -> bool:
    """Return True if a polygon begins where a cell does and is about as large."""
    (left, top), _, (right, bottom), _ = corners
    box = cell.box
    width = box.right - box.left
    # How wide letters are, reading only estimates.
    return (
        abs(left - box.left) < 1
        and abs(top - box.top) < 1
        and abs(bottom - box.bottom) < 1
        and 0.7 * width < right - left < 1.4 * width
    )


def _shows(text: str, path: str, value: float | str) -> bool:
    digits = re.sub(r"\D", "", text)
    if isinstance(value, float):
        counted = path.startswith("items") and path.endswith("quantity") and value == 1
        return counted or re.sub(r"\D", "", f"{value:.2f}").rstrip("0") in digits
    if path == "currency":
        return value in text or {"USD": "$", "GBP": "£"}.get(value, "?") in text
    if path == "payment_method":
        return bool(text)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return value[:4] in text and value[8:].lstrip("0") in text
    return set(re.findall(r"\w+", value)) <= set(re.findall(r"\w+", text))


def test_most_confidences_are_high_and_a_few_are_low(extracted: list[Read]) -> None:
    entries = [entry for _, _, extraction in extracted for entry in extraction.metadata.values()]
    seen = [entry["ocrConfidence"] for entry in entries if entry["ocrConfidence"] is not None]
    sure = [entry["logprobsConfidence"] for entry in entries]

    assert all(0 <= confidence < 1 for confidence in (*seen, *sure))
    assert 0.005 < sum(confidence < 0.75 for confidence in seen) / len(seen) < 0.06
    assert 0 < sum(confidence < 0.75 for confidence in sure) / len(sure) < 0.2
    for _, doc, extraction in extracted:
        if doc.file_type != "PDF":  # not seen through a scanner
            assert {entry["ocrConfidence"] for entry in extraction.metadata.values()} == {None}


@pytest.mark.parametrize("per_day", [16, 40])
def test_each_day_has_every_broken_file_and_difficult_name(per_day: int) -> None:
    objects = list(generate(DAYS[:1], per_day, seed=1))
    names = [sample.key.split("/", 2)[2] for sample in objects]

    assert len(set(names)) == per_day
    for character in (" ", "%", "%20", "+", "#", "?", "&", "Ü", "請"):
        assert any(character in name for name in names), character
    assert max(Counter(sample.data for sample in objects).values()) == 2
    assert Counter((s.truth.status, s.truth.reason, s.truth.code) for s in objects) == {
        ("SKIPPED", "EMPTY_FILE", None): 1,
        ("SKIPPED", "UNSUPPORTED_FILE_TYPE", None): 1,
        ("FAILED", "FAILED_TO_PROCESS_FILE", "CORRUPT_FILE"): 1,
        ("FAILED", "FAILED_TO_PROCESS_FILE", "PASSWORD_PROTECTED_FILE"): 1,
        ("PROCESSED", None, None): per_day - 4,
    }
    assert {s.truth.kind for s in objects} == {"invoice", "receipt", "bank_statement", None}


def test_broken_file_matches_its_truth(samples: list[SampleObject]) -> None:
    awkward = [sample for sample in samples if sample.truth.status != "PROCESSED"]

    assert len(awkward) == 40
    for sample in awkward:
        if sample.truth.reason == "EMPTY_FILE":
            assert sample.data == b""
        elif sample.truth.reason == "UNSUPPORTED_FILE_TYPE":
            assert sample.key.endswith(".zip")
            assert sample.data.startswith(b"PK")
        else:
            with pytest.raises(UnreadableDocument) as caught:
                read_document(sample.data, sample.key)
            assert caught.value.code == sample.truth.code, sample.key


def test_seed_decides_the_bytes() -> None:
    first, again, other = (list(generate(DAYS[:1], 40, number)) for number in (3, 3, 4))

    assert first == again
    assert sum(one.data == two.data for one, two in zip(first, other, strict=True)) == 1  # the empty ones


def test_day_does_not_depend_on_earlier_days() -> None:
    assert list(generate(DAYS, 20, 3))[20:] == list(generate(DAYS[1:], 20, 3))


def test_objects_are_generated_one_by_one() -> None:
    stream = generate([DAYS[0]], 10**9, seed=1)

    assert next(stream).key.startswith(f"documents/{DAYS[0]}/")


def test_every_third_file_of_mail_has_several_documents_that_reading_separates() -> None:
    mail = list(generate_mail(DAYS[:1], 18, seed=2))
    plain = list(generate(DAYS[:1], 18, seed=2, prefix="mail/"))
    assert mail == list(generate_mail(DAYS[:1], 18, seed=2))
    assert [each for each in mail if not each.truth.parts] == [
        each for number, each in enumerate(plain) if number % 3 != 1
    ]
    bundles = [each for each in mail if each.truth.parts]
    assert len(bundles) == 6
    for sample in bundles:
        assert msgspec.json.decode(msgspec.json.encode(sample.truth), type=Truth) == sample.truth
        doc = read_document(sample.data, sample.key)
        assert [(p.classification.type, p.first_page, p.last_page) for p in find_parts(doc)] == [
            (part.type, part.first_page, part.last_page) for part in sample.truth.parts
        ]
        assert sample.truth.parts[-1].last_page == len(doc.pages)
        with pytest.raises(ValueError, match="several documents"):
            expected_result(sample.truth, "workflow_mailroom")


def test_pages_cut_from_a_bundle_carry_only_their_own_truth() -> None:
    _, sample = generate_mail(DAYS[:1], 2, seed=2)
    for part in sample.truth.parts:
        cut = read_document(cut_pdf(sample.data, part.first_page, part.last_page), "part.pdf")
        (found,) = find_parts(cut)
        assert (found.classification.type, found.first_page, found.last_page) == (
            part.type,
            1,
            len(cut.pages),
        )
        if part.type != "other":
            extraction = extract(cut, part.type)
            assert extraction.value == part.value
            for entry in extraction.metadata.values():
                assert all(_standing_at(each, cut) == each["referenceText"] for each in entry["citations"])


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
def test_truth_gives_the_result_of_each_workflow(
    truth: Truth, workflow_id: str, expected: ExpectedResult
) -> None:
    assert expected_result(truth, workflow_id) == expected


def test_unknown_workflow_has_no_expected_result() -> None:
    with pytest.raises(ValueError, match="workflow_mixed"):
        expected_result(Truth("k"), "workflow_unknown")


def test_truth_equals_the_extraction_in_every_workflow(
    documents: list[tuple[SampleObject, ReadDocument]],
) -> None:
    for sample, doc in documents[:30]:
        for workflow_id, kind in WORKFLOW_KINDS.items():
            expected = expected_result(sample.truth, workflow_id)
            if expected.kind is not None:
                assert extract(doc, expected.kind).value == expected.value
                assert kind in (None, expected.kind)


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox.documents", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_writes_files_and_their_truth(tmp_path: Path) -> None:
    out = tmp_path / "sample documents"
    days = ["--days", "2", "--per-day", "20", "--end-date", "2026-11-21"]

    done = _command("--out", str(out), *days, "--seed", "5")

    assert done.returncode == 0, done.stderr
    expected = {each.key: each for each in generate([dt.date(2026, 11, 20), dt.date(2026, 11, 21)], 20, 5)}
    written = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    truth = [msgspec.json.decode(line, type=Truth) for line in written.pop("truth.jsonl").splitlines()]
    assert written == {key: sample.data for key, sample in expected.items()}
    assert truth == [sample.truth for sample in expected.values()]


@pytest.mark.parametrize(
    "arguments", [["--per-day", "0"], ["--end-date", "yesterday"]], ids=lambda each: each[0]
)
def test_command_refuses_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    done = _command("--out", str(tmp_path), *arguments)

    assert done.returncode == 2
    assert arguments[1] in done.stderr


def test_seeded_objects_are_read_by_presigned_url(s3: S3) -> None:
    objects = list(generate(DAYS, 20, seed=2))

    assert seed(s3.endpoint_url, "acme-inbox", iter(objects)) == 40

    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket="acme-inbox")
    listed = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
    assert listed == {sample.key: len(sample.data) for sample in objects}
    for sample in objects[:16]:
        answer = requests.get(s3.presigned_url("acme-inbox", sample.key), timeout=10)
        assert answer.content == sample.data, sample.key


def test_seeding_twice_replaces_objects(s3: S3) -> None:
    (first,), (second,) = (generate(DAYS[:1], 1, seed=number) for number in (2, 3))
    assert (first.key, first.data != second.data) == (second.key, True)
    for each in (first, second):
        seed(s3.endpoint_url, "acme-inbox", [each])

    stored = s3.client.get_object(Bucket="acme-inbox", Key=first.key)["Body"].read()
    assert stored == second.data
