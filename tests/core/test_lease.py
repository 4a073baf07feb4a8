"""Leases: who runs, who is silent, and who says that he is ill."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.errors import AgentAlreadyRegistered, InvalidEnvelope
from caxton_nats.core.lease import (
    Health,
    Heartbeat,
    Lease,
    check_heartbeat,
    given_back,
    leased,
    renewed,
)
from tests.core.sample import ALICE, BOB, NOON

SECOND = timedelta(seconds=1)


def lease(**changes: object) -> Lease:
    made = leased(BOB, Heartbeat(instance="one", lease=10), now=NOON, node="host/1")
    return msgspec.structs.replace(made, **changes)


def test_lease_as_json() -> None:
    """A lease is plain JSON and comes back from it; what is usual is left out."""
    data = msgspec.json.encode(lease())
    assert msgspec.json.decode(data, type=Lease) == lease()
    assert "healthy" not in msgspec.json.decode(data)


def test_a_lease_lasts_from_its_heartbeat() -> None:
    """As long as the heartbeat says."""
    assert (lease().last_heartbeat, lease().expires_at) == (NOON, NOON + 10 * SECOND)


def test_renewal() -> None:
    """Each heartbeat gives the whole time again; the host is remembered."""
    later = renewed(BOB, lease(), Heartbeat(instance="one", lease=3), now=NOON + SECOND)
    assert later == lease(last_heartbeat=NOON + SECOND, expires_at=NOON + 4 * SECOND)


def test_a_heartbeat_says_how_the_agent_is() -> None:
    """An agent that is ill says why, or at least that; one that is well has no reason."""
    now = NOON
    ill = leased(BOB, Heartbeat(instance="one", healthy=False, reason="no disk"), now=now)
    assert (ill.healthy, ill.reason) == (False, "no disk")
    assert leased(BOB, Heartbeat(instance="one", healthy=False), now=now).reason == "said so"
    assert leased(BOB, Heartbeat(instance="one", reason="fine"), now=now).reason == ""


def test_the_lease_of_another_instance() -> None:
    """Nobody renews it but that instance; one that was given back is anybody's."""
    beat = Heartbeat(instance="two")
    with pytest.raises(AgentAlreadyRegistered, match="host/1") as caught:
        renewed(BOB, lease(), beat, now=NOON)
    assert (caught.value.field, caught.value.limit, caught.value.value) == (
        "instance",
        "one",
        "two",
    )
    assert renewed(BOB, given_back(lease(), now=NOON), beat, now=NOON).instance == "two"
    assert renewed(BOB, None, beat, now=NOON).instance == "two"


def test_availability() -> None:
    """An agent is available without a lease, and with one until that has run out."""
    health = Health([lease()])
    assert health.is_available(ALICE, NOON)
    assert health.trouble(ALICE, NOON) == ""
    assert health.is_available(BOB, NOON + 9.999 * SECOND)
    assert health.trouble(BOB, NOON + 9.999 * SECOND) == ""
    assert not health.is_available(BOB, NOON + 10 * SECOND)
    assert health.trouble(BOB, NOON + 10 * SECOND) == "silent since 2026-05-01T12:00:00+00:00"


def test_who_is_ill_or_away_is_not_available() -> None:
    """However long the lease still is."""
    health = Health([lease(healthy=False, reason="no disk")])
    assert not health.is_available(BOB, NOON)
    assert health.trouble(BOB, NOON) == "no disk"
    health.put(given_back(lease(), now=NOON))
    assert not health.is_available(BOB, NOON)
    assert health.trouble(BOB, NOON) == "stopped"


def test_the_mirror() -> None:
    """It has one lease for each agent: the last one put."""
    health = Health([lease()])
    health.put(lease(instance="two"))
    assert health.find(BOB) == lease(instance="two")
    assert (len(health), list(health)) == (1, [lease(instance="two")])
    health.remove(BOB)
    health.remove(BOB)
    assert health.find(BOB) is None
    health.replace([lease(agent=ALICE)])
    assert health.find(ALICE) is not None


@pytest.mark.parametrize("seconds", [1, 15.0, 3600])
def test_length_of_a_lease(seconds: float) -> None:
    """The bounds are allowed."""
    beat = Heartbeat(instance="x" * 200, lease=seconds, reason="x" * 200)
    assert check_heartbeat(beat) is beat


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [(0.999, "1"), (3600.1, "3600"), (math.inf, "3600"), (math.nan, "1"), (-1, "1")],
)
def test_length_beyond(seconds: float, limit: str) -> None:
    """What is beyond is refused, with limit and value."""
    with pytest.raises(InvalidEnvelope) as caught:
        check_heartbeat(Heartbeat(instance="one", lease=seconds))
    assert (caught.value.field, caught.value.limit) == ("lease", limit)
    assert caught.value.value == f"{seconds:g}"


@pytest.mark.parametrize("instance", ["", "a.b", "*", ">", "a b", "ä", "x" * 201])
def test_instance_that_is_no_token(instance: str) -> None:
    """It stands in a subject."""
    with pytest.raises(InvalidEnvelope) as caught:
        check_heartbeat(Heartbeat(instance=instance))
    assert caught.value.field == "instance"


def test_reason_that_is_too_long() -> None:
    """A reason is one line for people."""
    with pytest.raises(InvalidEnvelope) as caught:
        check_heartbeat(Heartbeat(instance="one", healthy=False, reason="x" * 201))
    assert (caught.value.field, caught.value.limit) == ("reason", 200)
