"""What every `DeadLetters` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from caxton_nats.core.dead_letter import DeadLetter, Death, Origin, Stage, keep
from caxton_nats.core.envelope import Claim
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.selection import EVERY, Selection
from tests.conformance.adapters import Adapter, named

BOB = named("bob")
ALICE = named("alice")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def dead(
    sequence: int,
    *,
    agent: AgentId = BOB,
    reason: FailureReason = FailureReason.TIMEOUT,
    body: bytes = b"{}",
) -> DeadLetter:
    origin = Origin("CAXTON_MAILBOX_0", sequence)
    letter = DeadLetter(
        id=origin.key,
        reason=reason,
        stage=Stage.DELIVER,
        agent=agent,
        sender=named("carol"),
        message_id=MessageId(f"m-{sequence}"),
        performative="request",
        attempts=4,
        first_at=NOON,
        last_at=NOON + timedelta(minutes=1, microseconds=1),
        last_error={"code": "HandlerFailed", "reason": "ValueError: ü", "limit": 3},
        origin=origin,
        subject="caxton.mailbox.0.bob",
        headers={"traceparent": "00-ab-cd-01"},
        redrives=1,
        history=(
            Death(
                letter="S-1",
                at=NOON,
                reason=FailureReason.TIMEOUT,
                stage=Stage.ROUTE,
                attempts=2,
                error="Expired: ü",
            ),
        ),
    )
    return msgspec.structs.replace(letter, **keep(body))


async def test_write_and_get(adapter: Adapter) -> None:
    """What was written comes back whole, every field of it."""
    letter = dead(1)
    assert await adapter.dead_letters.write(letter)
    assert await adapter.dead_letters.get(letter.id) == letter


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(range(256)), id="every-byte"),
        pytest.param('{"ü": "世界"}'.encode(), id="json"),
        pytest.param(b'\t{ "a" :\n1.50, "a": 2 }\r\n', id="json-with-white-space"),
        pytest.param(b"not json", id="text"),
        pytest.param(b"null", id="null"),
    ],
)
async def test_original_bytes(adapter: Adapter, body: bytes) -> None:
    """The dead message's own bytes come back exactly."""
    letter = dead(1, body=body)
    await adapter.dead_letters.write(letter)
    found = await adapter.dead_letters.get(letter.id)
    assert found is not None
    assert found.original == body


async def test_claim_instead_of_bytes(adapter: Adapter) -> None:
    """A letter may say where its bytes lie instead of carrying them."""
    claim = Claim("dead-1", 5_000_000, "ab" * 32)
    letter = msgspec.structs.replace(dead(1), body=msgspec.Raw(), body_claim=claim)
    await adapter.dead_letters.write(letter)
    assert await adapter.dead_letters.get(letter.id) == letter


async def test_written_once(adapter: Adapter) -> None:
    """The second letter of one id is not stored, and the first one stays as it was."""
    first = dead(1, reason=FailureReason.TIMEOUT)
    assert await adapter.dead_letters.write(first)
    assert not await adapter.dead_letters.write(dead(1, reason=FailureReason.QUEUE_FULL))
    assert await adapter.dead_letters.list() == [first]


async def test_written_once_under_concurrency(adapter: Adapter) -> None:
    """Of 20 writers of one id exactly one writes."""
    wrote = await asyncio.gather(*(adapter.dead_letters.write(dead(1)) for _ in range(20)))
    assert wrote.count(True) == 1
    assert len(await adapter.dead_letters.list()) == 1


async def test_nothing_there(adapter: Adapter) -> None:
    """Where no letter is, nothing is found, listed, counted or removed."""
    assert await adapter.dead_letters.get("CAXTON_MAILBOX_0-1") is None
    assert await adapter.dead_letters.list() == []
    assert await adapter.dead_letters.count() == {}
    assert not await adapter.dead_letters.remove("CAXTON_MAILBOX_0-1")


async def test_newest_first(adapter: Adapter) -> None:
    """Letters are listed in the reverse order of writing, whatever their origin."""
    for sequence in (5, 9, 2):
        await adapter.dead_letters.write(dead(sequence))
    listed = await adapter.dead_letters.list()
    assert [letter.origin.sequence for letter in listed] == [2, 9, 5]


async def test_limit(adapter: Adapter) -> None:
    """A limited list has the newest letters."""
    for sequence in range(1, 6):
        await adapter.dead_letters.write(dead(sequence))
    listed = await adapter.dead_letters.list(limit=2)
    assert [letter.origin.sequence for letter in listed] == [5, 4]


async def test_filter_by_agent(adapter: Adapter) -> None:
    """A list of one agent's letters has these only, and the limit counts these only."""
    for sequence in (1, 2, 3):
        await adapter.dead_letters.write(dead(sequence, agent=BOB))
        await adapter.dead_letters.write(dead(sequence + 10, agent=ALICE))
    listed = await adapter.dead_letters.list(Selection(agent=BOB), limit=2)
    assert [letter.origin.sequence for letter in listed] == [3, 2]
    assert await adapter.dead_letters.list(Selection(agent=named("nobody"))) == []


