"""The page of the benchmarks: its form in the repository, and what an assembled one says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import PAGE, PICTURE, PROJECT, assemble
from bench.chart import growth
from bench.kept import Result, load, run
from bench.parts import PARTS, Part, available
from bench.report import COLUMNS, filled, rows_end_to_end, table
from bench.stack.end_to_end import COMPARED, WAYS, Comparison, compare
from bench.stack.world import Measured, World

MARKERS = ["machine", "end_to_end", "parts"]


def measured(way: str, documents: int, seconds: float, **other: Any) -> dict[str, Any]:
    fields: dict[str, Any] = dict.fromkeys(Measured.__dataclass_fields__, 0)
    return {**fields, "way": way, "documents": documents, "seconds": seconds, **other}


def result(part: str, rows: list[Any], error: str | None = None) -> Result:
    return Result(part, f"python -m bench.{part}", "2026-01-02", "2 cores", 7, rows, error)


def section(page: str, name: str) -> str:
    (found,) = re.findall(f"<!-- bench:{name} -->(.*?)<!-- /bench:{name} -->", page, re.DOTALL)
    return str(found)


def test_the_page_is_linked_has_its_markers_and_has_its_picture() -> None:
    page = PAGE.read_text()
    assert "](docs/benchmarks.md)" in (PROJECT / "README.md").read_text()
    for name in MARKERS:
        section(page, name)
    assert all((PAGE.parent / place).is_file() for place in re.findall(r"!\[.*\]\((.*)\)", page))
    for line in page.splitlines():
        assert line.count("|") != 1
    assert "/tmp" not in page
    assert "make bench" in page


def test_each_table_of_the_page_has_as_many_cells_in_each_line() -> None:
    tables = re.findall(r"(?:^\|.*\n)+", PAGE.read_text(), re.MULTILINE)
    assert tables
    for found in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in found.splitlines()}) == 1


def test_a_page_has_the_rows_of_all_parts_each_way_once() -> None:
    figures = [
        measured("HTTP DAG", 10, 4.0, times=1.0),
        measured("ours", 10, 3.0, times=0.75, extend_requests=1234),
    ]
    results = {
        "figures": result("figures", figures),
        "growth": result("growth", [measured("ours", 1000, 9.0, times=None)]),
        "mapped": result("mapped", [measured("ours", 10, 99.0)]),
        "parsing": result("parsing", [{"file": "a|b", "ms": 2.5, "none": None}]),
    }
    assert [(row["documents"], row["way"], row.get("times")) for row in rows_end_to_end(results)] == [
        (10, "HTTP DAG", 1.0),
        (10, "ours", 0.75),
        (1000, "ours", None),
    ]
    page = filled(PAGE.read_text(), results)
    assert "| 10 | HTTP DAG | 4.0 | 1.0 |" in section(page, "end_to_end")
    assert "| a\\|b | 2.5 |  |" in section(page, "parts")
    assert "2026-01-02, 2 cores." in section(page, "machine")
    assert filled(page, results) == page


def test_a_failed_part_is_named_with_the_rows_that_it_kept() -> None:
    rows = [measured("ours", 10, 3.0)]
    page = filled(
        PAGE.read_text(),
        {
            "growth": result("growth", rows, "was stopped after 18 minutes"),
            "rate": result("rate", [], "ended with status 1"),
        },
    )
    assert "| 10 | ours | 3.0 |" in section(page, "end_to_end")
    assert "**`growth` was stopped after 18 minutes.**" in section(page, "end_to_end")
    assert "**`rate` ended with status 1.**" in section(page, "parts")


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="bench:machine"):
        filled("# Benchmarks", {})


def test_a_part_that_fails_or_takes_too_long_is_kept_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.kept.STOP_SECONDS", 2)  # a background job of a shell ignores an interrupt
    wrong = Part("wrong", "no_such_module")
    assert run(wrong, tmp_path, quick=False).error == "ended with status 1"
    long = Part("long", "single.webhooks", whole=("--events", "1000000"), minutes=0.005)
    assert run(long, tmp_path, quick=False).error == "was stopped after 0.005 minutes"
    silent = Part("silent", "parts")
    assert run(silent, tmp_path, quick=False).error == "printed no rows"
    kept = load(tmp_path, [wrong, long, silent])
    assert [(each.rows, each.error is None) for each in kept.values()] == [([], False)] * 3
    assert "no_such_module" in (tmp_path / "wrong.log").read_text()


def test_the_rows_so_far_are_kept_after_each_run_as_medians(tmp_path: Path) -> None:
    found = Comparison(tmp_path / "rows.json")
    for seconds in (9.0, 1.0, 2.0):
        found.add(Measured(**measured("ours", 10, seconds)))
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (row["seconds"], row["runs"]) == (2.0, 3)
    assert row.keys() >= COLUMNS.keys()


def test_ways_are_compared_within_each_repetition_because_the_machine_gets_slower_and_faster() -> None:
    found = Comparison()
    for http, ours in ((40.0, 44.0), (80.0, 72.0), (10.0, 10.0)):
        found.add(Measured(**measured(COMPARED, 10, http)))
        found.add(Measured(**measured("ours", 10, ours)))
    found.add(Measured(**measured("ours", 20, 1.0)))
    rows = [(row.documents, row.way, row.times) for row in found.rows()]
    assert rows == [(10, COMPARED, 1.0), (10, "ours", 1.0), (20, "ours", None)]


class Seeded:
    """Has documents, and no Airflow: what runs in it here asks for nothing else."""

    def seed(self, documents: int) -> None:
        assert documents == 10


def test_a_way_that_fails_is_named_and_costs_no_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(world: World, documents: int) -> Measured:
        tried.append(documents)
        raise RuntimeError("no such DAG")

    def works(world: World, documents: int) -> Measured:
        return Measured(**measured("ours", documents, 2.0))

    monkeypatch.setattr("bench.stack.end_to_end.WAYS", {"http": fails, "ours": works})
    world: Any = Seeded()
    found = Comparison(tmp_path / "rows.json")
    compare(world, ["http", "ours"], 10, 2, found, deadline=float("inf"))
    assert tried == [10]
    assert found.failures == ["http with 10 documents"]
    assert [(row.way, row.runs) for row in found.rows()] == [("ours", 2)]

    late = Comparison()
    compare(world, ["ours"], 10, 2, late, deadline=0.0)
    assert [row.runs for row in late.rows()] == [1]


def test_assembling_writes_the_page_and_its_picture(tmp_path: Path) -> None:
    rows = [measured("ours", 10, 3.0), measured("ours", 100, 9.0)]
    kept = {"part": "growth", "command": "c", "when": "w", "machine": "m", "seconds": 1, "rows": rows}
    (tmp_path / "growth.json").write_text(json.dumps(kept))
    assemble(tmp_path, tmp_path / "page.md")
    assert "| 100 | ours | 9.0 |" in (tmp_path / "page.md").read_text()
    assert f"]({PICTURE})" in (tmp_path / "page.md").read_text()
    assert "ours" in (tmp_path / PICTURE).read_text()
    assert growth(rows[:1]) is None


def test_parts_name_modules_and_ways_that_exist() -> None:
    names = [part.name for part in PARTS]
    assert len({*names}) == len(names)
    assert {"figures", "webhooks", "landing"} <= {part.name for part in available(names, quick=True)}
    assert "growth" not in {part.name for part in available(names, quick=True)}
    for part in PARTS:
        if "--ways" in part.whole:
            after = part.whole[part.whole.index("--ways") + 1 :]
            ways = [text for text in after if not text.startswith("--") and not text.isdigit()]
            assert {*ways} <= {*WAYS}


def test_a_table_takes_its_columns_from_all_rows() -> None:
    assert table([{"a": 1000}, {"b": True}]) == "| a | b |\n| --- | --- |\n| 1,000 |  |\n|  | True |"
    assert table([{"a": 1234.5678}, {"a": 0.012345}, {"a": 0.0}]).splitlines()[2:] == [
        "| 1,234.57 |",
        "| 0.012 |",
        "| 0.0 |",
    ]
