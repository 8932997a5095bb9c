"""The layout of our own tables: an older dataset is brought to it once, a newer one is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema import migrations, tables
from extend_pipeline.warehouse.schema.migrations import MIGRATIONS, Migration, migrate
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import Columns, ColumnType, created
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import DATASET, Place, contents, land, provenance, query, warehouse
from fixtures.warehouse.layouts import LATER, NEWEST, STEPS
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run

VERSIONS = "SELECT version FROM _schema_version ORDER BY version"


def fail(session: Session, dataset: str) -> None:
    raise RuntimeError("killed")


def migrated(place: Place, **options: Any) -> bool:
    with warehouse(place) as opened:
        session = opened.session("Migration")
        with session.transaction():
            return migrate(session, DATASET, make=False, **{"layout": LATER, "migrations": STEPS, **options})


def as_version_0(place: Place) -> None:
    """Make the dataset one of the release before."""
    with warehouse(place) as opened:
        session = opened.session("Before")
        session.run("forget the version", f'DROP TABLE "{DATASET}"."_schema_version"')


def tables_of(place: Place) -> dict[str, Columns]:
    with warehouse(place) as opened:
        return opened.session("Tables").columns(DATASET)


def one(number: int = 1) -> tuple[Any, Any]:
    return [document(number)], raw_lines(run(document(number)))


def test_a_dataset_has_the_newest_version_from_its_first_row_on(file: Place) -> None:
    with warehouse(file) as opened:
        opened.claim([(document(1), "chunk")], workflow_id=WORKFLOW, version=None)
    assert query(file, VERSIONS) == [(NEWEST,)]
    land(file, *one())
    with warehouse(file) as opened:
        opened.check_writable()
        assert not list(opened.unlanded([document(1)], workflow_id=WORKFLOW, version=None))
        assert "_schema_version" not in opened.counts()
    assert query(file, VERSIONS) == [(NEWEST,)]


def test_an_empty_dataset_stays_empty_while_nothing_is_made_in_it(file: Place) -> None:
    with warehouse(file) as opened:
        assert len(list(opened.unlanded([document(1)], workflow_id=WORKFLOW, version=None))) == 1
        opened.claim([], workflow_id=WORKFLOW, version=None)
        opened.forget_parts(["part"])
    assert tables_of(file) == {}


@pytest.mark.parametrize("how", ["plan", "land", "preflight"])
def test_an_older_dataset_is_brought_to_the_newest_version_once(file: Place, how: str) -> None:
    land(file, *one())
    before = contents(file)
    as_version_0(file)
    with warehouse(file) as opened:
        assert opened.counts()["documents"] == 1  # whoever reads changes nothing
    assert "_schema_version" not in tables_of(file)
    with warehouse(file) as opened:
        if how == "plan":
            assert not list(opened.unlanded([document(1)], workflow_id=WORKFLOW, version=None))
        elif how == "preflight":
            opened.check_writable()
        else:
            opened.land(*one(), provenance=provenance())
    assert query(file, VERSIONS) == [(number,) for number in range(1, NEWEST + 1)]
    after = contents(file)
    before.pop("loads")
    after.pop("loads")
    assert after == before


def test_types_columns_and_tables_change_and_values_stay(file: Place) -> None:
    land(file, *one())
    as_version_0(file)
    assert migrated(file)
    there = tables_of(file)
    assert there["pages"] == LATER["pages"]
    assert there["documents"]["attempts"] is ColumnType.DECIMAL
    assert query(file, "SELECT attempts::INTEGER, language FROM documents") == [(1, "de")]
    assert query(file, VERSIONS) == [(number,) for number in range(1, NEWEST + 2)]
    with warehouse(file) as opened:  # the views read the column as it is now
        views = opened.session("Views")
        assert views.rows("ask", f'SELECT count(*) FROM "{DATASET}".dead_letters') == [(0,)]


def test_a_step_is_done_once(file: Place) -> None:
    land(file, *one())
    assert migrated(file)
    with warehouse(file) as opened:
        opened.session("Change").run("change", f"UPDATE \"{DATASET}\".documents SET language = 'fr'")
    assert migrated(file)
    assert query(file, "SELECT language FROM documents") == [("fr",)]


def test_a_migration_that_is_killed_leaves_the_dataset_as_it_was(file: Place) -> None:
    land(file, *one())
    as_version_0(file)
    before = tables_of(file)
    with pytest.raises(RuntimeError, match="killed"):
        migrated(file, migrations=(*STEPS, Migration(NEWEST + 2, "fails", fail)))
    assert tables_of(file) == before
    assert migrated(file)


def test_a_dataset_of_a_newer_release_is_refused_before_anything_is_done(file: Place) -> None:
    land(file, *one())
    with warehouse(file) as opened:
        opened.session("Later").run(
            "raise", f'INSERT INTO "{DATASET}"."_schema_version" (version) VALUES ({NEWEST + 1})'
        )
    before = contents(file)
    for action in (
        lambda opened: list(opened.unlanded([document(2)], workflow_id=WORKFLOW, version=None)),
        lambda opened: list(opened.landed_parts()),
        lambda opened: opened.claim([(document(2), "chunk")], workflow_id=WORKFLOW, version=None),
        lambda opened: opened.land(*one(2), provenance=provenance("batch_2")),
        lambda opened: list(opened.dead_letters()),
        lambda opened: opened.check_writable(),
        lambda opened: opened.forget_parts(["part"]),
        lambda opened: opened.note_deleted_runs(["run"], "gone"),
    ):
        with (
            warehouse(file) as opened,
            pytest.raises(
                WarehouseError,
                match=rf"layout version {NEWEST + 1}, and this release .* up to {NEWEST}: a newer release "
                r".* Nothing was planned, landed or sent. Install the newer release",
            ),
        ):
            action(opened)
    assert contents(file) == before


def test_claims_made_by_a_plan_of_the_release_before_are_indexed(file: Place) -> None:
    if not isinstance(file, Database):
        pytest.skip("DuckDB has no index here")

    def indexes() -> list[str]:
        with file.connect() as connection:
            found = connection.execute(
                "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND tablename = 'claims'", [DATASET]
            )
            return [definition.rpartition(" ")[2] for (definition,) in found]

    with warehouse(file) as opened:
        session = opened.session("Before")
        session.make_schema(DATASET)
        session.run("make claims", created(f'"{DATASET}".claims', tables.CLAIMS))
    assert indexes() == []
    for number in (1, 2):
        with warehouse(file) as opened:
            opened.claim([(document(number), "chunk")], workflow_id=WORKFLOW, version=None)
        assert indexes() == ["(document_id)"]


def test_versions_are_in_order_and_the_layout_is_the_one_of_the_newest() -> None:
    """If this fails: raise the version with a migration, and write down what the layout is then."""
    assert [each.version for each in MIGRATIONS] == list(range(1, NEWEST + 1))
    assert migrations.TABLE not in tables.FIXED
    layout = sorted(
        f"{table}.{column} {kind}" for table, fixed in tables.FIXED.items() for column, kind in fixed.items()
    )
    assert (NEWEST, hashlib.sha256("\n".join(layout).encode()).hexdigest()[:8]) == (3, "95d200af")
