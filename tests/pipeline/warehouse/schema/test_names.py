from __future__ import annotations

import itertools
import random

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.warehouse.schema.names import (
    KEYWORDS,
    MAX_BYTES,
    Path,
    identifier,
    identifiers,
    path_of,
    path_text,
)

keys = st.text(max_size=90)
paths = st.lists(keys | st.none(), min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invoice_number", "invoice_number"),
        ("Invoice No.", "invoice_no"),
        ("invoiceNumber", "invoice_number"),
        ("Betrag (€)", "betrag"),
        ("请求", "请求"),
        ("Größe", "größe"),
        ("2nd_line", "_2nd_line"),
        ("order", "order_"),
        ("", "field"),
        ("€", "field"),
        ('a"b; drop table x', "a_b_drop_table_x"),
    ],
)
def test_a_name_becomes_an_identifier_that_still_can_be_read(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_every_word_that_duckdb_reserves_is_known() -> None:
    reserved = duckdb.execute(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    ).fetchall()
    assert {word for (word,) in reserved} <= KEYWORDS


@given(st.lists(paths, max_size=12, unique=True))
def test_different_paths_never_share_an_identifier(some: list[Path]) -> None:
    wanted = {path: "_".join(key for key in path if key is not None) for path in some}
    found = identifiers(wanted, {"document_id": None, "idx": None})
    folded = [name.casefold() for name in found.values()]
    assert len(set(folded)) == len(some)
    assert all(0 < len(name.encode()) <= MAX_BYTES for name in folded)
    assert not {"document_id", "idx"} & set(folded)
    assert not KEYWORDS & set(folded)


@given(st.lists(paths, max_size=8, unique=True), st.randoms(use_true_random=False))
def test_the_order_in_which_names_come_changes_nothing(some: list[Path], order: random.Random) -> None:
    wanted = {path: "_".join(key for key in path if key is not None) for path in some}
    shuffled = order.sample(some, len(some))
    assert identifiers({path: wanted[path] for path in shuffled}, {}) == identifiers(wanted, {})


@given(paths)
def test_a_path_can_be_read_back(path: Path) -> None:
    assert path_of(path_text(path)) == path


def test_names_that_differ_only_in_case_or_in_how_they_nest_stay_apart() -> None:
    wanted: dict[Path, str] = {
        ("Amount",): "Amount",
        ("amount",): "amount",
        ("AMOUNT",): "AMOUNT",
        ("vendor", "name"): "vendor_name",
        ("vendor_name",): "vendor_name",
    }
    found = identifiers(wanted, {})
    assert found["amount",] == "amount"
    assert found["vendor_name",] == "vendor_name"
    assert len({name.lower() for name in found.values()}) == len(wanted)
    assert found["vendor", "name"].startswith("vendor_name_")


def test_an_identifier_once_given_stays_with_its_path() -> None:
    given_before = {"invoice_number": ("Invoice Number",)}
    found = identifiers({("invoice_number",): "invoice_number", ("Invoice Number",): "x"}, given_before)
    assert found["Invoice Number",] == "invoice_number"
    assert found["invoice_number",].startswith("invoice_number_")


def test_long_names_are_cut_between_characters_and_kept_apart() -> None:
    wanted: dict[Path, str] = {(f"{'请' * 40}{end}",): f"{'请' * 40}{end}" for end in "ab"}
    first, second = identifiers(wanted, {}).values()
    assert first != second
    assert all(len(name.encode()) <= MAX_BYTES and name.startswith("请请") for name in (first, second))


def test_two_thousand_columns_that_all_want_one_name_get_their_own() -> None:
    wanted: dict[Path, str] = {(f"{'x' * 70}{n}",): "x" * 70 for n in range(2000)}
    found = identifiers(wanted, {})
    assert all(a != b for a, b in itertools.pairwise(sorted(found.values())))
