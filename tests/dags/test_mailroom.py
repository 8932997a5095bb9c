"""A workflow with every kind of step, whole: documents split, extractions merged, rules, a router."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.airflow.dag_runs import Outside, everything
from sandbox.documents import Truth, expected_result, generate_mail
from sandbox.reading import read_document
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.nightly.verify import differences, places

RunDag = Callable[..., Any]

GUIDE = Path(__file__).parents[2] / "docs" / "tables.md"
DAY = dt.date(2026, 11, 19)
WORKFLOW = "workflow_mailroom"
PREFIX = "documents/"
REVIEWED, FAILED_ONCE, FAILED = "bundle-00004.pdf", "bundle-00007.pdf", "bundle-00010.pdf"
OUTCOMES = [
    {"status": "NEEDS_REVIEW", "name_glob": REVIEWED},
    {"status": "FAILED", "name_glob": FAILED_ONCE, "first_attempts": 1},
    {"status": "FAILED", "name_glob": FAILED, "reason": "INVALID_WORKFLOW", "message": "no such step"},
]
LINES = ("line_items", "subtotal", "tax_rate", "tax", "total")
SUMS = (
    "Positions make the subtotal",
    "Positions are quantity times price",
    "Subtotal and tax make the total",
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A document by itself, or in a file with others: from which of its pages on, to which."""

    key: str
    type: str
    value: Mapping[str, Any] | None
    first_page: int | None = None
    last_page: int | None = None

    @property
    def place(self) -> tuple[str, int | None]:
        """What tells it from all others."""
        return self.key, self.first_page

    def extractions(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield what each extractor has to find in it, by the extractor's table."""
        if self.value is None:
            return
        yield self.type, self.value
        if self.type == "invoice":
            yield "invoice_lines", {name: self.value[name] for name in LINES}
            yield "invoice_head", {n: value for n, value in self.value.items() if n not in LINES}

    def checks(self) -> Iterator[tuple[str, bool]]:
        """Yield what rules there are for it, and whether it keeps them: no invented sum is wrong."""
        if self.type == "invoice" and self.value is not None:
            yield from ((name, True) for name in SUMS)
            yield "Due after its date", self.value["due_date"] is not None
        if self.type == "bank_statement":
            yield "Bookings lead to the closing balance", True
            yield "Each balance follows", True

    def branch(self) -> str | None:
        """Return the way that the router takes with it."""
        if self.type != "invoice" or self.value is None or 500 <= self.value["total"] < 10_000:
            return None
        return "Small amount" if self.value["total"] < 500 else "Large amount"


@pytest.fixture
def mail(outside: Outside) -> dict[str, bytes]:
    """A day's mail in S3, by key, and Extend as it is on a bad day."""
    outside.extend.configure(outcomes=OUTCOMES)
    found = {}
    for sample in generate_mail([DAY], 16, 5, PREFIX):
        outside.put(sample.key, sample.data)
        found[sample.key] = sample.data
    return found


def truths() -> list[Truth]:
    return [sample.truth for sample in generate_mail([DAY], 16, 5, PREFIX)]


def pieces() -> Iterator[Piece]:
    """Yield the documents that can be read and were, each by itself."""
    for truth in truths():
        if truth.status != "PROCESSED" or truth.key.endswith(FAILED):
            continue
        if not truth.parts:
            yield Piece(truth.key, truth.kind or "other", truth.value)
        for part in truth.parts:
            yield Piece(truth.key, part.type, part.value, part.first_page, part.last_page)


def land(outside: Outside, run_dag: RunDag, **conf: Any) -> None:
    source = f"s3://{outside.bucket}/{PREFIX}{DAY}/"
    run = run_dag(
        "extend_on_demand", logical_date=None, run_conf={"source": source, "workflow_id": WORKFLOW, **conf}
    )
    assert run.state == "success"


def extracted(path: Path) -> Counter[Any]:
    """Return all that has landed in the extractors' tables: place of the document, table, values."""
    with LandedWarehouse(path) as warehouse:
        files = dict(
            warehouse.rows(
                """SELECT (document_id, file_id), (key, start_page)
                   FROM extend.files JOIN extend.documents USING (document_id, run_id)"""
            )
        )
        return Counter(
            (files[each.document_id, each.file_id or ""], each.table, comparable(each.values.items()))
            for each in warehouse.extractions(WORKFLOW, "")
        )


def comparable(values: Any) -> frozenset[tuple[Any, str]]:
    """Return values by place, as texts that are the same for a float and a decimal, a day and its name."""
    return frozenset(
        (place, f"{value:.4f}" if isinstance(value, float) or hasattr(value, "quantize") else str(value))
        for place, value in values
    )


def expected() -> Counter[Any]:
    return Counter(
        (piece.place, table, comparable(places(value)))
        for piece in pieces()
        for table, value in piece.extractions()
    )


def assert_landed(outside: Outside, mail: Mapping[str, bytes]) -> None:
    """Every result is in its place and is what is in the files."""
    ended: dict[str, tuple[str, str | None]] = {t.key: (t.status, t.reason) for t in truths()}
    folder = f"{PREFIX}{DAY}/"
    ended |= {
        f"{folder}{REVIEWED}": ("NEEDS_REVIEW", None),
        f"{folder}{FAILED}": ("FAILED", "INVALID_WORKFLOW"),
    }
    assert outside.statuses() == ended
    assert outside.rows(f"SELECT attempts FROM extend.documents WHERE name = '{FAILED_ONCE}'") == [(2,)]
    assert extracted(outside.warehouse) == expected()
    assert_the_sandbox_finds_no_difference(outside)
    assert_files(outside)
    assert_steps(outside)
    assert_evidence(outside, mail)
    assert_the_printed_queries_answer(outside)


def assert_the_sandbox_finds_no_difference(outside: Outside) -> None:
    """What ``make run`` compares would agree: files with one document each, as with any other workflow."""
    single = [expected_result(truth, WORKFLOW) for truth in truths() if not truth.parts]
    keys = {result.key for result in single}
    with LandedWarehouse(outside.warehouse) as warehouse:
        landed = [row for row in warehouse.documents(WORKFLOW, "") if row[0] in keys]
    assert list(differences(single, landed)) == []


def assert_files(outside: Outside) -> None:
    """Each split file is under its parent, with its pages there."""
    found = outside.rows(
        """SELECT document.key, child.split_type, child.start_page, child.end_page, child.document_page,
                  child.page_count, parent.name
           FROM extend.files AS child
           JOIN extend.files AS parent ON parent.file_id = child.parent_file_id
           JOIN extend.documents AS document ON document.run_id = child.run_id"""
    )
    assert Counter(found) == Counter(
        (
            *(piece.key, piece.type, piece.first_page, piece.last_page, piece.first_page),
            *(piece.last_page - piece.first_page + 1, piece.key.rpartition("/")[2]),
        )
        for piece in pieces()
        if piece.first_page is not None and piece.last_page is not None
    )


def assert_steps(outside: Outside) -> None:
    """Each classification, rule and branch is there, for the file that it is about."""
    classified = dict(
        outside.rows(
            """SELECT key, classification FROM extend.steps JOIN extend.documents USING (document_id, run_id)
               WHERE step_type = 'CLASSIFY' AND steps.status = 'PROCESSED'"""
        )
    )
    assert classified == {
        piece.key: "several_documents" if piece.first_page else piece.type for piece in pieces()
    }
    parsed = "SELECT count(*), count(output), min(credits) FROM extend.steps WHERE step_type = 'PARSE'"
    ((count, texts, least),) = outside.rows(parsed)
    assert (count, texts) == (sum(status != "SKIPPED" for status, _ in outside.statuses().values()) - 1, 0)
    assert least == 0
    checked = outside.rows(
        """SELECT key, files.start_page, checks.name, checks.passed
           FROM extend.checks JOIN extend.steps USING (document_id, run_id, step_idx)
           JOIN extend.files USING (document_id, run_id, file_id)
           JOIN extend.documents USING (document_id, run_id)"""
    )
    assert Counter(checked) == Counter(
        (*piece.place, name, passed) for piece in pieces() for name, passed in piece.checks()
    )
    verdicts = outside.rows(
        """SELECT key, files.start_page, bool_and(steps.passed), max(branch)
           FROM extend.steps JOIN extend.files USING (document_id, run_id, file_id)
           JOIN extend.documents USING (document_id, run_id)
           WHERE step_type IN ('RULE_VALIDATION', 'ROUTER') GROUP BY ALL"""
    )
    assert Counter(verdicts) == Counter(
        (*piece.place, all(passed for _, passed in piece.checks()), piece.branch())
        for piece in pieces()
        if list(piece.checks())
    )


def assert_evidence(outside: Outside, mail: Mapping[str, bytes]) -> None:
    """Each field's quotation stands on the page of the document that the field names."""
    pages = {
        (key, page.number): page.lines
        for key in {piece.key for piece in pieces()}
        for page in read_document(mail[key], key).pages
    }
    cited = outside.rows(
        """SELECT key, document_page + page - 1, reference_text, path
           FROM extend.fields JOIN extend.files USING (document_id, run_id, file_id)
           JOIN extend.documents USING (document_id, run_id) WHERE page IS NOT NULL"""
    )
    assert len(cited) > 1000
    stray = [
        row
        for row in cited
        if row[2] not in {cell.text for line in pages[row[0], row[1]] for cell in line.cells}
    ]
    assert stray == []
    doubted = outside.rows(
        "SELECT key, page FROM extend.low_confidence_fields JOIN extend.documents USING (uri)"
    )
    assert doubted
    assert {*doubted} <= {(key, number) for key, number, _, _ in cited} | {(key, None) for key in mail}


def assert_the_printed_queries_answer(outside: Outside) -> None:
    """What the guide shows of split documents and broken rules is true of this mail."""
    section = GUIDE.read_text().partition("```sql")[2].partition("```")[0]
    queries = section.split("\n\n")
    invoices, broken = (outside.rows(query) for query in queries[-2:])
    assert all([outside.rows(query) for query in queries][1:3])
    assert Counter((row[1], row[2]) for row in invoices) == Counter(
        (piece.first_page, piece.last_page) for piece in pieces() if piece.type == "invoice"
    )
    assert Counter((row[3], row[4]) for row in broken) == Counter(
        (piece.first_page or 1, name) for piece in pieces() for name, passed in piece.checks() if not passed
    )


def test_every_result_of_a_days_mail_has_its_place(
    outside: Outside, run_dag: RunDag, mail: dict[str, bytes]
) -> None:
    land(outside, run_dag)
    assert_landed(outside, mail)
    landed, asked = everything(outside.warehouse), outside.extend.stats()["requests"]

    # Once more from the raw zone, beside the tables and over them.
    assert (
        run_dag("extend_replay", logical_date=None, run_conf={"into_dataset": "rebuilt"}).state == "success"
    )
    assert everything(outside.warehouse, "rebuilt") == landed
    assert run_dag("extend_replay", logical_date=None, run_conf={"again": True}).state == "success"
    again = everything(outside.warehouse)
    # The ledger tells what the last load of each part has found, where the one before it found nothing.
    assert {name: rows for name, rows in again.items() if name != "loads"} == {
        name: rows for name, rows in landed.items() if name != "loads"
    }
    assert outside.extend.stats()["requests"] == asked

    # A reviewer's word on one of the documents in a file is in that one's rows alone.
    ((run_id, statement, key, place),) = outside.rows(
        f"""SELECT run_id, processor_run_id, key, start_page
            FROM extend.steps JOIN extend.files USING (document_id, run_id, file_id)
            JOIN extend.documents USING (document_id, run_id)
            WHERE documents.name = '{REVIEWED}' AND processor_name = 'Bank statement' LIMIT 1"""
    )
    outside.extend.review(run_id, "approve", edits={"bank": "Another bank"}, extraction=statement)
    assert run_dag("extend_reviews", logical_date=dt.datetime.now(dt.UTC)).state == "success"
    assert outside.rows(f"SELECT status, reviewed FROM extend.documents WHERE run_id = '{run_id}'") == [
        ("PROCESSED", True)
    ]
    assert outside.rows(
        """SELECT key, start_page, path, fields.value FROM extend.fields
           JOIN extend.files USING (document_id, run_id, file_id)
           JOIN extend.documents USING (document_id, run_id) WHERE fields.edited"""
    ) == [(key, place, "bank", "Another bank")]
    assert outside.rows("SELECT count(*) FROM extend.bank_statement WHERE bank = 'Another bank'") == [(1,)]


@pytest.mark.full
def test_the_older_api_version_lands_the_same(
    outside: Outside, run_dag: RunDag, mail: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", outside.extend.connection_json("2025-04-21"))
    land(outside, run_dag, glob="bundle-0000*")
    assert extracted(outside.warehouse) == Counter(
        {each: count for each, count in expected().items() if "/bundle-0000" in each[0][0]}
    )
    bundled = [piece for piece in pieces() if "/bundle-0000" in piece.key]
    checks = Counter(check for piece in bundled for check in piece.checks())
    assert Counter(outside.rows("SELECT name, passed FROM extend.checks")) == checks
    verdicts = Counter(
        all(passed for _, passed in piece.checks()) for piece in bundled if list(piece.checks())
    )
    found = outside.rows("SELECT passed FROM extend.steps WHERE step_type = 'RULE_VALIDATION'")
    assert Counter(passed for (passed,) in found) == verdicts
    # It does not say of which of the files.
    assert outside.rows("SELECT DISTINCT file_id FROM extend.steps WHERE step_type = 'RULE_VALIDATION'") == [
        (None,)
    ]
