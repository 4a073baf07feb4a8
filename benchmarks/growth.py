"""What more agents and more open conversations cost.

    python -m benchmarks.growth                       (alone, with a table)
    python -m benchmarks.growth receiver|idle JOB     (started by the suite)

- registered: mail from one agent to another while so many more are registered, and do nothing;
- started: the same mail spread over 10 agents that run, and over 1,000, all in one process;
- conversations: the request protocol while so many other conversations are open.

Each size has a server of its own, and they take turns.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import dialogue, latency, routed
from benchmarks.contest import Job, Participant, Round, a_server, play, play_round
from benchmarks.registry import AT_ONCE, registrations
from caxton_nats import Agent, Settings, connect, started
from caxton_nats.core.conversation import Conversation
from caxton_nats.core.identifiers import ConversationId
from caxton_nats.engine.conversations import wake_at_end
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedServer


class Sizes(NamedTuple):
    """How much is measured."""

    registered: Sequence[int] = (1, 10, 100, 1_000, 10_000)
    started: tuple[int, int] = (10, 1_000)
    conversations: Sequence[int] = (0, 1_000, 50_000)
    messages: int = 10_000
    rounds: int = 5
    few_rounds: int = 3
    """Of the lines from which no ratio is made."""


QUICK = Sizes((10, 10_000), (10, 1_000), (0, 5_000), 4_000, 1, 1)


async def receiver(job: Job) -> dict[str, Any]:
    """Handle all messages, and say how much memory that took."""
    return await routed.receiver(job, lambda: {"rss": resident("self")})


async def idle(job: Job) -> dict[str, Any]:
    """Start agents that get no mail; say how much memory each of them takes."""
    logging.disable(logging.WARNING)
    async with AsyncExitStack() as stack:
        chosen = routed.settings(job)
        platform = await stack.enter_async_context(connect(chosen, observer=lambda _: None))
        await stack.enter_async_context(started(platform, Agent("first")))
        gc.collect()
        before = resident("self")
        await job.go()
        agents = [Agent(name) for name in job.receivers]
        await stack.enter_async_context(started(platform, *agents))
        gc.collect()
        each = (resident("self") - before) / len(agents)
        server = resident(str(job.more["server"])) - job.more["before"]
    return {"handled": job.messages, "client": each, "server": server / len(agents)}


def resident(pid: str) -> int:
    """Return a process's resident memory in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no resident memory")


async def measure(
    *, quick: bool = False, tell: Callable[[str], None] = lambda _: None, sizes: Sizes | None = None
) -> dict[str, Any]:
    """Return the medians of the rounds, memory, and the ratio of each round.

    Args:
        quick: smaller sizes, fewer rounds.
        tell: is told what is measured.
        sizes: others than these.
    """
    sizes = sizes or (QUICK if quick else Sizes())
    started_agents, ratios = await _started(sizes, tell)
    conversations, each = await _conversations(sizes, tell)
    return {
        "unit": "messages/s, MiB, ms, us/message",
        "registered": await _registered(sizes, tell),
        "started": started_agents,
        "conversations": conversations,
        "bytes": {**await _idle(sizes, tell), "open conversation (server)": each},
        "ratios": {"cost_1000_agents_vs_10": ratios},
    }


async def _registered(sizes: Sizes, tell: Callable[[str], None]) -> dict[str, dict[str, float]]:
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes.registered}
    async with AsyncExitStack() as stack:
        servers = {}
        for size in sizes.registered:
            servers[size] = await stack.enter_async_context(a_server())
            await _register(servers[size], size)
        for number in range(sizes.few_rounds):
            for size, server in servers.items():
                tell(f"registered {number + 1}/{sizes.few_rounds}: {size:,}")
                mail = await _mail(server, ["bob"], sizes.messages)
                late = await latency.one_round(
                    server, latency.Way("embedded", 1_000), sizes.messages / 10_000
                )
                found[size].append(
                    {
                        "rate": mail.rate,
                        "p50": late.said["echo"]["p50"],
                        "receiver": mail.said["receiver"]["rss"] / 2**20,
                        "server": resident(str(server.pid)) / 2**20,
                        **_cpu(mail),
                    }
                )
    return {f"{size:,}": _medians(all_of_it) for size, all_of_it in found.items()}


