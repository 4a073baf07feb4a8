"""What every `Decisions` promises."""

from __future__ import annotations

import asyncio

from caxton_nats.core.choice import Choice, Decision
from caxton_nats.core.identifiers import AgentId, MessageId
from tests.conformance.adapters import Adapter, named

BOB = named("bob")


def decision(*agents: str, message_id: str = "m-1", sender: AgentId = BOB) -> Decision:
    chosen = tuple(map(named, agents or ("carol",)))
    choice = Choice(AgentId("capability:größe:v2"), "größe:v2", chosen, "because")
    return Decision(sender=sender, message_id=MessageId(message_id), choices=(choice,))


async def test_the_first_decision_holds(adapter: Adapter) -> None:
    """Whoever decides the same message again, in any process, gets what was decided first."""
    first = decision("carol")
    assert await adapter.decisions.find(BOB, first.message_id) is None
    assert await adapter.decisions.record(first) == first
    assert await adapter.decisions.record(decision("dave")) == first
    async with adapter.another() as ports:
        assert await ports.decisions.record(decision("erin")) == first
        assert await ports.decisions.find(BOB, first.message_id) == first


async def test_of_many_at_once_one_holds(adapter: Adapter) -> None:
    """All of them are told the same."""
    told = await asyncio.gather(*(adapter.decisions.record(decision(f"a{n}")) for n in range(10)))
    assert all(one == told[0] for one in told)


async def test_messages_are_kept_apart(adapter: Adapter) -> None:
    """By sender and by id, however long and odd these are."""
    for sender in (BOB, named("b" * 255), named("a.b"), named("ä" * 255)):
        for message_id in ("m-1", "*", ">", "m" * 128):
            one = decision(f"for-{len(sender)}", message_id=message_id, sender=sender)
            assert await adapter.decisions.record(one) == one
