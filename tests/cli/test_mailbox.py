"""`caxton messages`: what waits in a mailbox, and taking a message out of it."""

from __future__ import annotations

import json

from caxton_nats.ports import Letter
from tests.cli.conftest import Caxton, Here, Start


async def waiting(caxton: Caxton, *contents: str) -> None:
    """Have messages m-0, m-1, ... of these contents wait for bob."""
    for name in ("alice", "bob"):
        await caxton("agents", "register", name)
    for number, content in enumerate(contents):
        arguments = ("--content", content, "--message-id", f"m-{number}")
        assert (await caxton("send", "alice", "inform", "bob", *arguments)).code == 0


async def test_list(caxton: Caxton, here: Here) -> None:
    """The newest first, with its place; --json has every field but the content."""
    assert "no messages" in (await caxton("messages", "list", "bob")).out
    await waiting(caxton, "1", "2")
    title, *rows = (await caxton("messages", "list", "bob")).out.splitlines()
    assert title.split()[:4] == ["place", "message", "performative", "sender"]
    assert [row.split()[1:4] for row in rows] == [
        ["m-1", "inform", "alice@caxton"],
        ["m-0", "inform", "alice@caxton"],
    ]
    (newest,) = (await caxton("messages", "list", "bob", "--limit", "1", "--json")).json["messages"]
    assert newest["envelope"]["message_id"] == "m-1"
    assert newest["place"] == rows[0].split()[0]


async def test_show(caxton: Caxton, here: Here) -> None:
    """By message id or by place, with its content; it waits on."""
    await waiting(caxton, '{"order": 17}')
    shown = (await caxton("messages", "show", "bob", "m-0", "--json")).json
    assert json.loads(shown["content"]) == {"order": 17}
    assert shown["content_encoding"] == "utf-8"
    out = (await caxton("messages", "show", "bob", shown["place"])).out
    assert '{"order": 17}' in out
    assert "alice@caxton" in out
    assert len((await caxton("messages", "list", "bob", "--json")).json["messages"]) == 1


async def test_bytes_come_out_exactly(caxton: Caxton, here: Here, start: Start) -> None:
    """What is no message is base64 in --json, escaped for people, and exact with --raw."""
    await waiting(caxton)
    ports, bob = here.platform.ports, here.platform.agent_id("bob")
    data = b"\xff\x1b no JSON"
    await ports.publisher.publish([Letter(bob, ports.mailboxes.address(bob), "key", data)])
    (one,) = (await caxton("messages", "list", "bob", "--json")).json["messages"]
    assert one["envelope"] is None
    shown = await caxton("messages", "show", "bob", one["place"])
    assert "\x1b" not in shown.out
    assert "not readable" in shown.out
    program = await start("messages", "show", "bob", one["place"], "--raw")
    assert program.process.stdout is not None
    assert await program.process.stdout.read() == data


async def test_remove(caxton: Caxton, here: Here) -> None:
    """What is removed is a dead letter; what is not there is an error that says where to look."""
    await waiting(caxton, "1", "2")
    removed = (await caxton("messages", "remove", "bob", "m-0", "--json")).json
    assert removed["removed"] == "m-0"
    letter = (await caxton("dlq", "show", removed["dead_letter"], "--json")).json
    assert letter["last_error"]["code"] == "MessageRemoved"
    left = (await caxton("messages", "list", "bob", "--json")).json["messages"]
    assert [one["envelope"]["message_id"] for one in left] == ["m-1"]
    gone = await caxton("messages", "remove", "bob", "m-0", "--json")
    assert (gone.code, gone.error["code"], gone.error["value"]) == (1, "MessageNotFound", "m-0")
    assert "caxton messages list bob@caxton" in gone.error["hint"]
