"""Content that nothing stored speaks of goes; what anything speaks of stays, whatever moves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Reject
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import HandlerRejected, QueueFull
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine import stored
from caxton_nats.engine.leftovers import AGE, Leftovers
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Submission
from caxton_nats.tasks import end
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import Bench, CountingIds, Recorder

ROUTER = RouterOptions(platform="here", max_body=600)
DAY = AGE.total_seconds() + 1
LARGE = msgspec.Raw(b'"' + b"x" * 2000 + b'"')


async def known(bench: Bench) -> Platform:
    return await bench.known(bench.platform(router=ROUTER))


async def send(platform: Platform, message_id: str) -> object:
    message = sample(message_id=message_id, content=LARGE, user_defined={"X-a": "a" * 500})
    (result,) = await platform.router.send([Submission(sender=ALICE, envelope=message)])
    return result


async def reject(_: Envelope, __: int) -> None:
    raise Reject("no")


def names(bench: Bench) -> set[str]:
    return set(bench.broker.contents._contents)  # type: ignore[attr-defined]  # the memory's own


async def sweep(bench: Bench, platform: Platform) -> int:
    return await Leftovers(bench.ports, platform.remote).sweep()


async def test_what_found_no_room(bench: Bench) -> None:
    """Content of a message that the mailbox had no room for goes after a day; others' stays."""
    bench.broker = MemoryBroker(bench.clock, queue_size=1)
    bench.ports = bench.broker.ports(CountingIds())
    platform = await known(bench)
    await send(platform, "m-1")
    kept = names(bench)
    assert isinstance(await send(platform, "m-2"), QueueFull)
    assert len(names(bench)) == 2
    assert await sweep(bench, platform) == 0, "it is young"
    await bench.clock.advance(DAY)
    assert await sweep(bench, platform) == 1
    assert names(bench) == kept
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert bob.contents == [bytes(LARGE)]


async def test_of_a_dead_letter(bench: Bench) -> None:
    """What a letter keeps beside it stays for as long as the letter: both objects."""
    platform = await known(bench)
    await send(platform, "m-1")
    bench.open(Recorder(bench.clock, reject), platform=platform)
    await bench.clock.idle()
    (letter,) = await bench.dead()
    assert len(names(bench)) == 2
    await bench.clock.advance(DAY)
    assert await sweep(bench, platform) == 0
    await bench.broker.dead_letters.remove(letter.id)
    assert await sweep(bench, platform) == 2
    assert names(bench) == set()


async def test_of_a_letter_that_was_pushed_out(bench: Bench) -> None:
    """What goes when there are too many dead letters takes its content with it, in time."""
    bench.broker = MemoryBroker(bench.clock, dead_letter_size=1)
    bench.ports = bench.broker.ports(CountingIds())
    platform = await known(bench)
    bench.open(Recorder(bench.clock, reject), platform=platform)
    for number in range(3):
        await send(platform, f"m-{number}")
        await bench.clock.idle()
    assert len(names(bench)) == 6
    await bench.clock.advance(DAY)
    assert await sweep(bench, platform) == 4
    (letter,) = await bench.dead()
    assert letter.message_id == "m-2"
    await platform.redrive.redrive(letter.id)


@pytest.mark.parametrize(
    "name",
    [
        "alice.upload.m-1",
        "outbox.alice.3.0123456789abcdef",
        "alice=40here.bob=40there.m-1.0123456789abcdef",
        "alice.bob.m-1.0123456789abcdef",
        "alice=40here.bob=40here.m-1",
        "a=4.b=4.m.0123456789abcdef",
        "picture.png",
    ],
)
async def test_what_others_keep_there(bench: Bench, name: str) -> None:
    """Uploads of clients, outboxes, mail for other platforms: their owners look after it."""
    platform = await known(bench)
    await bench.broker.contents.put(name, b"1")
    await bench.clock.advance(DAY)
    assert await sweep(bench, platform) == 0


async def test_while_messages_come_in(bench: Bench) -> None:
    """What was submitted may speak of anything: nothing goes until the router has seen it."""
    platform = await known(bench)
    await bench.broker.contents.put("dead.S-1", b"1")
    await bench.clock.advance(DAY)
    await bench.broker.submit(ALICE, b"{}")
    assert await sweep(bench, platform) == 0
    (one,) = await bench.broker.ingress.fetch(1, timedelta())
    await bench.broker.ingress.settle([(one, Ack())])
    assert await sweep(bench, platform) == 1


async def test_while_a_message_dies(bench: Bench) -> None:
    """A message that moves from its mailbox to the dead letters meanwhile is not overlooked."""
    platform = await known(bench)
    await send(platform, "m-1")
    await bench.clock.advance(DAY)
    (message,) = await bench.broker.mailboxes.list(BOB, limit=1)
    mailboxes = bench.broker.mailboxes

    class Moving:
        """Has the message die between the two looks."""

        def __getattr__(self, name: str) -> object:
            return getattr(mailboxes, name)

        async def pending(self) -> dict[AgentId, int]:
            await platform.burial.bury(
                message,
                HandlerRejected("no"),
                agent=BOB,
                stage=Stage.DELIVER,
                envelope=stored.readable(message.body),
            )
            await mailboxes.discard(message.origin)
            return await mailboxes.pending()

    ports = bench.but(mailboxes=Moving())
    assert await Leftovers(ports, platform.remote).sweep() == 0
    (letter,) = await bench.dead()
    await platform.redrive.redrive(letter.id)
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert bob.contents == [bytes(LARGE)]


async def test_it_goes_on_by_itself(bench: Bench) -> None:
    """A router service looks every few hours."""
    platform = await known(bench)
    await bench.broker.contents.put("dead.S-1", b"1")
    running = asyncio.create_task(Leftovers(bench.ports, platform.remote).run())
    await bench.clock.advance(DAY - 7200)
    assert names(bench) == {"dead.S-1"}
    await bench.clock.advance(8 * 3600)
    assert names(bench) == set()
    await end([running])
