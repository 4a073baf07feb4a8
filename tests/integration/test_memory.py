"""The memory of a router, and of whoever holds mail, stays flat while receivers take nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest

from caxton_nats import app
from caxton_nats.core.dead_letter import encode
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.stream_state import Role
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.connection import Connection
from caxton_nats.ports import Receipt
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action, Event
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.conservation import Books
from tests.plugins.eventually import eventually

QUEUE, CONTENT = 20, "x" * 10_000
ROUNDS, EACH = 2, 80
_FRAMES = 6
LEAK = ROUNDS * EACH * 2 * len(CONTENT)
"""Bytes that would be kept if every message of one phase were, by any of the doors."""


@pytest.fixture
def traced() -> Iterator[None]:
    """Count every byte that Python allocates in this process."""
    tracemalloc.start(_FRAMES)
    yield
    tracemalloc.stop()


def in_use(books: Books) -> int:
    """Return the bytes that are in use, without what the test itself keeps of what happens."""
    gc.collect()
    own = ("*/conservation.py", "*/_pytest/*", "*/logging/*")
    found = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(inclusive=False, filename_pattern=one, all_frames=True) for one in own]
    )
    kept = sum(len(encode(one)) for one in books.letters.values())
    return sum(one.size for one in found.traces) - kept


async def _is_routed(router: Platform) -> bool:
    states = await router.ports.streams.states()
    return not sum(one.messages for one in states if one.role is Role.INGRESS)


async def flood(alice: Agent, nats: Connection) -> dict[str, int]:
    """Send to both receivers by every door; return how often what came of it."""
    outcomes: dict[str, int] = {}
    for _ in range(ROUNDS):
        for receiver in ("frozen", "hung"):
            batch = [alice.message("inform", receiver, CONTENT) for _ in range(EACH)]
            results = await alice.send_many(batch)
            codes = [one.code for one in results if isinstance(one, CaxtonError)]
            codes += ["Receipt" for one in results if isinstance(one, Receipt)]
            body = {"performative": "inform", "receiver": receiver, "content": CONTENT}
            data = json.dumps(body).encode()
            for door in ("send", "submit"):
                answers = await asyncio.gather(
                    *(
                        nats.request(f"caxton.{door}.alice", data, what="send")
                        for _ in range(EACH // 4)
                    )
                )
                errors = [json.loads(one).get("error", {}) for one in answers]
                codes += [str(one.get("code", door)) for one in errors]
            for code in codes:
                outcomes[code] = outcomes.get(code, 0) + 1
    return outcomes


@EMBEDDED_ONLY
@pytest.mark.timeout(180)
async def test_memory_stays_flat(lab: Lab, traced: None) -> None:
    """However much is refused, nothing of it stays in the router, the sender or the mailbox."""

    def watch(happened: Event) -> None:
        # The books keep what they are told: only what they need.
        if happened.action in (Action.HANDLED, Action.DEAD_LETTERED):
            lab.books.observe(happened)

    chosen = lab.settings(queue_size=QUEUE, max_retries=1, drain=0.2)
    async with (
        app.serve(chosen, observer=watch) as router,
        app.connect(chosen, observer=watch) as here,
    ):
        frozen = await lab.spawn("agent", "frozen", "stuck")
        hung, alice = Agent("hung"), Agent("alice")

        @hung.on("*")
        async def hang(_: Context) -> None:
            await asyncio.Event().wait()

        async with app.started(here, hung, alice):
            frozen.freeze()
            nats = await lab.nats()
            used: list[int] = []
            for _ in range(4):
                outcomes = await flood(alice, nats)
                assert outcomes["QueueFull"] > ROUNDS * EACH
                await eventually(lambda: _is_routed(router))
                used.append(in_use(lab.books))
            # The first round warms up: caches, connections, tables of a bounded size.
            growth = [after - before for before, after in pairwise(used[1:])]
            assert max(growth) < LEAK // 4, used
            assert (await router.ports.mailboxes.pending()).keys() >= {hung.id}
            frozen.thaw()
