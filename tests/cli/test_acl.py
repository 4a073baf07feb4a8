"""Messages in FIPA's own encodings on the command line: sent from a file, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caxton_nats.core.envelope import content_value
from caxton_nats.core.representation import Representation, decode, encode
from tests.cli.conftest import Caxton, Here, Start
from tests.cli.test_send import stored
from tests.core.sample import NOON, sample

MESSAGE = """
(request
  :receiver (set (agent-identifier :name bob))
  :content "((action (agent-identifier :name bob) (open \\"door\\")))"
  :language fipa-sl :protocol fipa-request :conversation-id c-1 :reply-with r-1
  :reply-by +00000000T001000000 :X-Note ü)
"""


@pytest.mark.parametrize("router", ["embedded", "service"])
async def test_a_string_message_is_sent(
    caxton: Caxton, here: Here, tmp_path: Path, router: str
) -> None:
    """A file with FIPA's string is a message; who sends it may stand before it."""
    await caxton("agents", "register", "bob")
    file = tmp_path / "file.acl"
    file.write_text(MESSAGE)
    sent = await caxton("send", "alice", "--acl", str(file), "--router", router, "--json")
    assert sent.code == 0, sent.err
    message = await stored(here, sent.json)
    assert (message.sender, message.receiver) == ("alice@caxton", ("bob@caxton",))
    assert (message.performative, message.reply_with) == ("request", "r-1")
    assert content_value(message) == '((action (agent-identifier :name bob) (open "door")))'
    assert message.user_defined == {"X-Note": "ü"}
    assert message.reply_by is not None


@pytest.mark.parametrize("to", [*Representation, None])
async def test_any_encoding_from_stdin(
    caxton: Caxton, here: Here, to: Representation | None
) -> None:
    """Which encoding it is shows by its first character; its sender may stand in it."""
    await caxton("agents", "register", "bob")
    names = {"sender": "alice@caxton", "receiver": ("bob",), "created_at": None, "message_id": ""}
    message = sample(**names)
    data = b'{"performative":"inform","sender":"alice","to":"bob","content":{"n":1}}'
    written = data if to is None else encode(message, to)
    sent = await caxton("send", "--acl", "-", "--message-id", "m-7", "--json", stdin=written)
    assert sent.code == 0, sent.err
    found = await stored(here, sent.json)
    assert (found.message_id, found.sender, content_value(found)) == (
        "m-7",
        "alice@caxton",
        {"n": 1},
    )


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (("alice", "--acl", "-"), b"(inform :receiver bob", 1, "at line 1, column 22 is the end"),
        (("alice", "--acl", "-"), b"<fipa-message>", 1, "has no attribute act, at line 1"),
        (("alice", "--acl", "-"), b"\xfa\x10\x08", 1, "at byte 3 something is cut off"),
        (("alice", "--acl", "-"), b"hello", 1, "not a JSON object"),
        (("bob", "--acl", "-"), b"(inform :sender eve :receiver bob)", 1, "the body says it is from"),
        (("--acl", "-"), b"(inform :receiver bob)", 2, "nobody sends it"),
        (("alice", "inform", "--acl", "-"), b"", 2, "--acl has the whole"),
        (("alice", "--acl", "-", "--text", "x"), b"", 2, "--acl has the whole"),
        (("alice", "--acl", "/no/such"), b"", 2, "--acl /no/such cannot be read"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent(
    caxton: Caxton, here: Here, arguments: tuple[str, ...], stdin: bytes, code: int, said: str
) -> None:
    """What is wrong is said with its place, and nothing is sent."""
    sent = await caxton("send", *arguments, stdin=stdin)
    assert (sent.code, said in " ".join(sent.err.replace("│", " ").split())) == (code, True), (
        sent.err
    )


@pytest.mark.parametrize("to", Representation)
async def test_a_stored_message_is_shown(
    caxton: Caxton, here: Here, start: Start, to: Representation
) -> None:
    """`messages show --acl` writes what can be sent again as it is, large content and all."""
    for name in ("alice", "bob"):
        await caxton("agents", "register", name)
    large = json.dumps("x" * 1_040_000)
    for number, text in enumerate(('{"n": 1}', large)):
        sent = ("send", "alice", "inform", "bob", "--content", "-", "--message-id", f"m-{number}")
        assert (await caxton(*sent, stdin=text.encode())).code == 0
        shown = await start("messages", "show", "bob", f"m-{number}", "--acl", to.short)
        assert shown.process.stdout is not None
        data = await shown.process.stdout.read()
        message = decode(data, to, max_bytes=len(data), now=NOON)
        assert (message.sender, message.message_id) == ("alice@caxton", f"m-{number}")
        assert content_value(message) == json.loads(text)


async def test_one_way_to_show(caxton: Caxton, here: Here) -> None:
    """Two ways at once contradict each other."""
    shown = await caxton("messages", "show", "bob", "m-1", "--acl", "xml", "--json")
    assert (shown.code, "give one of --raw, --acl and --json" in shown.err) == (2, True)
