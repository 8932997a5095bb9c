"""Bounded spend: what a plan costs as far as can be told; one beyond its bounds changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.batches.reservations import ledger_of
from extend_pipeline.documents import EMPTY_FILE, Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.chunking import Planning
from extend_pipeline.planning.estimate import Estimate, file_type
from extend_pipeline.planning.plan import Plan
from extend_pipeline.settings import Settings
from extend_pipeline.warehouse.records import Charge
from extend_provider.batch.ledger import Intent
from fixtures.pipeline.chunks import planner, reference
from fixtures.warehouse.files import land, query, warehouse
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run


def charge(kind: str, documents: int, credits: float, *, same_version: bool = True) -> Charge:
    return Charge(kind, same_version, documents, credits)


def test_each_file_type_costs_its_own_average() -> None:
    estimate = Estimate.of({"pdf": 10, "png": 4}, [charge("pdf", 100, 250), charge("png", 50, 50)])
    assert estimate == Estimate(10 * 2.5 + 4 * 1.0, based_on=150, same_version=True, unseen=0)


def test_a_file_type_not_seen_before_costs_the_average_document_and_says_so() -> None:
    estimate = Estimate.of({"pdf": 1, "docx": 2}, [charge("pdf", 30, 90), charge("png", 10, 10)])
    assert (estimate.credits, estimate.unseen) == (3 + 2 * 2.5, 2)
    assert "2 of a file type not seen before" in estimate.describe()


def test_the_version_asked_for_counts_alone_if_it_has_been_charged() -> None:
    others = [charge("pdf", 10, 1000, same_version=False)]
    assert Estimate.of({"pdf": 2}, [*others, charge("pdf", 1, 3)]).credits == 6
    by_others = Estimate.of({"pdf": 2}, others)
    assert by_others.credits == 200
    assert "other versions" in by_others.describe()


def test_the_cost_without_history_is_unknown_and_never_zero() -> None:
    unknown = Estimate.of({"pdf": 1}, [])
    assert unknown.credits is None
    assert unknown.describe().startswith("unknown")
    assert Estimate.of({}, []).credits == 0


@given(
    st.dictionaries(st.sampled_from(["pdf", "png", "txt"]), st.integers(1, 10**6)),
    st.lists(
        st.builds(
            Charge,
            st.sampled_from(["pdf", "png", ""]),
            st.booleans(),
            st.integers(1, 10**6),
            st.floats(0, 1e9),
        )
    ),
)
def test_an_estimate_lies_between_the_cheapest_and_the_dearest_charge(
    to_send: dict[str, int], charges: list[Charge]
) -> None:
    credits = Estimate.of(to_send, charges).credits
    if not to_send:
        assert credits == 0
    elif not charges:
        assert credits is None
    else:
        rates = [each.credits / each.documents for each in charges]
        count = sum(to_send.values())
        assert credits is not None
        assert count * min(rates) * (1 - 1e-9) <= credits <= count * max(rates) * (1 + 1e-9)


def planned(to_send: int, credits: float | None = None, *, new_chunks: int = 1, **more: Any) -> Plan:
    chunks = [reference("f", str(n), to_send) for n in range(new_chunks)]
    return Plan(
        discovered=to_send,
        to_send=to_send,
        chunks=chunks,
        new_chunks=new_chunks,
        estimate=Estimate(credits, based_on=0 if credits is None else 7),
        **more,
    )


@pytest.mark.parametrize(
    ("plan", "bounds", "named"),
    [
        pytest.param(planned(10**6, 1e9), {}, None, id="no bounds"),
        pytest.param(planned(10), {"max_documents": 10}, None, id="as many as allowed"),
        pytest.param(planned(11), {"max_documents": 10}, "max_documents=10", id="one more"),
        pytest.param(planned(10, 50.0), {"max_credits": 50.0}, None, id="as much as allowed"),
        pytest.param(planned(10, 50.1), {"max_credits": 50.0}, "max_credits=50", id="a little more"),
        pytest.param(planned(1), {"max_credits": 1e9}, "unknown", id="an unknown cost is above any bound"),
        pytest.param(planned(1), {"max_documents": 5}, None, id="an unknown cost is no matter of documents"),
        pytest.param(planned(0, new_chunks=0), {"max_credits": 1.0}, None, id="nothing to send"),
        pytest.param(planned(9, 9.0, new_chunks=0), {"max_documents": 1}, None, id="claimed before"),
    ],
)
def test_a_plan_beyond_its_bounds_is_refused(plan: Plan, bounds: dict[str, Any], named: str | None) -> None:
    reason = plan.refusal(**{"max_documents": None, "max_credits": None, **bounds})
    assert (reason is None) == (named is None)
    if reason is not None and named is not None:
        assert named in reason
        assert "limit" in reason  # it says how to go on


@pytest.mark.parametrize(
    ("name", "kind"), [("a.PDF", "pdf"), ("b.tar.gz", "gz"), ("none", ""), (".hidden", ""), ("a.b c", "b c")]
)
def test_the_file_type_is_the_same_for_plan_and_warehouse(tmp_path: Path, name: str, kind: str) -> None:
    assert file_type(name) == kind
    file = tmp_path / "warehouse.duckdb"
    named = document(1, uri=f"s3://inbox/2026.11/{name}")
    land(file, [named], raw_lines(run(named)))
    with warehouse(file) as opened:
        assert opened.charges(workflow_id=WORKFLOW, version=None) == [Charge(kind, True, 1, 2.5)]


def test_charges_are_what_landed_documents_of_the_workflow_cost(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    with warehouse(file) as opened:
        assert opened.charges(workflow_id=WORKFLOW, version=None) == []
    dear, failed, unknown = document(1), document(2), document(3)
    skipped = document(4, status="SKIPPED", reason=EMPTY_FILE, message="It is empty.")
    runs = [
        run(dear, usage={"credits": 9}),
        run(failed, status="FAILED", usage={"credits": 0}),
        run(unknown, usage=None),
    ]
    land(file, [dear, failed, unknown, skipped], raw_lines(*runs))
    with warehouse(file) as opened:
        assert opened.charges(workflow_id=WORKFLOW, version=None) == [Charge("pdf", True, 2, 9.0)]
        assert opened.charges(workflow_id=WORKFLOW, version="7") == [Charge("pdf", False, 2, 9.0)]
        assert opened.charges(workflow_id="workflow_other", version=None) == []


_PLANS = itertools.count()


def plan_in(
    file: Path, folder: Path, found: list[Document], active: Sequence[str] = (), **settings: Any
) -> Plan:
    """Plan in a run that is named like its folder, while the runs of ``active`` are."""
    checked = Settings.from_rendered(
        {"source": "s3://inbox/", "workflow_id": WORKFLOW, "workspace": f"file://{folder.parent}", **settings}
    )
    with warehouse(file) as opened:
        return Planning(
            warehouse=opened,
            settings=checked,
            found=lambda: found,
            folder=ObjectStoragePath(f"file://{folder}"),
            planner=planner(folder.name, plan=f"{folder.name} {next(_PLANS)}"),
            is_active=lambda them, _: them.run_id in active,
        ).plan()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A warehouse in which documents 1 and 2 have landed for 2.5 credits each."""
    file = tmp_path / "warehouse.duckdb"
    land(file, [document(1), document(2)], raw_lines(run(document(1)), run(document(2))))
    return file


