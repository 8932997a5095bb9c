"""What is stored: releases before and after read it, keep what they do not know, and say what they cannot."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.formats import Stored, from_plain, read, to_plain, write, write_once


@dataclasses.dataclass(frozen=True)
class Place:
    dataset: str
    conn_id: str = "warehouse_default"


class Note(Stored, frozen=True, kw_only=True):
    text: str
    place: Place
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    at: dt.datetime | None = None


class LaterNote(Stored, frozen=True, kw_only=True):
    FORMAT = 2

    body: str
    place: Place

    @classmethod
    def upgraded(cls, plain: dict[str, Any], from_format: int) -> dict[str, Any]:
        return {"body": plain["text"] if from_format else plain["words"], "place": plain["place"]}


NOTE = Note(text="a", place=Place("extend"), facts={"x": "y"}, at=dt.datetime(2026, 11, 26, tzinfo=dt.UTC))


def path(tmp_path: Path) -> ObjectStoragePath:
    return ObjectStoragePath(f"file://{tmp_path}/note.json")


def test_a_written_value_is_read_back(tmp_path: Path) -> None:
    assert read(path(tmp_path), Note) is None
    assert write_once(path(tmp_path), NOTE)
    assert not write_once(path(tmp_path), msgspec.structs.replace(NOTE, text="b"))
    assert read(path(tmp_path), Note) == NOTE
    assert json.loads((tmp_path / "note.json").read_bytes())["format"] == 1


def test_unknown_keys_are_kept_when_an_older_release_writes(tmp_path: Path) -> None:
    plain = to_plain(NOTE)
    newer = {**plain, "colour": "red", "place": {**plain["place"], "region": {"name": "EU"}}}
    (tmp_path / "note.json").write_text(json.dumps(newer))
    note = read(path(tmp_path), Note)
    assert note is not None
    changed = msgspec.structs.replace(note, text="b", place=Place("other"), facts={})
    write(path(tmp_path), changed)
    assert json.loads((tmp_path / "note.json").read_bytes()) == {
        **newer,
        "text": "b",
        "facts": {},
        "place": {"dataset": "other", "conn_id": "warehouse_default", "region": {"name": "EU"}},
    }


def test_a_value_without_format_is_read_with_defaults() -> None:
    assert from_plain(Note, {"text": "a", "place": {"dataset": "extend"}}, "here") == Note(
        text="a", place=Place("extend")
    )


def test_an_older_format_is_upgraded() -> None:
    place = {"dataset": "extend"}
    later = LaterNote(body="a", place=Place("extend"))
    assert from_plain(LaterNote, {"words": "a", "place": place}, "here") == later
    assert from_plain(LaterNote, {"format": 1, "text": "a", "place": place}, "here") == later
    assert from_plain(LaterNote, to_plain(later), "here") == later


def test_an_older_release_refuses_a_newer_file_by_name(tmp_path: Path) -> None:
    write(path(tmp_path), LaterNote(body="a", place=Place("extend")))
    with pytest.raises(
        PipelineInputError,
        match=r"note.json is of format 2, .* up to 1: a newer release .* Install the newer release",
    ):
        read(path(tmp_path), Note)


@pytest.mark.parametrize("broken", ['{"text": ', "[]", '{"text": 1, "place": {}}', '{"format": "x"}', "{}"])
def test_a_broken_file_is_named_without_its_values(tmp_path: Path, broken: str) -> None:
    (tmp_path / "note.json").write_text(broken)
    with pytest.raises(PipelineInputError, match=r"note.json cannot be read \(\w+\): .* Restore it"):
        read(path(tmp_path), Note)


def test_threads_that_read_a_kind_for_the_first_time_together_do_not_break_the_process() -> None:
    """In a process of its own, because msgspec alone crashes it, or keeps it busy for ever."""
    script = """
        import dataclasses, sys, threading
        from concurrent.futures import ThreadPoolExecutor
        from extend_pipeline.storage.formats import Stored, from_plain

        sys.setswitchinterval(1e-6)
        plain = {"format": 1, "name": "a", "part": {f"field_{number}": number for number in range(6)}}
        with ThreadPoolExecutor(8) as threads:
            for _ in range(200):
                part = dataclasses.make_dataclass("Part", [(name, int) for name in plain["part"]])
                fields = {"__annotations__": {"part": part, "name": str}, "__module__": "__main__"}
                kind = type(Stored)("Kind", (Stored,), fields, frozen=True, kw_only=True)
                begin = threading.Barrier(8)
                read = lambda _: (begin.wait(), from_plain(kind, plain, "here"))[1]
                assert all(value.part.field_5 == 5 for value in threads.map(read, range(8)))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)
