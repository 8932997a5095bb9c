"""Which rate the waits of a process share, as the connection says it, and as Extend refuses."""

from __future__ import annotations

import dataclasses

from extend_provider.batch.waiting.shared import (
    LARGEST_PLAN,
    SMALLEST_PLAN,
    forget_pace,
    read_rate,
    shared_pace,
)
from extend_provider.client.pacing.limits import limits_of
from extend_provider.client.settings import ExtendSettings, Secret

SETTINGS = ExtendSettings("extend_default", "https://api.extend.ai", Secret("sk"))


def bound(rate: float) -> ExtendSettings:
    return dataclasses.replace(SETTINGS, requests_per_second=rate)


def test_the_rate_that_the_connection_says_counts() -> None:
    assert read_rate(bound(10)) == 10
    limits_of(SETTINGS).refused("read", None)
    assert read_rate(bound(40)) == 40


def test_a_corrected_connection_counts_for_the_waits_that_have_begun() -> None:
    budget = shared_pace(bound(1)).budget
    budget.join(1.0, requests=10, chance=0.5)
    crowded = budget.stretch()
    shared = shared_pace(bound(10))
    assert shared.budget is budget, "they share one budget"
    assert budget.stretch() < crowded


def test_another_account_has_a_budget_of_its_own() -> None:
    assert shared_pace(SETTINGS).budget is not shared_pace(dataclasses.replace(SETTINGS, conn_id="b")).budget


def test_the_largest_plan_is_expected_until_extend_refuses_a_read() -> None:
    assert read_rate(SETTINGS) == LARGEST_PLAN
    limits_of(SETTINGS).refused("write", None)
    assert read_rate(SETTINGS) == LARGEST_PLAN
    limits_of(SETTINGS).refused("read", None)
    assert read_rate(SETTINGS) == SMALLEST_PLAN, "one refusal of a process that polls seldom says little"


def test_a_new_process_knows_nothing() -> None:
    before = shared_pace(SETTINGS)
    forget_pace()
    assert shared_pace(SETTINGS) is not before
