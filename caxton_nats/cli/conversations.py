"""``caxton conversations``: who talks with whom, how far they are, and what has ended."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, Limit, NatsUrl, connected, noun, work
from caxton_nats.cli.output import facts, show, table
from caxton_nats.core.conversation import Conversation
from caxton_nats.core.errors import ConversationNotFound
from caxton_nats.core.identifiers import check_conversation_id
from caxton_nats.core.verdict import Interaction

conversations = noun("Conversations among agents.")
Id = Annotated[str, typer.Argument(metavar="ID")]


@conversations.command("list", epilog="Example: caxton conversations list --agent bob --limit 20")
def list_conversations(
    *,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="Only those it takes part in.")
    ] = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="Those that have ended, the latest first.")
    ] = False,
    limit: Limit = 100,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """List conversations, the latest activity first."""

    async def listed() -> int:
        async with connected(nats_url) as platform:
            whose = platform.agent_id(agent) if agent else None
            found = await platform.conversations.list(agent=whose, archived=archived, limit=limit)
        rows = [
            (
                one.conversation_id,
                one.protocol or "-",
                one.message_count,
                one.participants,
                one.last_performative,
                one.last_activity,
                *((one.ended_by,) if archived else ()),
            )
            for one in found
        ]
        titles = ("conversation", "protocol", "messages", "participants", "last", "last activity")
        show(
            {"conversations": [_document(one) for one in found]},
            table(
                *(*titles, "ended by") if archived else titles,
                rows=rows,
                right=("messages",),
                empty="no archived conversations" if archived else "no conversations",
            ),
            as_json=as_json,
        )
        return Exit.OK

    return work(listed())


@conversations.command("show", epilog="Example: caxton conversations show order-17")
def show_conversation(
    conversation_id: Id, *, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """Show one conversation's record, also if it has ended."""

    async def shown() -> int:
        async with connected(nats_url) as platform:
            record = await platform.conversations.get(check_conversation_id(conversation_id))
        if record is None:
            raise ConversationNotFound(
                "there is no such conversation",
                field="conversation_id",
                value=conversation_id,
                hint="see `caxton conversations`",
            )
        show(_document(record), _facts(record), as_json=as_json)
        return Exit.OK

    return work(shown())


@conversations.command("archive", epilog="Example: caxton conversations archive order-17")
def archive_conversation(
    conversation_id: Id, *, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """End a conversation: it stays readable, and its later messages are refused."""

    async def archived() -> int:
        async with connected(nats_url) as platform:
            record = await platform.conversations.archive(check_conversation_id(conversation_id))
        show(_document(record), _facts(record), as_json=as_json)
        return Exit.OK

    return work(archived())


@conversations.command("stats", epilog="Example: caxton conversations stats --json")
def conversation_stats(*, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Count conversations: how many, how long they last, and how many talk in them."""

    async def counted() -> int:
        async with connected(nats_url) as platform:
            found = await platform.conversations.statistics()
        pairs = {
            "active": found.total_active,
            "ever created": found.total_created,
            "mean duration": f"{found.average_duration_ms / 1000:.1f} s",
            "mean messages": f"{found.average_message_count:.1f}",
        }
        rows = sorted(found.participants_distribution.items())
        show(
            msgspec.to_builtins(found, str_keys=True),
            facts(pairs),
            *(("", table("participants", "conversations", rows=rows)) if rows else ()),
            as_json=as_json,
        )
        return Exit.OK

    return work(counted())


def _facts(record: Conversation) -> Table:
    talk = record.interaction or Interaction()
    return facts(
        {
            "conversation": record.conversation_id,
            "protocol": record.protocol,
            "states": [f"{agent} {state}" for agent, state in talk.states.items()],
            "illegal acts": talk.illegal or "",
            "messages": record.message_count,
            "participants": record.participants,
            "last": record.last_performative,
            "last message": record.last_message,
            "created": record.created_at,
            "last activity": record.last_activity,
            "expires": "" if record.ended_at else record.expires_at,
            "ended": record.ended_at or "",
            "ended by": record.ended_by or "",
        }
    )


def _document(record: Conversation) -> dict[str, object]:
    """Return every field: a record leaves out those that have their default.

    What it remembers of its messages is left out; it says nothing to anybody.
    """
    names = [name for name in record.__struct_fields__ if name != "thread"]
    document = {name: msgspec.to_builtins(getattr(record, name)) for name in names}
    document["timeout"] = record.timeout.total_seconds()
    return document
