"""A fault between every two steps of every path into the dead letters, and of every way out.

Each path is run once to count its calls of the ports. Then once for each call: it fails, its answer
is lost, the process dies before it, the process dies after it. Then another process does what a
new one would do, and the books are looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import NamedTuple

import pytest

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Reject
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, HandlerRejected
from caxton_nats.core.registry import AgentState
from caxton_nats.engine import stored
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.leftovers import AGE, Leftovers
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.engine.sweeper import Sweeper
from caxton_nats.engine.timekeeper import Timekeeper
from caxton_nats.ports import Delivery, Submission
from caxton_nats.tasks import Workers, end
from tests.core.sample import ALICE, BOB, NOON, sample
from tests.engine.bench import ACK_WAIT, POLICY, Bench, Recorder
from tests.engine.steps import Fault, Steps
from tests.engine.test_exhaustion import Advisories, advisory, exhaustion

LARGE = {"X-large": "x" * 2000}
"""Too much for a dead letter of these platforms: its original lies beside it."""
ROUTER = RouterOptions(platform="here", max_body=1000)


class Scene:
    """One message on its way to its death, and the processes that it meets."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.letter_id = ""
        self.advisories = Unsettled()

    def platform(self, steps: Steps | None = None) -> Platform:
        return self.bench.platform(steps.ports if steps else None, router=ROUTER)

    async def known(self, steps: Steps | None = None) -> Platform:
        """Return a platform that follows the registry."""
        platform = self.platform(steps)
        await self.bench.ports.registry_store.follow(platform.registry)
        return platform

    async def send(self, **fields: object) -> None:
        message = sample(user_defined=LARGE, require_receipt=True, **fields)
        platform = await self.known()
        await platform.router.send([Submission(sender=ALICE, envelope=message)])

    async def submit(self) -> None:
        body = b'{"performative":"inform","to":"nobody","message-id":"m-1","X-large":"%s"}'
        await self.bench.broker.submit(ALICE, body % (b"x" * 2000), {"x": "y"})

    async def dead(self) -> None:
        """Have the message die in the mailbox, without a fault."""
        await self.send()
        mailbox = self.bench.open(Recorder(self.bench.clock, reject), platform=await self.known())
        await self.bench.clock.idle()
        await mailbox.drain()
        (letter,) = await self.bench.dead()
        self.letter_id = letter.id

    async def dead_and_left(self) -> None:
        """Have a process die between the letter and the settling: the original is still there."""
        await self.send()
        (original,) = await self.stored()
        letter = await (await self.known()).burial.bury(
            original,
            HandlerRejected("never"),
            agent=BOB,
            stage=Stage.DELIVER,
            envelope=stored.readable(original.body),
        )
        self.letter_id = letter.id

    async def dead_at_the_door(self) -> None:
        """Have the submission die at the door, and let its receiver come."""
        await self.submit()
        await ingress(self, Steps(self.bench.ports, Fault(0)))
        await (await self.known()).registrar.register(self.platform().agent_id("nobody"))
        (letter,) = await self.bench.dead()
        self.letter_id = letter.id

    async def dead_of_a_stop(self) -> None:
        """Have the message find its receiver stopped, who comes back then."""
        await self.stopped()
        await self.send()
        await (await self.known()).registrar.register(BOB)
        (letter,) = await self.bench.dead()
        self.letter_id = letter.id

    async def stopped(self) -> None:
        await (await self.known()).registrar.update_state(BOB, AgentState.STOPPED)

    async def sent_and_stopped(self) -> None:
        await self.send()
        await self.stopped()

    async def stored(self) -> list[Delivery]:
        """Return the message's copies in mailboxes."""
        nobody = self.platform().agent_id("nobody")
        lists = [await self.bench.broker.mailboxes.list(one, limit=99) for one in (BOB, nobody)]
        return [one for found in lists for one in found]

    async def notices(self) -> int:
        return len(await self.bench.broker.mailboxes.list(ALICE, limit=99))

    async def submitted(self) -> int:
        return len(self.bench.broker._ingress.queue("router").messages)

    async def contents(self) -> set[str]:
        return set(self.bench.broker.contents._contents)  # type: ignore[attr-defined]

    async def wanted_contents(self) -> set[str]:
        """Return what is kept in the content store for somebody."""
        letters = await self.bench.dead()
        bodies = [one.body for one in await self.stored()]
        claims = [one.body_claim for one in letters]
        redrive = self.platform().redrive
        bodies += [await redrive.original(one) for one in letters]
        claims += [one.claim for body in bodies if (one := stored.readable(body)) is not None]
        return {claim.object for claim in claims if claim is not None}


