"""What an operator does with dead letters."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from functools import partial

import msgspec
import pytest

from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.disposition import Reject
from caxton_nats.core.errors import CaxtonError, DeadLetterNotFound, QueueFull
from caxton_nats.engine.leftovers import AGE, Leftovers
from caxton_nats.engine.platform import Platform
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.clock import RealClock
from tests.plugins.eventually import eventually


async def dead(lab: Lab, platform: Platform, content: object) -> DeadLetter:
    """Have one message die in bob's mailbox, and return its letter."""
    bob = Agent("bob")

    @bob.on("*")
    async def refuse(_: Context) -> None:
        raise Reject("not today")

    await bob.start(platform)
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", content, message_id="m-1", conversation_id="c")

    async def buried() -> bool:
        letters = await platform.ports.dead_letters.list()
        return bool(letters) and not await platform.ports.mailboxes.pending()

    await eventually(buried)
    await bob.stop()
    (letter,) = await platform.ports.dead_letters.list()
    return letter


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"a": "ü"}, id="json"),
        pytest.param(bytes(range(256)), id="bytes"),
        pytest.param(bytes(1024 * 1024), id="1-MiB"),
    ],
)
async def test_redrive(lab: Lab, content: object) -> None:
    """A redriven message arrives as it was sent; its dead letter is gone."""
    platform = await lab.platform()
    letter = await dead(lab, platform, content)
    await platform.redrive.redrive(letter.id)
    assert await platform.ports.dead_letters.list() == []
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == [content])
    assert bob.got[0].envelope.message_id == "m-1"
    assert bob.got[0].attempt == 1


async def test_redrive_twice_at_once(lab: Lab) -> None:
    """Two operators who redrive the same letter at once send one message."""
    first, second = await lab.platform(), await lab.platform()
    letter = await dead(lab, first, 1)
    await asyncio.gather(
        *(platform.redrive.redrive(letter.id) for platform in (first, second, first, second)),
        return_exceptions=True,
    )
    bob = await lab.collector("bob", first)
    await eventually(lambda: bob.contents == [1])
    routed = [
        one for one in lab.books.events if one.action is Action.ROUTED and one.agent == bob.id
    ]
    assert len(routed) == 2, "the first time, and once redriven"
    with pytest.raises(DeadLetterNotFound):
        await first.redrive.redrive(letter.id)


async def test_redriven_message_that_dies_again(lab: Lab) -> None:
    """A second death is a letter of its own that says how often it had been redriven."""
    platform = await lab.platform()
    first = await dead(lab, platform, 1)
    await platform.redrive.redrive(first.id)
    bob = Agent("bob")

    @bob.on("*")
    async def refuse(_: Context) -> None:
        raise Reject("never")

    await lab.start(bob, platform)

    async def again() -> bool:
        return bool(await platform.ports.dead_letters.list())

    await eventually(again)
    (letter,) = await platform.ports.dead_letters.list()
    assert (letter.redrives, letter.original) == (1, first.original)
    assert letter.id != first.id


async def test_redrive_of_what_the_router_refused(lab: Lab) -> None:
    """A submission refused for its receiver goes through the router again, and arrives."""
    platform = await lab.router()
    nats = await lab.nats()
    body = json.dumps({"performative": "inform", "receiver": "bob", "content": 1}).encode()
    await nats.request("caxton.submit.alice", body, what="submit")

    async def refused() -> bool:
        return bool(await platform.ports.dead_letters.list())

    await eventually(refused)
    (letter,) = await platform.ports.dead_letters.list()
    with pytest.raises(CaxtonError):
        await platform.redrive.redrive(letter.id)
    assert await platform.ports.dead_letters.list() == [letter], "it stays until it is stored"
    bob = await lab.collector("bob", platform)
    await platform.redrive.redrive(letter.id)
    await eventually(lambda: bob.contents == [1])
    assert await platform.ports.dead_letters.list() == []


