"""What the pipeline asks for and pays, counted: figures that no machine changes, so they may fail a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bench.stack.peers.script import WORKFLOW
from bench.stack.world import EXTEND, LIST, POST, RUN
from fixtures.airflow.dag_runs import Outside

RunDag = Callable[..., Any]

#: A hundred show whether a request is made for each document, as a thousand would.
DOCUMENTS = 100
PREFIX = "documents/"
KEYS = [f"{PREFIX}{number:05}.pdf" for number in range(DOCUMENTS)]
#: Requests to S3 of ``discover`` and of ``submit`` over a prefix, up to 1,000 documents: no document is read.
MOST_IN_A_STEP = 5


@pytest.fixture
def documents(outside: Outside) -> list[str]:
    """The addresses of the documents in S3; Extend answers and works at once."""
    outside.extend.configure(**{**EXTEND, "latency_seconds": 0})
    return [outside.put(key, key.encode()) for key in KEYS]


def counted(outside: Outside, run_dag: RunDag, source: str) -> tuple[Counter[str], Counter[str]]:
    """Run the pipeline; return the requests at S3 before ``submit`` begins, and from there to the end."""
    before: Counter[str] = Counter()
    outside.s3.requests()
    conf = {"source": source, "workflow_id": WORKFLOW}
    run = run_dag(
        "extend_on_demand",
        before={"submit": lambda: before.update(outside.s3.requests())},
        logical_date=None,
        run_conf=conf,
    )
    assert run.state == "success"
    return before, Counter(outside.s3.requests())


@pytest.mark.parametrize("named", [False, True], ids=["prefix", "addresses"])
def test_documents_cost_so_many_requests_and_are_paid_once(
    outside: Outside, run_dag: RunDag, documents: list[str], named: bool
) -> None:
    source = "\n".join(documents) if named else f"s3://{outside.bucket}/{PREFIX}"
    discovered, sent = counted(outside, run_dag, source)
    stats = outside.extend.stats()
    assert stats["requests"][POST] == 1
    assert stats["requests"][RUN] == DOCUMENTS
    assert stats["requests"][LIST] <= 5
    assert sum(stats["requests"].values()) <= DOCUMENTS + 10
    assert [*stats["runs_created"].values()] == [1] * DOCUMENTS
    assert outside.rows("SELECT status, count(*) FROM extend.documents GROUP BY ALL") == [
        ("PROCESSED", DOCUMENTS)
    ]
    # A named document is looked up when it is found, and once more before it is paid for.
    assert max(discovered.total(), sent.total()) <= MOST_IN_A_STEP + (DOCUMENTS if named else 0)
