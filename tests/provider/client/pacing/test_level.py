"""How the pace is learnt: simulated processes at a server whose limit they are not told."""

from __future__ import annotations

import random
import statistics

import pytest

from extend_provider.client.pacing.level import (
    LEAST_STRETCH,
    MOST_STRETCH,
    SPREADS,
    Learnt,
    Level,
    Rules,
)
from extend_provider.client.pacing.limits import ConnectionLimits
from fixtures.extend.simulated_rate import Counting, Server, Simulation, Tasks

COUNTINGS: list[Counting] = ["bucket", "fixed", "sliding"]


@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize("limit", [10, 75])
@pytest.mark.parametrize("processes", [1, 4])
def test_the_limit_is_used_and_little_is_refused(counting: Counting, limit: float, processes: int) -> None:
    found = []
    for seed in range(6):
        simulation = Simulation(Server(limit, counting), processes, late=0.005, seed=seed)
        simulation.run(120)
        used, refused, rates = simulation.figures(20, 120, limit)
        assert min(rates) > 0.1 * limit / processes, "nobody starves"
        found.append((used, refused))
    assert statistics.mean(used for used, _ in found) > 0.9
    assert statistics.mean(refused for _, refused in found) < 0.02


@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize("limit", [10, 75])
def test_the_limit_is_used_from_the_beginning(counting: Counting, limit: float) -> None:
    found = []
    for seed in range(6):
        simulation = Simulation(Server(limit, counting), 1, late=0.005, seed=seed)
        simulation.run(34)
        found.append(simulation.figures(0, 33, limit)[:2])
    assert min(used for used, _ in found) > 0.85
    assert statistics.mean(used for used, _ in found) > 0.87
    assert statistics.mean(refused for _, refused in found) < 0.02


@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize(("limit", "slots", "each"), [(75, 1, 1000), (75, 4, 1000), (10, 4, 267)])
def test_tasks_that_come_and_go_on_a_machine_use_the_limit_from_first_to_last(
    counting: Counting, limit: float, slots: int, each: int
) -> None:
    seeds = 10 if limit == 10 else 2  # in few requests, a few refusals are much
    found = [
        Tasks(Server(limit, counting), [slots], tasks=8, each=each, seed=seed).run_all(limit)
        for seed in range(seeds)
    ]
    assert statistics.mean(used for used, _ in found) > 0.9
    assert statistics.mean(refused for _, refused in found) < 0.017


@pytest.mark.parametrize("began", [0.2, 0.4, 0.6, 0.7, 0.8, 0.95])
@pytest.mark.parametrize(("limit", "tasks", "each"), [(10, 4, 267), (75, 8, 1000)])
def test_when_in_a_second_of_extend_four_tasks_begin_makes_no_difference(
    limit: float, tasks: int, each: int, began: float
) -> None:
    """The second may end in their first burst, so that one of them is refused and the others are not."""
    found = [
        Tasks(Server(limit, "fixed", began), [4], tasks=tasks, each=each, seed=seed).run_all(limit)[0]
        for seed in range(3)
    ]
    assert statistics.mean(found) > 0.9


@pytest.mark.parametrize("began", [0.5, 0.7, 0.9])
def test_one_task_after_another_is_not_cut_far_below_the_limit(began: float) -> None:
    """After each stop it goes on at the same point of Extend's second, and is refused several times."""
    found = [
        Tasks(Server(75, "fixed", began), [1], tasks=8, each=1000, seed=seed).run_all(75)[0]
        for seed in range(2)
    ]
    assert min(found) > 0.88


@pytest.mark.parametrize("counting", ["fixed", "sliding"])
def test_machines_that_share_nothing_but_the_limit_use_it_too(counting: Counting) -> None:
    found = [
        Tasks(Server(75, counting), [4, 4], tasks=16, each=1000, seed=seed).run_all(75) for seed in range(2)
    ]
    assert statistics.mean(used for used, _ in found) > 0.87
    assert statistics.mean(refused for _, refused in found) < 0.02


def test_a_task_that_is_killed_costs_the_others_ten_seconds_of_its_share() -> None:
    found = [
        Tasks(Server(75), [4], tasks=8, each=1000, seed=seed, killed=5).run_all(75)[0] for seed in range(2)
    ]
    assert statistics.mean(found) > 0.88


