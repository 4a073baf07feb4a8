"""Scenarios on one server whose processes are killed and frozen."""

from __future__ import annotations

from chaos.scenario import scenario
from chaos.stage import Stage


@scenario("calm")
async def calm(stage: Stage) -> None:
    """No fault at all: the harness itself must keep every promise."""
    async for _ in stage.moments():
        pass


@scenario("router-kill")
async def router_killed(stage: Stage) -> None:
    """One of two router services is killed, again and again."""
    async for _ in stage.moments():
        await _kill_and_start(stage, stage.rng.choice(stage.routers))


async def _kill_and_start(stage: Stage, name: str) -> None:
    await stage.kill(name)
    await stage.wait(0.1, 1.0)
    await stage.start(name)
    await stage.resumed()
