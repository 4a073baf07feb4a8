"""How long a message takes, one way and there and back, against plain nats-py at the same rate.

    python -m benchmarks.latency                  (alone, with a table)
    python -m benchmarks.latency sender|echo JOB  (started by the suite)

One way: from when it was due at the sender to its handler. Round trip: until the answer is in the
sender's handler. Each contestant sends one message at a time as it is due; what has become due
meanwhile goes together.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks import routed
from benchmarks.contest import Job, Participant, Round, a_server, play, play_round
from benchmarks.paced import SATURATED, Taken, paced
from caxton_nats import Agent, CaxtonError, Context, connect, started
from caxton_nats.jetstream.embedded import EmbeddedServer

RATES = (100, 1_000, 10_000, SATURATED)
QUANTILES = ("p50", "p99", "p99.9")


class Way(NamedTuple):
    """One contestant at one rate."""

    who: str
    rate: int
    round_trip: bool = False

    @property
    def name(self) -> str:
        """What the results call it."""
        at = f"at {self.rate:,}/s" if self.rate else "saturated"
        return f"{self.who}, {'round trip' if self.round_trip else 'one way'}, {at}"


async def sender(job: Job) -> dict[str, Any]:
    """Send by the schedule; with answers, take them."""
    return await _agent(job, "alice", "bob", answers=False)


async def echo(job: Job) -> dict[str, Any]:
    """Take the messages; with answers, send each one back."""
    return await _agent(job, "bob", "alice", answers=True)


async def _agent(job: Job, name: str, other: str, *, answers: bool) -> dict[str, Any]:
    logging.disable(logging.WARNING)
    round_trip = job.more["round_trip"]
    takes = round_trip != answers
    taken = Taken(job)
    agent = Agent(name)

    @agent.on("inform")
    async def take(ctx: Context) -> None:
        taken.take(ctx.content)

    @agent.on("query-ref")
    async def answer(ctx: Context) -> None:
        await ctx.inform(ctx.content)

    async def send(contents: Sequence[str]) -> None:
        act = "query-ref" if round_trip else "inform"
        for result in await agent.send_many([agent.message(act, other, one) for one in contents]):
            if isinstance(result, CaxtonError):
                raise result

    chosen = routed.settings(job, router="service" if job.door == "service" else "embedded")
    async with connect(chosen, observer=lambda _: None) as platform, started(platform, agent):
        await job.go()
        if not answers:
            await paced(job, send)
        if takes:
            await taken.complete.wait()
            return taken.figures()
        if answers:
            await job.stopped()
    return {}


def plays(way: Way, job: Job) -> list[Participant]:
    """Return who takes part; the first one sends."""
    module = "benchmarks.latency" if way.who != "nats-py" else "benchmarks.nats_py_ends"
    parts = [
        Participant("sender", module, "sender", job),
        Participant("echo", module, "echo", job, waits=way.round_trip),
    ]
    if job.door == "service":
        parts.append(Participant("router", "benchmarks.routed", "router", job, waits=True))
    return parts


async def one_round(server: EmbeddedServer, way: Way, seconds: float) -> Round:
    """Measure one contestant once."""
    with tempfile.NamedTemporaryFile() as progress:
        progress.write(bytes(8))
        progress.flush()
        messages = int(seconds * (way.rate or 5_000))
        more = {"rate": way.rate, "round_trip": way.round_trip, "progress": progress.name}
        job = Job(url=server.url, messages=messages, door=way.who, more=more)
        return await play_round(server, plays(way, job))


def ways(*, quick: bool) -> list[Way]:
    """Return what is measured."""
    rates = (1_000,) if quick else RATES
    found = [
        Way(who, rate, trip)
        for trip in (False, True)
        for rate in rates
        for who in ("embedded", "nats-py")
    ]
    return found if quick else [*found, Way("service", 1_000), Way("service", 1_000, True)]


async def measure(
    *, quick: bool = False, tell: Callable[[str], None] = lambda _: None, scale: float = 1.0
) -> dict[str, Any]:
    """Return the medians of the rounds, and the ratio of the issue.

    Args:
        quick: fewer rates and rounds.
        tell: is told what is measured.
        scale: how long each round takes; 1.0 is for figures, less for a test.
    """
    rounds = 2 if quick else 5
    found: dict[str, list[dict[str, float]]] = {}
    ratios: list[float] = []
    async with a_server() as ours, a_server() as theirs:
        await routed.prepare(ours.url)
        for number in range(rounds):
            order = ways(quick=quick)
            for way in order if number % 2 else order[::-1]:
                # What the ratio is made of is measured in every round, the rest in three.
                is_judged = way.rate == 1_000
                if not is_judged and number >= 3:
                    continue
                tell(f"latency {number + 1}/{rounds}: {way.name}")
                server = theirs if way.who == "nats-py" else ours
                seconds = (2.0 if is_judged and not quick else 1.0) * scale
                played = await one_round(server, way, seconds)
                said = next(one for one in played.said.values() if "p50" in one)
                cpu = {f"cpu {name}": used for name, used in played.cpu.items()}
                found.setdefault(way.name, []).append(
                    {name: said[name] for name in QUANTILES} | cpu
                )
            pair = [found[Way(who, 1_000).name][-1]["p99"] for who in ("embedded", "nats-py")]
            ratios.append(pair[0] / pair[1])
    return {
        "unit": "ms",
        "lines": {
            name: {what: median(one[what] for one in all_of_it) for what in all_of_it[0]}
            for name, all_of_it in found.items()
        },
        "ratios": {"one_way_p99_vs_nats_py": ratios},
    }


def main() -> None:
    """Measure, and print the result."""
    found = asyncio.run(measure(quick="--quick" in sys.argv, tell=print))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        play(sys.argv, {"sender": sender, "echo": echo})
    else:
        main()
