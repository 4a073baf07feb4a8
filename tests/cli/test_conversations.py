"""`caxton conversations` and `caxton stats`: who talks, and where the messages are."""

from __future__ import annotations

from tests.cli.conftest import Caxton, Here


async def talk(caxton: Caxton, conversation: str, *receivers: str) -> None:
    command = ("send", "alice", "cfp", *receivers, "--protocol", "fipa-contract-net")
    assert (await caxton(*command, "--conversation", conversation)).code == 0


async def test_conversations_are_listed_with_the_latest_first(caxton: Caxton, here: Here) -> None:
    """The table has id, protocol, number of messages, participants and the last act."""
    assert (await caxton("conversations")).out == "no conversations\n"
    for name in ("bob", "carol"):
        await caxton("agents", "register", name)
    await talk(caxton, "order-1", "bob")
    await talk(caxton, "order-2", "bob", "carol")
    _, *rows = (await caxton("conversations")).out.splitlines()
    assert [row.split()[:3] for row in rows] == [
        ["order-2", "fipa-contract-net", "1"],
        ["order-1", "fipa-contract-net", "1"],
    ]
    assert "alice@caxton, bob@caxton, carol@caxton" in rows[0]
    (latest,) = (await caxton("conversations", "--limit", "1", "--json")).json["conversations"]
    assert (latest["conversation_id"], latest["last_performative"]) == ("order-2", "cfp")


async def test_one_conversation_is_shown(caxton: Caxton, here: Here) -> None:
    """For people and as JSON with every key, even those that are empty."""
    await caxton("agents", "register", "bob")
    await caxton("send", "alice", "inform", "bob", "--conversation", "Grüße, order 1")
    shown = await caxton("conversations", "show", "Grüße, order 1")
    assert "alice@caxton, bob@caxton" in shown.out
    document = (await caxton("conversations", "show", "Grüße, order 1", "--json")).json
    assert (document["message_count"], document["protocol"]) == (1, "")


async def test_an_unknown_conversation_is_an_error(caxton: Caxton, here: Here) -> None:
    """Exit code 1, naming the id."""
    failed = await caxton("conversations", "show", "order-9", "--json")
    assert (failed.code, failed.error["value"]) == (1, "order-9")
