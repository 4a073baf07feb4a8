"""How fast the registry answers, how much room an agent takes, how soon a fresh router knows all.

    python -m benchmarks.registry

Look-ups are measured in rounds that visit every size in turn, so that a machine that slows down
slows all of them; the table has the median of the rounds. Sizes are numbers of registered agents,
all of which offer one common capability, and one in ten a second one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import NamedTuple

import msgspec

from caxton_nats import Settings, connect
from caxton_nats.core.choice import Scene, choose
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.lease import Health, Heartbeat, Lease, leased
from caxton_nats.core.registry import Address, Registration, Registry
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from caxton_nats.jetstream.subjects import address

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
COMMON, RARE = "translate:v2.0", "sing"
AT_ONCE = 500
"""Registrations that are written at the same time."""


class Sizes(NamedTuple):
    """What is measured."""

    agents: Sequence[int]
    rounds: int
    calls: int
    """Calls per round and size; a slow one is called a hundredth as often."""


def main(arguments: Sequence[str] | None = None) -> dict[str, object]:
    """Measure, print a table, write JSON if asked for, and return what that has."""
    parser = argparse.ArgumentParser(prog="benchmarks.registry", description=__doc__)
    parser.add_argument("--agents", default="10,1000,10000", help="numbers of registered agents")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000, help="look-ups per round and size")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    chosen = parser.parse_args(arguments)
    numbers = [int(number) for number in chosen.agents.split(",")]
    sizes = Sizes(numbers, chosen.rounds, chosen.calls)
    found: dict[str, object] = {
        "python": sys.version.split()[0],
        "lookups_ns": lookups(sizes),
        "bytes_per_agent": memory(max(numbers)),
        "mirror": asyncio.run(mirror(max(numbers))),
    }
    _print(found, numbers)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return found


async def measure(
    *, quick: bool = False, tell: Callable[[str], None] = lambda _: None, sizes: Sizes | None = None
) -> dict[str, object]:
    """Return the figures as part of the suite, with the time of a look-up among the most agents.

    Args:
        quick: fewer rounds.
        tell: is told what is measured.
        sizes: others than 10, 1,000 and 10,000 agents.
    """
    sizes = sizes or Sizes((10, 1_000, 10_000), 5, 500 if quick else 2_000)
    tell("registry")
    lines = lookups(sizes)
    most = str(max(sizes.agents))
    return {
        "unit": "ns",
        "lines": lines,
        "bytes_per_agent": memory(int(most)),
        "mirror": await mirror(int(most)),
        "ratios": {f"look_up_us_{most}": [lines["find by name"][most] / 1000]},
    }


def lookups(sizes: Sizes) -> dict[str, dict[str, float]]:
    """Return nanoseconds per call, by what is called and the number of agents."""
    calls = {number: _calls(number) for number in sizes.agents}
    taken: dict[str, dict[int, list[float]]] = {
        name: {number: [] for number in sizes.agents} for name in calls[sizes.agents[0]]
    }
    for _ in range(sizes.rounds):
        for number in sizes.agents:
            for name, call in calls[number].items():
                slow = name in ("all", "least-loaded")
                repeats = max(1, sizes.calls // 100) if slow else sizes.calls
                began = perf_counter_ns()
                for _ in range(repeats):
                    call()
                taken[name][number].append((perf_counter_ns() - began) / repeats)
    return {
        name: {str(number): round(median(times), 1) for number, times in by_number.items()}
        for name, by_number in taken.items()
    }


def memory(number: int) -> dict[str, int]:
    """Return bytes of a router's memory per agent: its registration with the indexes, its lease."""
    encoded = msgspec.json.encode(list(registrations(number)))
    leases = msgspec.json.encode([_lease(one.agent) for one in registrations(number)])
    gc.collect()
    tracemalloc.start()
    try:
        # Decoded from JSON, as they come from the bucket: nothing is shared that is not there.
        registry = Registry(msgspec.json.decode(encoded, type=list[Registration]))
        gc.collect()
        registered = tracemalloc.get_traced_memory()[0]
        health = Health(msgspec.json.decode(leases, type=list[Lease]))
        gc.collect()
        both = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return {
        "registration": registered // len(registry),
        "lease": (both - registered) // len(health),
    }


