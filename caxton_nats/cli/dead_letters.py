"""``caxton dlq``: what could not be delivered or handled, and its way back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.letters import (
    DiedAt,
    DryRun,
    NewerThan,
    OfAgent,
    OfConversation,
    OfSender,
    OlderThan,
    Rate,
    Reason,
    Wanted,
    stopping,
    work_off,
)
from caxton_nats.cli.options import AsJson, Limit, NatsUrl, connected, noun, work
from caxton_nats.cli.output import as_text, facts, moment, say, show, table
from caxton_nats.core.dead_letter import DeadLetter, Death
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.redrive import no_such_letter

dead_letters = noun("Dead letters: look at them, send them again, or drop them.")
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]


@dead_letters.command("list", epilog="Example: caxton dlq list --agent bob --limit 20")
def list_letters(  # noqa: PLR0913 - one parameter per option
    *,
    agent: OfAgent = None,
    reason: Reason = None,
    sender: OfSender = None,
    stage: DiedAt = None,
    conversation: OfConversation = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 100,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """List dead letters, the newest first."""
    wanted = Wanted(
        agent=agent,
        reason=reason,
        sender=sender,
        stage=stage,
        conversation=conversation,
        older_than=older_than,
        newer_than=newer_than,
    )

    async def listed() -> int:
        async with connected(nats_url) as platform:
            which = wanted.selection(platform)
            found = await platform.ports.dead_letters.list(which, limit=limit)
        rows = [
            (
                *(one.id, one.agent, one.reason, one.attempts, one.redrives),
                *(one.last_at, one.last_error.get("reason")),
            )
            for one in found
        ]
        titles = ("id", "agent", "reason", "attempts", "redriven", "died", "error")
        show(
            {"dead_letters": [_document(one) for one in found]},
            table(*titles, rows=rows, right=("attempts", "redriven"), empty="no dead letters"),
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
                raise no_such_letter(letter_id)
            try:
                original = await platform.redrive.original(letter)
            except InvalidEnvelope as error:
                if not raw:
                    show(_document(letter), _facts(letter), as_json=as_json)
                raise error from None
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


@dead_letters.command("redrive", epilog="Example: caxton dlq redrive --agent bob --rate 10")
def redrive(  # noqa: PLR0913 - one parameter per option
    ids: Ids = None,
    *,
    every: All = False,
    agent: OfAgent = None,
    reason: Reason = None,
    sender: OfSender = None,
    stage: DiedAt = None,
    conversation: OfConversation = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also what was redriven often enough, or will die again."),
    ] = False,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Send messages on their way again, the oldest first; twice is once."""
    wanted = Wanted(
        agent=agent,
        reason=reason,
        sender=sender,
        stage=stage,
        conversation=conversation,
        older_than=older_than,
        newer_than=newer_than,
    )
    _check_choice(ids, wanted, every=every)

    async def redriven() -> int:
        # In this process, whatever the setting: no request can carry what a message died of before.
        async with connected(nats_url, "embedded") as platform:
            with stopping() as stop:
                which = ids or wanted.selection(platform)
                did = "would be redriven" if dry_run else "redriven"
                ended = platform.redrive.redrive_all(
                    which, rate=rate, force=force, dry_run=dry_run, stop=stop
                )
                return await work_off(ended, did, stop, as_json=as_json)

    return work(redriven())


@dead_letters.command("discard", epilog="Example: caxton dlq discard CAXTON_MAILBOX_3-17")
def discard(  # noqa: PLR0913 - one parameter per option
    ids: Ids = None,
    *,
    every: All = False,
    agent: OfAgent = None,
    reason: Reason = None,
    sender: OfSender = None,
    stage: DiedAt = None,
    conversation: OfConversation = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    sure: Annotated[
        bool, typer.Option("--yes", help="Do not ask; needed unless you name each letter.")
    ] = False,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Remove dead letters for good, the oldest first."""
    wanted = Wanted(
        agent=agent,
        reason=reason,
        sender=sender,
        stage=stage,
        conversation=conversation,
        older_than=older_than,
        newer_than=newer_than,
    )
    _check_choice(ids, wanted, every=every)
    if not (ids or sure or dry_run):
        raise typer.BadParameter("this removes dead letters for good: say --yes, too")

    async def discarded() -> int:
        async with connected(nats_url) as platform:
            with stopping() as stop:
                which = ids or wanted.selection(platform)
                did = "would be discarded" if dry_run else "discarded"
                ended = platform.redrive.discard_all(which, rate=rate, dry_run=dry_run, stop=stop)
                return await work_off(ended, did, stop, as_json=as_json)

    return work(discarded())


def _check_choice(ids: Sequence[str] | None, wanted: Wanted, *, every: bool) -> None:
    if sum((bool(ids), wanted.is_narrow, every)) != 1:
        raise typer.BadParameter(
            "say which: ids of dead letters, options such as --agent NAME, or --all (one of them)"
        )


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
            "redriven before": letter.redrives or None,
            "died before": [_earlier(death) for death in letter.history],
            "headers": [f"{name}: {value}" for name, value in letter.headers.items()],
        }
    )


def _earlier(death: Death) -> str:
    return (
        f"{moment(death.at)} {death.reason} at {death.stage} after {death.attempts} attempts:"
        f" {death.error}"
    )