FOUND = [document(number) for number in range(1, 9)]


@pytest.mark.parametrize("bounds", [{"max_documents": 5}, {"max_credits": 14.9}])
def test_a_refused_plan_is_described_and_leaves_no_claims(
    file: Path, tmp_path: Path, bounds: dict[str, Any]
) -> None:
    skipped = document(9, status="SKIPPED", reason=EMPTY_FILE, message="It is empty.")
    with pytest.raises(PipelineInputError) as refused:
        plan_in(file, tmp_path / "run", [*FOUND, skipped], chunk_size=4, **bounds)
    text = str(refused.value)
    for part in (
        "nothing was sent",
        "9 documents found",
        "2 landed before",
        "1 cannot be sent (1 EMPTY_FILE)",
        "0 already sent",
        "6 to send",
        "Chunks: 2, of which 2 new",
        "about 15, from 2 landed documents",
        f"{next(iter(bounds))}=",
    ):
        assert part in text
    assert query(file, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'claims'") in ([(0,)], [(1,)])
    assert plan_in(file, tmp_path / "next", FOUND).freed == []


def test_a_dry_run_shows_the_plan_that_is_refused(file: Path, tmp_path: Path) -> None:
    dry = plan_in(file, tmp_path / "dry", FOUND, max_documents=5, dry_run=True)
    with pytest.raises(PipelineInputError) as refused:
        plan_in(file, tmp_path / "wet", FOUND, max_documents=5)
    _, *shown = dry.describe().splitlines()
    assert shown == str(refused.value).splitlines()[1:]
    assert "Refused:" in shown[-1]
    assert plan_in(file, tmp_path / "next", FOUND).freed == []


def test_a_limit_cuts_and_only_what_it_leaves_is_held_against_the_bounds(file: Path, tmp_path: Path) -> None:
    plan = plan_in(file, tmp_path / "run", FOUND, limit=5, max_documents=5, max_credits=12.5)
    assert (plan.to_send, plan.beyond_limit, plan.refused) == (5, 1, None)


def test_documents_of_an_active_run_do_not_count_against_the_bounds(file: Path, tmp_path: Path) -> None:
    plan_in(file, tmp_path / "first", FOUND)
    found = [*FOUND, document(9)]
    plan = plan_in(file, tmp_path / "second", found, active=["first"], max_documents=1, max_credits=3)
    assert (plan.theirs.total(), plan.to_send, plan.refused) == (6, 1, None)


def test_documents_of_a_finished_run_count_against_the_bounds_of_the_next(file: Path, tmp_path: Path) -> None:
    plan_in(file, tmp_path / "first", FOUND)
    with pytest.raises(PipelineInputError, match="6 to send"):
        plan_in(file, tmp_path / "second", FOUND, max_documents=5)
    assert query(file, "SELECT count(DISTINCT chunk) FROM claims WHERE chunk LIKE '%first%'") == [(1,)]
    plan = plan_in(file, tmp_path / "third", FOUND, limit=2)
    assert (plan.to_send, plan.beyond_limit) == (2, 4)
    assert query(file, "SELECT count(*) FROM claims") == [(2,)], "the others are free"


def test_a_plan_repeated_after_its_claims_claims_nothing_twice(file: Path, tmp_path: Path) -> None:
    plan_in(file, tmp_path / "run", FOUND, max_documents=6, chunk_size=2)
    again = plan_in(file, tmp_path / "run", FOUND, active=["run"], max_documents=6, chunk_size=2)
    assert (again.to_send, again.new_chunks, len(again.chunks)) == (6, 3, 3)
    assert query(file, "SELECT count(*), count(DISTINCT document_id) FROM claims") == [(6, 6)]
    # A run that plans next finds all of them held, not only those before a claim that is there twice.
    assert plan_in(file, tmp_path / "next", FOUND, active=["run"]).theirs.total() == 6


@pytest.mark.parametrize(
    "wrong",
    [{"max_documents": 0}, {"max_credits": 0}, {"max_credits": "nan"}, {"max_credits": "inf"}],
)
def test_a_bound_that_bounds_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PipelineInputError, match=next(iter(wrong))):
        Settings.from_rendered(
            {"source": "s3://inbox/", "workflow_id": WORKFLOW, "workspace": "file:///x", **wrong}
        )


def test_a_chunk_begun_during_the_planning_is_joined(file: Path, tmp_path: Path) -> None:
    first = plan_in(file, tmp_path / "first", FOUND)
    (chunk,) = first.chunks
    settings = Settings.from_rendered(
        {"source": "s3://inbox/", "workflow_id": WORKFLOW, "workspace": f"file://{tmp_path}"}
    )
    ledger = ledger_of(settings, chunk["key"], chunk["plan"])

    class Cleared(Sequence[str]):
        """No run is active, but one has been cleared: its task begins to send while that is asked."""

        def __contains__(self, run_id: object) -> bool:
            assert run_id == "first"
            return not ledger.begin(Intent(1, "2026-11-26T02:00:00+00:00", 300, 6))

        def __len__(self) -> int:
            return 0

        def __getitem__(self, index: Any) -> Any:
            raise IndexError

    second = plan_in(file, tmp_path / "second", FOUND, active=Cleared(), limit=1)
    assert (second.held, second.to_send, second.new_chunks) == (6, 0, 0)
    assert [each["key"] for each in second.chunks] == [chunk["key"]]
    assert ledger.read().intent is not None
