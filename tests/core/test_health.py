"""What is well and what is not, and the health of several processes as one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.diagnosis import TOO_LONG, Observed, cut_off, examine, routers
from caxton_nats.core.health import (
    ComponentHealth,
    Degraded,
    DetailedHealthStatus,
    HealthStatus,
    Healthy,
    Unhealthy,
    overall,
    reason_of,
    together,
)
from caxton_nats.core.stream_state import Role, StreamState
from tests.core.sample import NOON

A_SECOND = timedelta(seconds=1)
IDLE = tuple(
    StreamState(name=role.value, role=role, max_messages=100) for role in Role
)  # one stream of each kind, with nothing in it


def seen(*changed: StreamState, **more: Any) -> Observed:
    """Return an idle platform in which these streams are as they are given."""
    roles = {state.role for state in changed}
    states = [*(state for state in IDLE if state.role not in roles), *changed]
    return Observed(states=states, queue_size=10, **more)


def stream(role: Role, **state: Any) -> StreamState:
    return StreamState(name="S", role=role, **{"max_messages": 100, **state})


def status(observed: Observed, component: str) -> HealthStatus:
    return examine(observed, NOON)[component].status


def component(
    found: HealthStatus, *, errors: int = 0, at: datetime = NOON, **metrics: float
) -> ComponentHealth:
    return ComponentHealth(status=found, last_check=at, error_count=errors, metrics=metrics)


def test_idle_is_healthy() -> None:
    """A platform with nothing to do is healthy in every component."""
    findings = examine(seen(), NOON)
    assert set(findings) == {
        *("connection", "registry", "mailboxes", "ingress"),
        *("advisories", "dead letters", "timers", "outbound", "buckets", "breakers"),
        *("acknowledged", "replicas"),
    }
    assert all(one.status == Healthy() for one in findings.values())


def test_replicas() -> None:
    """A node that lags is named, with how much; a stream that nobody leads does not work."""
    lagging = [stream(Role.OTHER, behind=("n3",)), stream(Role.MAILBOX, behind=("n2", "n3"))]
    found = examine(seen(*lagging), NOON)["replicas"]
    assert found.status == Degraded("n2 is behind in 1 streams; n3 is behind in 2 streams")
    assert found.metrics == {"behind": 3}
    found = examine(seen(*lagging, stream(Role.TIMERS, has_leader=False)), NOON)["replicas"]
    assert found.status == Unhealthy("nobody leads S")


@pytest.mark.parametrize(
    ("role", "component"),
    [
        (Role.MAILBOX, "mailboxes"),
        (Role.INGRESS, "ingress"),
        (Role.DEAD_LETTERS, "dead letters"),
        (Role.ADVISORIES, "advisories"),
        (Role.OUTBOUND, "outbound"),
        (Role.OTHER, "buckets"),
    ],
)
def test_near_a_limit(role: Role, component: str) -> None:
    """At 80 % of what a stream may hold it is degraded, and says how far; below it is not."""
    near = status(seen(stream(role, messages=80)), component)
    assert isinstance(near, Degraded)
    assert "S is at 80%" in near.reason
    assert status(seen(stream(role, messages=79)), component) == Healthy()


@pytest.mark.parametrize("limit", ["messages", "bytes", "consumers"])
def test_the_narrowest_limit_counts(limit: str) -> None:
    """Messages, bytes and consumers are limited each for itself."""
    state = stream(Role.MAILBOX, **{limit: 9, f"max_{limit}": 10})
    assert isinstance(status(seen(state), "mailboxes"), Degraded)


def test_without_limits_nothing_is_near() -> None:
    """A stream without any limit is never full."""
    state = stream(Role.MAILBOX, messages=10**9, max_messages=None)
    assert status(seen(state), "mailboxes") == Healthy()


def test_a_nearly_full_mailbox() -> None:
    """The fullest mailbox is named before the next sender is refused."""
    found = status(seen(fullest=("bob@here", 8)), "mailboxes")
    assert found == Degraded("the mailbox of bob@here holds 8 of 10 messages")
    assert status(seen(fullest=("bob@here", 7)), "mailboxes") == Healthy()


@pytest.mark.parametrize(("role", "component"), [(Role.INGRESS, "ingress"), (Role.ADVISORIES, "advisories")])  # fmt: skip
def test_waiting_for_a_router(role: Role, component: str) -> None:
    """What waits for more than a minute piles up, even if it is only one."""

    def waiting(time: timedelta) -> HealthStatus:
        return status(seen(stream(role, messages=1, first_at=NOON - time)), component)

    assert waiting(TOO_LONG) == Healthy()
    late = waiting(TOO_LONG + A_SECOND)
    assert late == Degraded("1 wait for a router, the first for 0:01:01")


def test_mail_for_a_platform_that_is_away() -> None:
    """What waits for another platform for more than a minute has no link to go over."""
    state = stream(Role.OUTBOUND, messages=3, first_at=NOON - 2 * TOO_LONG)
    late = status(seen(state), "outbound")
    assert late == Degraded("3 wait for another platform, the first for 0:02:00")


def test_timers_that_nobody_works_off() -> None:
    """A timer that has been due for more than a minute has no router to take it."""
    assert status(seen(due=1, due_since=NOON - TOO_LONG), "timers") == Healthy()
    late = status(seen(due=2, due_since=NOON - 2 * TOO_LONG), "timers")
    assert late == Degraded("2 timers are due, the first for 0:02:00")


def test_a_stale_mirror() -> None:
    """A registry that lacks changes is degraded."""
    found = status(seen(behind=3), "registry")
    assert isinstance(found, Degraded)
    assert "3 changes" in found.reason


@pytest.mark.parametrize("role", list(Role))
def test_a_missing_stream(role: Role) -> None:
    """Without one of its streams the platform does not work, and the reason names it."""
    findings = examine(seen(stream(role, missing=True)), NOON)
    reasons = [reason_of(one.status) for one in findings.values() if one.status != Healthy()]
    assert reasons == ["missing: S"]
    assert Unhealthy("missing: S") in [one.status for one in findings.values()]


def test_no_connection() -> None:
    """Without a connection nothing else can be said."""
    assert {name: one.status for name, one in cut_off("gone").items()} == {
        "connection": Unhealthy("gone")
    }


def test_figures_are_numbers_of_the_observation() -> None:
    """Metrics tell what was seen, well or not."""
    state = stream(Role.INGRESS, messages=5, first_at=NOON - A_SECOND)
    observed = seen(state, round_trip=A_SECOND, losses=2, fullest=("bob@here", 5))
    findings = examine(observed, NOON)
    assert findings["ingress"].metrics == {"messages": 5, "fill": 0.05, "waiting_seconds": 1}
    assert findings["connection"].metrics == {"round_trip_ms": 1000, "losses": 2}
    assert findings["mailboxes"].metrics["fullest_mailbox"] == 0.5


def test_routers() -> None:
    """A router that is there and does not answer is named; no router at all is no fault."""
    assert routers(0, []).status == Healthy()
    found = routers(1, ["r-2", "r-3"])
    assert found.status == Degraded("there is no answer from r-2, r-3")
    assert found.metrics == {"running": 1, "silent": 2}


def test_the_worst_component_decides() -> None:
    """The overall status is the worst one, with the reasons of all that have it."""
    well, full, late = (
        component(Healthy()),
        component(Degraded("full")),
        component(Degraded("late")),
    )
    gone = component(Unhealthy("gone"))
    assert overall({}) == Healthy()
    assert overall({"a": well}) == Healthy()
    assert overall({"a": well, "b": full, "c": late}) == Degraded("b: full; c: late")
    assert overall({"a": full, "b": gone}) == Unhealthy("b: gone")


def test_several_processes_as_one() -> None:
    """The worst status and the largest figure of each component; errors are added."""
    one = DetailedHealthStatus(
        overall=Healthy(),
        components={"a": component(Healthy(), errors=1, x=1), "b": component(Healthy())},
        uptime_ms=10,
        last_error="a: long ago",
        last_error_at=NOON - A_SECOND,
    )
    other = DetailedHealthStatus(
        overall=Degraded("a: full"),
        components={"a": component(Degraded("full"), errors=2, at=NOON + A_SECOND, x=3, y=2)},
        uptime_ms=20,
        last_error="a: full",
        last_error_at=NOON,
    )
    both = together([one, other])
    assert both.overall == Degraded("a: full")
    assert both.components["a"] == component(
        Degraded("full"), errors=3, at=NOON + A_SECOND, x=3, y=2
    )
    assert set(both.components) == {"a", "b"}
    assert (both.uptime_ms, both.last_error, both.last_error_at) == (20, "a: full", NOON)


def test_health_travels_as_json() -> None:
    """What another process reads is what was found; the status is readable for people."""
    health = DetailedHealthStatus(
        overall=Degraded("a: full"), components={"a": component(Degraded("full"), x=0.5)}
    )
    data = msgspec.json.encode(health)
    assert msgspec.json.decode(data, type=DetailedHealthStatus) == health
    assert msgspec.json.decode(data)["overall"] == {"status": "Degraded", "reason": "a: full"}


def test_a_stream_that_has_lost_its_end() -> None:
    """It works, and somebody should look: which one, and which numbers."""
    lost = stream(Role.MAILBOX, gone=(4, 9))
    found = examine(seen(lost, stream(Role.INGRESS)), NOON)["acknowledged"]
    assert isinstance(found.status, Degraded)
    assert "S has lost its end, 4..9" in found.status.reason
    assert found.metrics == {"lost": 6}
