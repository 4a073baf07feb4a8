"""Peers: every router of the platform can be asked, and one that has ended keeps nobody waiting."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.conformance.adapters import LONG, Adapter

SHORT = timedelta(seconds=0.3)


async def echo(body: bytes) -> bytes:
    return b"echo " + body


async def test_nobody_has_joined(adapter: Adapter) -> None:
    """There are no answers, and no time is lost."""
    assert await adapter.peers.ask("ping", wait=LONG) == {}


async def test_every_router_answers(adapter: Adapter) -> None:
    """Under its own id, the one that asks included."""
    async with adapter.another() as other:
        await adapter.peers.join({"echo": echo})
        await other.peers.join({"echo": echo})
        assert adapter.peers.own_id != other.peers.own_id
        answers = await adapter.peers.ask("echo", b"1", wait=LONG)
        assert answers == {adapter.peers.own_id: b"echo 1", other.peers.own_id: b"echo 1"}
        await other.peers.leave()


async def test_who_has_left_is_not_asked(adapter: Adapter) -> None:
    """Leaving twice, or without having joined, does no harm."""
    async with adapter.another() as other:
        await other.peers.join({"echo": echo})
        await other.peers.leave()
        await other.peers.leave()
        await adapter.peers.leave()
        await adapter.peers.join({"echo": echo})
        assert list(await adapter.peers.ask("echo", wait=LONG)) == [adapter.peers.own_id]


async def test_one_that_does_not_answer(adapter: Adapter) -> None:
    """It is reported without an answer; so is one that does not know the question."""

    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    await adapter.peers.join({"never": never})
    assert await adapter.peers.ask("never", wait=SHORT) == {adapter.peers.own_id: None}
    assert await adapter.peers.ask("what", wait=SHORT) == {adapter.peers.own_id: None}
    await adapter.peers.leave()


async def test_questions_do_not_wait_for_each_other(adapter: Adapter) -> None:
    """A router answers one question while it thinks about another."""
    asked = asyncio.Event()

    async def slow(body: bytes) -> bytes:
        await asked.wait()
        return body

    async def quick(_: bytes) -> bytes:
        asked.set()
        return b"quick"

    await adapter.peers.join({"slow": slow, "quick": quick})
    asking = asyncio.create_task(adapter.peers.ask("slow", b"slow", wait=LONG))
    assert list((await adapter.peers.ask("quick", wait=LONG)).values()) == [b"quick"]
    assert list((await asking).values()) == [b"slow"]
    await adapter.peers.leave()
