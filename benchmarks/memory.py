"""What a router, an agent and a sender need of memory while two receivers take nothing.

    python -m benchmarks.memory --minutes 10

One agent is stopped (SIGSTOP), the handlers of another never return. Messages for both go on
through all three doors: their mailboxes are full after a while, and the rest is refused, or becomes
a dead letter. The table shows the resident memory of each process over the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import nats

from caxton_nats import Agent, CaxtonError, Context, connect, settings, started
from caxton_nats.app import interrupted, serve
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer

SIZE = 2_000
"""Bytes of content."""
QUEUE = 200
"""Messages that each mailbox holds."""
AT_ONCE = 10
WARM_UP = 0.2
"""Share of the time after which growth counts."""
Samples = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, print a table, and return by how many MiB each process has grown."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=60, help="messages per second, all doors")
    parser.add_argument("--json", type=Path, help="write all samples to this file, too")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.role:
        asyncio.run(_play(chosen.role))
        return {}
    samples, outcomes = asyncio.run(measure(chosen.minutes * 60, chosen.rate))
    if chosen.json:
        chosen.json.write_text(json.dumps(samples))
    print(", ".join(f"{number} {what}" for what, number in sorted(outcomes.items())))
    return _report(samples)


async def measure(seconds: float, rate: int) -> tuple[Samples, Mapping[str, int]]:
    """Return the MiB of each process, sampled again and again, and what became of messages."""
    outcomes: Counter[str] = Counter()
    async with EmbeddedServer(EmbeddedOptions(durability="process")) as server:
        chosen = {"nats_url": server.url, "queue_size": QUEUE, "retry_delay": 0.2}
        os.environ |= {f"CAXTON_{name.upper()}": str(value) for name, value in chosen.items()}
        async with connect(observer=lambda _: None) as platform, _cast() as processes:
            alice = Agent("alice")
            alice.on("*")(_ignore)
            async with started(platform, alice):
                processes["stopped"].send_signal(signal.SIGSTOP)
                pids = {name: one.pid for name, one in processes.items()} | {"sender": os.getpid()}
                samples: Samples = {name: [] for name in pids}
                loading = asyncio.create_task(_load(alice, rate, outcomes))
                end = monotonic() + seconds
                while monotonic() < end:
                    await asyncio.sleep(min(5.0, seconds / 20))
                    for name, pid in pids.items():
                        samples[name].append(_mebibytes(pid))
                loading.cancel()
    return samples, outcomes


async def _load(alice: Agent, rate: int, outcomes: Counter[str]) -> None:
    """Send to both by all doors, forever."""
    content, number = "x" * SIZE, 0
    body = {"performative": "inform", "content": content}
    client = await nats.connect(os.environ["CAXTON_NATS_URL"])
    while True:
        began = monotonic()
        for _ in range(AT_ONCE // 2):
            number += 1
            for receiver in ("stopped", "hung"):
                door = number % 3
                if door == 0:
                    (result,) = await alice.send_many([alice.message("inform", receiver, content)])
                    code = result.code if isinstance(result, CaxtonError) else "receipt"
                else:
                    subject = "caxton.send.carol" if door == 1 else "caxton.submit.carol"
                    message = json.dumps({**body, "receiver": receiver}).encode()
                    answer = json.loads((await client.request(subject, message, timeout=10)).data)
                    error = answer.get("error", {})
                    code = str(error.get("code", "submitted" if door == 2 else "receipt"))
                outcomes[code] += 1
        await asyncio.sleep(max(0.0, AT_ONCE / rate - (monotonic() - began)))


@asynccontextmanager
async def _cast() -> AsyncIterator[dict[str, asyncio.subprocess.Process]]:
    """Run the router and the two receivers."""
    processes: dict[str, asyncio.subprocess.Process] = {}
    try:
        for role in ("router", "hung", "stopped"):
            processes[role] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.memory", "--role", role),
                stdout=asyncio.subprocess.PIPE,
            )
            stdout = processes[role].stdout
            assert stdout is not None
            await stdout.readline()
        yield processes
    finally:
        for one in processes.values():
            one.kill()
            await one.wait()


async def _play(role: str) -> None:
    """Be the router, or a receiver, until ended."""
    if role == "router":
        async with serve(settings(), observer=lambda _: None):
            print("ready", flush=True)
            await interrupted()
    agent = Agent(role)
    agent.on("*")(_hang)
    async with connect(observer=lambda _: None) as platform, started(platform, agent):
        print("ready", flush=True)
        await interrupted()


async def _hang(_: Context) -> None:
    await asyncio.Event().wait()


async def _ignore(_: Context) -> None:
    pass


def _mebibytes(pid: int) -> float:
    # Exactly: what statm says is put together from each processor's count, and may be behind.
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no resident memory")


def _report(samples: Samples) -> dict[str, float]:
    growth = {}
    print(f"{'process':<10} {'first':>8} {'warm':>8} {'half':>8} {'last':>8} {'most':>8}  MiB")
    for name, values in samples.items():
        warm = int(len(values) * WARM_UP)
        first, half, last = values[warm], values[len(values) // 2], values[-1]
        print(
            f"{name:<10} {values[0]:8.1f} {first:8.1f} {half:8.1f} {last:8.1f} {max(values):8.1f}"
        )
        growth[name] = last - first
    return growth


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(sys.argv[1:])