class Unsettled(Advisories):
    """Advisories that come again until they are settled, to any reader."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__(*bodies)
        self.all = list(self.waiting)

    async def fetch(self, limit: int, _: timedelta) -> list[Delivery]:
        return self.all[:limit]

    async def settle(self, settled: object) -> None:
        for delivery, disposition in settled:  # type: ignore[attr-defined]
            if isinstance(disposition, Ack):
                self.all.remove(delivery)


async def reject(_: Envelope, __: int) -> None:
    raise Reject("never")


async def mailbox(scene: Scene, steps: Steps) -> None:
    """The handler gives up on it."""
    platform = await scene.known(steps)
    opened = platform.mailbox(BOB, Recorder(scene.bench.clock, reject))
    opened.start()
    try:
        await asyncio.Event().wait()
    finally:
        steps.bury()
        await opened.drain()


async def exhausted(scene: Scene, steps: Steps) -> None:
    """The server gave up on it, and told so."""
    if not scene.advisories.waiting:
        (message,) = await scene.bench.broker.mailboxes.list(BOB, limit=1)
        told = advisory(message.origin)  # type: ignore[arg-type]
        scene.advisories = Unsettled(told)
    inbox = steps.counting(scene.advisories, "advisories")
    await exhaustion(await scene.known(steps), inbox).work_once(timedelta())


async def ingress(scene: Scene, steps: Steps) -> None:
    """The router refuses it, at the store-and-forward door."""
    platform = await scene.known(steps)
    await Ingress(
        steps.counting(scene.bench.broker.ingress, "ingress"),
        platform.router,
        platform.burial,
        platform.ports,
        platform="here",
        sender_of=lambda _: ALICE,
        policy=POLICY,
        workers=Workers(1, 10),
    ).work_once(timedelta())


async def to_a_stopped_agent(scene: Scene, steps: Steps) -> None:
    """Its receiver is stopped: the router keeps it, and its sender sends it until that is done."""
    message = sample(user_defined=LARGE, require_receipt=True)
    platform = await scene.known(steps)
    await platform.router.send([Submission(sender=ALICE, envelope=message)])


async def sweep(scene: Scene, steps: Steps) -> None:
    """Its receiver was stopped when it lay in the mailbox already."""
    platform = await scene.known(steps)
    sweeper = Sweeper(steps.ports, platform.registry, platform.burial, policy=POLICY)
    await sweeper.sweep()


async def expire(scene: Scene, steps: Steps) -> None:
    """Its time passed in a mailbox that nobody reads."""
    inbox = steps.counting(await scene.bench.ports.timers.inbox(), "timers")
    await Timekeeper(inbox, scene.bench.clock, (await scene.known(steps)).when_due).run()


async def remove(scene: Scene, steps: Steps) -> None:
    """An operator takes it out of the mailbox."""
    await (await scene.known(steps)).messages.remove(BOB, "m-1")


async def redrive(scene: Scene, steps: Steps) -> None:
    """An operator sends it on its way again."""
    await (await scene.known(steps)).redrive.redrive(scene.letter_id)


async def discard(scene: Scene, steps: Steps) -> None:
    """An operator throws it away."""
    await scene.platform(steps).redrive.discard(scene.letter_id)


class Way(NamedTuple):
    """A path: what comes before it, what a process does, and what is left in the end."""

    prepare: Callable[[Scene], Awaitable[None]]
    act: Callable[[Scene, Steps], Awaitable[None]]
    letters: int = 1
    stored: int = 0
    notices: int = 1


WAYS = {
    "mailbox": Way(Scene.send, mailbox),
    "advisory": Way(Scene.send, exhausted),
    "ingress": Way(Scene.submit, ingress),
    "stopped receiver": Way(Scene.stopped, to_a_stopped_agent, notices=0),
    "sweeper": Way(Scene.sent_and_stopped, sweep),
    "expiry": Way(lambda scene: scene.send(reply_by=NOON + timedelta(seconds=5)), expire),
    "removed": Way(Scene.send, remove),
    "redrive": Way(Scene.dead, redrive, letters=0, stored=1),
    "redrive of what was left": Way(Scene.dead_and_left, redrive, letters=0, stored=1),
    "discard of what was left": Way(Scene.dead_and_left, discard, letters=0),
    "redrive from the door": Way(Scene.dead_at_the_door, redrive, letters=0, stored=1),
    "redrive after a stop": Way(Scene.dead_of_a_stop, redrive, letters=0, stored=1, notices=0),
    "discard": Way(Scene.dead, discard, letters=0),
}


async def do(scene: Scene, way: Way, fault: Fault) -> Steps:
    """Have a process do it until there is nothing left to do, or until it has died."""
    steps = Steps(scene.bench.ports, fault)
    doing = asyncio.ensure_future(way.act(scene, steps))
    await scene.bench.clock.advance(3 * ACK_WAIT)
    steps.bury()
    with suppress(CaxtonError):
        if doing.done():
            doing.result()
    await end([doing])
    return steps


async def run(way: Way, fault: Fault) -> list[str]:
    """Meet the fault, recover, and check; return the calls up to the fault or the end."""
    async with AsyncExitStack() as stack:
        scene = Scene(Bench(stack))
        await scene.bench.known(scene.platform(), ALICE, BOB)
        await way.prepare(scene)
        steps = await do(scene, way, fault)
        letters, copies = await scene.bench.dead(), await scene.stored()
        if way.act is not discard and way.act is not to_a_stopped_agent:
            assert letters or copies or await scene.submitted(), "lost"
        if fault.at:
            await do(scene, way, Fault(0))
        await check(scene, way)
        return steps.calls


async def check(scene: Scene, way: Way) -> None:
    letters, copies = await scene.bench.dead(), await scene.stored()
    assert len(letters) == way.letters
    assert len(copies) == way.stored
    assert await scene.submitted() == 0
    assert await scene.notices() == way.notices
    assert await scene.wanted_contents() <= await scene.contents()
    for letter in letters:
        original = await scene.platform().redrive.original(letter)
        assert b"x" * 2000 in original
        assert letter.message_id == "m-1"
        assert letter.history == ()
    for copy in copies:
        assert copy.headers["Caxton-Redrives"] == "1"
    await scene.bench.clock.advance((AGE + timedelta(seconds=1)).total_seconds())
    await Leftovers(scene.bench.ports, scene.platform().remote).sweep()
    assert await scene.wanted_contents() == await scene.contents()


@pytest.mark.parametrize("fatal", [False, True], ids=["error", "crash"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", WAYS)
async def test_between_every_two_steps(name: str, *, after: bool, fatal: bool) -> None:
    """One dead letter, one settled original, one notice, nothing forgotten, wherever it fails."""
    way = WAYS[name]
    calls = await run(way, Fault(0))
    assert calls
    for at, call in enumerate(calls, 1):
        try:
            await run(way, Fault(at, after=after, fatal=fatal))
        except BaseException as error:
            error.add_note(f"at call {at}, {call}, of {calls}")
            raise
