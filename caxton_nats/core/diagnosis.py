"""What is well and what is not: from what one check has seen to a finding for each component.

Who has nothing to do is healthy. Degraded works, and somebody should look: something is near its
limit, or waits for longer than anything should. Unhealthy does not work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.breaker import Breaker
from caxton_nats.core.health import Degraded, Finding, HealthStatus, Healthy, Unhealthy
from caxton_nats.core.stream_state import Role, StreamState

NEAR = 0.8
"""Share of a limit from which it is called near."""
TOO_LONG = timedelta(minutes=1)
"""What waits for a router for longer is not being worked off."""
CONNECTION = "connection"
_NAMED = 3
"""Agents that a reason names."""
_WAIT_FOR = {
    Role.INGRESS: "a router",
    Role.ADVISORIES: "a router",
    Role.OUTBOUND: "another platform",
}


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What one check has seen."""

    states: Sequence[StreamState]
    round_trip: timedelta = timedelta()
    """How long the server took to answer."""
    losses: int = 0
    """How often the connection was lost."""
    behind: int = 0
    """Changes of the registry that this process has not seen, a second after they were made."""
    fullest: tuple[str, int] = ("", 0)
    """The agent with the most mail, and how much."""
    queue_size: int = 0
    breakers: Sequence[Breaker] = ()
    """Those that are not closed."""
    due: int = 0
    """Timers that have come due and are not settled."""
    due_since: datetime | None = None


def examine(seen: Observed, now: datetime) -> dict[str, Finding]:
    """Return what is to be said of each component."""
    by_role: dict[Role, list[StreamState]] = {}
    for state in seen.states:
        by_role.setdefault(state.role, []).append(state)
    found = {
        CONNECTION: _connection(seen),
        "registry": _mirror(seen.behind),
        "mailboxes": _mailboxes(by_role.get(Role.MAILBOX, []), seen),
        "timers": _timers(by_role.get(Role.TIMERS, []), seen, now),
        "breakers": _breakers(seen.breakers, now),
        "buckets": _buckets(by_role.get(Role.OTHER, [])),
        "acknowledged": _acknowledged(seen.states),
        "replicas": _replicas(seen.states),
    }
    for role, whom in _WAIT_FOR.items():
        for state in by_role.get(role, []):
            found[role.value] = _backlog(state, whom, now)
    for state in by_role.get(Role.DEAD_LETTERS, []):
        found["dead letters"] = _dead_letters(state)
    return found


def routers(answered: int, silent: Sequence[str]) -> Finding:
    """Return what is to be said of the routers: some may be there and not answer."""
    metrics = {"running": float(answered), "silent": float(len(silent))}
    if not silent:
        return Finding(metrics=metrics)
    names = ", ".join(silent)
    return Finding(Degraded(f"there is no answer from {names}"), metrics)


def cut_off(why: str) -> dict[str, Finding]:
    """Return what is to be said when nothing could be seen."""
    return {CONNECTION: Finding(Unhealthy(why))}


def _connection(seen: Observed) -> Finding:
    round_trip = seen.round_trip.total_seconds() * 1000
    return Finding(metrics={"round_trip_ms": round_trip, "losses": float(seen.losses)})


def _mirror(behind: int) -> Finding:
    lacks = f"the mirror lacks {behind} changes that are older than a second"
    return Finding(_degraded([lacks] if behind else []), {"changes_behind": float(behind)})


def _mailboxes(streams: Sequence[StreamState], seen: Observed) -> Finding:
    agent, held = seen.fullest
    fill = held / seen.queue_size if seen.queue_size else 0.0
    metrics = {
        "messages": float(sum(one.messages for one in streams)),
        "bytes": float(sum(one.bytes for one in streams)),
        "fill": max((one.fill for one in streams), default=0.0),
        "fullest_mailbox": fill,
    }
    reasons = [f"{one.name} is at {one.fill:.0%} of a limit" for one in streams if one.fill >= NEAR]
    if fill >= NEAR:
        reasons.append(f"the mailbox of {agent} holds {held} of {seen.queue_size} messages")
    return Finding(_missing(streams) or _degraded(reasons), metrics)


