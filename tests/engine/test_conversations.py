"""Conversations end by themselves, are archived whole, and take no message afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.conversation import Conversation, End, Terms
from caxton_nats.core.errors import (
    CaxtonError,
    ConversationNotFound,
    ConversationTimeout,
    NotConnected,
    RevisionConflict,
)
from caxton_nats.core.identifiers import ConversationId, MessageId
from caxton_nats.engine.conversations import KIND
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.engine.timekeeper import Timekeeper
from caxton_nats.ports import Ports, Receipt, Submission, Timer
from caxton_nats.tasks import end
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample
from tests.engine.bench import After, Bench, Failing

C = ConversationId("c")
TERMS = Terms(timeout=timedelta(minutes=30), lifetime=timedelta(hours=2))
MINUTE = 60


def platform(bench: Bench, ports: Ports | None = None) -> Platform:
    return bench.platform(ports, router=RouterOptions(platform="here", terms=TERMS))


async def say(made: Platform, message_id: str, **fields: Any) -> Receipt | CaxtonError:
    message = sample(
        message_id=MessageId(message_id), created_at=None, **{"conversation_id": C, **fields}
    )
    (result,) = await made.router.send([Submission(sender=message.sender, envelope=message)])
    return result


@asynccontextmanager
async def timers(made: Platform) -> AsyncIterator[None]:
    """Have somebody work off the timers, as the router service does."""
    keeper = Timekeeper(await made.ports.timers.inbox(), made.ports.clock, made.when_due)
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        await end([task])


async def active(bench: Bench, conversation_id: str = C) -> Conversation | None:
    found = await bench.broker.conversations.load(ConversationId(conversation_id))
    return found[0] if found else None


async def test_idle_conversation_is_archived(bench: Bench) -> None:
    """After its timeout it lies in the archive with why and when, and no longer where it was."""
    made = await bench.known(platform(bench))
    async with timers(made):
        await say(made, "m-1", protocol="fipa-request")
        await bench.clock.advance(30 * MINUTE - 1)
        assert await active(bench) is not None
        await bench.clock.advance(2)
    assert await active(bench) is None
    found = await made.conversations.get(C)
    assert found is not None
    assert (found.ended_by, found.ended_at) == (End.IDLE, NOON + timedelta(minutes=30))
    assert (found.participants, found.message_count) == ((ALICE, BOB), 1)
    assert found.protocol == "fipa-request"


async def test_activity_keeps_it_going(bench: Bench) -> None:
    """Each message begins the timeout anew, for one timer in each idle period."""
    counted = Failing(bench.broker.timers)
    made = await bench.known(platform(bench, bench.but(timers=counted)))
    async with timers(made):
        for number in range(5):
            assert isinstance(await say(made, f"m-{number}"), Receipt)
            await bench.clock.advance(10 * MINUTE)
        assert await active(bench) is not None
        await bench.clock.advance(25 * MINUTE)
        assert await active(bench) is None
    assert counted.calls.count("set") == 3


async def test_lifetime(bench: Bench) -> None:
    """However busy, it ends with its lifetime."""
    made = await bench.known(platform(bench))
    results = []
    async with timers(made):
        for number in range(13):
            results.append(await say(made, f"m-{number}"))
            await bench.clock.advance(10 * MINUTE)
    assert [type(one) for one in results] == [Receipt] * 12 + [ConversationTimeout]
    found = await made.conversations.get(C)
    assert found is not None
    assert (found.ended_by, found.message_count) == (End.LIFETIME, 12)


async def test_late_message_is_refused_without_timers(bench: Bench) -> None:
    """Also when no router service works them off: the record's own times decide."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    await bench.clock.advance(30 * MINUTE)
    refused = await say(made, "m-2")
    assert isinstance(refused, ConversationTimeout)
    assert await bench.pending() == 1
    record = await active(bench)
    assert record is not None
    assert record.message_count == 1


