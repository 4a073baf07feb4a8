"""``caxton conversations``: who talks with whom, and how far they are."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, Limit, NatsUrl, connected, noun, work
from caxton_nats.cli.output import NotFound, facts, show, table
from caxton_nats.core.conversation import Conversation
from caxton_nats.core.identifiers import check_conversation_id

conversations = noun("Conversations among agents.")


@conversations.command("list", epilog="Example: caxton conversations --limit 20")
def list_conversations(
    *, limit: Limit = 100, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """List conversations, the latest activity first."""

    async def listed() -> int:
        async with connected(nats_url) as platform:
            found = await platform.ports.conversations.list(limit=limit)
        rows = [
            (
                one.conversation_id,
                one.protocol or "-",
                one.message_count,
                one.participants,
                one.last_performative,
                one.last_activity,
            )
            for one in found
        ]
        titles = ("conversation", "protocol", "messages", "participants", "last", "last activity")
        show(
            {"conversations": [_document(one) for one in found]},
            table(*titles, rows=rows, right=("messages",), empty="no conversations"),
            as_json=as_json,
        )
        return Exit.OK

    return work(listed())


@conversations.command("show", epilog="Example: caxton conversations show order-17")
def show_conversation(
    conversation_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show one conversation's record."""

    async def shown() -> int:
        async with connected(nats_url) as platform:
            found = await platform.ports.conversations.load(check_conversation_id(conversation_id))
        if found is None:
            raise NotFound(
                "there is no such conversation",
                field="conversation_id",
                value=conversation_id,
                hint="see `caxton conversations`",
            )
        record = found[0]
        lines = facts(
            {
                "conversation": record.conversation_id,
                "protocol": record.protocol,
                "messages": record.message_count,
                "participants": record.participants,
                "last": record.last_performative,
                "created": record.created_at,
                "last activity": record.last_activity,
                "recent messages": record.recent_ids,
            }
        )
        show(_document(record), lines, as_json=as_json)
        return Exit.OK

    return work(shown())


def _document(record: Conversation) -> dict[str, object]:
    """Return every field: a record leaves out those that have their default."""
    names = record.__struct_fields__
    return {name: msgspec.to_builtins(getattr(record, name)) for name in names}
