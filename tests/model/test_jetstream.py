"""The engine against the reference model, over a real server: fewer schedules, in real time."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.jetstream.embedded import EmbeddedServer
from tests.model.explore import carried_out, report, schedule
from tests.model.jetstream_ground import deployed
from tests.model.world import Violation

LENGTH = 20


async def over_a_server(seed: int) -> str:
    commands = schedule(seed, LENGTH)
    async with EmbeddedServer() as server, deployed(server.url) as ground:
        try:
            await carried_out(commands, ground, seed)
        except Violation as violation:
            return report(seed, commands, violation)
    return ""


@pytest.mark.parametrize("seed", range(8))
def test_schedule(seed: int) -> None:
    """What holds over the broker in memory holds over JetStream."""
    problem = asyncio.run(over_a_server(seed))
    assert not problem, problem
