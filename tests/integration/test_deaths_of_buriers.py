"""Whoever buries a message may die of it, at every step: one dead letter, one notice, no original."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from caxton_nats.core.conversation import Terms
from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.disposition import Reject
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.admission import Admission
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.exhaustion import Exhaustion
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.redrive import Redrive
from caxton_nats.engine.trials import Trials
from caxton_nats.ports import Stored
from caxton_nats.tasks import end
from tests.engine.steps import Fault, Steps
from tests.engine.test_exhaustion import advisory
from tests.engine.test_steps_of_a_death import Unsettled
from tests.integration.lab import EMBEDDED_ONLY, Collector, Lab
from tests.plugins.eventually import eventually

POINTS = ["nothing", "record", "notice", "everything", "settlement"]
QUICK: dict[str, Any] = {"ack_wait": 1.0, "max_retries": 1}


async def buried_once(lab: Lab, platform: Platform, alice: Collector) -> None:
    """Wait for the end of all burials: one letter, nothing pending, one notice."""

    async def over() -> bool:
        return bool(alice.got) and not await platform.ports.mailboxes.pending()

    await eventually(over, within=40)
    (letter,) = await platform.ports.dead_letters.list()
    assert (letter.message_id, letter.original.count(b"poison")) == ("m-1", 1)
    assert [one.performative for one in alice.got] == ["failure"]


@EMBEDDED_ONLY
@pytest.mark.parametrize("after", POINTS)
async def test_agent_killed_while_it_buries(lab: Lab, after: str) -> None:
    """SIGKILL at each step of the mailbox's way; the next process of the agent does the rest."""
    platform = await lab.platform(**QUICK)
    alice = await lab.collector("alice", platform)
    await lab.register("bob", platform)
    await alice.send("request", "bob", "poison", message_id="m-1")
    doomed = await lab.launch("burying-agent", "bob", after, **QUICK)
    await doomed.ready()
    assert await doomed.wait() == -9
    letters = await platform.ports.dead_letters.list()
    assert len(letters) == (0 if after == "nothing" else 1)
    await lab.spawn("agent", "bob", "rejects", **QUICK)
    await buried_once(lab, platform, alice)


@EMBEDDED_ONLY
@pytest.mark.parametrize("after", ["nothing", "record", "notice", "everything"])
async def test_router_killed_while_it_buries(lab: Lab, after: str) -> None:
    """SIGKILL at each step of the advisory's way; the advisory comes again to the next router."""
    limit = {"CAXTON_TEST_MAX_DELIVER": "1"}
    platform = await lab.platform()
    alice = await lab.collector("alice", platform)
    worker = await lab.launch("agent", "bob", "dies", test=limit, ack_wait=0.5)
    await worker.ready()
    await alice.send("request", "bob", "poison", message_id="m-1")
    assert await worker.wait() == -9
    doomed = await lab.launch("crashing-router", after, ack_wait=1.0)
    # The server notices when the next pull comes.
    idle = await lab.spawn("agent", "bob", "record", test=limit, ack_wait=0.5)
    assert await doomed.wait() == -9
    letters = await platform.ports.dead_letters.list()
    assert len(letters) == (0 if after == "nothing" else 1)
    await lab.router(ack_wait=1.0)
    await buried_once(lab, platform, alice)
    assert idle.notes == ["poison"], "of the one that died, which shares the file"


class Rejecting:
    """A receiver that takes nothing."""

    async def receive(self, _: Envelope, __: int) -> NoReturn:
        raise Reject("never")

    def expects(self, _: Envelope) -> bool:
        return False

    def waits(self) -> bool:
        return False


def process(lab: Lab, platform: Platform, fault: Fault) -> tuple[Platform, Steps]:
    """Return one more process on the platform's connection, and its steps."""
    steps = Steps(platform.ports, fault)
    observe = lab.books.observe
    made = dataclasses.replace(
        platform,
        ports=steps.ports,
        burial=Burial(
            steps.ports, platform.registry, platform.remote, max_body=1000, observer=observe
        ),
        redrive=Redrive(
            steps.ports,
            platform.remote,
            platform.door,
            Trials(steps.ports, platform.health),
            Admission(steps.ports, Terms()),
            observer=observe,
        ),
    )
    return made, steps


async def mailbox(made: Platform, steps: Steps, agent: AgentId, _: Stored) -> None:
    opened = made.mailbox(agent, Rejecting())
    opened.start()
    try:
        await asyncio.Event().wait()
    finally:
        steps.bury()
        await opened.drain()


