"""The journal: who said what to whom, what became of it, and errors that show it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from caxton_nats import Agent, Context, Reject, Settings, started
from caxton_nats.engine.platform import Platform
from caxton_nats.telemetry import Action
from caxton_nats.testing import Journal, memory_platform

SETTINGS = Settings(drain=0)


@pytest.fixture
async def talking(journal: Journal) -> AsyncIterator[tuple[Platform, Agent]]:
    """Alice, who asks; bob, who answers requests, refuses informs and is away for others."""
    alice, bob = Agent("alice"), Agent("bob")

    @bob.on("request")
    async def answer(ctx: Context) -> None:
        await ctx.agree()
        await ctx.inform("done")

    @bob.on("inform")
    async def refuse(_: Context) -> None:
        raise Reject("no")

    async with memory_platform(SETTINGS, observer=journal) as platform:
        await platform.registrar.register(platform.agent_id("away"))
        async with started(platform, alice, bob):
            yield platform, alice


async def test_a_conversation_is_shown(journal: Journal, talking: tuple[Platform, Agent]) -> None:
    """Its lines and acts, in their order; other conversations are left out."""
    _, alice = talking
    await alice.request("bob", "?", conversation_id="c-1")
    await alice.request("bob", "?", conversation_id="c-2")
    said = ["alice -> bob: request", "bob -> alice: agree", "bob -> alice: inform"]
    assert journal.lines("c-1") == said
    assert journal.lines() == said * 2
    assert journal.acts("c-2") == ["request", "agree", "inform"]
    journal.expect(*said, conversation_id="c-1")


async def test_what_was_not_said(journal: Journal, talking: tuple[Platform, Agent]) -> None:
    """The error shows what was expected and what was said instead."""
    _, alice = talking
    await alice.request("bob", "?", conversation_id="c-1")
    with pytest.raises(AssertionError) as told:
        journal.expect("alice -> bob: request", "bob -> alice: refuse")
    lines = str(told.value).splitlines()
    assert {"-bob -> alice: refuse", "+bob -> alice: agree"} <= set(lines)


async def test_all_has_come_to_its_end(journal: Journal, talking: tuple[Platform, Agent]) -> None:
    """Handled or dead; what waits for somebody who is away is open, and named."""
    _, alice = talking
    await alice.send("inform", "bob", message_id="m-1")
    await journal.settled()
    assert journal.outcome("m-1") is Action.DEAD_LETTERED
    assert journal.outcome("m-2") is None
    await alice.send("inform", "away")
    with pytest.raises(AssertionError, match="alice -> away: inform"):
        await journal.settled(within=0.05)
    with pytest.raises(AssertionError, match="what was said"):
        await journal.until(lambda: False, within=0.05)
