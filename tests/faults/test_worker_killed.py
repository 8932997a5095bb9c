"""A worker dies by SIGKILL at the worst lines: no handler and no cleanup runs."""

from __future__ import annotations

import psutil
import pytest

from fixtures.airflow.scenario import BATCH, Scenario, fault
from fixtures.tiers import FULL

LEDGER = "extend_pipeline.batches.ledger:WorkspaceLedger"
HOOKS = "extend_provider.hooks"
WAREHOUSE = "extend_pipeline.warehouse"


@pytest.mark.parametrize(
    ("task", "function", "when", "skip"),
    [
        pytest.param(
            *("plan", "extend_pipeline.dag.tasks:keep_plan", "before", 0),
            id="before the plan is kept",
            marks=FULL,
        ),
        pytest.param("submit", f"{LEDGER}.begin", "before", 0, id="before the intent", marks=FULL),
        pytest.param("submit", f"{HOOKS}.extend:ExtendHook.create_batch", "before", 0, id="before the POST"),
        pytest.param("submit", f"{LEDGER}.record", "before", 0, id="after the answer, before the record"),
        pytest.param("submit", f"{LEDGER}.record", "after", 0, id="after the record", marks=FULL),
        pytest.param(
            *("collect", f"{HOOKS}.extend_async:ExtendAsyncHook.get_run", "before", 5), id="during collect"
        ),
        pytest.param(
            *("load", f"{WAREHOUSE}.transform.landing:Load._insert_steps", "after", 0),
            id="during load",
            marks=FULL,
        ),
        pytest.param(
            *("load", f"{WAREHOUSE}.duckdb_file:DuckDBWarehouse.land", "after", 0), id="after the commit"
        ),
    ],
)
def test_task_killed_at_a_line_is_retried_and_pays_once(
    scenario: Scenario, task: str, function: str, when: str, skip: int
) -> None:
    truths = scenario.seed()
    proof = scenario.failpoint(task, function, when, skip)
    run = scenario.start()
    scenario.succeed(run)
    assert proof.exists(), "nobody was killed"
    scenario.verdict(truths, run, posts=1, attempts={task: 2})


@pytest.mark.parametrize(
    ("function", "when"),
    [
        pytest.param("extend_pipeline.dag.wait:note", "after", id="before the second intent", marks=FULL),
        pytest.param(f"{LEDGER}.record", "before", id="after the second answer, before the record"),
    ],
)
def test_wait_killed_while_it_resubmits_failures_pays_once(
    scenario: Scenario, function: str, when: str
) -> None:
    truths = scenario.seed()
    scenario.extend.configure(outcomes=[{"name_glob": "*.pdf", "status": "FAILED", "first_attempts": 1}])
    proof = scenario.failpoint("wait", function, when)
    run = scenario.start()
    scenario.succeed(run)
    assert proof.exists(), "nobody was killed"
    scenario.verdict(truths, run, posts=2, runs_of=lambda truth: 2 if truth.key.endswith(".pdf") else 1)


@pytest.mark.parametrize(
    ("accepted", "posts"),
    [pytest.param(True, 1, id="accepted"), pytest.param(False, 2, id="not accepted", marks=FULL)],
)
def test_submission_on_a_lost_machine_is_recovered(scenario: Scenario, accepted: bool, posts: int) -> None:
    """Task and supervisor die together, so only missing heartbeats tell Airflow."""
    truths = scenario.seed()
    scenario.lane.connect(answer_seconds=15)
    scenario.extend.configure(faults=[fault("slow", seconds=14, accepted=accepted)])
    run = scenario.start()
    submit = scenario.task(run, "submit", "running")
    intents = scenario.lane.workspace
    scenario.wait_until(lambda: scenario.created() or list(intents.rglob("*.intent.json")), "the intent")
    family = scenario.processes(submit)
    if accepted:
        scenario.wait_until(scenario.created, "Extend has the batch")
    else:
        scenario.wait_until(lambda: _is_connected(family, scenario), "the request is on its way")
    for process in family:
        process.kill()
    assert not list(intents.rglob("batch.json")), "it was killed too late"
    scenario.succeed(run)
    if not accepted:
        assert scenario.extend.stats()["responses"].get(f"{BATCH} 499") == 1
    scenario.verdict(truths, run, posts=posts, attempts={"submit": 2})


def _is_connected(family: list[psutil.Process], scenario: Scenario) -> bool:
    port = int(scenario.extend.url.rpartition(":")[2])
    connections = family[-1].net_connections(kind="tcp")
    return any(at.raddr and at.raddr.port == port for at in connections if at.status == "ESTABLISHED")