async def test_late_message_to_an_archived_conversation(bench: Bench) -> None:
    """The sender is told when and why it has ended; nothing is delivered or begun anew."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    await made.conversations.archive(C)
    refused = await say(made, "m-2")
    assert isinstance(refused, ConversationTimeout)
    assert "archived" in refused.reason
    assert await active(bench) is None


async def test_service_that_was_away(bench: Bench) -> None:
    """A timer that came due while nobody was there is worked off when somebody is."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    await bench.clock.advance(100 * MINUTE)
    assert await active(bench) is not None
    async with timers(made):
        await bench.clock.advance(1)
    assert await active(bench) is None


@pytest.mark.parametrize("port", ["conversations.save", "archive.add", "conversations.remove"])
@pytest.mark.parametrize("done", [True, False])
async def test_crash_while_archiving(bench: Bench, port: str, *, done: bool) -> None:
    """Wherever it stops, the timer comes again and completes it: archived once, nothing left."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    name, method = port.split(".")
    error = NotConnected("killed")
    plan: Any = {method: [After(error) if done else error]}
    broken = platform(bench, bench.but(**{name: Failing(getattr(bench.broker, name), **plan)}))
    async with timers(broken):
        await bench.clock.advance(30 * MINUTE + 60)
    assert await active(bench) is None
    assert [one.conversation_id for one in await made.conversations.list(archived=True)] == [C]
    assert await bench.broker.archive.added() == 1


async def test_crash_before_the_record(bench: Bench) -> None:
    """A timer whose conversation never came to be does nothing, and goes."""
    broken = bench.but(
        conversations=Failing(bench.broker.conversations, save=[NotConnected("killed")])
    )
    made = await bench.known(platform(bench, broken))
    assert isinstance(await say(made, "m-1"), NotConnected)
    async with timers(made):
        await bench.clock.advance(31 * MINUTE)
    assert await made.conversations.get(C) is None
    assert await (await bench.broker.timers.inbox()).fetch(1, timedelta()) == []


async def test_refused_first_message_sets_no_timer(bench: Bench) -> None:
    """Nothing is left behind by what did not begin a conversation."""
    counted = Failing(bench.broker.timers)
    made = await bench.known(platform(bench, bench.but(timers=counted)))
    await say(made, "m-1", in_reply_to="nothing")
    await say(made, "m-2", conversation_id=ConversationId(""))
    assert counted.calls == []


async def test_message_wins_against_the_end(bench: Bench) -> None:
    """A message that was taken in the last moment keeps the conversation: one of the two wins."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")

    class Late(Failing):
        """A store in which a message is written just before the end is, once."""

        late = True

        async def save(self, record: Conversation, *, revision: int | None) -> int:
            if record.ended_by is not None and self.late:
                self.late = False
                found = await bench.broker.conversations.load(C)
                assert found is not None
                moment = found[0].last_activity + timedelta(minutes=29)
                alive = msgspec.structs.replace(found[0], last_activity=moment)
                await bench.broker.conversations.save(alive, revision=found[1])
            return await bench.broker.conversations.save(record, revision=revision)

    late = platform(bench, bench.but(conversations=Late(bench.broker.conversations)))
    async with timers(late):
        await bench.clock.advance(30 * MINUTE + 1)
        record = await active(bench)
        assert record is not None
        assert record.ended_by is None
        assert await bench.broker.archive.added() == 0
        await bench.clock.advance(29 * MINUTE)
        assert await active(bench) is None


async def test_archive(bench: Bench) -> None:
    """Archived by hand, it is hidden from the list and readable; a second time changes nothing."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    await bench.clock.advance(MINUTE)
    first = await made.conversations.archive(C)
    assert (first.ended_by, first.ended_at) == (End.ARCHIVED, bench.clock.now())
    await bench.clock.advance(MINUTE)
    assert await made.conversations.archive(C) == first == await made.conversations.get(C)
    assert await made.conversations.list() == []
    assert await made.conversations.list(archived=True) == [first]
    await bench.clock.advance(60 * MINUTE)
    assert await (await bench.broker.timers.inbox()).fetch(1, timedelta()) == []


async def test_archive_while_a_message_comes(bench: Bench) -> None:
    """A message that is taken at the same time is in the record that is archived."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    conflicts: list[Exception | None] = [RevisionConflict("a message"), None]
    store = Failing(bench.broker.conversations, save=conflicts)
    busy = platform(bench, bench.but(conversations=store))
    archiving = asyncio.create_task(busy.conversations.archive(C))
    await bench.clock.advance(1)
    assert (await archiving).ended_by is End.ARCHIVED


