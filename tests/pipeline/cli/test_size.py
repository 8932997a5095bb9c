"""``size``: the arithmetic, which limit decides, and what the command prints."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.__main__ import main
from extend_pipeline.cli import sizing
from extend_pipeline.cli.size import amount, duration
from extend_pipeline.cli.sizing import Load, size
from extend_pipeline.config import Execution
from extend_pipeline.exceptions import PipelineInputError
from extend_provider.batch.waiting import watching
from fixtures.guides import ROOT

#: A few million documents on the largest plan that is published.
USUAL: dict[str, Any] = {
    "documents": 10_000_000,
    "requests_per_second": 75.0,
    "runs_per_minute": 300.0,
    "seconds_per_run": 60.0,
}
COMMAND = [
    *("size", "--documents", "10000000", "--requests-per-second", "75"),
    *("--runs-per-minute", "300", "--seconds-per-run", "60"),
]
rates = st.floats(0.1, 10_000)
loads = st.builds(
    Load,
    documents=st.integers(1, 50_000_000),
    requests_per_second=rates,
    runs_per_minute=rates,
    seconds_per_run=st.floats(0.1, 86_400),
    webhooks=st.booleans(),
)


def test_ten_million_documents_take_what_a_calculator_says() -> None:
    needed = size(Load(**USUAL, pages_per_document=3, credits_per_page=2))
    assert (needed.batches, needed.dag_runs) == (10_000, 10)
    assert needed.limits == pytest.approx(
        {
            "runs per minute": 10_000_000 / 300 * 60,
            # One request for each document and nine lists for each batch, at 67.5 a second.
            "requests per second": (10_000_000 + 10_000 * 9) / 67.5,
            "landing": 10_000 * 0.8,
        }
    )
    assert needed.binding == "runs per minute"
    # The limit, then the last document: its run, one poke interval, its tasks and 1,000 requests at 67.5/s.
    assert needed.seconds == pytest.approx(2_000_000 + 60 + 60 + 17 + 1000 / 67.5)
    # 5 documents/s are at Extend, or on the way, for 137 s: 685, so one batch, and one that drains.
    assert needed.slots == 2
    assert needed.batch_seconds == pytest.approx(60 + 2000 / 5)
    assert dataclasses.astuple(needed.requests) == (10_000, 90_000, 10_000_000)
    # A batch every 200 s occupies a slot for 32 s.
    assert (needed.triggerers, needed.worker_slots, needed.workers) == (1, 1, 1)
    assert (needed.raw_bytes, needed.table_bytes) == pytest.approx((22e9, 24e9))
    assert needed.credits == 60_000_000


def test_a_plan_of_many_runs_needs_more_of_everything() -> None:
    # 100 documents/s, of which each is at Extend for ten minutes.
    load = Load(**{**USUAL, "runs_per_minute": 6000, "seconds_per_run": 600}, webhooks=True)
    needed = size(load)
    assert needed.binding == "runs per minute"
    assert needed.slots == 65  # 100 × (600 + 15 + 17) / 1,000, and one
    assert needed.worker_slots == 2  # a batch every 10 s, for 17 s
    many = size(dataclasses.replace(load, seconds_per_run=86_400))
    assert (many.slots, many.triggerers) == (8_645, 9)


@pytest.mark.parametrize(
    ("changes", "binding"),
    [
        ({}, "runs per minute"),
        ({"runs_per_minute": 60_000}, "requests per second"),
        ({"runs_per_minute": 120_000, "webhooks": True}, "landing"),
        ({"runs_per_minute": 120_000, "requests_per_second": 2000}, "landing"),
        ({"requests_per_second": 1}, "requests per second"),
    ],
)
def test_the_limit_that_decides_is_named(changes: dict[str, Any], binding: str) -> None:
    needed = size(Load(**{**USUAL, **changes}))
    assert needed.binding == binding
    assert needed.limits[binding] == max(needed.limits.values())
    assert needed.seconds > needed.limits[binding]


def test_no_more_is_in_flight_than_the_narrowest_limit_lets_through() -> None:
    fast = {**USUAL, "runs_per_minute": 120_000}
    # Landing: 1,250 documents/s × 92 s / 1,000, and one.
    assert size(Load(**fast, webhooks=True)).slots == 116
    polled = size(Load(**fast))
    assert polled.slots == 11  # requests: 67.5 documents/s × 137 s / 1,000, and one
    assert polled.worker_slots == 3  # a batch every 14.9 s, for 17 s and 1,000 requests at 67.5/s
    assert size(Load(**{**fast, "requests_per_second": 10})).slots == 3


def test_a_few_documents_are_one_batch() -> None:
    needed = size(Load(**{**USUAL, "documents": 10}))
    assert (needed.batches, needed.dag_runs, needed.slots, needed.worker_slots) == (1, 1, 1, 1)
    assert needed.batch_seconds == 60 + 10 / 5


@given(loads, st.integers(1, 50_000_000))
def test_more_documents_need_no_less(load: Load, more: int) -> None:
    few, many = size(load), size(dataclasses.replace(load, documents=load.documents + more))
    for name in ("batches", "dag_runs", "slots", "triggerers", "batch_seconds", "seconds", "raw_bytes"):
        assert getattr(many, name) >= getattr(few, name), name
    for kind in ("submit", "list_runs", "get_run"):
        assert getattr(many.requests, kind) >= getattr(few.requests, kind), kind


@given(loads)
def test_a_larger_plan_is_no_narrower(load: Load) -> None:
    now = size(load).limits
    more_runs = size(dataclasses.replace(load, runs_per_minute=2 * load.runs_per_minute)).limits
    assert more_runs["runs per minute"] == pytest.approx(now["runs per minute"] / 2)
    more_requests = size(dataclasses.replace(load, requests_per_second=2 * load.requests_per_second)).limits
    assert more_requests["requests per second"] <= now["requests per second"]
    assert more_requests["landing"] == more_runs["landing"] == now["landing"]


@given(loads)
def test_webhooks_need_fewer_requests_and_no_more_time(load: Load) -> None:
    polled, told = (size(dataclasses.replace(load, webhooks=webhooks)) for webhooks in (False, True))
    assert told.requests.reads < polled.requests.reads
    assert told.requests.get_run == 0
    assert told.requests.submit == polled.requests.submit
    assert told.limits["requests per second"] <= polled.limits["requests per second"]


@given(loads)
def test_nothing_is_computed_that_nobody_can_have(load: Load) -> None:
    needed = size(load)
    assert 1 <= needed.slots <= needed.batches
    assert 1 <= needed.worker_slots <= needed.batches
    assert needed.triggerers >= 1
    assert needed.credits is None


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(Load) if field.name != "webhooks"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_number_that_makes_no_sense_is_named(field: str, value: float) -> None:
    with pytest.raises(PipelineInputError, match=rf"^--{field.replace('_', '-')} is .*above 0\.$"):
        Load(**{**USUAL, field: value})


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(COMMAND) == 0
    printed = capsys.readouterr().out
    for row in (
        "23.1 days",
        "the limit is runs per minute",
        "10,100,000",
        "22.0 GB",
        "unknown",
        "by polling",
    ):
        assert row in printed
    assert main([*COMMAND, "--webhooks", "--credits-per-page", "2", "--pages-per-document", "3"]) == 0
    printed = capsys.readouterr().out
    for row in ("60,000,000", "20,000", "by webhooks", "3 pages each"):
        assert row in printed


def test_the_command_says_which_option_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--poke-interval", "0"]) == 1
    assert "--poke-interval is 0: give a finite number above 0." in capsys.readouterr().err


def test_durations_and_amounts_have_a_unit_that_suits_them() -> None:
    shown = [duration(seconds) for seconds in (90, 7_199, 7_200, 172_799, 172_800)]
    assert shown == ["1.5 minutes", "120.0 minutes", "2.0 hours", "48.0 hours", "2.0 days"]
    shown = [amount(size_bytes) for size_bytes in (2_200, 1e6, 2.4e9, 1e12)]
    assert shown == ["2.2 kB", "1.0 MB", "2.4 GB", "1.0 TB"]


def test_the_figures_are_those_of_the_documents_and_of_the_code() -> None:
    text = {
        name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("operations", "tables", "warehouses")
    }
    (section,) = re.findall(r"^## Sizing$(.*?)^## ", text["operations"], re.DOTALL | re.MULTILINE)
    for figure in (
        f"{sizing.USABLE_SHARE:.0%}".replace("%", " %"),
        f"{sizing.WORKER_SECONDS:g} s",
        f"{sizing.LANDING_SECONDS} s",
        f"{sizing.RAW_KILOBYTES} kB",
        f"{sizing.TABLE_KILOBYTES} kB",
        f"{sizing.TASK_MEGABYTES} MB",
        f"{sizing.TRIGGERS_PER_TRIGGERER:,}",
    ):
        assert figure in section, figure
    polled, told = (size(Load(**USUAL, webhooks=webhooks)) for webhooks in (False, True))
    for result in (
        duration(polled.seconds),
        duration(polled.limits["requests per second"]),
        f"{duration(polled.limits['landing']).removesuffix(' hours')}.",
        *(f"{each.requests.submit + each.requests.reads:,}" for each in (polled, told)),
        *(amount(each).replace(".0", "") for each in (polled.raw_bytes, polled.table_bytes)),
    ):
        assert result in " ".join(section.split()), result
    assert f"{sizing.RAW_KILOBYTES} kB a document" in text["tables"]
    assert f"some {sizing.TASK_MEGABYTES} MB" in text["warehouses"]
    assert sizing.NOTICED_BY_WEBHOOK == watching.LONGEST_LOOK
    assert Execution.chunk_size == sizing.BATCH
