"""``caxton send`` and ``caxton request``: speak as an agent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import typer

from caxton_nats.cli import exits
from caxton_nats.cli.asking import Question, ask
from caxton_nats.cli.content import (
    AclOption,
    ContentOption,
    FileOption,
    TextOption,
    read_content,
    read_file,
    whole,
)
from caxton_nats.cli.options import AsJson, NatsUrl, RouterChoice, connected, work
from caxton_nats.cli.output import as_text, say, show, table, warn
from caxton_nats.core.envelope import Envelope, Priority, content_bytes
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.performatives import Performative
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.answers import result_body
from caxton_nats.ports import Receipt, Submission

Sender = Annotated[str, typer.Argument(metavar="SENDER", help="Who sends; need not be registered.")]
Conversation = Annotated[
    str | None, typer.Option("--conversation", metavar="ID", help="The conversation it is part of.")
]
Protocol = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME", help="Interaction protocol, as fipa-request."),
]
MessageIdOption = Annotated[
    str | None,
    typer.Option(
        "--message-id", metavar="ID", help="Of a message that may have been sent already."
    ),
]
PriorityName = Literal["low", "normal", "high", "critical"]
PriorityOption = Annotated[
    PriorityName | None, typer.Option("--priority", help="Higher goes first in a mailbox.")
]
StrategyName = Literal["one", "all", "round-robin", "least-loaded", "affinity"]
StrategyOption = Annotated[
    StrategyName | None,
    typer.Option("--strategy", help="Who of those that offer a capability gets it."),
]
Retries = Annotated[
    int | None,
    typer.Option("--max-retries", min=1, max=10, help="Attempts after the first one."),
]


def send(  # noqa: PLR0913 - one parameter per field of a message
    sender: Annotated[
        str | None, typer.Argument(metavar="SENDER", help="Who sends; need not be registered.")
    ] = None,
    performative: Annotated[
        str | None, typer.Argument(metavar="PERFORMATIVE", help="As inform, request.")
    ] = None,
    receivers: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECEIVER...", help="Agents, or capability:NAME[:VERSION]."),
    ] = None,
    *,
    acl: AclOption = None,
    content: ContentOption = None,
    text: TextOption = None,
    file: FileOption = None,
    conversation: Conversation = None,
    protocol: Protocol = None,
    reply_by: Annotated[
        str | None,
        typer.Option(
            "--reply-by", metavar="TIME", help="Seconds from now, or 2030-01-31T12:00:00Z."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="1 to 300; as --reply-by, from receipt."),
    ] = None,
    reply_with: Annotated[
        str | None, typer.Option("--reply-with", metavar="TOKEN", help="What answers refer to.")
    ] = None,
    in_reply_to: Annotated[
        str | None,
        typer.Option("--in-reply-to", metavar="TOKEN", help="What this is the answer to."),
    ] = None,
    reply_to: Annotated[
        list[str] | None,
        typer.Option("--reply-to", metavar="AGENT", help="Who gets the answers; may be repeated."),
    ] = None,
    language: Annotated[str | None, typer.Option("--language", help="Of the content.")] = None,
    ontology: Annotated[str | None, typer.Option("--ontology", help="Of the content.")] = None,
    strategy: StrategyOption = None,
    priority: PriorityOption = None,
    max_retries: Retries = None,
    require_receipt: Annotated[
        bool, typer.Option("--require-receipt", help="Keep on record how far it comes.")
    ] = False,
    message_id: MessageIdOption = None,
    router: RouterChoice = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Send a message, and print its receipt once it is durable."""
    raw, encoding = read_content(content, text, file)
    fields: dict[str, Any] = {
        "conversation_id": conversation,
        "protocol": protocol,
        "reply_with": reply_with,
        "in_reply_to": in_reply_to,
        "reply_to": tuple(AgentId(name) for name in reply_to or ()),
        "language": language,
        "ontology": ontology,
        "strategy": strategy,
        "priority": Priority[priority.upper()] if priority else None,
        "timeout": timeout,
        "max_retries": max_retries,
        "require_receipt": require_receipt,
        "message_id": message_id,
        "encoding": encoding,
    }
    until = moment(reply_by)
    known = {name: value for name, value in fields.items() if value not in (None, "", (), False)}
    others = bool({*known} - {"message_id"} or raw or until or performative or receivers)
    if acl is None:
        _refuse_missing(sender, performative, receivers)
    elif others:
        raise typer.BadParameter("--acl has the whole message: add only SENDER and --message-id")
    written = read_file(acl, "--acl") if acl is not None else None

    async def sent() -> int:
        async with connected(nats_url, router) as platform:
            now = platform.ports.clock.now()
            message = (
                whole(written, now)
                if written is not None
                else Envelope(
                    performative=performative or "",
                    receiver=tuple(map(AgentId, receivers or ())),
                    content=raw,
                    reply_by=now + until if isinstance(until, timedelta) else until,
                    **known,
                )
            )
            receipt = await _send(platform, sender, message, message_id)
        return _show_receipt(receipt, as_json=as_json)

    return work(sent())


