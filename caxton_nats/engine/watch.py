"""admit: the acts of interaction protocols are judged, and an illegal one allowed, told or refused.

A message without a protocol comes only as far as the first line. The verdict is computed with the
conversation's next record, and told when that record is written: once, whoever has lost a race.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import ProtocolViolation
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.interaction import machine_of
from caxton_nats.core.verdict import Finding, Interaction, Verdict, judge, violation

IllegalActs = Literal["allow", "warn", "reject"]
log = logging.getLogger("caxton_nats")


class Judged(NamedTuple):
    """A message's verdict, its error if it is illegal, and the record with the verdict in it."""

    record: Conversation
    protocol: str
    finding: Finding
    error: ProtocolViolation | None


class Watch:
    """Judges the messages of this router."""

    def __init__(
        self,
        illegal_acts: IllegalActs = "warn",
        count: Callable[[str, Finding], None] = lambda _protocol, _finding: None,
    ) -> None:
        self._illegal_acts = illegal_acts
        self._count = count

    @property
    def refuses(self) -> bool:
        """Whether illegal acts are refused."""
        return self._illegal_acts == "reject"

    def judge(
        self, record: Conversation, envelope: Envelope, receivers: Sequence[AgentId]
    ) -> Judged | None:
        """Return the verdict on a message that ``record`` has just counted; None if there is none.

        There is none for a message that is of no known protocol, or of another one than its
        conversation.
        """
        machine = machine_of(envelope.protocol)
        if machine is None or machine is not machine_of(record.protocol):
            return None
        before = record.interaction or Interaction()
        after, finding = judge(machine, before, envelope, receivers)
        illegal = finding.verdict is Verdict.ILLEGAL
        return Judged(
            msgspec.structs.replace(record, interaction=after),
            machine.protocol.name,
            finding,
            violation(machine, before, finding, envelope) if illegal else None,
        )

    def tell(self, judged: Sequence[Judged]) -> None:
        """Count the verdicts, and warn of illegal acts, now that the record is written."""
        for one in judged:
            self._count(one.protocol, one.finding)
            if one.error is not None and self._illegal_acts == "warn":
                log.warning(
                    "message %a of %a: %s", one.finding.message_id, one.finding.sender, one.error
                )
