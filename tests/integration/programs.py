"""What tests run as processes of their own, to be killed: python -m tests.integration.programs.

Settings come as CAXTON_* variables. A process says "ready" when it is, and keeps its events in
CAXTON_TEST_JOURNAL and what its handler saw in CAXTON_TEST_NOTES.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from caxton_nats.app import connect, interrupted, serve, settings, started
from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.disposition import Reject
from caxton_nats.core.selection import EVERY
from caxton_nats.engine.burial import Burial
from caxton_nats.jetstream.dead_letters import DlqStream
from caxton_nats.jetstream.effects import KvLedgers, KvOutboxes
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.links import NatsLinks
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Stored
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.plugins.conservation import Journal
from tests.plugins.eventually import eventually


def main() -> None:
    """Run one of the programs below, with its arguments: ``agent NAME BEHAVIOUR CAPABILITY…``.

    Behaviours: ``record``, ``waits`` (for the file CAXTON_TEST_GO), ``stuck``, ``dies``, ``rejects``,
    ``answers``.
    """
    what, *rest = sys.argv[1:]
    programs: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "router": _router,
        "crashing-router": _crashing,
        "crashing-forwarder": _crashing_forwarder,
        "agent": _agent,
        "burying-agent": _burying_agent,
        "operator": _operator,
        "answering-agent": _answering_agent,
    }
    asyncio.run(programs[what](*rest))


async def _router() -> None:
    async with serve(settings(), observer=_journal()):
        print("ready", flush=True)
        await interrupted()


async def _crashing(after: str) -> None:
    """Die over a message that is buried, or over any settlement (after ``everything``)."""
    with _killed(after):
        await _router()


async def _burying_agent(name: str, after: str) -> None:
    """Reject what comes, and die over its burial."""
    with _killed(after):
        await _agent(name, "rejects")


async def _answering_agent(name: str, point: str) -> None:
    """Answer twice, and die at a point.

    When the handler has ``returned``, the answers are ``committed``, the ``first`` is sent, both
    are ``sent``, the ledger has the message (``entered``), or it is ``acked``; or ``never``.
    """

    def dying(port: Any, method: str, number: int, *, before: bool = False) -> Any:
        real, calls = getattr(port, method), count(1)

        async def call(*arguments: Any, **named: Any) -> Any:
            last = next(calls) == number
            if last and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = await real(*arguments, **named)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return patch.object(port, method, call)

    points: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "returned": lambda: dying(KvOutboxes, "save", 1, before=True),
        "committed": lambda: dying(KvOutboxes, "save", 1),
        "first": lambda: dying(JetStreamPublisher, "publish", 1),
        "sent": lambda: dying(JetStreamPublisher, "publish", 2),
        "entered": lambda: dying(KvLedgers, "save", 1),
        "acked": lambda: dying(PullInbox, "settle", 1),
        "never": nullcontext,
    }
    with points[point]():
        await _agent(name, "answers")


@contextmanager
def _killed(after: str) -> Iterator[None]:
    """Die of SIGKILL over a burial.

    Before its record (after ``nothing``), after the ``record``, after the ``notice``, before the
    first settlement (after ``everything``), or after it (``settlement``).
    """
    write, tell, settle = DlqStream.write, Burial.tell, PullInbox.settle

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def dying_settle(self: PullInbox, *arguments: Any) -> None:
        if after == "settlement":
            await settle(self, *arguments)
        if after in ("settlement", "everything"):
            die()
        await settle(self, *arguments)

    async def dying_write(self: DlqStream, letter: DeadLetter) -> bool:
        if after == "nothing":
            die()
        wrote = await write(self, letter)
        if after == "record":
            die()
        return wrote

    async def dying_tell(self: Burial, *arguments: Any, **named: Any) -> None:
        await tell(self, *arguments, **named)
        if after == "notice":
            die()

    with (
        patch.object(DlqStream, "write", dying_write),
        patch.object(Burial, "tell", dying_tell),
        patch.object(PullInbox, "settle", dying_settle),
    ):
        yield


async def _crashing_forwarder() -> None:
    """Die when the other platform has acknowledged a message, before it is settled here."""
    forward = NatsLinks.forward

    async def dying(self: NatsLinks, *arguments: Any) -> None:
        results = await forward(self, *arguments)
        if any(isinstance(one, Stored) for one in results):
            os.kill(os.getpid(), signal.SIGKILL)

    with patch.object(NatsLinks, "forward", dying):
        await _router()


async def _operator(_: str) -> None:
    """Redrive everything there is."""
    async with connect(settings(), observer=_journal()) as platform:
        async for _ended in platform.redrive.redrive_all(EVERY):
            pass


async def _agent(name: str, behaviour: str, *capabilities: str) -> None:
    agent = Agent(name, capabilities=capabilities)
    notes = os.open(os.environ["CAXTON_TEST_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @agent.on("*")
    async def handle(ctx: Context) -> None:
        os.write(notes, msgspec.json.encode(ctx.content) + b"\n")
        if behaviour == "answers":
            await ctx.inform("one")
            await ctx.inform("two")
        if behaviour == "waits":
            await eventually(Path(os.environ["CAXTON_TEST_GO"]).exists)
        if behaviour == "stuck":
            await asyncio.Event().wait()
        if behaviour == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "rejects":
            raise Reject("never")

    chosen = settings()
    if "CAXTON_TEST_MAX_DELIVER" in os.environ:
        # Below what a deployment may choose, so that a test need not die a dozen times.
        chosen = chosen.model_copy(
            update={"max_deliver": int(os.environ["CAXTON_TEST_MAX_DELIVER"])}
        )
    async with AsyncExitStack() as stack:
        stack.callback(os.close, notes)
        platform = await stack.enter_async_context(connect(chosen, observer=_journal()))
        await stack.enter_async_context(started(platform, agent))
        print("ready", flush=True)
        await interrupted()


def _journal() -> Journal:
    return Journal(Path(os.environ["CAXTON_TEST_JOURNAL"]))


if __name__ == "__main__":
    main()
