"""`caxton breakers`: seen in the list, in the account and with the agent, and closed by hand."""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.core.breaker import Breaker, CircuitBreakerState
from tests.cli.conftest import Caxton, Here
from tests.plugins.eventually import eventually


async def opened(here: Here) -> Breaker:
    """Have bob's breaker open, as its mailbox would."""
    bob, now = here.platform.agent_id("bob"), here.platform.ports.clock.now()
    breaker = Breaker(
        agent=bob,
        state=CircuitBreakerState.OPEN,
        failures=3,
        opened_at=now,
        until=now + timedelta(hours=1),
        timeout=60.0,
        last_error={"code": "HandlerFailed", "reason": "ValueError: no"},
    )
    await here.platform.ports.breakers.save(breaker, revision=None)
    await eventually(lambda: here.platform.health.breakers.find(bob) == breaker)
    return breaker


async def test_an_open_breaker_is_seen(caxton: Caxton, here: Here) -> None:
    """With since when, until when and why; beside the agent, in the account and in the health."""
    assert "all circuit breakers are closed" in (await caxton("breakers")).out
    await caxton("agents", "register", "bob")
    await opened(here)
    (found,) = (await caxton("breakers", "--json")).json["breakers"]
    assert (found["agent"], found["state"], found["failures"]) == ("bob@caxton", "Open", 3)
    assert "ValueError: no" in (await caxton("breakers")).out
    assert (await caxton("agents", "show", "bob", "--json")).json["circuit_breaker"] == "Open"
    stats = (await caxton("stats", "--json")).json
    assert stats["totals"]["circuit_breakers"] == {"bob@caxton": "Open"}
    assert "bob@caxton Open" in (await caxton("stats")).out
    health = await caxton("health", "--json")
    assert (health.code, health.json["overall"]["status"]) == (7, "Degraded")


async def test_a_breaker_is_closed_by_hand(caxton: Caxton, here: Here) -> None:
    """Once; there is nothing to close afterwards."""
    await caxton("agents", "register", "bob")
    await opened(here)
    closed = await caxton("breakers", "close", "bob", "--json")
    assert (closed.code, closed.json) == (0, {"agent": "bob@caxton", "closed": True})
    assert (await caxton("breakers", "--json")).json == {"breakers": []}
    again = await caxton("breakers", "close", "bob", "--json")
    assert (again.code, again.error["code"]) == (1, "AgentNotFound")
