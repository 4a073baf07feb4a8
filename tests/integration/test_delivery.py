"""A message gets there: whole, in order, to everybody it is for, whoever is down meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest

from caxton_nats.core.envelope import content_bytes
from caxton_nats.ports import Receipt
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually

DEEP = '{"a" :[1, 2.50,\t{"b":\r\n null}], "a": "twice", "e": 1e400, "n": 123456789012345678901}'


@EMBEDDED_ONLY  # the same server binary as in the container; it takes its time
async def test_receiver_that_is_down_gets_all_when_it_returns(lab: Lab) -> None:
    """A receiver killed with SIGKILL gets all 1,000 messages, in order, when it returns."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    before = await lab.spawn("agent", "bob", "record")
    await before.kill()
    for start in range(0, 1000, 250):
        messages = [
            alice.message("inform", "bob", number, conversation_id="the-count")
            for number in range(start, start + 250)
        ]
        results = await alice.send_many(messages)
        assert all(isinstance(result, Receipt) for result in results)
    after = await lab.spawn("agent", "bob", "record")
    await eventually(lambda: len(after.notes) >= 1000, within=60)
    assert after.notes == list(range(1000))


async def test_receiver_in_this_process_gets_what_waited(lab: Lab, door: str) -> None:
    """An agent that starts late gets in order what came before, by either door."""
    platform = await lab.through(door)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    for number in range(20):
        await alice.send("inform", "bob", number, conversation_id="c")
    bob = await lab.collector("bob", platform)
    await eventually(lambda: len(bob.got) == 20)
    assert bob.contents == list(range(20))


async def test_ten_concurrent_senders(lab: Lab, door: str) -> None:
    """Ten senders at once: each message arrives once, each sender's in its own order."""
    platform = await lab.through(door)
    bob = await lab.collector("bob", platform)
    senders = [await lab.agent(f"sender-{number}", platform) for number in range(10)]

    async def send_all(number: int) -> None:
        for turn in range(20):
            await senders[number].send(
                "inform", "bob", [number, turn], conversation_id=f"c-{number}"
            )

    await asyncio.gather(*(send_all(number) for number in range(10)))
    await eventually(lambda: len(bob.got) == 200)
    for number in range(10):
        assert [turn for who, turn in bob.contents if who == number] == list(range(20))


async def test_multicast_to_a_hundred(lab: Lab, door: str) -> None:
    """One message to 100 receivers: one receipt with 100 outcomes, one copy for each."""
    platform = await lab.through(door)
    names = [f"listener-{number}" for number in range(100)]
    alice = await lab.agent("alice", platform)
    for name in names[:97]:
        await lab.register(name, platform)
    listeners = [await lab.collector(name, platform) for name in names[97:]]
    receipt = await alice.send("inform", names, "all of you")
    assert [outcome.receiver for outcome in receipt.outcomes] == [f"{name}@here" for name in names]
    assert all(outcome.error is None and outcome.sequence > 0 for outcome in receipt.outcomes)
    assert len({(one.stream, one.sequence) for one in receipt.outcomes}) == 100
    await eventually(lambda: all(len(one.got) == 1 for one in listeners))

    async def only_of_those_who_are_away() -> bool:
        # What was handled is settled a moment later.
        pending = await platform.ports.mailboxes.pending()
        return pending == {platform.agent_id(name): 1 for name in names[:97]}

    await eventually(only_of_those_who_are_away)


async def test_multicast_reports_each_receiver(lab: Lab, door: str) -> None:
    """A receiver that does not exist fails alone; the others get their copies."""
    platform = await lab.through(door)
    bob = await lab.collector("bob", platform)
    alice = await lab.agent("alice", platform)
    receipt = await alice.send("inform", ["nobody", "bob"], 1)
    nobody, found = receipt.outcomes
    assert nobody.error is not None
    assert nobody.error.code == "AgentNotFound"
    assert (nobody.receiver, nobody.sequence) == ("nobody@here", 0)
    assert found.error is None
    await eventually(lambda: bob.contents == [1])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(bytes(range(256)), id="every-byte"),
        pytest.param(b"", id="empty-bytes"),
        pytest.param(None, id="none"),
        pytest.param("", id="empty-text"),
        pytest.param(bytes(range(256)) * 4096, id="1-MiB-of-bytes"),
        pytest.param("ä" * (512 * 1024 - 1), id="1-MiB-of-text"),
        pytest.param("Grüße, 世界 \U0001f4ec\u0000\u2028", id="unicode"),
    ],
)
async def test_content_arrives_byte_for_byte(lab: Lab, door: str, content: object) -> None:
    """Bytes and values arrive as they were sent, whatever their size."""
    platform = await lab.through(door)
    bob = await lab.collector("bob", platform)
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", content)
    await eventually(lambda: len(bob.got) == 1)
    assert bob.got[0].content == content
    assert type(bob.got[0].content) is type(content)
    assert bob.got[0].envelope.claim is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(DEEP, id="odd-json"),
        pytest.param("[" * 400 + "]" * 400, id="deep"),
        pytest.param(json.dumps("x" * (1024 * 1024 - 2)), id="1-MiB-of-json"),
        pytest.param("[" + " \n" * 500_000 + "1]", id="1-MB-of-white-space"),
        pytest.param("null", id="null"),
        pytest.param(r'"\u00e4\/\ud83d\udce8"', id="escapes"),
    ],
)
async def test_json_text_is_not_rewritten(lab: Lab, text: str) -> None:
    """JSON typed at a door reaches the handler as the very same text, large or small."""
    platform = await lab.platform()
    await lab.router()
    bob = await lab.collector("bob", platform)
    nats = await lab.nats()
    body = f'{{"performative": "inform", "receiver": "bob", "content": {text}}}'.encode()
    if len(body) < nats.max_payload:
        answer = json.loads(await nats.request("caxton.send.alice", body, what="send"))
        assert "error" not in answer
    else:
        # More than a NATS message holds: by the library, which sets the content aside.
        alice = await lab.agent("alice", await lab.platform(router="service"))
        message = alice.message("inform", "bob", json.loads(text))
        assert content_bytes(message) == text.encode()
        assert isinstance((await alice.send_many([message]))[0], Receipt)
    await eventually(lambda: len(bob.got) == 1)
    assert content_bytes(bob.got[0].envelope) == text.encode()


async def test_content_set_aside_is_removed_when_handled(lab: Lab, door: str) -> None:
    """Large content lies in the object store only as long as a receiver has not handled it."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", platform)
    bob = await lab.collector("bob", platform)
    nats = await lab.nats()

    async def objects() -> int:
        info = await nats.api("STREAM.INFO.OBJ_caxton-content", {"subjects_filter": "$O.>"})
        return len(info["state"].get("subjects") or {})

    await lab.register("late", platform)
    await alice.send("inform", ["bob", "late"], bytes(1024 * 1024))
    await eventually(lambda: len(bob.got) == 1)
    late = await lab.collector("late", platform)
    await eventually(lambda: len(late.got) == 1)
    assert late.got[0].content == bytes(1024 * 1024)

    async def gone() -> bool:
        return await objects() == 0

    await eventually(gone, what="all objects removed")
