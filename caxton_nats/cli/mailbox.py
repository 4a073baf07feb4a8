"""``caxton messages``: what waits in a mailbox, and taking a message out of it."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, Limit, NatsUrl, connected, noun, work
from caxton_nats.cli.output import as_text, facts, say, show, table
from caxton_nats.core.envelope import with_content
from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.representation import Representation, encode, representation
from caxton_nats.engine.messages import PendingMessage

RepresentationName = Literal["string", "xml", "bitefficient"]
messages = noun("Messages that wait in a mailbox.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose mailbox: local or local@platform")]
Which = Annotated[
    str, typer.Argument(metavar="ID", help="The message id, or its place (CAXTON_MAILBOX_3-17).")
]


@messages.command("list", epilog="Example: caxton messages list bob --limit 20")
def list_messages(
    name: Name, *, limit: Limit = 100, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """List what waits for an agent, the newest first, also what it has in hand."""

    async def listed() -> int:
        async with connected(nats_url) as platform:
            found = await platform.messages.list(platform.agent_id(name), limit=limit)
        rows = [
            (
                one.origin.key,
                one.envelope.message_id if one.envelope else "-",
                one.envelope.performative if one.envelope else "not readable",
                one.envelope.sender if one.envelope else "-",
                one.envelope.conversation_id or "-" if one.envelope else "-",
                one.stored_at,
                len(one.body),
            )
            for one in found
        ]
        titles = ("place", "message", "performative", "sender", "conversation", "stored", "bytes")
        show(
            {"messages": [_document(one) for one in found]},
            table(*titles, rows=rows, right=("bytes",), empty="no messages"),
            as_json=as_json,
        )
        return Exit.OK

    return work(listed())


@messages.command("show", epilog="Example: caxton messages show bob CAXTON_MAILBOX_3-17")
def show_message(
    name: Name,
    which: Which,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the stored bytes, exactly, to a file or pipe.")
    ] = False,
    acl: Annotated[
        RepresentationName | None,
        typer.Option("--acl", help="Write it in one of FIPA's encodings, content and all."),
    ] = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show one message and its content; nothing happens to it."""
    if sum((raw, acl is not None, as_json)) > 1:
        raise typer.BadParameter("give one of --raw, --acl and --json")
    if (raw or acl == "bitefficient") and sys.stdout.isatty():
        raise typer.BadParameter("that would let strangers write to your terminal: redirect it")

    async def shown() -> int:
        async with connected(nats_url) as platform:
            found = await platform.messages.get(platform.agent_id(name), which)
            content = b"" if raw else await platform.messages.content(found)
        if raw:
            _write(found.body)
        elif acl is not None:
            _write(_encoded(found, content, representation(acl)))
        elif as_json:
            show({**_document(found), **_content(content)}, as_json=True)
        else:
            say(_facts(found), "", f"content ({len(content)} bytes):", as_text(content))
        return Exit.OK

    return work(shown())


@messages.command("remove", epilog="Example: caxton messages remove bob CAXTON_MAILBOX_3-17")
def remove_message(
    name: Name, which: Which, *, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """Take a message out of a mailbox; it becomes a dead letter, and its sender is told."""

    async def removed() -> int:
        async with connected(nats_url) as platform:
            letter = await platform.messages.remove(platform.agent_id(name), which)
        show(
            {"removed": letter.message_id, "dead_letter": letter.id},
            f"removed; it is the dead letter {letter.id}",
            as_json=as_json,
        )
        return Exit.OK

    return work(removed())


def _encoded(message: PendingMessage, content: bytes, to: Representation) -> bytes:
    """Return a message in one of FIPA's encodings, with its content wherever that lies."""
    if message.envelope is None:
        raise MalformedEnvelope("is no message; --raw writes its bytes", field=message.origin.key)
    whole = message.envelope
    return encode(with_content(whole, content) if whole.claim else whole, to)


def _write(data: bytes) -> None:
    """Write bytes as they are, but nothing that steers a terminal."""
    if sys.stdout.isatty():
        say(as_text(data))
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _document(message: PendingMessage) -> dict[str, Any]:
    """Return where it lies and what it is, without its content, which may be large."""
    envelope: dict[str, Any] | None = None
    if message.envelope is not None:
        names = (name for name in message.envelope.__struct_fields__ if name != "content")
        envelope = {name: msgspec.to_builtins(getattr(message.envelope, name)) for name in names}
    return {
        "agent": message.agent,
        "place": message.origin.key,
        "stored_at": msgspec.to_builtins(message.stored_at),
        "bytes": len(message.body),
        "headers": dict(message.headers),
        "envelope": envelope,
    }


def _content(content: bytes) -> dict[str, str]:
    """Return the bytes as text where they are text, else as base64."""
    try:
        return {"content": content.decode("utf-8"), "content_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"content": msgspec.to_builtins(content), "content_encoding": "base64"}


def _facts(message: PendingMessage) -> Any:
    document = _document(message)
    envelope = document["envelope"] or {"performative": "not readable"}
    return facts(
        {
            "place": document["place"],
            "stored": message.stored_at,
            "bytes": document["bytes"],
            **{name.replace("_", " "): value for name, value in envelope.items() if value},
            "headers": [f"{name}: {value}" for name, value in message.headers.items()],
        }
    )