async def test_archive_of_nothing(bench: Bench) -> None:
    """There is no such conversation, and none is made."""
    made = platform(bench)
    with pytest.raises(ConversationNotFound) as caught:
        await made.conversations.archive(C)
    assert caught.value.value == C
    assert await made.conversations.get(C) is None


async def test_list_of_an_agent(bench: Bench) -> None:
    """Two for the agent that is in both, the latest first; none for a stranger."""
    made = await bench.known(platform(bench))
    await say(made, "m-1", conversation_id=ConversationId("first"))
    await bench.clock.advance(1)
    await say(made, "m-2", conversation_id=ConversationId("second"), receiver=(CAROL,))
    of_alice = await made.conversations.list(agent=ALICE)
    assert [one.conversation_id for one in of_alice] == ["second", "first"]
    of_carol = await made.conversations.list(agent=CAROL)
    assert [one.conversation_id for one in of_carol] == ["second"]
    assert await made.conversations.list(agent=made.agent_id("stranger")) == []


async def test_due_timer_of_nothing(bench: Bench) -> None:
    """A timer is a hint: where there is no conversation, nothing happens."""
    await platform(bench).when_due[KIND](Timer(KIND, "nothing"))
    assert await bench.broker.archive.added() == 0


async def test_statistics(bench: Bench) -> None:
    """Five conversations of two, three messages in one of them; an ended one was created, too."""
    made = await bench.known(platform(bench))
    for number in range(6):
        await say(made, "m", conversation_id=ConversationId(f"c-{number}"))
    await bench.clock.advance(10)
    for message_id in ("n-1", "n-2"):
        await say(made, message_id, conversation_id=ConversationId("c-0"))
    await made.conversations.archive(ConversationId("c-5"))
    found = await made.conversations.statistics()
    assert (found.total_active, found.total_created) == (5, 6)
    assert found.average_message_count == 7 / 5
    assert found.average_duration_ms == 10_000 / 5
    assert found.participants_distribution == {2: 5}


async def test_retention(bench: Bench) -> None:
    """For its retention an ended conversation is readable, and its id taken; then it is free."""
    made = await bench.known(platform(bench))
    await say(made, "m-1")
    await made.conversations.archive(C)
    await bench.clock.advance(30 * 24 * 3600 - 1)
    assert await made.conversations.get(C) is not None
    assert isinstance(await say(made, "m-2"), ConversationTimeout)
    await bench.clock.advance(1)
    assert await made.conversations.get(C) is None
    assert await made.conversations.list(archived=True) == []
    assert isinstance(await say(made, "m-3"), Receipt)
    assert (await made.conversations.statistics()).total_created == 2


async def test_protocols_are_kept_apart(bench: Bench) -> None:
    """Each conversation keeps its own protocol; five answers in a row are one conversation."""
    made = await bench.known(platform(bench))
    protocols = ("fipa-request", "fipa-query", "fipa-contract-net", "fipa-subscribe")
    for name in protocols:
        await say(made, f"m-{name}", conversation_id=ConversationId(name), protocol=name)
    found = {one.conversation_id: one.protocol for one in await made.conversations.list()}
    assert found == {ConversationId(name): name for name in protocols}
    before = "m-fipa-query"
    for number in range(5):
        between = {"sender": (BOB, ALICE)[number % 2], "receiver": ((ALICE, BOB)[number % 2],)}
        query = ConversationId("fipa-query")
        result = await say(
            made, f"n-{number}", conversation_id=query, in_reply_to=before, **between
        )
        assert isinstance(result, Receipt)
        before = f"n-{number}"
    record = await active(bench, "fipa-query")
    assert record is not None
    assert (record.message_count, record.participants) == (6, (ALICE, BOB))
