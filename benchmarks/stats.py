"""How long statistics and health take, by the number of agents, and how many requests they are.

    python -m benchmarks.stats

Each agent is registered and has one message waiting. Every size is measured on a server of its own;
the table has the median of the rounds, and for comparison what asking each mailbox by itself takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from caxton_nats import Settings
from caxton_nats.app.composition import built, connected, deployed
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from caxton_nats.ports import Submission

AT_ONCE = 200
"""Agents that are registered, written to or asked about at the same time."""


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Measure, print a table, write JSON if asked for, and return what that has."""
    parser = argparse.ArgumentParser(prog="benchmarks.stats", description=__doc__)
    parser.add_argument("--agents", default="10,1000", help="numbers of registered agents")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    chosen = parser.parse_args(arguments)
    sizes = [int(size) for size in chosen.agents.split(",")]
    found = [asyncio.run(measure(size, chosen.rounds)) for size in sizes]
    print(f"{'agents':>8} {'what':<24} {'median ms':>10} {'requests':>9}")
    for one in found:
        for what in ("statistics", "statistics --readers", "health", "each by itself"):
            print(
                f"{one['agents']:8.0f} {what:<24} {one[what]:10.1f} {one[what + ' requests']:9.0f}"
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2))
    return found


async def measure(agents: int, rounds: int) -> dict[str, float]:
    """Return the medians in milliseconds, and the requests of one round."""
    async with EmbeddedServer(EmbeddedOptions(durability="process")) as server:
        chosen = Settings(nats_url=server.url, request_timeout=30)
        async with connected(chosen, "benchmark") as connection:
            deployment = await deployed(connection, chosen)
            async with built(connection, deployment, chosen, lambda _: None) as platform:
                names = await _populate(platform, agents)
                return {"agents": agents, **await _rounds(connection, platform, names, rounds)}


async def _populate(platform: Platform, agents: int) -> list[AgentId]:
    names = [platform.agent_id(f"agent-{number}") for number in range(agents)]
    for start in range(0, agents, AT_ONCE):
        some = names[start : start + AT_ONCE]
        await asyncio.gather(*map(platform.registrar.register, some))
        sender = platform.agent_id("sender")
        batch = [
            Submission(sender=sender, envelope=Envelope(performative="inform", receiver=(name,)))
            for name in some
        ]
        await platform.router.send(batch)
    return names


async def _rounds(
    connection: Connection, platform: Platform, names: Sequence[AgentId], rounds: int
) -> dict[str, float]:
    async def each_by_itself() -> None:
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            await asyncio.gather(*map(platform.ports.mailboxes.status, some))

    async def with_readers() -> None:
        await platform.statistics()
        await platform.ports.mailboxes.statuses()

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "statistics": platform.statistics,
        "statistics --readers": with_readers,
        "health": platform.health_check,
        "each by itself": each_by_itself,
    }
    times: dict[str, list[float]] = {what: [] for what in calls}
    requests: dict[str, float] = {}
    for _ in range(rounds):
        for what, call in calls.items():
            before, began = connection.client.stats["out_msgs"], perf_counter()
            await call()
            times[what].append((perf_counter() - began) * 1000)
            requests[f"{what} requests"] = connection.client.stats["out_msgs"] - before
    return {what: median(measured) for what, measured in times.items()} | requests


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(sys.argv[1:])