def _breakers(breakers: Sequence[Breaker], now: datetime) -> Finding:
    """Return what is to be said of agents that fail again and again, and are left alone."""
    reasons = [
        f"that of {one.agent} is {one.state_at(now)} after {one.failures} failures in a row,"
        f" the last: {one.last_error.get('reason', 'unknown')}"
        for one in breakers[:_NAMED]
    ]
    if len(breakers) > _NAMED:
        reasons.append(f"and those of {len(breakers) - _NAMED} more agents")
    return Finding(_degraded(reasons), {"open": float(len(breakers))})


def _timers(streams: Sequence[StreamState], seen: Observed, now: datetime) -> Finding:
    waited = now - seen.due_since if seen.due_since else timedelta()
    metrics = {
        "running": float(max(0, sum(one.messages for one in streams) - seen.due)),
        "due": float(seen.due),
        "waiting_seconds": waited.total_seconds(),
    }
    late = [f"{seen.due} timers are due, the first for {_whole(waited)}"]
    return Finding(_missing(streams) or _degraded(late if waited > TOO_LONG else []), metrics)


def _buckets(streams: Sequence[StreamState]) -> Finding:
    reasons = [f"{one.name} is at {one.fill:.0%} of a limit" for one in streams if one.fill >= NEAR]
    metrics = {"bytes": float(sum(one.bytes for one in streams))}
    return Finding(_missing(streams) or _degraded(reasons), metrics)


def _acknowledged(streams: Sequence[StreamState]) -> Finding:
    """Return what is to be said of streams that have lost what they had acknowledged."""
    gone = [(one.name, *one.gone) for one in streams if one.gone]
    reasons = [
        f"{name} has lost its end, {first}..{last}, but for what was settled by then: its store was"
        " damaged, or a power cut came before it was on the disk"
        for name, first, last in gone
    ]
    return Finding(_degraded(reasons), {"lost": float(sum(b - a + 1 for _, a, b in gone))})


def _replicas(streams: Sequence[StreamState]) -> Finding:
    """Return what is to be said of the copies that a cluster has of each stream."""
    unled = ", ".join(one.name for one in streams if not one.has_leader)
    nodes = Counter(node for one in streams for node in one.behind)
    reasons = [f"{node} is behind in {number} streams" for node, number in sorted(nodes.items())]
    status = Unhealthy(f"nobody leads {unled}") if unled else _degraded(reasons)
    return Finding(status, {"behind": float(nodes.total())})


def _backlog(stream: StreamState, whom: str, now: datetime) -> Finding:
    """Return what is to be said of work that waits for somebody to take it."""
    waited = now - stream.first_at if stream.first_at else timedelta()
    metrics = {
        "messages": float(stream.messages),
        "fill": stream.fill,
        "waiting_seconds": waited.total_seconds(),
    }
    reasons = [f"{stream.name} is at {stream.fill:.0%} of a limit"] if stream.fill >= NEAR else []
    if waited > TOO_LONG:
        reasons.append(f"{stream.messages} wait for {whom}, the first for {_whole(waited)}")
    return Finding(_missing([stream]) or _degraded(reasons), metrics)


def _dead_letters(stream: StreamState) -> Finding:
    metrics = {
        "messages": float(stream.messages),
        "bytes": float(stream.bytes),
        "fill": stream.fill,
    }
    reasons = []
    if stream.fill >= NEAR:
        reasons.append(f"{stream.name} is at {stream.fill:.0%} of its bound, then the oldest go")
    return Finding(_missing([stream]) or _degraded(reasons), metrics)


def _missing(streams: Sequence[StreamState]) -> HealthStatus | None:
    names = [one.name for one in streams if one.missing]
    return Unhealthy(f"missing: {', '.join(names)}") if names else None


def _degraded(reasons: Sequence[str]) -> HealthStatus:
    return Degraded("; ".join(reasons)) if reasons else Healthy()


def _whole(time: timedelta) -> str:
    return str(timedelta(seconds=int(time.total_seconds())))
