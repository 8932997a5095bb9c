"""Runs that are not listed: waited for without end, or given up when nothing has changed for long enough."""

from __future__ import annotations

import pytest

from extend_provider.batch.waiting.polling import Outcome, Poller, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress
from extend_provider.exceptions import ExtendConnectionError

SHORT = BatchProgress(3, {"PROCESSED": 2})


def waiting(missing_after: float | None, on_needs_review: str = "land") -> Poller:
    policy = WaitPolicy(1e9, 60, on_needs_review, missing_after=missing_after)  # type: ignore[arg-type]
    return Poller(policy, chance=lambda: 0.5)


def outcomes(wait: Poller, *looks: tuple[float, BatchProgress]) -> list[Outcome]:
    return [wait.polled(progress, now=now).outcome for now, progress in looks]


def test_missing_runs_count_as_gone_after_missing_after_without_a_change() -> None:
    assert outcomes(waiting(100), (0, SHORT), (99, SHORT), (100, SHORT)) == ["wait", "wait", "short"]


def test_an_empty_list_never_counts_as_gone() -> None:
    nothing = BatchProgress(3, {})
    assert outcomes(waiting(100), (0, nothing), (1e6, nothing), (1e9, nothing)) == [
        "wait",
        "wait",
        "timed_out",
    ]


def test_missing_runs_are_waited_for_without_missing_after() -> None:
    assert outcomes(waiting(None), (0, SHORT), (1e6, SHORT)) == ["wait", "wait"]


def test_every_change_restarts_missing_after() -> None:
    fewer = BatchProgress(3, {"PROCESSED": 1})
    assert outcomes(waiting(100), (0, fewer), (90, SHORT), (110, SHORT), (190, SHORT))[-2:] == [
        "wait",
        "short",
    ]


def test_a_failed_poll_restarts_missing_after() -> None:
    wait = waiting(100)
    wait.polled(SHORT, now=0)
    wait.failed(ExtendConnectionError("no answer", retryable=True), now=90)
    assert outcomes(wait, (101, SHORT), (201, SHORT)) == ["wait", "short"]


@pytest.mark.parametrize("unsettled", ["PENDING", "PROCESSING", "CANCELLING", "A_STATUS_OF_TOMORROW"])
def test_missing_runs_never_count_as_gone_while_a_run_is_at_work(unsettled: str) -> None:
    busy = BatchProgress(3, {"PROCESSED": 1, unsettled: 1})
    assert outcomes(waiting(100), (0, busy), (1e6, busy)) == ["wait", "wait"]


def test_missing_runs_never_count_as_gone_while_a_review_is_waited_for() -> None:
    in_review = BatchProgress(3, {"PROCESSED": 1, "NEEDS_REVIEW": 1})
    assert outcomes(waiting(100, "wait"), (0, in_review), (1e6, in_review)) == ["wait", "wait"]
    assert outcomes(waiting(100), (0, in_review), (100, in_review)) == ["wait", "short"]


def test_a_whole_list_is_done_at_once() -> None:
    assert outcomes(waiting(100), (0, BatchProgress(3, {"PROCESSED": 3}))) == ["done"]