async def exhausted(made: Platform, steps: Steps, agent: AgentId, stored: Stored) -> None:
    inbox = steps.counting(Unsettled(advisory(stored)), "advisories")
    await Exhaustion(inbox, made.burial, made.ports, receiver_of=lambda _: agent).work_once(
        timedelta()
    )


async def redriven(made: Platform, _: Steps, __: AgentId, stored: Stored) -> None:
    with suppress(CaxtonError):
        await made.redrive.redrive(f"{stored.stream}-{stored.sequence}")


async def discarded(made: Platform, _: Steps, __: AgentId, stored: Stored) -> None:
    with suppress(CaxtonError):
        await made.redrive.discard(f"{stored.stream}-{stored.sequence}")


LAST: dict[Any, str] = {mailbox: "inbox.settle"}
Act = Callable[[Platform, Steps, AgentId, Stored], Awaitable[None]]


class Stage:
    """Many agents, each of which has one message from alice that is bound to die."""

    def __init__(self, lab: Lab, platform: Platform, alice: Collector) -> None:
        self.lab = lab
        self.platform = platform
        self.alice = alice

    async def message(self, name: str) -> tuple[AgentId, Stored]:
        """Store a message for one more agent; its letter keeps its original beside it."""
        agent = await self.lab.register(name, self.platform)
        receipt = await self.alice.send("request", name, "x" * 2000, message_id=f"for-{name}")
        (outcome,) = receipt.outcomes
        return agent, Stored(outcome.stream, outcome.sequence)

    async def do(self, act: Act, agent: AgentId, stored: Stored, fault: Fault) -> Steps:
        """Have one process do it, to its end."""
        made, steps = process(self.lab, self.platform, fault)
        origin = Origin(stored.stream, stored.sequence)
        doing = asyncio.ensure_future(act(made, steps, agent, stored))

        async def over() -> bool:
            if steps.dead or doing.done():
                return True
            return act is mailbox and await self.platform.ports.mailboxes.get(origin) is None

        await eventually(over, within=40)
        steps.bury()
        await end([doing])
        return steps

    async def letters(self) -> dict[str, list[DeadLetter]]:
        found: dict[str, list[DeadLetter]] = {}
        for letter in await self.platform.ports.dead_letters.list(limit=1000):
            found.setdefault(letter.agent, []).append(letter)
        return found


@EMBEDDED_ONLY
@pytest.mark.parametrize(
    ("before", "act", "letters", "copies"),
    [
        pytest.param(None, mailbox, 1, 0, id="mailbox"),
        pytest.param(None, exhausted, 1, 0, id="advisory"),
        pytest.param(exhausted, redriven, 0, 1, id="redrive"),
        pytest.param(exhausted, discarded, 0, 0, id="discard"),
    ],
)
async def test_every_two_steps_on_a_server(
    lab: Lab, before: Act | None, act: Act, letters: int, copies: int
) -> None:
    """As tests/engine/test_steps_of_a_death.py, with the real ports: all crashes at the same time."""
    platform = await lab.platform(**QUICK)
    stage = Stage(lab, platform, await lab.collector("alice", platform))

    async def one(name: str, fault: Fault) -> list[str]:
        agent, stored = await stage.message(name)
        if before is not None:
            await stage.do(before, agent, stored, Fault(0))
        steps = await stage.do(act, agent, stored, fault)
        if fault.at:
            await stage.do(act, agent, stored, Fault(0))
        found = (await stage.letters()).get(agent, [])
        where = f"{name}, {steps.calls}"
        assert len(found) == letters, where
        assert (await platform.ports.mailboxes.status(agent)).pending == copies, where
        for letter in found:
            assert b"x" * 2000 in await platform.redrive.original(letter), where
        return steps.calls

    calls = await one("nobody", Fault(0))
    # A mailbox that is done goes on to look for more.
    last = len(calls) - calls[::-1].index(LAST.get(act, calls[-1]))
    faults = [
        Fault(at, after=after, fatal=True) for at in range(1, last + 1) for after in (False, True)
    ]
    await asyncio.gather(*(one(f"n-{number}", fault) for number, fault in enumerate(faults)))
    await eventually(lambda: len(stage.alice.got) >= 1 + len(faults))
    assert len({one.envelope.in_reply_to for one in stage.alice.got}) == 1 + len(faults)
    assert len(stage.alice.got) == 1 + len(faults)
