"""validate: what the tables of its protocol say of one more message of a conversation.

The routers watch by the tables of `protocols`. They see acts in the order in which they are
recorded, which is before anybody receives them; what two sides send at the same time is recorded in
either order, so an act is no offence if it was legal for all that its sender could know. Messages
without a protocol, of an unknown one, or of another one than the conversation began with are not
judged. Content is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import ProtocolViolation
from caxton_nats.core.identifiers import AMS, AgentId, local_part
from caxton_nats.core.interaction import TO_CANCEL, Machine
from caxton_nats.core.performatives import Performative as Act
from caxton_nats.core.protocols import INIT, Role

REMEMBERED = 20
"""Verdicts other than legal that a conversation remembers, the last ones."""


class Verdict(StrEnum):
    """What the tables say of a message."""

    LEGAL = "legal"
    CROSSED = "crossed"
    """Legal before the other side's last act, which its sender may not have received."""
    EARLY = "early"
    """An answer, and nobody has seen what it answers."""
    LATE = "late"
    """The interaction is over; nothing changes."""
    ILLEGAL = "illegal"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The verdict on one message."""

    verdict: Verdict
    state: str
    """Of the pair, before the message."""
    message_id: str
    performative: str
    sender: AgentId
    participant: AgentId = AgentId("")
    """Whose pair with the initiator it is; "" if the sender is no party."""


class Interaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the interaction of a conversation is, as its record keeps it."""

    initiator: AgentId = AgentId("")
    """Who has begun it; "" until somebody has."""
    states: dict[AgentId, str] = {}
    """Of each participant's pair with the initiator."""
    cancel: str = ""
    """What an answer to the initiator's last cancel is in reply to."""
    illegal: int = 0
    findings: tuple[Finding, ...] = ()
    """The last verdicts that are not legal; of what is not among them, the verdict is legal."""


class _Step(NamedTuple):
    verdict: Verdict
    state: str
    to: str


def judge(
    machine: Machine, before: Interaction, envelope: Envelope, receivers: Sequence[AgentId]
) -> tuple[Interaction, Finding]:
    """Return the interaction after the message, and the verdict on it.

    With several receivers it is one verdict: that of the first pair with the worst one. A pair for
    which the message is illegal stays as it is.

    Args:
        machine: the protocol of the conversation.
        before: as it was; empty before its first message.
        envelope: the message, which was not judged before.
        receivers: those of its receivers that exist.
    """
    act, sender = str(envelope.performative), envelope.sender
    opens = machine.step(INIT, act, Role.INITIATOR) is not None
    initiator = before.initiator or (sender if opens else AgentId(""))
    role = _role(before, initiator, sender)
    if role is None:
        verdict = _of_no_party(machine, before, act)
        return _found(before, Finding(verdict, INIT, envelope.message_id, act, sender))
    pairs = [sender] if role is Role.PARTICIPANT else [one for one in receivers if one != sender]
    if role is Role.PLATFORM:
        # Of several participants, only the content says which one is meant.
        pairs = list(before.states) if len(before.states) == 1 else []
    guard = TO_CANCEL if before.cancel and envelope.in_reply_to == before.cancel else ""
    steps = {pair: _step(machine, before, pair, act, role, guard) for pair in pairs}
    worst = max(steps, key=lambda pair: _SEVERITY[steps[pair].verdict], default=None)
    cancel = (envelope.reply_with or envelope.message_id) if act == Act.CANCEL else before.cancel
    after = msgspec.structs.replace(
        before,
        initiator=initiator,
        states={**before.states, **{pair: step.to for pair, step in steps.items()}},
        cancel=cancel if role is Role.INITIATOR else before.cancel,
    )
    finding = Finding(
        steps[worst].verdict if worst else Verdict.LEGAL,
        steps[worst].state if worst else INIT,
        envelope.message_id,
        act,
        sender,
        worst or AgentId(""),
    )
    return _found(after, finding)


def check_cancel(envelope: Envelope, participants: Sequence[AgentId]) -> None:
    """Refuse the cancel of somebody who takes no part, whatever the protocol.

    Raises:
        ProtocolViolation: the conversation has participants, and the sender is none of them.
    """
    if participants and envelope.sender not in participants:
        raise ProtocolViolation(
            f"{envelope.sender} takes no part in conversation {envelope.conversation_id}",
            field="performative",
            value=envelope.performative,
            hint="only who has begun an interaction may cancel it",
        )


def violation(
    machine: Machine, interaction: Interaction, finding: Finding, envelope: Envelope
) -> ProtocolViolation:
    """Return the error for an illegal message: where, in which state, what would be legal."""
    name, state = machine.protocol.name, finding.state
    role = _role(interaction, interaction.initiator, finding.sender)
    if role is None and interaction.initiator:
        hint = f"only its initiator {interaction.initiator} and whom it addresses take part"
    else:
        legal = ", ".join(machine.legal(state, role or Role.INITIATOR))
        hint = f"legal now for its {role or Role.INITIATOR}: {legal or 'nothing'}"
    pair = f" with {finding.participant}" if finding.participant else ""
    return ProtocolViolation(
        f"illegal in state {state} of {name}{pair}, conversation {envelope.conversation_id}",
        field="performative",
        value=finding.performative,
        hint=hint,
    )


_SEVERITY = {verdict: number for number, verdict in enumerate(Verdict)}


def _role(interaction: Interaction, initiator: AgentId, sender: AgentId) -> Role | None:
    if initiator and sender == initiator:
        return Role.INITIATOR
    if sender in interaction.states:
        return Role.PARTICIPANT
    return Role.PLATFORM if local_part(sender) == AMS and initiator else None


def _of_no_party(machine: Machine, before: Interaction, act: str) -> Verdict:
    if before.initiator:
        over = all(state in machine.final for state in before.states.values())
        return Verdict.LATE if over else Verdict.ILLEGAL
    said = any(row.role is Role.PARTICIPANT and row.act == act for row in machine.rows)
    return Verdict.EARLY if said else Verdict.ILLEGAL


def _step(
    machine: Machine, before: Interaction, pair: AgentId, act: str, role: Role, guard: str
) -> _Step:
    state = before.states.get(pair, INIT)
    if (to := machine.step(state, act, role, guard)) is not None:
        return _Step(Verdict.LEGAL, state, to)
    if (to := machine.crossing(state, act, role)) is not None:
        return _Step(Verdict.CROSSED, state, to)
    late = state in machine.final
    return _Step(Verdict.LATE if late else Verdict.ILLEGAL, state, state)


def _found(after: Interaction, finding: Finding) -> tuple[Interaction, Finding]:
    if finding.verdict is Verdict.LEGAL:
        return after, finding
    illegal = after.illegal + (finding.verdict is Verdict.ILLEGAL)
    findings = (*after.findings, finding)[-REMEMBERED:]
    return msgspec.structs.replace(after, illegal=illegal, findings=findings), finding