@pytest.mark.parametrize("counting", ["fixed", "sliding"])
def test_processes_that_begin_together_share_the_smallest_plan(counting: Counting) -> None:
    found = []
    for seed in range(6):
        simulation = Simulation(Server(10, counting), 4, late=0.005, seed=seed)
        simulation.run(34)
        found.append(simulation.figures(0, 33, 10)[:2])
    assert statistics.mean(used for used, _ in found) > 0.93
    assert statistics.mean(refused for _, refused in found) < 0.02


@pytest.mark.parametrize(("limit", "processes"), [(10, 1), (75, 1), (75, 4)])
def test_round_trips_that_differ_cost_little(limit: float, processes: int) -> None:
    found = []
    for seed in range(6):
        # Of the way there, the times differ by up to 60 ms.
        simulation = Simulation(Server(limit), processes, round_trip=0.3, seed=seed)
        simulation.run(120)
        found.append(simulation.figures(30, 120, limit)[:2])
    assert statistics.mean(used for used, _ in found) > 0.88
    assert statistics.mean(refused for _, refused in found) < 0.02


@pytest.mark.parametrize(
    ("limit", "tasks", "connect", "stuck"), [(75, 8, 0.2, 0.0), (75, 8, 0.02, 0.1), (10, 2, 0.02, 0.1)]
)
def test_requests_that_arrive_late_now_and_then_cost_little(
    limit: float, tasks: int, connect: float, stuck: float
) -> None:
    """Because each task has to make its connections, and Python collects its garbage."""
    found = [
        Tasks(Server(limit), [1], tasks=tasks, each=1000, connect=connect, stuck=stuck, seed=seed).run_all(
            limit
        )
        for seed in range(2)
    ]
    assert statistics.mean(used for used, _ in found) > 0.91
    assert statistics.mean(refused for _, refused in found) < 0.01


def test_the_period_follows_how_much_round_trips_differ() -> None:
    def period(*trips: float) -> float:
        level = Level(Rules(window=60))
        for number in range(60):
            level.admitted(number + trips[number % len(trips)], number, waited=True)
        return level.period

    assert period(0.3) == 60 * (1 + LEAST_STRETCH)
    assert period(0.1, 1.7) == pytest.approx(60 + SPREADS * 0.8, rel=0.01)
    assert period(0.1, 9) == 60 * (1 + MOST_STRETCH)


@pytest.mark.parametrize("processes", [1, 4])
def test_processes_that_wake_up_late_use_the_limit_too(processes: int) -> None:
    found = []
    for seed in range(6):
        simulation = Simulation(Server(10), processes, late=0.02, seed=seed)
        simulation.run(120)
        found.append(simulation.figures(20, 120, 10)[:2])
    assert statistics.mean(used for used, _ in found) > 0.9
    assert statistics.mean(refused for _, refused in found) < 0.02


def admit(level: Level, count: int, now: float) -> None:
    for number in range(count):
        level.admitted(now, now - 0.9 + 0.9 * number / count, waited=False)


def refusal(level: Level, admitted: int, now: float) -> float:
    admit(level, admitted, now)
    assert level.refused(now, now, stop=0)
    return level.whole


def test_a_lone_refusal_is_chance_and_each_one_soon_after_teaches_what_was_admitted() -> None:
    level = Level(Rules(start=80), chance=lambda: 0.5)
    assert refusal(level, 60, now=1) == 60, "the first one of all"
    assert refusal(level, 45, now=3) == 45, "the first one may have come after twice the limit"
    assert refusal(level, 45, now=5) < 45
    assert (held := refusal(level, 30, now=7)) == 30
    assert refusal(level, 3, now=60) == held, "chance"
    assert refusal(level, 3, now=62) == held / 2, "others may have had more than their share just now"
    assert refusal(level, 3, now=64) == int(held / 4)
    for now in range(66, 90, 2):
        refusal(level, 0, now=now)
    assert level.rate * level.period == level.rules.lowest


def test_making_connections_says_nothing_of_how_much_round_trips_differ() -> None:
    level = Level(Rules())
    for number in range(10):
        level.admitted(0.2 + number / 100, number / 100, waited=True)
    for number in range(30):
        level.admitted(1.01 + number, 1 + number, waited=True)
    assert level.period == 1 + LEAST_STRETCH
    assert level.round_trip == pytest.approx(0.01)


@pytest.mark.parametrize(("trip", "late"), [(0.02, 0.0), (0.04, 0.03), (0.3, 0.29), (9.0, 0.51)])
def test_an_answer_that_took_longer_than_usual_may_have_been_asked_for_late(trip: float, late: float) -> None:
    level = Level(Rules())
    assert level.late(0.2, 0.0) == 0.2, "the first one has waited for its connection"
    level.admitted(0.2, 0.0, waited=True)
    assert level.late(0.25, 0.05) == pytest.approx(0.2), "and so has the second"
    for number in range(1, 31):
        level.admitted(number + 0.01, number, waited=True)
    assert level.late(40 + trip, 40) == pytest.approx(late)