@pytest.mark.parametrize("content", [1, bytes(1024 * 1024)], ids=["small", "1-MiB"])
async def test_discard(lab: Lab, content: object) -> None:
    """A discarded letter is gone, and so is the content that was set aside for it."""
    platform = await lab.platform()
    letter = await dead(lab, platform, content)
    discarded = await platform.redrive.discard(letter.id)
    assert discarded == letter
    assert await platform.ports.dead_letters.list() == []
    nats = await lab.nats()
    info = await nats.api("STREAM.INFO.OBJ_caxton-content")
    assert info["state"]["messages"] == 0
    with pytest.raises(DeadLetterNotFound):
        await platform.redrive.discard(letter.id)


async def test_letter_of_a_large_message_is_readable(lab: Lab) -> None:
    """A letter whose message nearly fills a NATS message keeps its bytes beside it."""
    platform = await lab.platform()
    letter = await dead(lab, platform, "x" * 1_020_000)
    original = await platform.redrive.original(letter)
    assert b"x" * 1_020_000 in original
    await platform.redrive.redrive(letter.id)
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == ["x" * 1_020_000])
    nats = await lab.nats()

    async def nothing_set_aside() -> bool:
        info = await nats.api("STREAM.INFO.OBJ_caxton-content")
        return bool(info["state"]["messages"] == 0)

    await eventually(nothing_set_aside)


@EMBEDDED_ONLY
async def test_content_that_was_left_behind(lab: Lab) -> None:
    """Large content that found no room goes after a day, and all of it; no other does."""
    platform = await lab.platform(queue_size=1)
    alice = await lab.agent("alice", platform)
    await lab.register("bob", platform)
    await alice.send("inform", "bob", bytes(1024 * 1024))
    with pytest.raises(QueueFull):
        await alice.send("inform", "bob", bytes(1024 * 1024))
    await platform.ports.contents.put("alice.upload.m-9", b"not ours to remove")
    later = LaterClock(AGE + timedelta(hours=1))
    ports = msgspec.structs.replace(platform.ports, clock=later)
    assert await Leftovers(platform.ports, platform.remote).sweep() == 0, "it is young"
    assert await Leftovers(ports, platform.remote).sweep() == 1
    names = await platform.ports.contents.names(before=later.now())
    assert len(names) == 2
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == [bytes(1024 * 1024)])
    nats = await lab.nats()

    async def only_the_upload() -> bool:
        info = await nats.api("STREAM.INFO.OBJ_caxton-content")
        return bool(info["state"]["messages"] == 2)

    await eventually(only_the_upload, what="a chunk and a note about it")


class LaterClock(RealClock):
    """A clock that is fast."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


@EMBEDDED_ONLY
async def test_operators_who_are_killed(lab: Lab) -> None:
    """Two redrive the same letters at once, and are killed again and again: each arrives once."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    refusing = Agent("bob")

    @refusing.on("*")
    async def refuse(_: Context) -> None:
        raise Reject("not today")

    await refusing.start(platform)
    await alice.send_many([alice.message("inform", "bob", number) for number in range(300)])

    async def letters_are(most: int) -> bool:
        return sum((await platform.ports.dead_letters.count()).values()) <= most

    async def all_dead() -> bool:
        return not await letters_are(299) and not await platform.ports.mailboxes.pending()

    await eventually(all_dead, what="300 dead letters")
    await refusing.stop()
    for goal in (220, 140, 60, 0):
        operators = [await lab.launch("operator", str(number)) for number in range(2)]
        await eventually(partial(letters_are, goal), within=40, what="some are redriven")
        for operator in operators:
            await operator.kill()
    bob = await lab.collector("bob", platform)

    async def all_done() -> bool:
        return not await platform.ports.mailboxes.pending()

    await eventually(all_done)
    assert sorted(bob.contents) == [*range(300)]
    assert await platform.ports.dead_letters.list() == []
