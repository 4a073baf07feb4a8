"""Ask once and wait for the answer, without disturbing an agent of the same name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import msgspec

from caxton_nats.core.disposition import Retry
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import AgentNotResponding, CaxtonError
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId, local_part
from caxton_nats.core.performatives import FINAL_ANSWERS
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Submission
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context

_LATER = timedelta(hours=1)
"""Mail for somebody else goes back for this long: beyond the life of this command."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, of whom."""

    sender: AgentId
    receiver: str
    act: str
    content: msgspec.Raw
    encoding: str
    conversation_id: str
    protocol: str


async def ask(
    platform: Platform,
    question: Question,
    *,
    seconds: float,
    on_agree: Callable[[AgentId], None],
) -> Envelope:
    """Send the question and return the final answer to it.

    Args:
        platform: where.
        question: what.
        seconds: how long to wait; the question itself expires then, too.
        on_agree: is told who promised an answer.

    Raises:
        AgentNotResponding: no final answer in time.
        CaxtonError: the question could not be sent.
    """
    token = platform.ports.ids.new_id()
    answered: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
    waiting = Agent(await _free_name(platform, question.sender, token))

    @waiting.on("*")
    async def receive(context: Context) -> None:
        if context.envelope.in_reply_to != token:
            raise Retry(_LATER, "not for the one who waits here")
        if context.performative not in FINAL_ANSWERS:
            on_agree(context.sender)
        elif not answered.done():
            answered.set_result(context.envelope)

    try:
        await waiting.start(platform)
        await _send(platform, question, token, seconds, waiting.id)
        return await asyncio.wait_for(answered, seconds)
    except TimeoutError:
        raise AgentNotResponding(
            f"{question.receiver} did not answer the {question.act} in time",
            field="timeout",
            limit=f"{seconds:g} s",
            hint="is it running? see `caxton agents`; the request has expired",
        ) from None
    finally:
        await waiting.leave()


async def _free_name(platform: Platform, sender: AgentId, token: str) -> str:
    """Return the sender's own name if nobody has it and no mail lies there, else a fresh one.

    Whoever starts as an agent takes over its registration and takes its mail out of the mailbox.
    """
    known = await platform.ports.registry_store.load(sender)
    if known is None and not (await platform.ports.mailboxes.status(sender)).pending:
        return sender
    return f"{local_part(sender)[:200]}-asks-{token[:8]}"


async def _send(
    platform: Platform, question: Question, token: str, seconds: float, waiting: AgentId
) -> None:
    message = Envelope(
        message_id=MessageId(platform.ports.ids.new_id()),
        performative=question.act,
        receiver=(AgentId(question.receiver),),
        content=question.content,
        encoding=question.encoding,
        conversation_id=ConversationId(question.conversation_id),
        protocol=question.protocol,
        reply_with=token,
        reply_to=() if waiting == question.sender else (waiting,),
        reply_by=platform.ports.clock.now() + timedelta(seconds=seconds),
    )
    (result,) = await platform.door.send([Submission(sender=question.sender, envelope=message)])
    if isinstance(result, CaxtonError):
        raise result
