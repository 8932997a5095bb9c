"""What a role of Postgres needs, and what it is told if it lacks something."""

from __future__ import annotations

import pytest

from extend_pipeline.warehouse.records import WarehouseError
from fixtures.engines.postgres import Database
from fixtures.warehouse.destinations import (
    opened_as,
)
from fixtures.warehouse.files import land, provenance
from fixtures.warehouse.runs import document, raw_lines, run

FIRST, SECOND = document(1), document(2)


def test_who_may_not_write_is_told_so_and_leaves_nothing(database: Database, role: str) -> None:
    with opened_as(database, role) as opened:
        with pytest.raises(WarehouseError, match=r"could not land in .*permission denied for database"):
            opened.check_writable()
        assert opened.counts() == {}
    land(database, [FIRST], raw_lines(run(FIRST)))
    database.rows(f"GRANT USAGE ON SCHEMA extend TO {role}")
    database.rows(f"GRANT SELECT ON ALL TABLES IN SCHEMA extend TO {role}")
    with opened_as(database, role) as opened:
        assert opened.counts()["documents"] == 1
        with pytest.raises(WarehouseError, match=r"could not land in .*permission denied for schema extend"):
            opened.check_writable()
    database.rows(f"GRANT CREATE ON SCHEMA extend TO {role}")
    refused = pytest.raises(WarehouseError, match="permission denied for table")
    with opened_as(database, role) as opened, refused:
        opened.check_writable()


def test_rights_in_one_schema_are_enough(database: Database, role: str) -> None:
    database.rows(f"CREATE SCHEMA extend AUTHORIZATION {role}")
    with opened_as(database, role) as opened:
        opened.check_writable()
        assert opened.counts() == {}
        opened.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
        opened.check_writable()
        assert opened.counts()["documents"] == 1
