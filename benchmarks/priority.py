"""How long a message waits behind a backlog of Low ones, ordinary and urgent.

Run it with ``make bench-priority``: it starts a server of its own. An agent whose
handlers take 10 ms each has 900 Low messages before it; in the middle of them a Normal or a
Critical message is sent, and timed from before `send` until its handler starts.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from caxton_nats import Agent, Context, Priority, Settings, connect, started
from caxton_nats.jetstream.embedded import EmbeddedServer

BACKLOG, HANDLER, ROUNDS = 900, 0.01, 5


async def main() -> None:
    """Print the median over some rounds, for one handler at a time and for 16."""
    async with EmbeddedServer() as server:
        print(f"{BACKLOG} Low messages, handlers of {HANDLER * 1000:g} ms, {ROUNDS} rounds")
        for concurrency in (1, 16):
            settings = Settings(nats_url=server.url, concurrency=concurrency)
            waits: dict[Priority, list[float]] = {Priority.NORMAL: [], Priority.CRITICAL: []}
            for number in range(ROUNDS):
                for priority, waited in waits.items():
                    name = f"bob-{concurrency}-{priority}-{number}"
                    waited.append(await wait_of(settings, name, priority))
            for priority, waited in waits.items():
                middle, worst = statistics.median(waited) * 1000, max(waited) * 1000
                print(
                    f"{concurrency:3} at a time, {priority.name:8}:"
                    f" median {middle:8.1f} ms, worst {worst:8.1f} ms"
                )


async def wait_of(settings: Settings, name: str, priority: Priority) -> float:
    """Return how long one message of this priority waited."""
    begun: dict[object, float] = {}
    under_way, there = asyncio.Event(), asyncio.Event()
    bob, alice = Agent(name), Agent(f"alice-of-{name}")

    @bob.on("*")
    async def handle(context: Context) -> None:
        begun[context.content] = time.perf_counter()
        if len(begun) > BACKLOG // 4:
            under_way.set()
        if context.content == "now":
            there.set()
        await asyncio.sleep(HANDLER)

    async with connect(settings, observer=lambda _: None) as platform:
        await platform.registrar.register(platform.agent_id(name))
        async with started(platform, alice):
            low = [alice.message("inform", name, n, priority=Priority.LOW) for n in range(BACKLOG)]
            await alice.send_many(low)
            async with started(platform, bob):
                await under_way.wait()
                sent = time.perf_counter()
                await alice.send("inform", name, "now", priority=priority)
                await there.wait()
            await bob.leave()
    return begun["now"] - sent


if __name__ == "__main__":
    asyncio.run(main())
