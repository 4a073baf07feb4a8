"""`caxton send`: a receipt once the message is durable, or what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caxton_nats.core import codec
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Envelope, Priority, content_bytes
from tests.cli.conftest import Caxton, Here


async def stored(here: Here, receipt: Any) -> Envelope:
    """Return the message behind a receipt's first receiver."""
    one = receipt["receivers"][0]
    delivery = await here.platform.ports.mailboxes.get(Origin(one["stream"], one["sequence"]))
    assert delivery is not None
    return codec.decode(delivery.body, max_bytes=len(delivery.body))


@pytest.mark.parametrize("router", ["embedded", "service"])
async def test_a_message_is_stored_and_its_receipt_printed(
    caxton: Caxton, here: Here, router: str
) -> None:
    """By either way to a router, the receipt names the stream and sequence of the message."""
    await caxton("agents", "register", "bob")
    sent = await caxton(
        *("send", "alice", "inform", "bob", "--content", '{"price": 3}', "--router", router),
        "--json",
    )
    assert sent.code == 0, sent.err
    message = await stored(here, sent.json)
    assert json.loads(bytes(message.content)) == {"price": 3}
    assert (message.sender, message.message_id) == ("alice@caxton", sent.json["message_id"])


async def test_the_receipt_is_a_table_for_people(caxton: Caxton, here: Here) -> None:
    """It names the message, each receiver, what became of it, the stream and the sequence."""
    await caxton("agents", "register", "bob")
    lines = (await caxton("send", "alice", "inform", "bob", "--message-id", "m-1")).out.splitlines()
    assert lines[0] == "message m-1"
    assert lines[1].split() == ["receiver", "outcome", "stream", "sequence"]
    assert lines[2].split()[:2] == ["bob@caxton", "stored"]


async def test_every_field_of_a_message_can_be_given(caxton: Caxton, here: Here) -> None:
    """Options become the fields of the message under FIPA's names."""
    await caxton("agents", "register", "bob")
    await caxton("send", "alice", "inform", "bob", "--conversation", "c-1", "--reply-with", "q-0")
    sent = await caxton(
        *("send", "alice", "query-if", "bob", "--text", "ok?", "--conversation", "c-1"),
        *("--protocol", "fipa-query", "--reply-by", "60", "--reply-with", "r-1"),
        *("--in-reply-to", "q-0", "--reply-to", "carol", "--language", "en", "--ontology", "o"),
        *("--priority", "critical", "--max-retries", "2", "--message-id", "m-1", "--json"),
        *("--timeout", "200", "--require-receipt"),
    )
    assert sent.code == 0, sent.err
    message = await stored(here, sent.json)
    assert (message.conversation_id, message.protocol) == ("c-1", "fipa-query")
    assert (message.reply_with, message.in_reply_to) == ("r-1", "q-0")
    assert message.reply_to == ("carol@caxton",)
    assert (message.language, message.ontology) == ("en", "o")
    assert (message.priority, message.max_retries) == (Priority.CRITICAL, 2)
    assert (message.timeout, message.require_receipt) == (200, True)
    assert message.reply_by is not None
    assert message.created_at is not None
    assert 50 < (message.reply_by - message.created_at).total_seconds() <= 61


async def test_content_comes_from_an_argument_a_file_or_stdin(
    caxton: Caxton, here: Here, tmp_path: Path
) -> None:
    """A file's bytes arrive exactly; text and JSON arrive as they were typed."""
    await caxton("agents", "register", "bob")
    data = bytes(range(256))
    (tmp_path / "data").write_bytes(data)
    for options, stdin, content in (
        (("--file", str(tmp_path / "data")), b"", data),
        (("--file", "-"), data, data),
        (("--content", "-"), b'{"a": [1]}', b'{"a": [1]}'),
    ):
        sent = await caxton("send", "alice", "inform", "bob", *options, "--json", stdin=stdin)
        assert sent.code == 0, sent.err
        assert content_bytes(await stored(here, sent.json)) == content


async def test_the_same_message_id_is_one_message(caxton: Caxton, here: Here) -> None:
    """A second try with the same id is reported as a duplicate, and stores nothing."""
    await caxton("agents", "register", "bob")
    command = ("send", "alice", "inform", "bob", "--text", "hello", "--message-id", "m-1")
    await caxton(*command)
    again = await caxton(*command)
    assert again.code == 0
    assert "duplicate" in again.out
    assert (await caxton("agents", "show", "bob", "--json")).json["pending"] == 1


async def test_a_partial_failure_is_shown_and_has_its_own_exit_code(
    caxton: Caxton, here: Here
) -> None:
    """Of two receivers one is unknown: the other has the message, and the exit code is 5."""
    await caxton("agents", "register", "bob")
    sent = await caxton("send", "alice", "inform", "bob", "nobody", "--json")
    assert sent.code == 5
    bob, nobody = sent.json["receivers"]
    assert bob["sequence"] == 1
    assert nobody["error"]["code"] == "AgentNotFound"
    shown = await caxton("send", "alice", "inform", "bob", "nobody")
    assert "AgentNotFound: no agent nobody@caxton is registered" in shown.out


async def test_what_the_bus_refuses_exits_with_1(caxton: Caxton, here: Here) -> None:
    """No receiver, a full mailbox and a wrong performative are refusals with their details."""
    await caxton("agents", "register", "bob")
    unknown = await caxton("send", "alice", "inform", "nobody", "--json")
    assert (unknown.code, unknown.error["code"]) == (1, "AgentNotFound")
    wrong = await caxton("send", "alice", "shout", "bob", "--json")
    assert (wrong.code, wrong.error["field"]) == (1, "performative")
    for _ in range(here.chosen.queue_size):
        assert (await caxton("send", "alice", "inform", "bob")).code == 0
    full = await caxton("send", "alice", "inform", "bob")
    assert full.code == 1
    assert f"limit: {here.chosen.queue_size}" in full.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--content", "hello"), "--text"),
        (("--content", "1", "--text", "1"), "one of --content"),
        (("--file", "/nonexistent"), "No such file"),
        (("--reply-by", "soon"), "--reply-by is a number of seconds"),
        (("--reply-by", "2030-01-01T00:00:00"), "--reply-by is a number of seconds"),
        (("--priority", "urgent"), "--priority"),
    ],
)
async def test_a_wrong_option_is_a_usage_error_before_anything_is_sent(
    caxton: Caxton, options: tuple[str, ...], said: str
) -> None:
    """Exit code 2, and words that say what to write instead; no server is needed for it."""
    wrong = await caxton("send", "alice", "inform", "bob", *options)
    assert wrong.code == 2
    assert wrong.err.startswith("error: ")
    assert said in wrong.err


async def test_a_capability_as_receiver(caxton: Caxton, here: Here) -> None:
    """The receipt names who was chosen and why, in the table and in JSON."""
    await caxton("agents", "register", "bob", "--capability", "shout:v2.0")
    sent = ("send", "alice", "request", "capability:shout", "--strategy", "round-robin")
    table = (await caxton(*sent)).out
    assert "bob@caxton" in table
    assert "its turn, of 1 that offer shout" in table
    (receiver,) = (await caxton(*sent, "--router", "service", "--json")).json["receivers"]
    assert (receiver["receiver"], receiver["target"]) == ("bob@caxton", "capability:shout")
    assert receiver["reason"].startswith("its turn")
    failed = await caxton("send", "alice", "request", "capability:shoot")
    assert failed.code == 1
    assert "nobody offers shoot [NoCapableAgent]" in failed.err
    assert "next: near it: shout (1 available)" in failed.err
