"""How landing is measured: each way in a process of its own, one after the other, and medians of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.warehouse import landing


def test_ways_take_turns_with_a_new_file_and_medians_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def in_a_process(way: str, file: Path, parts: Path) -> dict[str, Any]:
        assert not file.exists()
        assert [part.name for part in sorted(parts.glob("*.jsonl"))] == [
            "000000000-2.jsonl",
            "000000002-1.jsonl",
        ]
        file.touch()
        ran.append(way)
        return {"seconds": 2.0 * len(ran), "cpu": [9.0, 1.0, 2.0][ran.count(way) - 1], "peak": 100}

    monkeypatch.setattr(landing, "_in_a_process", in_a_process)
    monkeypatch.setattr(landing, "rows", lambda file: 7)
    measured = list(landing.compared(3, 2, tmp_path, repeat=3))
    assert ran == 3 * list(landing.WAYS)
    assert [row["way"] for row in measured] == list(landing.WAYS)
    assert {(row["cpu"], row["rows"]) for row in measured} == {(2.0, 7)}
    assert measured[0]["seconds"] == 2.0 * (len(landing.WAYS) + 1)