def request(  # noqa: PLR0913 - one parameter per field of a message
    sender: Sender,
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="Who is asked.")],
    *,
    content: ContentOption = None,
    text: TextOption = None,
    file: FileOption = None,
    act: Annotated[
        str, typer.Option("--act", help="Another act that expects an answer, as query-ref.")
    ] = Performative.REQUEST.value,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0.1,
            show_default="30, or the setting reply_timeout",
            help="Seconds to wait; becomes reply-by, too.",
        ),
    ] = None,
    conversation: Conversation = None,
    protocol: Protocol = "fipa-request",
    router: RouterChoice = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Ask an agent, wait for its final answer and print it.

    The sender is registered while it waits, and deregistered afterwards. If it is somebody's agent
    already, or has mail, that is left alone: the answer is asked for under a name of its own.
    """
    raw, encoding = read_content(content, text, file)

    async def asked() -> int:
        async with connected(nats_url, router) as platform:
            question = Question(
                sender=platform.agent_id(sender),
                receiver=receiver,
                act=act,
                content=raw,
                encoding=encoding,
                conversation_id=conversation or platform.ports.ids.new_id(),
                protocol=protocol or "",
            )
            answer = await ask(
                platform,
                question,
                seconds=timeout or platform.mailbox_options.reply_timeout.total_seconds(),
                on_agree=lambda who: None if as_json else warn(f"{who} agreed; waiting"),
            )
        _show_answer(answer, as_json=as_json)
        return exits.of_answer(answer.performative)

    return work(asked())


def moment(text: str | None) -> datetime | timedelta | None:
    """Return a point in time, or a time from now, as it was typed; or raise `BadParameter`."""
    if text is None:
        return None
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(
            "--reply-by is a number of seconds from now, or a time as 2030-01-31T12:00:00Z"
        )
    return found


def _refuse_missing(*given: object) -> None:
    for name, value in zip(("SENDER", "PERFORMATIVE", "RECEIVER"), given, strict=True):
        if not value:
            raise typer.BadParameter(f"Missing argument '{name}', or --acl with a whole message.")


async def _send(
    platform: Platform, sender: str | None, message: Envelope, message_id: str | None
) -> Receipt:
    sender = sender or message.sender
    if not sender:
        raise typer.BadParameter("nobody sends it: give SENDER, or :sender in the message")
    named = MessageId(message_id or message.message_id or platform.ports.ids.new_id())
    message = msgspec.structs.replace(message, message_id=named)
    submission = Submission(sender=platform.agent_id(sender), envelope=message)
    (result,) = await platform.door.send([submission])
    if isinstance(result, TransportError):
        # Nobody else knows the id, and without it a second try could be a second message.
        result.hint = f"try again with --message-id {message.message_id}"
    if isinstance(result, CaxtonError):
        raise result
    return result


def _show_receipt(receipt: Receipt, *, as_json: bool) -> int:
    failed = [outcome for outcome in receipt.outcomes if outcome.error is not None]
    rows: list[tuple[Any, ...]] = [
        (
            outcome.receiver,
            _fate(outcome.duplicate, outcome.error),
            outcome.stream,
            outcome.sequence or "",
            outcome.reason,
        )
        for outcome in receipt.outcomes
    ]
    titles = ["receiver", "outcome", "stream", "sequence"]
    if any(outcome.target for outcome in receipt.outcomes):
        titles.append("chosen")
    rows = [row[: len(titles)] for row in rows]
    show(
        result_body(receipt),
        f"message {receipt.message_id}",
        table(*titles, rows=rows, right=("sequence",)),
        as_json=as_json,
    )
    return exits.of_batch(len(receipt.outcomes) - len(failed), len(failed))


def _fate(duplicate: bool, error: CaxtonError | None) -> str:  # noqa: FBT001 - as it is stored
    if error is not None:
        return f"{error.code}: {error.reason}"
    return "stored before (duplicate)" if duplicate else "stored"


def _show_answer(answer: Envelope, *, as_json: bool) -> None:
    document: dict[str, Any] = {
        "performative": answer.performative,
        "sender": answer.sender,
        "content": _value(answer),
        "encoding": answer.encoding,
        "message_id": answer.message_id,
        "conversation_id": answer.conversation_id,
        "in_reply_to": answer.in_reply_to,
        "protocol": answer.protocol,
    }
    if as_json:
        show(document, as_json=True)
        return
    say(f"{answer.performative} from {answer.sender}")
    if answer.is_binary:
        say(f"{len(content_bytes(answer))} bytes that are no JSON; --json shows them as base64")
    elif isinstance(document["content"], str):
        say(as_text(document["content"].encode("utf-8", "backslashreplace")))
    elif bytes(answer.content):
        say(as_text(bytes(answer.content)))


def _value(answer: Envelope) -> Any:
    """Return the content as JSON shows it: bytes stay base64."""
    raw = bytes(answer.content)
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, RecursionError):
        return raw.decode("utf-8", "backslashreplace")
