"""The plan: every document is in a chunk, unsent with a reason, or left for later; none twice, none lost."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extend_pipeline.batches.ledger import Standing, Void
from extend_pipeline.batches.reservations import (
    ChunkReference,
    Hold,
    Planner,
    Reservation,
    Reservations,
    chunk_documents,
    chunk_folder,
    chunk_path,
    hold_of,
    ledger_of,
)
from extend_pipeline.documents import EMPTY_FILE, Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.chunking import unsent_path, write_plan
from extend_pipeline.planning.estimate import Estimate
from extend_pipeline.planning.plan import Plan, keep_plan, read_plan
from extend_pipeline.settings import Settings
from extend_pipeline.storage.workspace import read_documents, write_documents
from extend_pipeline.warehouse.records import Claim, UnlandedDocument
from extend_provider.batch.ledger import Intent
from fixtures.pipeline.chunks import planner, reference

US = planner()
NOW = datetime.now(UTC)


def documents(sendable: list[bool]) -> list[Document]:
    return [
        Document(
            uri=f"s3://b/{number}.pdf",
            etag=str(number),
            size_bytes=10,
            last_modified="2026-11-21T00:00:00+00:00",
            **({} if good else {"status": "SKIPPED", "reason": EMPTY_FILE, "message": "no bytes"}),  # type: ignore[arg-type]
        )
        for number, good in enumerate(sendable)
    ]


@dataclasses.dataclass
class Home:
    """A workspace of its own, with chunks that others have planned."""

    path: Path
    claims: list[Claim] = dataclasses.field(default_factory=list)
    active: set[str] = dataclasses.field(default_factory=set)

    @property
    def folder(self) -> ObjectStoragePath:
        return ObjectStoragePath(f"file://{self.path}/runs/mine")

    def settings(self, **given: Any) -> Settings:
        wanted = {"source": "s3://inbox/", "workflow_id": "w", "workspace": f"file://{self.path}"}
        return Settings(**{**wanted, "chunk_size": 1000, **given})

    def reserve(self, key: str, count: int, *, run_id: str, begun: bool = False, active: bool = False) -> str:
        """Have a run hold a chunk of so many documents; return what the claims say of it."""
        reservation = Reservation(key=key, documents=count, planner=planner(run_id, plan=f"plan of {run_id}"))
        self.claims.append(Claim("w", None, "", reservation.to_text(), NOW, count))
        if begun:
            ledger_of(self.settings(), key).begin(Intent(1, NOW.isoformat(), 300, count))
        if active:
            self.active.add(run_id)
        return reservation.to_text()

    def plan(
        self, candidates: Iterable[UnlandedDocument], *, max_chunks: int | None = None, **given: Any
    ) -> Plan:
        made = self.settings(**given)
        reservations = Reservations(made, US, self.claims, lambda them, _: them.run_id in self.active)
        drafts = ObjectStoragePath(f"file://{self.path}/drafts")
        return write_plan(candidates, self.folder, drafts, reservations, made, US, max_chunks=max_chunks)

    def drafted(self, chunk: ChunkReference) -> list[Document]:
        return list(read_documents(ObjectStoragePath(f"file://{self.path}/drafts/{chunk['key']}.jsonl")))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def free(found: list[Document]) -> list[UnlandedDocument]:
    return [UnlandedDocument(document) for document in found]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 7), st.none() | st.integers(1, 20))
def test_every_document_is_accounted_for_once(
    home: Home, sendable: list[bool], chunk_size: int, limit: int | None
) -> None:
    found = documents(sendable)
    plan = home.plan(free(found), chunk_size=chunk_size, limit=limit)

    chunks = [home.drafted(chunk) for chunk in plan.chunks]
    sent = [document for chunk in chunks for document in chunk]
    unsent = list(read_documents(unsent_path(home.folder)))
    assert plan.discovered == len(found) == plan.to_send + plan.unsent.total() + plan.beyond_limit
    assert sent == [d for d in found if d.status is None][: limit or None]
    assert unsent == [d for d in found if d.status is not None]
    assert all(len(chunk) == chunk_size for chunk in chunks[:-1])
    assert [chunk["documents"] for chunk in plan.chunks] == [len(chunk) for chunk in chunks]
    assert plan.new_chunks == len(plan.chunks)


def test_a_begun_chunk_is_joined_outside_of_the_bounds(home: Home) -> None:
    found = documents([True] * 6)
    theirs = [home.reserve(key, 2, run_id="dead", begun=True) for key in ("a", "b")]
    holders = [(theirs[0],)] * 2 + [(theirs[1],)] * 2 + [()] * 2
    plan = home.plan(map(UnlandedDocument, found, holders), chunk_size=2, limit=2)
    assert (plan.held, plan.to_send, plan.beyond_limit, plan.freed) == (4, 2, 0, [])
    assert [chunk["key"] for chunk in plan.chunks[1:]] == ["a", "b"]
    assert {chunk["folder"] for chunk in plan.chunks} == {str(home.folder)}, "with our settings"
    assert home.drafted(plan.chunks[0]) == found[4:]
    assert "4 already sent, waited for" in plan.describe()


def test_documents_that_an_active_run_has_planned_are_left_to_it(home: Home) -> None:
    found = documents([True] * 3)
    chunk = home.reserve("a", 2, run_id="nightly", active=True)
    plan = home.plan(map(UnlandedDocument, found, [(chunk,), (chunk,), ()]))
    assert (plan.theirs.total(), plan.held, plan.to_send) == (2, 0, 1)
    assert "2 left to the run that has planned them (2 to run nightly of DAG dag)" in plan.describe()
    assert plan.summary()["theirs"] == {"run nightly of DAG dag": 2}
    keep_plan(home.folder, plan, {})
    kept = read_plan(home.folder)
    assert kept is not None
    assert kept[0].theirs == plan.theirs


def test_documents_of_a_finished_run_are_planned_again_within_the_bounds(home: Home) -> None:
    found = documents([True] * 5)
    chunk, other = (home.reserve(key, 3, run_id="dead") for key in ("a", "b"))
    plan = home.plan(map(UnlandedDocument, found, [(chunk,), (chunk,), (chunk,), (other,), ()]), limit=2)
    assert (plan.to_send, plan.beyond_limit, plan.held) == (2, 3, 0)
    assert plan.freed == [chunk], "of the others none is taken"
    assert home.drafted(plan.chunks[0]) == found[:2]


def test_a_document_that_several_chunks_hold_is_where_it_has_come_furthest(home: Home) -> None:
    (found,) = documents([True])
    dead, active = home.reserve("a", 1, run_id="dead"), home.reserve("b", 1, run_id="night", active=True)
    begun = home.reserve("c", 1, run_id="gone", begun=True)
    assert home.plan([UnlandedDocument(found, (dead, active, begun))]).held == 1
    assert home.plan([UnlandedDocument(found, (dead, active))]).theirs.total() == 1
    both = home.plan([UnlandedDocument(found, (dead,))])
    assert (both.to_send, both.freed) == (1, [dead])


def test_documents_that_this_run_has_sent_count_against_its_limit(home: Home) -> None:
    found = documents([True] * 6)
    own = home.reserve("a", 2, run_id=US.run_id, begun=True)
    unsent = home.reserve("b", 2, run_id=US.run_id, active=True)
    plan = home.plan(map(UnlandedDocument, found, [(own,), (own,), (unsent,), (unsent,), (), ()]), limit=3)
    assert (plan.held, plan.to_send, plan.beyond_limit) == (2, 1, 3)
    assert plan.freed == [unsent], "its own chunk that is not sent is planned anew, although it is active"


VOID = Void(1, "another plan", "run b of DAG dag", NOW.isoformat())


@pytest.mark.parametrize(
    ("run_id", "standing", "active", "expected"),
    [
        pytest.param("them", Standing(1, begun=True), False, Hold.BEGUN, id="begun"),
        pytest.param("them", Standing(1, begun=True), True, Hold.BEGUN, id="begun by an active run"),
        pytest.param("them", Standing(), True, Hold.ELSEWHERE, id="unsent, active"),
        pytest.param("them", Standing(1), True, Hold.ELSEWHERE, id="turned away, active"),
        pytest.param("them", Standing(), False, Hold.FREE, id="unsent, over"),
        pytest.param("them", Standing(1), False, Hold.FREE, id="turned away, over"),
        pytest.param("them", Standing(1, void=VOID), True, Hold.FREE, id="voided, whoever is active"),
        pytest.param("run", Standing(), True, Hold.FREE, id="of this very run"),
        pytest.param("run", Standing(1, begun=True), True, Hold.BEGUN, id="of this very run, begun"),
    ],
)
def test_a_reservation_holds_a_document_by_its_standing_and_planner(
    run_id: str, standing: Standing, active: bool, expected: Hold
) -> None:
    reserved = Reservation(key="a", documents=1, planner=planner(run_id, plan="their plan"))
    assert hold_of(reserved, standing, US, active=lambda: active) is expected


def test_a_chunk_that_its_own_plan_has_taken_over_is_its_own(home: Home) -> None:
    reserved = Reservation(key="a", documents=1, planner=planner("them", plan=VOID.plan))
    assert hold_of(reserved, Standing(1, void=VOID), US, active=lambda: True) is Hold.ELSEWHERE


def test_a_reservation_of_an_earlier_release_is_read(home: Home) -> None:
    old = json.dumps(
        {"folder": "file:///w/runs/dag/run 1/group/20261121T0200Z-ab", "key": "a", "documents": 3}
    )
    reservation = Reservation.of(Claim("w", None, "again", old, NOW, 2))
    assert reservation.planner is not None
    assert (reservation.planner.dag_id, reservation.planner.run_id) == ("dag", "run 1")
    assert (reservation.key, reservation.documents, reservation.repetition) == ("a", 3, "again")


def test_a_reservation_of_a_later_release_is_read_as_far_as_it_is_known(home: Home) -> None:
    text = Reservation(key="a", documents=3, planner=US).to_text()
    later = json.dumps({**json.loads(text), "what_comes_later": {"x": 1}})
    assert Reservation.of(Claim("w", None, "", later, NOW, 2)).planner == US


LATER_FORMAT = '{"key": "a", "documents": 1, "format": 2}'


@pytest.mark.parametrize(
    ("chunk", "told"),
    [("{", "DecodeError"), ("{}", "ValidationError"), (LATER_FORMAT, "a newer release has written it")],
)
def test_a_reservation_that_cannot_be_read_stops_the_plan(chunk: str, told: str) -> None:
    with pytest.raises(PipelineInputError, match=told):
        Reservation.of(Claim("w", None, "", chunk, NOW, 1))


def test_an_empty_source_is_described_as_such(home: Home) -> None:
    plan = home.plan([])
    assert plan.chunks == []
    assert plan.describe().startswith("0 documents")


@pytest.mark.parametrize("limit", [None, 3])
def test_documents_beyond_the_chunks_that_airflow_maps_are_left_for_the_next_run(
    home: Home, limit: int | None
) -> None:
    plan = home.plan(free(documents([True] * 9)), chunk_size=2, max_chunks=2, limit=limit)
    assert (len(plan.chunks), plan.to_send) == (2, limit or 4)
    assert (plan.beyond_map, plan.beyond_limit) == ((5, 0) if limit is None else (0, 6))
    assert plan.types_left == {"pdf": plan.left}
    if limit is None:
        assert "2 chunks at the most ([core] max_map_length): about 2 more runs" in plan.describe()
        assert plan.summary()["left"] == 5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([None, "own", "a", "b", "c"]), max_size=30), st.integers(1, 6))
def test_a_run_maps_no_more_than_airflow_does_and_what_it_has_sent_itself_comes_before_others(
    holders: list[str | None], max_chunks: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        chunks = {
            key: home.reserve(key, holders.count(key), run_id=US.run_id if key == "own" else key, begun=True)
            for key in sorted({key for key in holders if key})
        }
        held = [(chunks[key],) if key else () for key in holders]
        found = documents([True] * len(holders))
        plan = home.plan(map(UnlandedDocument, found, held), chunk_size=3, max_chunks=max_chunks)
    assert len(plan.chunks) <= max_chunks
    assert ("own" in holders) == ("own" in [chunk["key"] for chunk in plan.chunks])
    assert plan.discovered == plan.to_send + plan.held + plan.left
    taken = {chunk["key"] for chunk in plan.chunks[plan.new_chunks :]}
    assert plan.held == sum(holder in taken for holder in holders)


def test_a_plan_survives_the_workspace(home: Home) -> None:
    plan = home.plan(free(documents([True, False, True])), chunk_size=1)
    plan.estimate = Estimate(3.5, based_on=12, unseen=1)
    plan.types_left["pdf"] = 3
    keep_plan(home.folder, plan, {"rows": {}})
    assert read_plan(home.folder) == (plan, {"rows": {}})


def test_a_reference_stays_small_whatever_the_chunk(home: Home) -> None:
    assert len(json.dumps(home.plan(free(documents([True] * 100))).chunks)) < 300


def test_a_run_of_another_airflow_is_active_during_its_lease() -> None:
    from extend_pipeline.batches.reservations import LEASE, is_active

    elsewhere = Planner(plan="p", airflow="another", dag_id="dag", run_id="run")
    assert is_active(elsewhere, datetime.now(UTC) - LEASE / 2)
    assert not is_active(elsewhere, datetime.now(UTC) - LEASE * 1.01)


@pytest.mark.parametrize("place", ["its own place", "the planner's folder", "the submission", "nowhere"])
def test_a_chunks_documents_are_found_wherever_a_release_has_kept_them(home: Home, place: str) -> None:
    settings, found = home.settings(), documents([True, True])
    chunk = reference(f"file://{home.path}/runs/theirs", "a", 2)
    folder = chunk_folder(settings, "a")
    skipped = dataclasses.replace(found[1], status="FAILED", reason="OBJECT_DELETED", message="gone")
    match place:
        case "its own place":
            write_documents(chunk_path(settings, "a"), found)
        case "the planner's folder":
            write_documents(ObjectStoragePath(chunk["folder"]) / "chunks" / "a.jsonl", found)
        case "the submission":
            write_documents(folder / "documents-0.jsonl", [found[0], skipped])
        case _:
            with pytest.raises(FileNotFoundError, match="clear 'plan'"):
                list(chunk_documents(settings, chunk))
            return
    assert list(chunk_documents(settings, chunk)) == found


def test_an_unreadable_workspace_does_not_count_as_a_lost_chunk(home: Home) -> None:
    (home.path / "batches").touch()  # a mount that is gone
    with pytest.raises(NotADirectoryError):
        list(chunk_documents(home.settings(), reference("file:///elsewhere", "a", 2)))
