"""What runs as processes of their own, to be killed and frozen: ``python -m chaos.programs``.

    router                   a router service
    worker NAME INSTANCE     an agent that handles the tasks of the load

Settings come as CAXTON_* variables, the folder of the books as CHAOS_FOLDER. A process says "ready"
when it is, tries until it gets there, as what a supervisor starts again and again would, and ends
with SIGTERM or with the process that started it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from caxton_nats import Agent, CaxtonError, Context, Reject, connect, serve, settings, started
from caxton_nats.app import SystemClock, dismissed
from caxton_nats.core.errors import AgentAlreadyRegistered, TransportError
from chaos.books import Done, Effect, Kind, Run, Task
from chaos.effects import Journal, now

SLOW = 0.3
"""Seconds that a slow task takes."""
_AGAIN = 0.2


async def router() -> None:
    """Run a router service."""
    await _until_there(lambda stack: stack.enter_async_context(serve(settings())))


async def worker(name: str, instance: str) -> None:
    """Run an agent that does what the tasks say."""
    journal = Journal(Path(os.environ["CHAOS_FOLDER"]), instance)
    agent = working_agent(name, instance, journal)

    async def start(stack: AsyncExitStack) -> None:
        platform = await stack.enter_async_context(connect(settings(), name=instance))
        await stack.enter_async_context(started(platform, agent))

    await _until_there(start)


def working_agent(name: str, instance: str, journal: Journal) -> Agent:
    """Return an agent that keeps its effects as its users should."""
    agent = Agent(name)

    @agent.on("*", content=Task)
    async def work(ctx: Context, task: Task) -> None:
        message_id = ctx.envelope.message_id
        late = _late(ctx.envelope.reply_by)
        journal.note(Run(now(), name, instance, message_id, ctx.attempt, late))
        await _do(task, ctx.attempt)
        if task.kind is Kind.ASK:
            await ctx.inform(task.number)
        journal.effect(Effect(now(), name, instance, message_id, task))
        journal.note(Done(now(), name, instance, message_id))

    return agent


async def _do(task: Task, attempt: int) -> None:
    if task.kind is Kind.SLOW:
        await asyncio.sleep(SLOW)
    if task.kind is Kind.FLAKY and attempt == 1:
        raise RuntimeError("fails the first time")
    if task.kind is Kind.POISON:
        raise RuntimeError("fails every time")
    if task.kind is Kind.REJECT:
        raise Reject("is refused")


def _late(deadline: datetime | None) -> float:
    if deadline is None:
        return 0.0
    return max(0.0, (SystemClock().now() - deadline).total_seconds())


async def _until_there(start: Callable[[AsyncExitStack], Coroutine[Any, Any, object]]) -> None:
    """Start it, as often as it takes; then say so, and run until told to end."""
    while True:
        async with AsyncExitStack() as stack:
            try:
                await start(stack)
            except (TransportError, AgentAlreadyRegistered) as error:
                logging.getLogger("chaos").warning("not yet: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            print("ready", flush=True)
            await dismissed()
        return


def main() -> None:
    """Run the program that is asked for."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    what, *arguments = sys.argv[1:]
    programs: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "router": router,
        "worker": worker,
    }
    try:
        asyncio.run(programs[what](*arguments))
    except CaxtonError as error:
        sys.exit(f"{what}: {error}")


if __name__ == "__main__":
    main()