def test_attempts_beside_partners_are_half_as_many() -> None:
    def hold(partners: int) -> float:
        random.seed(1)
        limits = ConnectionLimits("alone", clock=lambda: 10.0)
        for others in (3, partners):
            limits.share("read", Learnt(3, failures=10, step_in=0), partners=others)
        limits.refused("read", 1.0)
        learnt = limits.learnt("read")
        assert learnt is not None
        return learnt.step_in - 1.0

    assert hold(3) == hold(1) == pytest.approx(2 * hold(0))


def test_no_share_takes_a_level_below_the_lowest() -> None:
    level = Level(Rules(lowest=15))
    level.share(Learnt(0.5, failures=3, step_in=10), now=0)
    assert level.whole == 15
    level.share(Learnt(30, failures=3, step_in=10), now=0)
    assert level.whole == 30
    level.share(Learnt(2, failures=3, step_in=10), now=0)
    assert level.whole == 15


def test_what_a_refused_request_may_have_met_on_its_way_counts() -> None:
    level = Level(Rules(start=80))
    for _ in range(20):
        level.admitted(1, 0.5, waited=False)
    level.refused(1.55, 0.5 + level.period - 0.001, stop=0)
    assert level.whole == 20


@pytest.mark.parametrize("limit", [10, 75])
def test_what_others_leave_is_taken_once_they_are_done(limit: float) -> None:
    simulation = Simulation(Server(limit), 4, late=0.005)
    simulation.run(60)
    for process in (1, 2, 3):
        simulation.stop(process)
    simulation.run(180)
    used, refused, _ = simulation.figures(120, 180, limit)
    assert used > 0.85
    assert refused < 0.02


def test_a_process_that_had_almost_nothing_left_takes_what_others_leave() -> None:
    found = []
    for seed in range(1, 17):
        simulation = Simulation(Server(10), 4, late=0.005, seed=seed)
        simulation.run(60)
        for process in (1, 2, 3):
            simulation.stop(process)
        simulation.run(180)
        found.append(simulation.figures(120, 180, 10)[0])
    assert min(found) > 0.7


def test_sixteen_processes_share_a_limit() -> None:
    simulation = Simulation(Server(75), 16)
    simulation.run(120)
    used, refused, rates = simulation.figures(20, 120, 75)
    assert used > 0.8
    assert refused < 0.04
    assert min(rates) > 0.05, "nobody starves"


@pytest.mark.parametrize("round_trip", [0.005, 0.2])
def test_the_round_trip_does_not_limit(round_trip: float) -> None:
    simulation = Simulation(Server(75), 1, round_trip=round_trip)
    simulation.run(60)
    used, refused, _ = simulation.figures(20, 60, 75)
    assert used > 0.85
    assert refused < 0.02


def test_a_round_trip_of_two_seconds_is_bounded_by_the_open_requests() -> None:
    simulation = Simulation(Server(20), 1, round_trip=2.0)
    simulation.run(120)
    used, refused, _ = simulation.figures(40, 120, 20)
    assert used > 0.7
    assert refused < 0.05


@pytest.mark.parametrize(("before", "after"), [(75, 10), (10, 75)])
def test_another_limit_is_followed(before: float, after: float) -> None:
    server = Server(before)
    simulation = Simulation(server, 1)
    simulation.run(60)
    server.limit = after
    simulation.run(240)
    used, refused, _ = simulation.figures(160, 240, after)
    assert used > 0.85
    assert refused < 0.02


def test_a_long_retry_after_is_kept_and_then_all_goes_on() -> None:
    simulation = Simulation(Server(75), 1, retry_after=60.0)
    simulation.run(200)
    first = next(each.at for each in simulation.seen if not each.admitted)
    stopped = [each for each in simulation.seen if first + 1 < each.at < first + 59.9]
    assert not stopped
    assert any(each.admitted for each in simulation.seen if each.at > first + 60)


def test_others_of_the_same_organization_are_given_way_to() -> None:
    server = Server(75)
    simulation = Simulation(server, 1)

    def foreign() -> None:
        server.admit(simulation.now)
        simulation.at(simulation.now + 1 / 40, foreign)

    simulation.at(0, foreign)
    simulation.run(120)
    used, refused, _ = simulation.figures(30, 120, 35)
    assert used > 0.75
    assert refused < 0.02
