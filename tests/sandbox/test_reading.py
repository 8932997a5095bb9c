"""Reading opens files for real: files that carry no truth, damaged ones, other kinds."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from fpdf import FPDF

from sandbox.documents import PASSWORD
from sandbox.documents.generator import document, protected_statement
from sandbox.reading import (
    CORRUPT_FILE,
    FILE_TYPE_NOT_SUPPORTED,
    PASSWORD_PROTECTED_FILE,
    SCHEMAS,
    Kind,
    UnreadableDocument,
    classify,
    empty_value,
    extract,
    read_document,
)
from sandbox.reading.labels import parse_date, parse_number

KINDS: tuple[Kind, ...] = ("invoice", "receipt", "bank_statement")
INVOICE = """\
Two Rivers Joinery LLP
Tax invoice

Invoice #: 2026/118            Invoice date: 3 March 2026
Bill to: Mrs Ada Wren          Due date: 2/4/2026

Description                            Qty  Unit price       Amount
Fitting of a staircase                12.5       48.00       600.00
Timber, sundry                           1    1,150.00     1,150.00
Subtotal                                                   1,750.00
VAT (20%)                                                    350.00
Total                                                     £2,100.00
"""
STATEMENT = """\
"Account statement"
"Bank","Orwell Savings"
"Account holder","J. Blair, ""Animal"" Farm"
"Account no","0042"
"Currency","GBP"
"Opening balance","(10.00)"
"Date","Details","Amount","Balance"
"2026-01-04","Feed, hay","-1,000.50","(1,010.50)"
"2026-01-09","Eggs","2,000.00","989.50"
"Closing balance","","","989.50"
"""


def read_error(data: bytes, name: str, **options: Any) -> UnreadableDocument:
    with pytest.raises(UnreadableDocument) as caught:
        read_document(data, name, **options)
    return caught.value


def pdf_of_words() -> bytes:
    """A receipt whose every word was drawn by itself, in no order, as some printer drivers do."""
    pdf = FPDF(unit="pt", format=(300, 300))
    pdf.add_page()
    pdf.set_font("Helvetica", size=10)
    words = [
        (20, 140, "Total"), (230, 140, "£7.00"), (20, 30, "Night"), (47, 30, "Owl"), (68, 30, "Books"),
        (20, 60, "Receipt"), (58, 60, "no:"), (75, 60, "N-1"), (20, 75, "Date:"), (47, 75, "5"),
        (55, 75, "May"), (78, 75, "2026"), (20, 155, "Paid"), (43, 155, "by:"), (60, 155, "Cash"),
    ]  # fmt: skip
    for x, baseline, word in words:
        pdf.text(x, baseline, word)
    return bytes(pdf.output())


def test_labels_of_a_text_give_the_fields_of_an_invoice() -> None:
    doc = read_document(INVOICE.encode(), "invoice.txt")

    assert classify(doc).type == "invoice"
    assert extract(doc, "invoice").value == {
        "invoice_number": "2026/118",
        "invoice_date": "2026-03-03",
        "due_date": "2026-04-02",
        "currency": "GBP",
        "vendor": {"name": "Two Rivers Joinery LLP", "address": None, "tax_id": None},
        "customer": {"name": "Mrs Ada Wren", "address": None},
        "line_items": [
            {
                "description": "Fitting of a staircase",
                "quantity": 12.5,
                "unit_price": 48.0,
                "amount": 600.0,
            },
            {"description": "Timber, sundry", "quantity": 1.0, "unit_price": 1150.0, "amount": 1150.0},
        ],
        "subtotal": 1750.0,
        "tax_rate": 20.0,
        "tax": 350.0,
        "total": 2100.0,
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_table_file_is_read_with_any_delimiter(delimiter: str) -> None:
    content = STATEMENT.replace('","', f'"{delimiter}"')

    doc = read_document(content.encode(), "export.csv")

    assert doc.file_type == "CSV"
    assert extract(doc, "bank_statement").value == {
        "bank": "Orwell Savings",
        "account_holder": 'J. Blair, "Animal" Farm',
        "account_number": "0042",
        "currency": "GBP",
        "period_start": None,
        "period_end": None,
        "opening_balance": -10.0,
        "closing_balance": 989.5,
        "transactions": [
            {"date": "2026-01-04", "description": "Feed, hay", "amount": -1000.5, "balance": -1010.5},
            {"date": "2026-01-09", "description": "Eggs", "amount": 2000.0, "balance": 989.5},
        ],
    }


def test_table_file_is_cited_by_cell_address() -> None:
    metadata = extract(read_document(STATEMENT.encode(), "a.csv"), "bank_statement").metadata

    assert metadata["transactions[0].amount"] == {
        "ocrConfidence": None,
        "logprobsConfidence": 0.995,
        "citations": [
            {
                "page": {"number": 1, "width": 384.0, "height": 120.0},
                "referenceText": "-1,000.50",
                "cellRange": "C8",
            }
        ],
    }


def test_words_of_a_pdf_are_joined_by_their_places() -> None:
    doc = read_document(pdf_of_words(), "words.pdf")

    assert classify(doc).type == "receipt"
    value = extract(doc, "receipt").value
    assert value["merchant"] == "Night Owl Books"
    assert value["receipt_number"] == "N-1"
    assert value["purchased_on"] == "2026-05-05"
    assert value["payment_method"] == "cash"
    assert (value["total"], value["currency"], value["tax"]) == (7.0, "GBP", None)


def test_pdf_citation_is_where_the_text_was_drawn() -> None:
    doc = read_document(pdf_of_words(), "words.pdf")

    (citation,) = extract(doc, "receipt").metadata["total"]["citations"]

    assert citation["page"] == {"number": 1, "width": 300.0, "height": 300.0}
    assert citation["referenceText"] == "£7.00"
    xs, ys = [point["x"] for point in citation["polygon"]], [point["y"] for point in citation["polygon"]]
    assert min(xs) == pytest.approx(230, abs=0.5)
    assert max(xs) == pytest.approx(230 + 25, abs=3)  # five glyphs of ten points
    assert min(ys) < 140 < max(ys)
    assert max(ys) - min(ys) == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        pytest.param(b"", "a.pdf", CORRUPT_FILE, id="empty"),
        pytest.param(
            b"%PDF-1.7\n" + bytes(range(256)), "a.pdf", CORRUPT_FILE, id="noise after a PDF's signature"
        ),
        pytest.param(pdf_of_words()[:700], "a.pdf", CORRUPT_FILE, id="upload that broke off"),
        pytest.param(b"not a pdf at all", "a.pdf", CORRUPT_FILE, id="text named pdf"),
        pytest.param(b"PK\x03\x04", "a.zip", FILE_TYPE_NOT_SUPPORTED, id="archive"),
        pytest.param(b"\xff\xd8\xff", "a.jpg", FILE_TYPE_NOT_SUPPORTED, id="image without text"),
        pytest.param(b"a\0b", "a.txt", CORRUPT_FILE, id="binary named txt"),
        pytest.param(b"a\0b", "", CORRUPT_FILE, id="binary without a name"),
    ],
)
def test_unreadable_file_fails_with_extends_code(data: bytes, name: str, code: str) -> None:
    error = read_error(data, name)

    assert error.code == code
    assert str(error).startswith(f"{name}: ")


def test_damaged_pdf_is_read_or_fails_as_corrupt() -> None:
    rng, whole = random.Random(5), pdf_of_words()
    codes = set()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 10, 60))):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        try:
            doc = read_document(bytes(data), "a.pdf")
            extract(doc, "receipt")
            codes.add("read")
        except UnreadableDocument as error:
            codes.add(error.code)

    assert codes == {"read", CORRUPT_FILE}


def test_protected_pdf_opens_only_with_its_password() -> None:
    data = protected_statement(random.Random(1), dt.date(2026, 11, 21))

    assert read_error(data, "a.pdf").code == PASSWORD_PROTECTED_FILE
    wrong = read_error(data, "a.pdf", password="guess")
    assert wrong.code == PASSWORD_PROTECTED_FILE
    assert "guess" not in str(wrong)
    assert classify(read_document(data, "a.pdf", password=PASSWORD)).type == "bank_statement"


def test_password_is_ignored_for_an_unprotected_file() -> None:
    assert read_document(pdf_of_words(), "a.pdf", password="needless").pages


def test_pdf_is_recognised_by_its_content() -> None:
    assert read_document(pdf_of_words(), "upload.txt").file_type == "PDF"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_decoded_from_the_usual_encodings(encoding: str) -> None:
    assert read_document("Grüße, 12 €".encode(encoding), "a.txt").text == "Grüße, 12 €"


def test_long_text_is_laid_out_on_pages() -> None:
    doc = read_document("\n".join(f"line {number}" for number in range(150)).encode(), "a.txt")

    assert [page.number for page in doc.pages] == [1, 2, 3]
    assert doc.lines[66].text == "line 66"
    assert doc.lines[66].cells[0].box.top == 0


@pytest.mark.parametrize(
    "text",
    ["", "   \n ", "Dear Sir, the invoice follows.", "lorem ipsum " * 500, "一二三", "{}[]:;,."],
    ids=["nothing", "blanks", "a letter about an invoice", "long", "chinese", "punctuation"],
)
def test_text_of_unknown_kind_gives_no_fields(text: str) -> None:
    doc = read_document(f"{text} ".encode(), "a.txt")

    assert classify(doc).type == "other"
    for kind in KINDS:
        assert extract(doc, kind).value == empty_value(kind)


def test_document_of_another_kind_has_none_of_the_fields() -> None:
    doc = read_document(INVOICE.encode(), "invoice.txt")

    extraction = extract(doc, "bank_statement")

    assert extraction.value == empty_value("bank_statement")
    assert all(entry["citations"] == [] for entry in extraction.metadata.values())
    assert "opening_balance" in extraction.metadata


def test_document_without_fields_is_read_without_error() -> None:
    doc = read_document(b"INVOICE\nInvoice number:\nInvoice date:\nDue date:\nBill to", "a.txt")

    assert classify(doc).type == "invoice"
    value = extract(doc, "invoice").value
    assert value["invoice_number"] is None
    assert value["line_items"] == []
    jsonschema.validate(value, SCHEMAS["invoice"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.56", 1234.56),
        ("1.234,56", 1234.56),
        ("1 234,56 EUR", 1234.56),
        ("CHF 1'234.56", 1234.56),
        ("$0.05", 0.05),
        ("-12.00", -12.0),
        ("(1,234.56)", -1234.56),
        ("-0.00", 0.0),
        ("1,234", 1234.0),
        ("12.5", 12.5),
        ("none", None),
    ],
)
def test_number_is_read_in_the_formats_of_several_countries(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-02", "2026-11-02"),
        ("02/11/2026", "2026-11-02"),
        ("11/22/2026", "2026-11-22"),
        ("02.11.2026", "2026-11-02"),
        ("2 November 2026", "2026-11-02"),
        ("November 2, 2026", "2026-11-02"),
        ("30.02.2026", None),
        ("soon", None),
    ],
)
def test_date_is_read_in_the_formats_of_several_countries(text: str, day: str | None) -> None:
    assert parse_date(text) == day


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_truth_of_an_edited_text_is_ignored(suffix: str) -> None:
    data, known = document(random.Random(3), dt.date(2026, 11, 21), "invoice", suffix)
    name, value = f"a{suffix}", known.value
    assert value is not None
    assert b"truth" not in read_document(data, name).text.encode()
    assert extract(read_document(data, name), "invoice").value == value

    edited = read_document(data.replace(value["invoice_number"].encode(), b"N-1"), name)

    assert edited.known == ()
    assert extract(edited, "invoice").value["invoice_number"] == "N-1"


def test_truncated_sample_does_not_open() -> None:
    data, _ = document(random.Random(3), dt.date(2026, 11, 21), "invoice", ".pdf")

    assert read_document(data, "a.pdf").known
    assert read_error(data[: len(data) // 2], "a.pdf").code == CORRUPT_FILE


def primitives(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for field in schema["properties"].values():
        if field.get("type") == "object":
            yield from primitives(field)
        elif field.get("type") == "array":
            yield from primitives(field["items"])
        else:
            yield field


def objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if schema.get("type") == "object":
        yield schema
        for field in schema["properties"].values():
            yield from objects(field)
    elif schema.get("type") == "array":
        yield from objects(schema["items"])


@pytest.mark.parametrize("kind", KINDS)
def test_schema_follows_extends_rules_for_extractors(kind: Kind) -> None:
    schema = SCHEMAS[kind]

    jsonschema.Draft202012Validator.check_schema(schema)
    for field in primitives(schema):
        assert field["description"]
        nullable = field["enum"] if "enum" in field else field["type"]
        assert (None if "enum" in field else "null") in nullable
        if "extend:type" in field:
            assert (field["extend:type"], field["type"]) == ("date", ["string", "null"])
    for node in objects(schema):
        assert node["required"] == list(node["properties"])
    jsonschema.validate(empty_value(kind), schema)