async def _started(
    sizes: Sizes, tell: Callable[[str], None]
) -> tuple[dict[str, dict[str, float]], list[float]]:
    """Return the figures of both, and the ratios of what a message costs all processes together."""
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes.started}
    async with a_server() as few, a_server() as many:
        await asyncio.gather(routed.prepare(few.url), routed.prepare(many.url))
        for number in range(sizes.rounds):
            for size, server in zip(sizes.started, (few, many), strict=True):
                tell(f"started {number + 1}/{sizes.rounds}: {size:,}")
                names = [f"agent-{at}" for at in range(size)]
                mail = await _mail(server, names, sizes.messages)
                found[size].append(
                    {
                        "rate": mail.rate,
                        "wall": 1e6 / mail.rate,
                        "cost": mail.cost,
                        "receiver": mail.said["receiver"]["rss"] / 2**20,
                        **_cpu(mail),
                    }
                )
    first, second = (found[size] for size in sizes.started)
    ratios = [b["cost"] / a["cost"] for a, b in zip(first, second, strict=True)]
    return {f"{size:,}": _medians(all_of_it) for size, all_of_it in found.items()}, ratios


async def _conversations(
    sizes: Sizes, tell: Callable[[str], None]
) -> tuple[dict[str, dict[str, float]], float]:
    """Return the figures, and the server's bytes for an open conversation."""
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes.conversations}
    each = 0.0
    async with AsyncExitStack() as stack:
        servers = {}
        for size in sizes.conversations:
            server = servers[size] = await stack.enter_async_context(a_server())
            tell(f"open conversations: {size:,}")
            each = await _open(server, size)
        for number in range(sizes.few_rounds):
            for size, server in servers.items():
                tell(f"conversations {number + 1}/{sizes.few_rounds}: {size:,} open")
                held = await dialogue.one_round(server, "ours", sizes.messages // 20)
                mail = await _mail(server, ["bob"], sizes.messages)
                found[size].append(
                    {
                        "conversations": held.rate,
                        "rate": mail.rate,
                        "server": resident(str(server.pid)) / 2**20,
                        **_cpu(held),
                    }
                )
    return {f"{size:,}": _medians(all_of_it) for size, all_of_it in found.items()}, each


async def _idle(sizes: Sizes, tell: Callable[[str], None]) -> dict[str, float]:
    tell("idle agents")
    async with a_server() as server:
        async with connect(_settings(server), observer=lambda _: None):
            before = resident(str(server.pid))
        names = [f"agent-{at}" for at in range(max(1, sizes.started[1] // 5))]
        more = {"server": server.pid, "before": before}
        job = Job(url=server.url, messages=1, receivers=names, more=more)
        said = (
            await play_round(server, [Participant("idle", "benchmarks.growth", "idle", job)])
        ).said["idle"]
    return {"idle agent (client)": said["client"], "idle agent (server)": said["server"]}


async def _mail(server: EmbeddedServer, receivers: list[str], messages: int) -> Round:
    """Have alice send that many messages to the receivers, who run in one process."""
    job = Job(url=server.url, messages=messages, receivers=receivers, door="embedded")
    parts = [
        Participant("sender", "benchmarks.routed", "sender", job),
        Participant("receiver", "benchmarks.growth", "receiver", job),
    ]
    return await play_round(server, parts)


async def _register(server: EmbeddedServer, number: int) -> None:
    async with connect(_settings(server), observer=lambda _: None) as platform:
        save = platform.ports.registry_store.save
        given = list(registrations(number))
        for at in range(0, number, AT_ONCE):
            await asyncio.gather(*(save(one, revision=None) for one in given[at : at + AT_ONCE]))


async def _open(server: EmbeddedServer, number: int) -> float:
    """Open so many conversations, each with its timer; return the server's bytes for each."""
    async with connect(_settings(server), observer=lambda _: None) as platform:
        before = resident(str(server.pid))
        for at in range(0, number, AT_ONCE):
            some = range(at, min(number, at + AT_ONCE))
            await asyncio.gather(*(_open_one(platform, one) for one in some))
        return (resident(str(server.pid)) - before) / max(1, number)


async def _open_one(platform: Platform, number: int) -> None:
    now = platform.ports.clock.now()
    record = Conversation(
        conversation_id=ConversationId(f"open-{number}"),
        participants=(platform.agent_id("carol"), platform.agent_id("dave")),
        created_at=now,
        last_activity=now,
        timeout=timedelta(minutes=30),
        ends_at=now + timedelta(days=7),
        message_count=1,
        last_performative="request",
    )
    await wake_at_end(platform.ports.timers, record)
    await platform.ports.conversations.save(record, revision=None)


def _settings(server: EmbeddedServer) -> Settings:
    return routed.settings(Job(url=server.url))


def _cpu(played: Round) -> dict[str, float]:
    return {f"cpu {name}": used for name, used in played.cpu.items()}


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def main() -> None:
    """Measure, and print the result."""
    found = asyncio.run(measure(quick="--quick" in sys.argv, tell=print))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        play(sys.argv, {"receiver": receiver, "idle": idle})
    else:
        main()
