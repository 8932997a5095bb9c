"""Sources and globs as people write them: each means what it says, or is refused with what would."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from extend_pipeline.sources.addresses import day_folders, parse_source
from extend_pipeline.sources.globs import check_glob, matches

DAY = dt.datetime(2026, 3, 1, 2, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("glob", "meant", "not_meant"),
    [
        ("*.pdf", ["a.pdf", "acme/a.pdf"], ["a.PDF", "a.pdf.tmp"]),
        ("**/*.pdf", ["a.pdf", "acme/a.pdf", "acme/deep/a.pdf"], ["a.png"]),
        ("**", ["a.pdf", "acme/a.pdf"], []),
        ("acme/**/*.pdf", ["acme/a.pdf", "acme/deep/down/a.pdf"], ["other/a.pdf", "acme.pdf"]),
        ("**/invoices/**/*.pdf", ["invoices/a.pdf", "x/invoices/y/a.pdf"], ["receipts/a.pdf"]),
        ("*.{pdf,png}", ["a.pdf", "b/a.png"], ["a.gif", "a.{pdf,png}"]),
        ("{2026-01, 2026-02}/*.{p{df,ng},PDF}", ["2026-01/a.pdf", "2026-02/a.PDF"], ["2026-03/a.pdf"]),
        ("{**/a,b}.pdf", ["x/a.pdf", "a.pdf", "b.pdf"], ["x/b.pdf"]),
        ("*.[pP][dD][fF]", ["a.pdf", "a.PDF"], ["a.png"]),
        ("page-[0-9].pdf", ["page-1.pdf"], ["page-12.pdf"]),
        ("[!_]*.pdf", ["a.pdf"], ["_a.pdf"]),
        ("scan?.pdf", ["scan1.pdf"], ["scan.pdf"]),
        ("scan[[]1].pdf", ["scan[1].pdf"], ["scan1.pdf"]),
        ("what[?][*][,][{][}][\\].pdf", ["what?*,{}\\.pdf"], ["whatever.pdf"]),
        ("/acme/*", ["acme/a.pdf"], ["other/a.pdf"]),
        ("./acme/", ["acme/a.pdf", "acme/deep/a.pdf"], ["acme"]),
    ],
)
def test_a_glob_means_what_people_mean_by_it(glob: str, meant: list[str], not_meant: list[str]) -> None:
    assert check_glob(glob) == glob
    assert [name for name in [*meant, *not_meant] if matches(glob, name)] == meant


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("s3://inbox/docs//2026-01-01/", ["s3://inbox/docs/2026-01-01/"]),
        ("s3://inbox//docs///a//", ["s3://inbox/docs/a/"]),
        ("s3://inbox//", ["s3://inbox/"]),
        ("file:///data//in/", ["file:///data/in/"]),
        (["file:///data//a.pdf"], ["file:///data/a.pdf"]),
        (["s3://inbox/docs//a.pdf"], ["s3://inbox/docs//a.pdf"]),
        (["s3://inbox//a/", "s3://inbox/b//c.pdf"], ["s3://inbox/a/", "s3://inbox/b//c.pdf"]),
    ],
)
def test_slashes_in_a_row_are_one_except_in_the_key_of_one_object(given: Any, expected: list[str]) -> None:
    assert [item.uri for item in parse_source(given)] == expected


@pytest.mark.parametrize(
    ("source", "key", "as_names"),
    [
        ("s3://inbox/docs/*.pdf", "docs/a.pdf", False),
        ("s3://inbox/docs/**/*.pdf", "docs/a.pdf", False),
        ("s3://inbox/*/2026/", "acme/2026/a.pdf", False),
        ("s3://inbox/{in,out}/", "out/a.pdf", False),
        ("s3://inbox/scan?.pdf", "scan1.pdf", False),
        (["s3://inbox/docs/*.pdf"], "docs/a.pdf", False),
        ("s3://inbox/Miller, Ltd/a.pdf", "Miller, Ltd/a.pdf", True),
        (["s3://inbox/docs/2*3.pdf"], "docs/2*3.pdf", True),
    ],
)
def test_a_source_with_shell_habits_is_refused_with_what_to_write(
    source: Any, key: str, as_names: bool
) -> None:
    with pytest.raises(ValueError, match="but a source has no patterns") as refused:
        parse_source(source)
    said = re.search(r"has '(.)\S*, but .* source='(\S+)', glob='(.+)'\. If the names", str(refused.value))
    assert said is not None, refused.value
    character, prefix, glob = said.groups()
    if as_names:
        glob = glob.replace(character, f"[{character}]")
    (item,) = parse_source(prefix)
    assert key.startswith(item.key)
    assert matches(check_glob(glob), key.removeprefix(item.key))


def test_several_addresses_in_one_are_told_to_be_several() -> None:
    with pytest.raises(ValueError, match="is several addresses; write them as a list"):
        parse_source("s3://inbox/a/, s3://inbox/b/")


@pytest.mark.parametrize("above", ["s3://inbox/docs", "s3://inbox/docs/", "s3://inbox/docs//"])
def test_days_are_folders_from_the_earliest_on(above: str) -> None:
    folders = day_folders(above, DAY, "2").splitlines()
    assert folders == [f"s3://inbox/docs/{day}/" for day in ("2026-02-27", "2026-02-28", "2026-03-01")]
    assert day_folders(above, DAY) == "s3://inbox/docs/2026-03-01/"


def test_days_of_several_places_are_all_read() -> None:
    folders = day_folders("s3://inbox/a/\n s3://inbox/b", DAY, 1).splitlines()
    days = ("2026-02-28", "2026-03-01")
    assert folders == [f"s3://inbox/{place}/{day}/" for place in "ab" for day in days]


@pytest.mark.parametrize("days_back", ["-1", "many", "", None, 1.5, "367", "1e3"])
def test_days_that_cannot_be_looked_back_are_refused(days_back: Any) -> None:
    with pytest.raises(ValueError, match="extend_lookback_days"):
        day_folders("s3://inbox", DAY, days_back)
