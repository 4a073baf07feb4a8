"""Whole conversations by the request protocol: request, agree, inform; all of it durable.

    python -m benchmarks.dialogue                        (alone, with a table)
    python -m benchmarks.dialogue initiator|participant JOB   (started by the suite)

Each conversation has its record, which the messages change before they are delivered. So many are
in flight at a time; each is over when its inform is in the initiator's hands.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from benchmarks import routed
from benchmarks.contest import Job, Participant, Round, a_server, play, play_round
from caxton_nats import Agent, Context, connect, started
from caxton_nats.jetstream.embedded import EmbeddedServer

IN_FLIGHT = 64
CONVERSATIONS = 2_000
WHO = ("ours", "FastStream")


async def in_flight(number: int, converse: Callable[[int], Awaitable[None]]) -> None:
    """Hold so many conversations, `IN_FLIGHT` at a time."""
    numbers = iter(range(number))

    async def hold() -> None:
        for at in numbers:
            await converse(at)

    await asyncio.gather(*(hold() for _ in range(IN_FLIGHT)))


async def initiator(job: Job) -> dict[str, Any]:
    """Request, and wait for what is informed."""
    logging.disable(logging.WARNING)
    alice = Agent("alice")
    content = "x" * job.size
    agreed: set[str] = set()
    held: set[str] = set()

    @alice.on("agree")
    async def note(ctx: Context) -> None:
        agreed.add(ctx.conversation_id)

    async def converse(_: int) -> None:
        answer = await alice.request("bob", content, timeout=60)
        assert answer.performative == "inform", answer.performative
        held.add(answer.conversation_id)

    async with (
        connect(routed.settings(job), observer=lambda _: None) as platform,
        started(platform, alice),
    ):
        await job.go()
        await in_flight(job.messages, converse)
        handled = len(held)
        await routed.emptied(platform, alice)
        assert agreed == held, f"{len(agreed)} of {len(held)} were agreed to"
        for one in list(held)[::100]:
            found = await platform.ports.conversations.load(one)  # type: ignore[arg-type]
            assert found is not None, "a conversation has no record"
            assert found[0].message_count == 3, found[0]
    return {"handled": handled}


async def participant(job: Job) -> dict[str, Any]:
    """Agree to everything, and inform."""
    logging.disable(logging.WARNING)
    bob = Agent("bob")
    asked: set[str] = set()

    @bob.on("request")
    async def answer(ctx: Context) -> None:
        assert ctx.envelope.message_id not in asked, "a request came twice"
        asked.add(ctx.envelope.message_id)
        await ctx.agree()
        await ctx.inform(ctx.content)

    async with (
        connect(routed.settings(job), observer=lambda _: None) as platform,
        started(platform, bob),
    ):
        await job.go()
        await job.stopped()
    assert len(asked) == job.messages, f"{len(asked)} of {job.messages} were asked"
    return {}


async def one_round(server: EmbeddedServer, who: str, number: int) -> Round:
    """Hold so many conversations; a message of the round is a whole conversation."""
    module = "benchmarks.dialogue" if who == "ours" else "benchmarks.faststream_dialogue"
    job = Job(url=server.url, messages=number)
    parts = [
        Participant("initiator", module, "initiator", job),
        Participant("participant", module, "participant", job, waits=True),
    ]
    return await play_round(server, parts)


async def measure(
    *, quick: bool = False, tell: Callable[[str], None] = lambda _: None, scale: float = 1.0
) -> dict[str, Any]:
    """Return the medians of the rounds, and the ratio of each.

    Args:
        quick: fewer rounds.
        tell: is told what is measured.
        scale: how many conversations; 1.0 is for figures, less for a test.
    """
    rounds = 2 if quick else 5
    number = int(CONVERSATIONS * scale) // (2 if quick else 1)
    found: dict[str, list[Round]] = {who: [] for who in WHO}
    async with a_server() as ours, a_server() as theirs:
        await routed.prepare(ours.url)
        for at in range(rounds):
            for who in WHO if at % 2 else WHO[::-1]:
                tell(f"conversations {at + 1}/{rounds}: {who}")
                server = ours if who == "ours" else theirs
                found[who].append(await one_round(server, who, number))
    pairs = zip(*found.values(), strict=True)
    return {
        "unit": "conversations/s",
        "lines": {
            who: {
                "rate": median(one.rate for one in all_of_it),
                **{
                    f"cpu {name}": median(one.cpu[name] for one in all_of_it)
                    for name in all_of_it[0].cpu
                },
            }
            for who, all_of_it in found.items()
        },
        "ratios": {"request_protocol_vs_faststream": [a.rate / b.rate for a, b in pairs]},
    }


def main() -> None:
    """Measure, and print the result."""
    found = asyncio.run(measure(quick="--quick" in sys.argv, tell=print))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        play(sys.argv, {"initiator": initiator, "participant": participant})
    else:
        main()