async def test_remove(adapter: Adapter) -> None:
    """A removed letter is gone, from the list and the count as well; the others stay."""
    for sequence in (1, 2):
        await adapter.dead_letters.write(dead(sequence))
    assert await adapter.dead_letters.remove(dead(1).id)
    assert await adapter.dead_letters.get(dead(1).id) is None
    assert await adapter.dead_letters.list() == [dead(2)]
    assert await adapter.dead_letters.count() == {(BOB, "Timeout"): 1}


async def test_remove_once(adapter: Adapter) -> None:
    """Of several removals of one letter one says that it did it."""
    await adapter.dead_letters.write(dead(1))
    removed = await asyncio.gather(*(adapter.dead_letters.remove(dead(1).id) for _ in range(5)))
    assert removed.count(True) == 1


async def test_count(adapter: Adapter) -> None:
    """Letters are counted per agent and reason."""
    await adapter.dead_letters.write(dead(1))
    await adapter.dead_letters.write(dead(2))
    await adapter.dead_letters.write(dead(3, reason=FailureReason.QUEUE_FULL))
    await adapter.dead_letters.write(dead(4, agent=ALICE))
    assert await adapter.dead_letters.count() == {
        (BOB, "Timeout"): 2,
        (BOB, "QueueFull"): 1,
        (ALICE, "Timeout"): 1,
    }


async def test_awkward_agent(adapter: Adapter) -> None:
    """Letters of an agent whose name means something to NATS are kept like any other's."""
    awkward = named("a.*.>")
    await adapter.dead_letters.write(dead(1, agent=awkward))
    await adapter.dead_letters.write(dead(2))
    assert [one.agent for one in await adapter.dead_letters.list(Selection(agent=awkward))] == [
        awkward
    ]
    assert (await adapter.dead_letters.count())[awkward, "Timeout"] == 1


async def test_agent_of_another_platform(adapter: Adapter) -> None:
    """Letters of an agent of the same local name elsewhere are another's."""
    there = AgentId("bob@there")
    await adapter.dead_letters.write(dead(1))
    await adapter.dead_letters.write(dead(2, agent=there))
    assert await adapter.dead_letters.list(Selection(agent=there)) == [dead(2, agent=there)]
    assert await adapter.dead_letters.count() == {(BOB, "Timeout"): 1, (there, "Timeout"): 1}


async def pages(adapter: Adapter, which: Selection = EVERY) -> list[int]:
    """Read page after page; return the sequences of the originals."""
    page = await adapter.dead_letters.page(which)
    found = [*page.letters]
    while not page.is_last:
        page = await adapter.dead_letters.page(which, after=page.after, until=page.until)
        found += page.letters
    return [letter.origin.sequence for letter in found]


async def test_pages(adapter: Adapter) -> None:
    """Page by page come all letters of a selection, the oldest first, and no other."""
    assert await pages(adapter) == []
    for sequence in range(1, 301):
        reason = FailureReason.TIMEOUT if sequence % 2 else FailureReason.QUEUE_FULL
        await adapter.dead_letters.write(dead(sequence, reason=reason))
    assert await pages(adapter) == [*range(1, 301)]
    odd = Selection(agent=BOB, reason=FailureReason.TIMEOUT)
    assert await pages(adapter, odd) == [*range(1, 301, 2)]
    late = Selection(died_after=NOON + timedelta(hours=1))
    assert await pages(adapter, late) == []


async def test_large_letters_come_in_small_pages(adapter: Adapter) -> None:
    """Letters of a MiB each come, too, and no page holds very many of them."""
    for sequence in range(1, 8):
        await adapter.dead_letters.write(dead(sequence, body=b'"' + b"x" * 900_000 + b'"'))
    assert await pages(adapter) == [*range(1, 8)]


async def test_pages_end_where_they_began(adapter: Adapter) -> None:
    """What is written after the first page was asked for is on no page; what has gone is neither."""
    for sequence in range(1, 301):
        await adapter.dead_letters.write(dead(sequence))
    page = await adapter.dead_letters.page()
    first = [letter.origin.sequence for letter in page.letters]
    assert not page.is_last
    await adapter.dead_letters.write(dead(999))
    await adapter.dead_letters.remove(dead(300).id)
    rest = await adapter.dead_letters.page(after=page.after, until=page.until)
    assert first + [letter.origin.sequence for letter in rest.letters] == [*range(1, 300)]
    assert rest.is_last


@pytest.mark.parametrize(
    "which",
    [
        Selection(reason=FailureReason.QUEUE_FULL),
        Selection(sender=named("dave")),
        Selection(stage=Stage.ROUTE),
        Selection(conversation_id="c"),
        Selection(died_after=NOON + timedelta(hours=1)),
        Selection(agent=BOB, sender=named("dave"), stage=Stage.ROUTE),
    ],
)
async def test_selection(adapter: Adapter, which: Selection) -> None:
    """A list has what all of a selection's conditions hold for, and looks back far enough for it."""
    wanted = msgspec.structs.replace(
        dead(1, reason=FailureReason.QUEUE_FULL),
        sender=named("dave"),
        stage=Stage.ROUTE,
        conversation_id="c",
        last_at=NOON + timedelta(hours=2),
    )
    await adapter.dead_letters.write(wanted)
    for sequence in range(2, 6):
        await adapter.dead_letters.write(dead(sequence))
    assert await adapter.dead_letters.list(which, limit=1) == [wanted]
    before = Selection(died_before=NOON + timedelta(hours=1))
    assert len(await adapter.dead_letters.list(before)) == 4
