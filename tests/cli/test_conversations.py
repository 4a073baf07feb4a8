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


async def test_the_state_of_an_interaction_is_shown(caxton: Caxton, here: Here) -> None:
    """Of each participant, with the number of illegal acts."""
    await caxton("agents", "register", "bob")
    await talk(caxton, "order-1", "bob")
    await talk(caxton, "order-1", "bob")
    shown = (await caxton("conversations", "show", "order-1")).out
    assert "bob@caxton CFP_SENT" in shown
    assert "illegal acts" in shown
    document = (await caxton("conversations", "show", "order-1", "--json")).json
    assert document["interaction"]["states"] == {"bob@caxton": "CFP_SENT"}
    assert document["interaction"]["illegal"] == 1


async def test_an_unknown_conversation_is_an_error(caxton: Caxton, here: Here) -> None:
    """Exit code 1, naming the id."""
    failed = await caxton("conversations", "show", "order-9", "--json")
    assert (failed.code, failed.error["value"]) == (1, "order-9")


async def test_what_is_archived_is_hidden_and_readable(caxton: Caxton, here: Here) -> None:
    """Archived by hand: not in the list, in that of the archived, shown with why it has ended."""
    await caxton("agents", "register", "bob")
    await talk(caxton, "order-1", "bob")
    done = await caxton("conversations", "archive", "order-1")
    assert (done.code, "ended by       archived" in done.out) == (0, True)
    assert (await caxton("conversations")).out == "no conversations\n"
    _, row = (await caxton("conversations", "--archived")).out.splitlines()
    assert (row.split()[0], row.split()[-1]) == ("order-1", "archived")
    document = (await caxton("conversations", "show", "order-1", "--json")).json
    assert (document["ended_by"], document["message_count"]) == ("archived", 1)
    again = await caxton("conversations", "archive", "order-1", "--json")
    assert (again.code, again.json) == (0, document)
    refused = await caxton("send", "alice", "inform", "bob", "--conversation", "order-1", "--json")
    assert (refused.code, refused.error["code"]) == (1, "ConversationTimeout")
    unknown = await caxton("conversations", "archive", "order-9", "--json")
    assert (unknown.code, unknown.error["code"]) == (1, "ConversationNotFound")


async def test_conversations_of_an_agent(caxton: Caxton, here: Here) -> None:
    """Those that it takes part in; none for a stranger."""
    for name in ("bob", "carol"):
        await caxton("agents", "register", name)
    await talk(caxton, "order-1", "bob")
    await talk(caxton, "order-2", "carol")
    (only,) = (await caxton("conversations", "--agent", "carol", "--json")).json["conversations"]
    assert only["conversation_id"] == "order-2"
    assert (await caxton("conversations", "--agent", "dave")).out == "no conversations\n"


async def test_conversations_are_counted(caxton: Caxton, here: Here) -> None:
    """For people and for programs; the names are the seed's."""
    assert (await caxton("conversations", "stats")).out.startswith("active         0\n")
    await caxton("agents", "register", "bob")
    for name in ("order-1", "order-2", "order-3"):
        await talk(caxton, name, "bob")
    await caxton("conversations", "archive", "order-3")
    document = (await caxton("conversations", "stats", "--json")).json
    assert document == {
        "total_active": 2,
        "total_created": 3,
        "average_duration_ms": 0.0,
        "average_message_count": 1.0,
        "participants_distribution": {"2": 2},
    }
    assert (await caxton("conversations", "stats")).out.splitlines()[-1].split() == ["2", "2"]