async def mirror(number: int) -> dict[str, float]:
    """Return how long registrations take to be stored, and a fresh router to have all of them."""
    async with EmbeddedServer(EmbeddedOptions(durability="process")) as server:
        chosen = Settings(nats_url=server.url, shards=1)
        async with connect(chosen, observer=lambda _: None) as platform:
            store = platform.ports.registry_store
            given = list(registrations(number))
            began = perf_counter()
            for at in range(0, number, AT_ONCE):
                await asyncio.gather(
                    *(store.save(one, revision=None) for one in given[at : at + AT_ONCE])
                )
            stored = perf_counter() - began
        began = perf_counter()
        async with connect(chosen, observer=lambda _: None) as fresh:
            known = perf_counter() - began
            if len(fresh.registry) != number:
                raise AssertionError(f"{len(fresh.registry)} of {number} are in the mirror")
    return {"agents": number, "stored_s": round(stored, 3), "fresh_router_s": round(known, 3)}


def _calls(number: int) -> Mapping[str, Callable[[], object]]:
    registry = Registry(registrations(number))
    health = Health(_lease(one.agent) for one in registry)
    names = cycle([one.agent for one in registry])
    ids = cycle([MessageId(f"m-{n}") for n in range(997)])
    scene = Scene(registry=registry, health=health, now=NOON)

    def chosen(strategy: str) -> Callable[[], object]:
        target = AgentId("capability:translate:v2.0")

        def decide() -> object:
            message = Envelope(
                performative="inform", message_id=next(ids), receiver=(target,), strategy=strategy
            )
            return choose(target, message, scene)

        return decide

    return {
        "find by name": lambda: registry.find(next(names)),
        "find by capability (all)": lambda: registry.find_by_capability(COMMON),
        "find by capability (1 in 10)": lambda: registry.find_by_capability(RARE),
        "is available": lambda: health.is_available(next(names), NOON),
        "one": chosen("one"),
        "round-robin": chosen("round-robin"),
        "least-loaded": chosen("least-loaded"),
        "all": chosen("all"),
        "a page of 100": lambda: registry.page(100, after=next(names)),
        "register again": lambda: registry.put(_registration(next(names), 0)),
    }


def registrations(number: int) -> Iterator[Registration]:
    """Yield so many agents; all offer one capability, one in ten a second one."""
    for at in range(number):
        yield _registration(AgentId(f"agent-{at:06}@caxton"), at)


def _registration(agent: AgentId, at: int) -> Registration:
    lies_at: Address = address(agent, 16)
    return Registration(
        agent=agent,
        capabilities=(COMMON, RARE) if at % 10 == 0 else (COMMON,),
        address=lies_at,
        node=f"host-{at % 50}/4711",
        registered_at=NOON + timedelta(seconds=at),
    )


def _lease(agent: AgentId) -> Lease:
    return leased(agent, Heartbeat(instance=f"{agent[:-7]}-1f0c"), now=NOON, node="host/4711")


def _print(found: Mapping[str, object], numbers: Sequence[int]) -> None:
    times = found["lookups_ns"]
    assert isinstance(times, dict)
    print(f"{'microseconds per call':30}", *(f"{number:>12,}" for number in numbers))
    for name, by_number in times.items():
        print(f"{name:30}", *(f"{by_number[str(number)] / 1000:>12.2f}" for number in numbers))
    print()
    print("bytes per agent in a router:", json.dumps(found["bytes_per_agent"]))
    print("a fresh router:", json.dumps(found["mirror"]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
