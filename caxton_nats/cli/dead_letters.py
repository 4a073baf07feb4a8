"""``caxton dlq``: what could not be delivered or handled, and its way back."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import typer

from caxton_nats.cli import exits
from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, Limit, NatsUrl, connected, noun, work
from caxton_nats.cli.output import NotFound, as_text, facts, say, show, table
from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.errors import CaxtonError, ConfigurationError
from caxton_nats.engine.platform import Platform

dead_letters = noun("Dead letters: look at them, send them again, or drop them.")
_ALL = 1_000_000
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID")]
OfAgent = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's letters.")
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]


@dead_letters.command("list", epilog="Example: caxton dlq list --agent bob --limit 20")
def list_letters(
    *, agent: OfAgent = None, limit: Limit = 100, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """List dead letters, the newest first."""

    async def listed() -> int:
        async with connected(nats_url) as platform:
            whose = platform.agent_id(agent) if agent else None
            found = await platform.ports.dead_letters.list(limit=limit, agent=whose)
        rows = [
            (one.id, one.agent, one.reason, one.attempts, one.last_at, one.last_error.get("reason"))
            for one in found
        ]
        titles = ("id", "agent", "reason", "attempts", "died", "error")
        show(
            {"dead_letters": [_document(one) for one in found]},
            table(*titles, rows=rows, right=("attempts",), empty="no dead letters"),
            as_json=as_json,
        )
        return Exit.OK

    return work(listed())


@dead_letters.command("show", epilog="Example: caxton dlq show CAXTON_MAILBOX_3-17")
def show_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original bytes, exactly, to a file or pipe.")
    ] = False,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show why a message died, and its original bytes."""
    if raw and sys.stdout.isatty():
        raise typer.BadParameter("--raw would let strangers write to your terminal: redirect it")

    async def shown() -> int:
        async with connected(nats_url) as platform:
            letter = await platform.ports.dead_letters.get(letter_id)
            if letter is None:
                raise _not_found(letter_id)
            original = await platform.redrive.original(letter)
        if raw:
            sys.stdout.buffer.write(original)
            sys.stdout.buffer.flush()
        elif as_json:
            show({**_document(letter), **_original(original)}, as_json=True)
        else:
            say(_facts(letter), "", f"original message ({len(original)} bytes):", as_text(original))
        return Exit.OK

    return work(shown())


@dead_letters.command("stats", epilog="Example: caxton dlq stats --json")
def letter_statistics(*, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Show how many dead letters there are, why, how old and how large."""

    async def counted() -> int:
        async with connected(nats_url, "service") as platform:
            found = await platform.dead_letter_statistics()
        reasons = [f"{number} {reason}" for reason, number in found.messages_by_reason.items()]
        age = found.oldest_message_age_ms
        lines = facts(
            {
                "dead letters": found.total_messages,
                "by reason": reasons,
                "oldest": None if age is None else f"{timedelta(seconds=age // 1000)} ago",
                "size": f"{found.queue_size_bytes} bytes",
                "at most": found.max_messages,
            }
        )
        show(msgspec.to_builtins(found), lines, as_json=as_json)
        return Exit.OK

    return work(counted())


@dead_letters.command("redrive", epilog="Example: caxton dlq redrive --agent bob")
def redrive(
    ids: Ids = None,
    *,
    agent: OfAgent = None,
    every: All = False,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Send messages on their way again; twice is once."""
    _check_selection(ids, agent, every=every)

    async def redriven() -> int:
        async with connected(nats_url) as platform:
            chosen = ids or await _select(platform, agent)
            return await _each(chosen, platform.redrive.redrive, "redriven", as_json=as_json)

    return work(redriven())


@dead_letters.command("discard", epilog="Example: caxton dlq discard CAXTON_MAILBOX_3-17")
def discard(
    ids: Ids = None,
    *,
    every: All = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask; needed with --all.")] = False,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Remove dead letters for good."""
    _check_selection(ids, None, every=every)
    if every and not sure:
        raise typer.BadParameter("--all removes every dead letter for good: say --yes, too")

    async def discarded() -> int:
        async with connected(nats_url) as platform:
            chosen = ids or await _select(platform, None)
            return await _each(chosen, platform.redrive.discard, "discarded", as_json=as_json)

    return work(discarded())


def _check_selection(ids: Sequence[str] | None, agent: str | None, *, every: bool) -> None:
    if sum((bool(ids), agent is not None, every)) != 1:
        raise typer.BadParameter(
            "say which: ids of dead letters, --agent NAME or --all (one of them)"
        )


async def _select(platform: Platform, agent: str | None) -> list[str]:
    whose = platform.agent_id(agent) if agent else None
    found = await platform.ports.dead_letters.list(limit=_ALL, agent=whose)
    # Oldest first: what was sent first should arrive first again.
    return [letter.id for letter in reversed(found)]


async def _each(
    ids: Sequence[str],
    act: Callable[[str], Awaitable[DeadLetter]],
    done_word: str,
    *,
    as_json: bool,
) -> int:
    """Do it to each letter, whatever becomes of the others."""
    done: list[DeadLetter] = []
    failed: list[tuple[str, CaxtonError]] = []
    for letter_id in ids:
        try:
            done.append(await act(letter_id))
        except CaxtonError as error:
            gone = isinstance(error, ConfigurationError) and error.field == "id"
            failed.append((letter_id, _not_found(letter_id) if gone else error))
    rows: list[tuple[str, str, str]] = [(one.id, one.agent, done_word) for one in done]
    rows += [(name, "", f"{error.code}: {error.reason}") for name, error in failed]
    show(
        {
            done_word: [one.id for one in done],
            "failed": [{"id": name, "error": error.to_dict()} for name, error in failed],
        },
        table("id", "agent", "outcome", rows=rows, empty="no dead letters"),
        as_json=as_json,
    )
    return exits.of_batch(len(done), len(failed))


def _document(letter: DeadLetter) -> dict[str, Any]:
    """Return every field but the body, which may be large, in a stable set of keys."""
    left_out = {"body", "body_base64"}
    names = (name for name in letter.__struct_fields__ if name not in left_out)
    return {name: msgspec.to_builtins(getattr(letter, name)) for name in names}


def _original(original: bytes) -> dict[str, str]:
    """Return the bytes as text where they are text, else as base64."""
    try:
        return {"original": original.decode("utf-8"), "original_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"original": msgspec.to_builtins(original), "original_encoding": "base64"}


def _facts(letter: DeadLetter) -> Any:
    error = letter.last_error
    return facts(
        {
            "dead letter": letter.id,
            "agent": letter.agent,
            "reason": letter.reason,
            "error": f"{error.get('code', '')}: {error.get('reason', '')}",
            "field": error.get("field"),
            "stage": letter.stage,
            "attempts": letter.attempts,
            "first attempt": letter.first_at,
            "died": letter.last_at,
            "message": letter.message_id,
            "performative": letter.performative,
            "sender": letter.sender,
            "conversation": letter.conversation_id,
            "stored as": f"{letter.origin.stream} {letter.origin.sequence} ({letter.subject})",
            "redriven before": letter.redrives,
            "headers": [f"{name}: {value}" for name, value in letter.headers.items()],
        }
    )


def _not_found(letter_id: str) -> NotFound:
    return NotFound(
        "there is no such dead letter", field="id", value=letter_id, hint="see `caxton dlq list`"
    )
