"""What every `Streams` promises, and `Mailboxes.statuses`, which reads the same state by agent."""

from __future__ import annotations

import asyncio
from itertools import islice

from caxton_nats.core.disposition import Ack
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.stream_state import Role, StreamState
from caxton_nats.ports import MailboxStatus
from tests.conformance.adapters import LONG, Adapter, named
from tests.conformance.test_dead_letters import dead


async def of(adapter: Adapter, role: Role) -> list[StreamState]:
    return [state for state in await adapter.streams.states() if state.role is role]


async def test_empty(adapter: Adapter) -> None:
    """Every mailbox stream, the ingress and the dead letters are there and hold nothing."""
    states = await adapter.streams.states()
    roles = [state.role for state in states]
    assert (roles.count(Role.MAILBOX), roles.count(Role.INGRESS)) == (4, 1)
    assert (roles.count(Role.DEAD_LETTERS), roles.count(Role.OUTBOUND)) == (1, 1)
    for state in states:
        assert not state.missing
        if state.role in (Role.MAILBOX, Role.INGRESS, Role.DEAD_LETTERS):
            held = (state.messages, state.bytes, state.last_sequence, state.first_at)
            assert held == (0, 0, 0, None)


async def test_mail_is_counted(adapter: Adapter, bob: AgentId) -> None:
    """Messages, bytes and the oldest are those of what is not settled; the sequence counts all."""
    began = adapter.clock.now()
    await adapter.send(bob, "1", "2", "3")
    inbox = await adapter.reader(bob)
    (first,) = await inbox.fetch(1, LONG)
    await inbox.settle([(first, Ack())])
    name = adapter.mailboxes.address(bob).stream
    (state,) = [one for one in await of(adapter, Role.MAILBOX) if one.name == name]
    assert (state.messages, state.last_sequence, state.consumers) == (2, 3, 1)
    assert state.bytes > 0
    assert state.first_at is not None
    assert state.first_at > first.stored_at >= began.replace(microsecond=0)


async def test_bounds(adapter: Adapter) -> None:
    """The ingress and the dead letters say how many messages they hold at most."""
    (ingress,) = await of(adapter, Role.INGRESS)
    (letters,) = await of(adapter, Role.DEAD_LETTERS)
    assert ingress.max_messages is not None
    assert letters.max_messages is not None
    assert ingress.max_bytes is None


async def test_ingress(adapter: Adapter) -> None:
    """What was submitted counts until it is settled."""
    await adapter.submit(named("alice"), b"{}", {})
    (state,) = await of(adapter, Role.INGRESS)
    assert (state.messages, state.first_at is None) == (1, False)
    (delivery,) = await adapter.ingress.fetch(1, LONG)
    await adapter.ingress.settle([(delivery, Ack())])
    (state,) = await of(adapter, Role.INGRESS)
    assert (state.messages, state.first_at) == (0, None)


async def test_dead_letters(adapter: Adapter) -> None:
    """Dead letters count with their bytes, and the oldest of those that are there is the oldest."""
    await adapter.dead_letters.write(dead(1))
    (one,) = await of(adapter, Role.DEAD_LETTERS)
    await adapter.dead_letters.write(dead(2))
    (both,) = await of(adapter, Role.DEAD_LETTERS)
    assert (one.messages, both.messages) == (1, 2)
    assert 0 < one.bytes < both.bytes
    assert one.first_at == both.first_at
    await adapter.dead_letters.remove(dead(1).id)
    (left,) = await of(adapter, Role.DEAD_LETTERS)
    assert left.first_at is not None
    assert both.first_at is not None
    assert (left.messages, left.first_at > both.first_at) == (1, True)


async def test_statuses(adapter: Adapter, bob: AgentId) -> None:
    """Each agent with mail or a mailbox to read is there, as `status` would say of it."""
    alice, carol = named("alice"), named("carol")
    await adapter.send(bob, "1", "2")
    await adapter.send(alice, "3")
    await adapter.mailboxes.ensure(carol)
    inbox = await adapter.reader(bob)
    await inbox.fetch(1, LONG)
    found = await adapter.mailboxes.statuses()
    assert found[bob].pending == 2
    assert found[bob].in_flight == 1
    assert found[alice] == MailboxStatus(pending=1, in_flight=0, attended=False)
    assert found[carol] == MailboxStatus(pending=0, in_flight=0, attended=False)
    await adapter.mailboxes.remove(carol)
    assert carol not in await adapter.mailboxes.statuses()


async def test_statuses_of_many(adapter: Adapter) -> None:
    """More mailboxes of one stream than the server lists at once are all there."""
    stream = adapter.mailboxes.address(named("agent-0")).stream
    everybody = (named(f"agent-{number}") for number in range(2000))
    here = (agent for agent in everybody if adapter.mailboxes.address(agent).stream == stream)
    agents = list(islice(here, 260))
    await asyncio.gather(*map(adapter.mailboxes.ensure, agents))
    assert set(await adapter.mailboxes.statuses()) == set(agents)
