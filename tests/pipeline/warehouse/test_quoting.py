"""No text from outside becomes SQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.warehouse.quoting import TRUSTED, Package, raw_in_statements

WAREHOUSE = Path(__file__).parents[3] / "include" / "extend_pipeline" / "warehouse"
SOURCES = {
    path.relative_to(WAREHOUSE).as_posix(): path.read_text() for path in sorted(WAREHOUSE.rglob("*.py"))
}


def test_statements_are_built_of_constants_and_quoted_texts() -> None:
    raw, tracer = raw_in_statements(SOURCES)
    assert raw == [], f"It comes from {sorted(tracer.raw)}"
    assert tracer.trusted == set(TRUSTED), "what nothing needs any more"
    assert sum(len(each.values) for _, each in Package(SOURCES).statements()) > 900


#: What is quoted in a module, and the same without quotes; the first ones are enough for each day.
BARED = [
    ("queries/claims.py", "{quoted(dataset)}.documents", "{dataset}.documents"),
    ("remote/sync.py", "literal(self._provenance.part)", "self._provenance.part"),
    ("queries/landed_runs.py", "{quoted(dataset)}", "{dataset}"),
    ("transform/landing.py", "return qualified(self._dataset, name)", "return name"),
    ("remote/sync.py", "literal(origin.workflow_id)", "origin.workflow_id"),
    ("remote/limits.py", "quoted(column)", "column"),
    ("destinations/postgres.py", "quoted(", "str("),
    ("destinations/redshift.py", "literal(", "str("),
    ("destinations/databricks.py", "quoted(", "str("),
    ("sql.py", "{quoted(n)} {TYPES[t]}", "{n} {TYPES[t]}"),
]


@pytest.mark.parametrize(
    ("module", "quoted", "bare"),
    [*BARED[:2], *(pytest.param(*each, marks=pytest.mark.full) for each in BARED[2:])],
)
def test_text_that_is_no_longer_quoted_is_found(module: str, quoted: str, bare: str) -> None:
    assert quoted in SOURCES[module]
    raw, _ = raw_in_statements({**SOURCES, module: SOURCES[module].replace(quoted, bare)})
    assert raw
