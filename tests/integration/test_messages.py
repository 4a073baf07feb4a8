"""Pending messages on a real server: looked at, and taken out, under the conservation law."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_nats import Agent, Context
from caxton_nats.core.errors import MessageInHand
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually

BEYOND_A_MESSAGE = 1_500_000


async def test_listed_and_removed(lab: Lab, door: str) -> None:
    """Newest first; one is removed, the others are handled, and the sender is told."""
    platform = await lab.through(door)
    bob = await lab.register("bob", platform)
    alice = await lab.collector("alice", platform)
    for number in range(5):
        await alice.send("inform", "bob", number, message_id=f"m-{number}")
    listed = await platform.messages.list(bob, limit=3)
    assert [one.envelope.message_id for one in listed if one.envelope] == ["m-4", "m-3", "m-2"]
    letter = await platform.messages.remove(bob, "m-2")
    assert letter.last_error["code"] == "MessageRemoved"
    collector = await lab.collector("bob", platform)
    await eventually(lambda: len(collector.got) == 4)
    assert collector.contents == [0, 1, 3, 4]
    await eventually(lambda: len(alice.got) == 1)
    assert alice.got[0].performative == "failure"


async def test_from_under_a_running_agent(lab: Lab) -> None:
    """What a running agent was given stays, and is handled; its mail flows on afterwards."""
    platform = await lab.platform(concurrency=1)
    gate, begun = asyncio.Event(), asyncio.Event()
    bob = Agent("bob")
    handled: list[str] = []

    @bob.on("*")
    async def take(ctx: Context) -> None:
        begun.set()
        await gate.wait()
        handled.append(ctx.envelope.message_id)

    await lab.start(bob, platform)
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", message_id="first")
    await begun.wait()
    with pytest.raises(MessageInHand):
        await platform.messages.remove(bob.id, "first")
    gate.set()
    await eventually(lambda: handled == ["first"])
    await alice.send("inform", "bob", message_id="second")
    await eventually(lambda: handled == ["first", "second"])


async def test_large_content(lab: Lab) -> None:
    """Content that lies in the object store is read from there; removed, it can be redriven."""
    platform = await lab.platform(max_content=10_000_000)
    bob = await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    content = bytes(range(256)) * (BEYOND_A_MESSAGE // 256)
    await alice.send("inform", "bob", content, message_id="large")
    found = await platform.messages.get(bob, "large")
    assert found.envelope is not None
    assert found.envelope.claim is not None
    assert await platform.messages.content(found) == content
    letter = await platform.messages.remove(bob, "large")
    await platform.redrive.redrive(letter.id)
    collector = await lab.collector("bob", platform)
    await eventually(lambda: len(collector.got) == 1)
    assert collector.contents == [content]


_visible = st.text(st.sampled_from("aZ09 äß€世界🙂-_."), max_size=20)
_text = st.text(st.characters(codec="utf-8"), max_size=50)


@EMBEDDED_ONLY
async def test_what_was_stored_is_what_is_read(lab: Lab) -> None:
    """Any text and any bytes come back from the stream as they were sent, field by field."""
    platform = await lab.platform(queue_size=1000)
    bob = await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    loop = asyncio.get_running_loop()

    async def faithful(value: str | bytes, user: dict[str, str]) -> None:
        receipt = await alice.send("inform", "bob", value, user_defined=user)
        found = await platform.messages.get(bob, receipt.message_id)
        assert found.envelope is not None
        assert found.envelope.user_defined == user
        wanted = value if isinstance(value, bytes) else msgspec.json.encode(value)
        assert await platform.messages.content(found) == wanted

    names = st.from_regex(r"X-[a-z]{1,8}", fullmatch=True)

    @settings(max_examples=60, deadline=None)
    @given(value=_text | st.binary(max_size=200), user=st.dictionaries(names, _visible, max_size=3))
    def check(value: str | bytes, user: dict[str, str]) -> None:
        asyncio.run_coroutine_threadsafe(faithful(value, user), loop).result(timeout=30)

    await asyncio.to_thread(check)
