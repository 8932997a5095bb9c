"""Places as DuckDB spells them, whatever the keys are."""

from __future__ import annotations

import json
import string
from typing import Any

import duckdb
import hypothesis
import hypothesis.strategies as st
import pytest

from extend_pipeline.warehouse.transform.values.places import parent_of

#: Keys that look like parts of a place, and some that do not.
KEYS = st.text(st.sampled_from(string.printable + "äé名😀\x00\x7f\u2028"), max_size=4) | st.sampled_from(
    ["", "$", "a.b", 'x"y', '."a"', "[0]", "a[0]", "\\", 'a\\"', "]", '"].["', "line items", "-1"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12
)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@hypothesis.given(VALUES)
def test_the_parent_of_a_place_is_what_duckdb_calls_its_path(
    connection: duckdb.DuckDBPyConnection, value: Any
) -> None:
    query = f"SELECT fullkey, path, {parent_of('fullkey')} FROM json_tree(?::JSON) WHERE fullkey <> '$'"
    for place, path, parent in connection.execute(query, [json.dumps(value)]).fetchall():
        assert parent == path, place
