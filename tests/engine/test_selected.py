"""Many dead letters at a time: those that are there, once each, as fast as is wanted."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.errors import HandlerRejected, NotConnected, PublishUnconfirmed
from caxton_nats.core.selection import EVERY, Selection
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.selected import Ended, select
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import Bench, Failing, Recorder
from tests.engine.test_burial import delivery


async def dead(bench: Bench, number: int, platform: Platform | None = None) -> Platform:
    """Have that many messages of alice for bob die, m-1 the first."""
    platform = platform or await bench.known(bench.platform())
    for at in range(1, number + 1):
        envelope = sample(message_id=f"m-{at}")
        await platform.burial.bury(
            delivery(sequence=at),
            HandlerRejected("no"),
            agent=BOB,
            stage=Stage.DELIVER,
            envelope=envelope,
        )
    return platform


async def redriven(platform: Platform, which: Selection = EVERY, **how: object) -> list[Ended]:
    return [one async for one in platform.redrive.redrive_all(which, **how)]  # type: ignore[arg-type]


async def test_all_of_them_the_oldest_first(bench: Bench) -> None:
    """Every letter goes back, in the order in which they died, over many pages."""
    platform = await dead(bench, 600)
    ended = await redriven(platform)
    assert [one.letter_id for one in ended] == [f"S-{at}" for at in range(1, 601)]
    assert {(one.agent, one.error) for one in ended} == {(BOB, None)}
    assert (await bench.pending(), await bench.dead()) == (600, [])


async def test_what_dies_again_meanwhile_is_not_among_them(bench: Bench) -> None:
    """Each message is sent once, though each dies again before the next is sent."""
    platform = await dead(bench, 5)

    async def die(*_: object) -> None:
        raise ValueError("no")

    bench.open(Recorder(bench.clock, die), platform=platform)
    running = asyncio.create_task(redriven(platform, rate=0.01))
    await bench.clock.advance(10_000)
    assert len(await running) == 5
    assert [one.redrives for one in await bench.dead()] == [1] * 5


async def test_rate(bench: Bench) -> None:
    """Two a second are sent half a second apart."""
    platform = await dead(bench, 5)
    running = asyncio.create_task(redriven(platform, rate=2))
    counts = []
    for _ in range(5):
        await bench.clock.advance(0.49)
        counts.append(await bench.pending())
        await bench.clock.advance(0.01)
    assert counts == [1, 2, 3, 4, 5]
    assert len(await running) == 5


async def test_stopped_between_two(bench: Bench) -> None:
    """Told to stop, it does not wait for its next turn; called again, it does the rest."""
    platform = await dead(bench, 5)
    stop = asyncio.Event()
    running = asyncio.create_task(redriven(platform, rate=0.001, stop=stop))
    await bench.clock.idle()
    stop.set()
    assert len(await running) == 1
    assert len(await redriven(platform)) == 4
    assert await bench.pending() == 5


async def test_two_operators(bench: Bench) -> None:
    """Two at once send each message once, and neither calls the other's work a failure."""
    platform = await dead(bench, 300)
    other = await bench.known(bench.platform())
    found = await asyncio.gather(redriven(platform), redriven(other))
    assert [one for ended in found for one in ended if one.error is not None] == []
    assert (await bench.pending(), await bench.dead()) == (300, [])


async def test_one_that_cannot_go_does_not_hold_up_the_others(bench: Bench) -> None:
    """It stays, and is named with why; the rest goes."""
    await dead(bench, 3)
    publisher = Failing(bench.ports.publisher, publish=[None, PublishUnconfirmed("away")])
    platform = bench.platform(bench.but(publisher=publisher))
    ended = await redriven(platform)
    assert [one.letter_id for one in ended if one.error] == ["S-2"]
    assert [one.id for one in await bench.dead()] == ["S-2"]


async def test_dry_run(bench: Bench) -> None:
    """It says what would go and what would not, and changes nothing."""
    platform = await dead(bench, 3)
    stored = await bench.broker.mailboxes.stored()
    tried = await redriven(platform, dry_run=True)
    assert [(one.letter_id, one.error) for one in tried] == [(f"S-{n}", None) for n in (1, 2, 3)]
    discards = [one async for one in platform.redrive.discard_all(EVERY, dry_run=True)]
    assert discards == tried
    assert (len(await bench.dead()), await bench.pending()) == (3, 0)
    assert await bench.broker.mailboxes.stored() == stored
    await platform.registrar.deregister(BOB)
    assert {one.error.code for one in await redriven(platform, dry_run=True) if one.error} == {
        "RedriveRefused"
    }


async def test_discard_all(bench: Bench) -> None:
    """The selection goes for good, and nothing else."""
    platform = await dead(bench, 3)
    none = [one async for one in platform.redrive.discard_all(Selection(sender=BOB))]
    assert none == []
    gone = [one async for one in platform.redrive.discard_all(Selection(sender=ALICE))]
    assert ([one.letter_id for one in gone], await bench.dead()) == (["S-1", "S-2", "S-3"], [])


async def test_by_name(bench: Bench) -> None:
    """Named letters go in the order given; a wrong name is told, and holds up nothing."""
    platform = await dead(bench, 3)
    ended = [one async for one in platform.redrive.redrive_all(["S-3", "S-9", "S-1"])]
    assert [(one.letter_id, one.error and one.error.code) for one in ended] == [
        ("S-3", None),
        ("S-9", "DeadLetterNotFound"),
        ("S-1", None),
    ]


@pytest.mark.parametrize("number", [0, 256, 257])
async def test_select(bench: Bench, number: int) -> None:
    """Full pages, empty ones and one more come whole."""
    await dead(bench, number)
    found = [one.origin.sequence async for one in select(bench.ports, EVERY)]
    assert found == [*range(1, number + 1)]


async def test_without_a_server(bench: Bench) -> None:
    """It ends at once, and does not try each letter in vain."""
    await dead(bench, 3)
    publisher = Failing(bench.ports.publisher, publish=[None, NotConnected("away")])
    platform = bench.platform(bench.but(publisher=publisher))
    ended: list[Ended] = []

    async def keep() -> None:
        async for one in platform.redrive.redrive_all(EVERY):
            ended.append(one)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(NotConnected):
        await keep()
    assert [one.letter_id for one in ended] == ["S-1"]
