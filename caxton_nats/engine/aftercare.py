"""What a message asks for beyond being stored, done between its PubAck and its receipt.

A message with a deadline gets a timer, one that requires receipts its first stage, and urgent mail
is announced. If that fails, the receiver's outcome is the error although the message is stored:
sending again under the same message id is safe, and makes it good.
"""

from __future__ import annotations

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Address
from caxton_nats.engine import deadlines, stored
from caxton_nats.engine.receipts import Stages
from caxton_nats.ports import Letter, Ports, Stored


def is_urgent(ports: Ports, agent: AgentId, subject: str) -> bool:
    """Return whether what lies on this subject is the agent's urgent mail."""
    return subject == ports.mailboxes.address(agent, urgent=True).subject


def way(ports: Ports, agent: AgentId, ordinary: Address, *, urgent: bool) -> Address:
    """Return where mail goes; what waits for a link to another platform has one way only."""
    if urgent and ordinary == ports.mailboxes.address(agent):
        return ports.mailboxes.address(agent, urgent=True)
    return ordinary


def is_wanted(envelope: Envelope, *, urgent: bool) -> bool:
    """Return whether there is anything to do; for most messages there is not."""
    return urgent or envelope.require_receipt or envelope.reply_by is not None


async def give(
    ports: Ports, envelope: Envelope, letter: Letter, result: Stored, *, urgent: bool
) -> Stored | CaxtonError:
    """Do it, and return the result, or why it could not be done."""
    origin, receiver = Origin(result.stream, result.sequence), letter.receiver
    try:
        if urgent:
            await ports.mailboxes.announce(receiver)
        if result.duplicate:
            # What is stored counts: a timeout of this second try would end later.
            first = await ports.mailboxes.get(origin)
            if first is None:
                return result
            envelope = stored.readable(first.body) or envelope
        await Stages(ports).accepted(envelope, receiver, origin)
        # For mail to another platform its forwarder looks at the time, and so do those behind it.
        if envelope.reply_by is not None and not ports.links.holds(origin):
            await deadlines.watch(ports, origin, receiver, envelope.reply_by)
    except CaxtonError as error:
        return error
    return result
