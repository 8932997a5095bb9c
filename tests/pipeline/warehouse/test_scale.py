"""What landing costs. Run ``python tests/pipeline/warehouse/test_scale.py 100000`` for other sizes."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.transform import parse
from extend_pipeline.warehouse.transform.values import large_values
from fixtures.warehouse.crashes import dying_after
from fixtures.warehouse.files import contents, land, provenance, query, warehouse
from fixtures.warehouse.parts import parts_of_every_kind
from fixtures.warehouse.runs import (
    WORKFLOW,
    document,
    evidence,
    extract_step,
    many_lines,
    raw_lines,
    run,
)

#: What a process that lands a chunk may use, whatever the chunk's size.
MOST_MEGABYTES = 400
#: Extractions that fill two pages of 32 MB of memory.
SHORT_ONES = 16_000


def measure(documents: int) -> dict[str, Any]:
    """Land ``documents`` documents twice, then ask which of twice as many have not landed."""
    figures: dict[str, Any] = {"documents": documents}
    with tempfile.TemporaryDirectory() as folder:
        raw, file = Path(folder) / "part.jsonl", Path(folder) / "warehouse.duckdb"
        with raw.open("wb") as lines:
            lines.writelines(many_lines(documents))
        figures["raw_megabytes"] = raw.stat().st_size // 10**6
        for name in ("first_seconds", "again_seconds"):
            started = time.perf_counter()
            with raw.open("rb") as lines:
                landing = land(
                    file, map(document, range(documents)), lines, origin=provenance(raw_uri="raw/1")
                )
            figures[name] = round(time.perf_counter() - started, 2)
        figures["rows"] = sum(landing.rows.values())
        started = time.perf_counter()
        with warehouse(file) as opened:
            candidates = map(document, range(2 * documents))
            left = sum(1 for _ in opened.unlanded(candidates, workflow_id=WORKFLOW, version=None))
        figures["unlanded"], figures["unlanded_seconds"] = left, round(time.perf_counter() - started, 2)
    figures["peak_megabytes"] = peak_megabytes()
    return figures


#: Characters of a large value, and how many of a part's documents have one.
LARGE, LARGE_ONES = 10_000_000, 16
TEXT_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


def measure_large() -> dict[str, Any]:
    """Land 40 documents, some of them with a value of 10 MB."""
    lines = (
        raw_lines(
            run(
                document(number),
                steps=[
                    extract_step(
                        {"text": chr(97 + number % 26) * (LARGE if number < LARGE_ONES else 9)},
                        schema=TEXT_SCHEMA,
                    )
                ],
            )
        )[0]
        for number in range(40)
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "warehouse.duckdb"
        landing = land(file, map(document, range(40)), lines)
        peak = peak_megabytes()
        lengths = (
            "SELECT length(text), count(*), count(DISTINCT text) FROM invoices GROUP BY ALL ORDER BY ALL"
        )
        return {"documents": landing.documents, "peak_megabytes": peak, "texts": query(file, lengths)}


#: Lines of one document's list; a bank statement of a busy year has as many.
LIST_LINES = 25_000
_LINE = {"type": "object", "properties": {key: {"type": "string"} for key in ("day", "text", "amount")}}
LIST_SCHEMA = {"type": "object", "properties": {"lines": {"type": "array", "items": _LINE}}}


def measure_lists() -> dict[str, Any]:
    """Land documents with a very long list each, as extracted, reviewed, and with a field nobody declared."""
    value: dict[str, Any] = {
        "lines": [{"day": "1", "text": f"line {number}", "amount": "2"} for number in range(LIST_LINES)]
    }
    reviewed = extract_step(value, schema=LIST_SCHEMA)
    extraction = reviewed["result"]["extractRun"]
    extraction |= {"reviewed": True, "initialOutput": extraction["output"]}
    strange = extract_step({"lines": [{**line, "x": 1} for line in value["lines"]]}, schema=LIST_SCHEMA)
    steps = [extract_step(value, schema=LIST_SCHEMA), reviewed, strange]
    documents = [document(number) for number in range(len(steps))]
    lines = raw_lines(*(run(each, steps=[step]) for each, step in zip(documents, steps, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        landing = land(Path(folder) / "warehouse.duckdb", documents, lines)
    return {"rows": landing.rows, "peak_megabytes": peak_megabytes()}


#: Documents of which Extend gives evidence for each value, and the lines of each.
EVIDENCED, EVIDENCED_LINES = 1_500, 50


def measure_evidence() -> dict[str, Any]:
    """Land them in three quarters of the memory that DuckDB gets beside another warehouse."""
    keys = list(_LINE["properties"])
    value = {"lines": [dict.fromkeys(keys, f"value {number}") for number in range(EVIDENCED_LINES)]}
    corners = [{"x": x, "y": y} for x, y in ((1.25, 2.5), (3.75, 2.5), (3.75, 4.5), (1.25, 4.5))]
    citation = {"fileId": "file_1", "page": {"number": 1}, "referenceText": "as it says", "polygon": corners}
    about = {"ocrConfidence": 0.98765, "logprobsConfidence": 0.87654321, "citations": [citation]}
    metadata = {f"lines[{number}].{key}": about for number in range(EVIDENCED_LINES) for key in keys}
    step = extract_step(value, schema=LIST_SCHEMA, metadata=metadata)
    documents = [document(number) for number in range(EVIDENCED)]
    lines = (raw_lines(run(each, steps=[step]))[0] for each in documents)
    with (
        tempfile.TemporaryDirectory() as folder,
        warehouse(Path(folder) / "warehouse.duckdb", memory_limit_mb=96) as opened,
    ):
        landing = opened.land(documents, lines, provenance=provenance())
    return {"rows": landing.rows, "peak_megabytes": peak_megabytes()}


def peak_megabytes() -> int:
    """Return the most memory this process has had; ``getrusage`` would count what its parent had, too."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


