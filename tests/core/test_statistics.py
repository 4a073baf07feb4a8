"""Figures of routers: the rate, the busiest second, and how those of several add up."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.statistics import Figures, Gauges, RouterStats, add, router_stats
from tests.core.sample import BOB, NOON


def at(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def figures(*counts: tuple[float, int]) -> Figures:
    """Return a router that started a minute before noon and got messages so long after noon."""
    made = Figures(started_at=NOON - at(60))
    for seconds, messages in counts:
        made.count(messages, NOON + at(seconds))
    return made


def stats(*routers: Figures, after: float = 0, gauges: Gauges | None = None) -> RouterStats:
    return router_stats(routers, gauges or Gauges(), NOON + at(after))


@pytest.mark.parametrize(("after", "rate"), [(0, 5.0), (9, 5.0), (10, 2.0), (11, 0.0)])
def test_the_rate_is_that_of_the_last_ten_seconds(after: float, rate: float) -> None:
    """The window slides: what lies ten seconds back has left it."""
    assert stats(figures((0, 30), (0.5, 0), (1, 20)), after=after).messages_per_second == rate


def test_a_young_router_is_measured_from_its_start() -> None:
    """Two seconds after the start the rate is over these two, at first over one."""
    young = Figures(started_at=NOON)
    young.count(8, NOON)
    assert stats(young).messages_per_second == 8.0
    assert stats(young, after=2).messages_per_second == 4.0


def test_the_busiest_second_is_kept() -> None:
    """The peak outlives the window, and the minute in which seconds are told apart."""
    made = figures((0, 3), (0.9, 4), (1, 2), (300, 1))
    assert stats(made, after=300).peak_messages_per_second == 7
    assert len(made.seconds) == 1


def test_the_same_second_of_two_routers_is_one_second() -> None:
    """What two routers did in one second is the platform's peak, at different times it is not."""
    assert stats(figures((0, 5)), figures((0.5, 6))).peak_messages_per_second == 11
    assert stats(figures((0, 5)), figures((3, 6))).peak_messages_per_second == 6


def test_figures_add_up() -> None:
    """Counters and histograms of several routers are added; the earliest start counts."""
    one, other = figures((0, 2)), figures((0, 3))
    one.errors, other.errors = {"QueueFull": 1}, {"QueueFull": 1, "AgentNotFound": 1}
    one.actions, other.actions = {"routed": 2}, {"routed": 2, "handled": 1}
    one.verdicts = {"fipa-request INIT legal": 1}
    other.verdicts = {"fipa-request INIT legal": 2, "fipa-request DONE late": 1}
    one.routing.record(100, 2)
    other.routing.record(200, 3)
    other.handling.record(7)
    one.memory_bytes, other.memory_bytes = 10, 20
    one.cpu_percent, other.cpu_percent = 50.0, 25.0
    one.outbound = 4
    found = stats(one, other)
    assert (found.routers, found.total_processed, found.total_errors) == (2, 5, 3)
    assert found.error_rate == pytest.approx(0.6)
    assert found.errors_by_type == {"QueueFull": 2, "AgentNotFound": 1}
    assert found.actions == {"routed": 4, "handled": 1}
    assert found.verdicts == {"fipa-request INIT legal": 3, "fipa-request DONE late": 1}
    assert (found.routing_latency_us.count, found.routing_latency_us.mean) == (5, 160.0)
    assert (found.handling_latency_us.count, found.handling_latency_us.p50) == (1, 7)
    assert (found.memory_bytes, found.cpu_percent, found.outbound_queue_depth) == (30, 75.0, 4)
    assert one.processed == 2, "adding changes nobody's own figures"


def test_adding_in_steps_is_adding_at_once() -> None:
    """Sums of sums are right, too, whatever their order."""
    routers = [figures((second, second + 1)) for second in range(4)]
    by_two = add([add(routers[:2], NOON), add(routers[2:], NOON)], NOON)
    assert by_two == add(routers[::-1], NOON)


def test_gauges_are_taken_once() -> None:
    """What the streams hold does not grow with the number of routers."""
    gauges = Gauges(
        accepted=9,
        pending={BOB: 4},
        dead_letters=2,
        inbound=1,
        outbound=6,
        registered=3,
        active_conversations=5,
        total_conversations=8,
        average_conversation_length=2.5,
        database_bytes=1000,
    )
    found = stats(figures(), figures(), gauges=gauges)
    assert (found.accepted, found.pending, found.dead_letters) == (9, 4, 2)
    assert found.agent_queue_depths == {BOB: 4}
    assert (found.inbound_queue_depth, found.registered_agents) == (1, 3)
    assert found.outbound_queue_depth == 6
    assert (found.active_conversations, found.total_conversations) == (5, 8)
    assert (found.average_conversation_length, found.database_bytes) == (2.5, 1000)


def test_no_routers() -> None:
    """Without any router there is no rate, no error and no latency, and no division by zero."""
    found = stats()
    assert (found.routers, found.messages_per_second, found.error_rate) == (0, 0.0, 0.0)
    assert found.peak_messages_per_second == 0


def test_figures_travel_as_json() -> None:
    """What a router answers is what it has."""
    made = figures((0, 2), (1, 3))
    made.routing.record(100)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Figures) == made
