"""What the ledger and the outbox cost: the same with both, and with fakes that keep nothing.

    python -m benchmarks.effects

Rounds with and without take turns on one server, so that what else the machine does meets both
alike; the table has the medians, and the median of the ratios of neighbouring rounds.

- mail: 256 bytes from one agent to another, by `send_many`, until all is handled and settled;
- backlog: the same mail lies in the mailbox before its agent starts, timed until all is settled;
- cpu: of either, what this process (sender, router and receiver) works for a message, which other
  processes on the machine disturb less;
- inform: one message, until it is settled; the next is sent then;
- request: one request, until its answer is there.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import msgspec

from caxton_nats import Agent, Context, Settings, connect, started
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.ledger import Page
from caxton_nats.core.outbox import Commit
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer

BATCH = 500
CONTENT = "x" * 256
WHAT = ("mail", "mail cpu", "backlog", "backlog cpu", "inform", "request")
UNIT = {
    **dict.fromkeys(("mail", "backlog"), "messages/s"),
    **dict.fromkeys(("mail cpu", "backlog cpu"), "us/message"),
    **dict.fromkeys(("inform", "request"), "ms"),
}


class NoLedgers:
    """Ledgers that keep nothing."""

    async def pages(self, _: AgentId) -> list[tuple[Page, int]]:
        """Return nothing."""
        return []

    async def save(self, _: Page, *, revision: int | None) -> int:
        """Keep nothing."""
        return (revision or 0) + 1


class NoOutboxes:
    """Outboxes that keep nothing."""

    async def commits(self, _: AgentId) -> list[tuple[Commit, int]]:
        """Return nothing."""
        return []

    async def save(self, _: Commit, *, revision: int | None) -> int:
        """Keep nothing."""
        return (revision or 0) + 1

    async def forget(self, _: AgentId, __: int, *, revision: int) -> None:
        """Forget nothing."""


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table, write JSON if asked for, and return what that has."""
    parser = argparse.ArgumentParser(prog="benchmarks.effects", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000, help="of mail in one round")
    parser.add_argument("--turns", type=int, default=300, help="messages one by one in one round")
    parser.add_argument("--rounds", type=int, default=7, help="with, and as many without")
    parser.add_argument("--durability", default="process", choices=["process", "power"])
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    chosen = parser.parse_args(arguments)
    found = asyncio.run(measure(chosen))
    print(f"{'what':<12}{'unit':>12}{'without':>10}{'with':>10}{'ratio':>8}")
    for what, one in found.items():
        print(
            f"{what:<12}{UNIT[what]:>12}{one['without']:10.1f}{one['with']:10.1f}"
            f"{one['ratio']:8.2f}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2))
    return found


async def measure(chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the medians of all rounds."""
    figures: list[dict[str, dict[str, float]]] = []
    async with EmbeddedServer(EmbeddedOptions(durability=chosen.durability)) as server:
        settings = Settings(nats_url=server.url, queue_size=100_000, request_timeout=30)
        async with connect(settings, observer=lambda _: None) as platform:
            for number in range(chosen.rounds):
                pair = {}
                order = ("with", "without") if number % 2 else ("without", "with")
                for which in order:
                    used = platform if which == "with" else without(platform)
                    pair[which] = await one_round(used, f"{which}-{number}", chosen)
                figures.append(pair)
    return {
        what: {
            "without": median(pair["without"][what] for pair in figures),
            "with": median(pair["with"][what] for pair in figures),
            "ratio": median(pair["with"][what] / pair["without"][what] for pair in figures),
        }
        for what in WHAT
    }


def without(platform: Platform) -> Platform:
    """Return the platform without ledgers and outboxes."""
    ports = msgspec.structs.replace(platform.ports, ledgers=NoLedgers(), outboxes=NoOutboxes())
    return dataclasses.replace(platform, ports=ports)


async def one_round(platform: Platform, name: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Return what one round took, by what was done."""
    alice, bob = Agent(f"alice-{name}"), Agent(f"bob-{name}")

    @bob.on("inform")
    async def take(_: Context) -> None:
        pass

    @bob.on("request")
    async def answer(ctx: Context) -> None:
        await ctx.inform(CONTENT)

    found: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(started(platform, alice))
        await platform.registrar.register(platform.agent_id(bob.name))
        await send(alice, bob, chosen.messages)
        with timed(found, "backlog", chosen.messages):
            await stack.enter_async_context(started(platform, bob))
            await settled(platform, bob)
        with timed(found, "mail", chosen.messages):
            await send(alice, bob, chosen.messages)
            await settled(platform, bob)
        times = []
        for _ in range(chosen.turns):
            begun = perf_counter()
            await alice.send("inform", bob.name, CONTENT)
            await settled(platform, bob)
            times.append(perf_counter() - begun)
        found["inform"] = median(times) * 1000
        times = []
        for _ in range(chosen.turns):
            begun = perf_counter()
            await alice.request(bob.name, CONTENT)
            times.append(perf_counter() - begun)
        found["request"] = median(times) * 1000
        await bob.leave()
        await alice.leave()
    return found


@contextmanager
def timed(found: dict[str, float], what: str, messages: int) -> Iterator[None]:
    """Note how fast the body worked off the messages, and with how much work."""
    begun, worked = perf_counter(), process_time()
    yield
    found[what] = messages / (perf_counter() - begun)
    found[f"{what} cpu"] = (process_time() - worked) * 1e6 / messages


async def send(alice: Agent, bob: Agent, messages: int) -> None:
    """Send that many, a batch at a time."""
    for start in range(0, messages, BATCH):
        number = min(BATCH, messages - start)
        mail = [alice.message("inform", bob.name, CONTENT) for _ in range(number)]
        await alice.send_many(mail)


async def settled(platform: Platform, bob: Agent) -> None:
    """Wait until the mailbox is empty."""
    # No event tells of it, and the next look is a round trip away anyhow.
    while (await platform.ports.mailboxes.status(bob.id)).pending:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    # Here, not in main(): a test that calls main() leaves the log to others.
    logging.getLogger("caxton_nats").setLevel(logging.ERROR)
    main()