def in_a_process_of_its_own(what: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, __file__, what], env=environment, capture_output=True, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(answer.stdout)
    return figures


@pytest.mark.parametrize(
    "documents",
    [1000, pytest.param(5000, marks=pytest.mark.full), pytest.param(20_000, marks=pytest.mark.full)],
)
def test_a_chunk_lands_in_bounded_memory_whatever_its_size(
    documents: int, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = in_a_process_of_its_own(str(documents))
    with capsys.disabled():
        sys.stdout.write(f"\nlanding: {figures}\n")
    assert figures["unlanded"] == documents
    assert figures["peak_megabytes"] < MOST_MEGABYTES


@pytest.mark.full
def test_values_of_ten_megabytes_land_in_bounded_memory_however_many() -> None:
    figures = in_a_process_of_its_own("large")
    assert figures["documents"] == 40
    assert figures["texts"] == [[9, 24, 24], [LARGE, LARGE_ONES, LARGE_ONES]]
    assert figures["peak_megabytes"] < MOST_MEGABYTES


def test_a_very_long_list_lands_in_bounded_memory() -> None:
    figures = in_a_process_of_its_own("lists")
    assert figures["rows"]["invoices_lines"] == 3 * LIST_LINES
    assert figures["rows"]["fields"] == (3 + 3 + 4) * LIST_LINES
    assert figures["rows"]["problems"] == LIST_LINES
    assert figures["peak_megabytes"] < MOST_MEGABYTES


@pytest.mark.full
def test_many_documents_with_evidence_need_no_more_memory_than_few() -> None:
    figures = in_a_process_of_its_own("evidence")
    assert figures["rows"]["fields"] == EVIDENCED * EVIDENCED_LINES * 3
    assert figures["peak_megabytes"] < MOST_MEGABYTES


@pytest.mark.parametrize(("memory_limit_mb", "megabytes"), [(16, 1), (32, 2)])
def test_the_pages_of_a_part_are_a_fraction_of_the_memory(
    tmp_path: Path, memory_limit_mb: int, megabytes: int
) -> None:
    with warehouse(tmp_path / "warehouse.duckdb", memory_limit_mb=memory_limit_mb) as opened:
        part = opened.parsed(map(document, range(1500)), many_lines(1500), tmp_path, name="part")
    sizes = [page.size for page in part.pages]
    assert len(sizes) > 1
    assert all(0.9 * megabytes * 10**6 < size <= megabytes * 10**6 for size in sizes[:-1])


def test_a_page_of_short_extractions_is_twice_as_long_until_a_long_one_comes(tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        for number in range(SHORT_ONES + 1):
            text = "x" * (4000 if number == SHORT_ONES else 400)
            yield from raw_lines(run(document(number), steps=[extract_step({"text": text})]))

    with warehouse(tmp_path / "warehouse.duckdb", memory_limit_mb=32) as opened:
        part = opened.parsed(map(document, range(SHORT_ONES + 1)), lines(), tmp_path, name="part")
    assert [round(page.size / 10**6) for page in part.pages] == [4, 3, 0]
    assert part.pages[-1].lines == 1


def test_documents_whose_evidence_is_just_not_large_land_in_the_memory_there_is(tmp_path: Path) -> None:
    """DuckDB takes up to 2,048 of them apart at once, and needs six times what it takes apart."""
    chance = random.Random(1)
    metadata = {f"items.{number}.amount": evidence(chance) for number in range(92)}
    step = extract_step({"total": 1}, metadata=metadata)
    assert 0.8 * large_values.LONGEST < len(json.dumps(metadata)) < large_values.LONGEST
    lines = (line for number in range(600) for line in raw_lines(run(document(number), steps=[step])))
    with warehouse(tmp_path / "warehouse.duckdb", memory_limit_mb=128) as opened:
        landing = opened.land(map(document, range(600)), lines, provenance=provenance())
    assert landing.rows["fields"] == 600 * 93


@pytest.fixture
def every_run_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each run of a part land in a transaction of its own."""
    monkeypatch.setattr(parse, "_LARGE", 0)
    monkeypatch.setattr(parse, "SLICE_BYTES", 0)


def test_a_part_that_lands_in_several_transactions_leaves_what_one_leaves(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliced, whole = tmp_path / "sliced.duckdb", tmp_path / "whole.duckdb"
    landings = [land(whole, *part[:2], origin=part[2]) for part in parts_of_every_kind()]
    request.getfixturevalue("every_run_a_slice")
    commits: list[str] = []
    original = Session.pages

    def pages(self: Session, statement: str, *arguments: Any) -> Any:
        commits.extend(name for name in [statement] if name == "commit")
        return original(self, statement, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "pages", pages)
        for part, landing in zip(parts_of_every_kind(), landings, strict=True):
            assert land(sliced, *part[:2], origin=part[2]) == landing
    assert len(commits) > len(landings)
    assert contents(sliced) == contents(whole)


@pytest.mark.usefixtures("every_run_a_slice")
def test_a_part_that_broke_between_two_transactions_is_landed_again_from_its_first_document(
    tmp_path: Path,
) -> None:
    fresh, broken = tmp_path / "fresh.duckdb", tmp_path / "broken.duckdb"
    submission, raw, origin = parts_of_every_kind()[1]
    with dying_after() as ran:
        land(fresh, submission, raw, origin=origin)
    # The first commit is that of the layout's version.
    _, first_of_the_part, *_ = (number for number, told in enumerate(ran) if told == "commit")
    with dying_after(first_of_the_part + 2) as ran:
        land(broken, submission, raw, origin=origin)
    assert len(ran) == first_of_the_part + 2
    # What has landed has landed whole; that the part has not is what its missing ledger row says.
    assert query(broken, "SELECT count(*) FROM documents") == [(1,)]
    assert query(broken, "FROM loads") == []
    land(broken, submission, raw, origin=origin)
    assert contents(broken) == contents(fresh)


if __name__ == "__main__":
    others = {"large": measure_large, "lists": measure_lists, "evidence": measure_evidence}
    measured = others[sys.argv[1]]() if sys.argv[1] in others else measure(int(sys.argv[1]))
    sys.stdout.write(json.dumps(measured) + "\n")
