"""What can go wrong, grouped by whose fault it is; blame decides what happens next.

    CaxtonError
      MessageError            the sender's fault: never retried; answered, or dead-lettered
        MalformedEnvelope  InvalidEnvelope  MessageTooLarge  Expired  TooManyParticipants
        ConversationTimeout  ProtocolViolation
      UndeliverableError      nobody can take it now: the sender is told
        AgentNotFound  NoCapableAgent  AgentDraining  AgentStopped  QueueFull  MessageRemoved
        CircuitBreakerOpen  ResourceExhausted
      HandlerError            the receiving agent's fault: retried by policy, then dead-lettered
        HandlerFailed  HandlerDeferred  HandlerRejected  AgentNotResponding
      TransportError          infrastructure: retried
        NotConnected  PublishUnconfirmed  StreamMissing  RevisionConflict  ServerExhausted
      RegistryError           AgentAlreadyRegistered  InvalidStateTransition
      ConversationNotFound  MessageNotFound  MessageInHand  DeadLetterNotFound  RedriveRefused
                              an operator asked for what is not there, or not to be had now
      ConfigurationError      the operator's fault: stops the start
        PermissionDenied

Every error carries a stable ``code`` (its class name), and where they help: the ``field`` that was
wrong, the ``limit`` and the ``value`` that broke it, a ``hint`` that says what to do next, and
``retry_after``, the seconds after which the same may succeed. Each kind has a `FailureReason`,
somebody to ``blame``, and says whether it is ``transient``: whether the same may succeed at all.
``to_dict`` is what a client of any language receives; ``from_dict`` is the way back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from caxton_nats.core.brevity import plain, words
from caxton_nats.core.failure import Blame, FailureReason


class CaxtonError(Exception):
    """Base of all errors of caxton-nats; catch a branch of the tree rather than this."""

    failure: ClassVar[FailureReason] = FailureReason.INVALID_MESSAGE
    blame: ClassVar[Blame] = Blame.OPERATOR
    transient: ClassVar[bool] = False

    def __init__(
        self,
        reason: str,
        *,
        field: str = "",
        limit: int | str | None = None,
        value: int | str | None = None,
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Say what was wrong (``reason``), where (``field``) and what to do next (``hint``)."""
        reason = words(reason)
        super().__init__(reason)
        self.reason = reason
        self.field = words(field)
        self.limit = plain(limit)
        self.value = plain(value)
        self.hint = words(hint)
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """Stable name for headers, metrics and programs in other languages."""
        return type(self).__name__

    def __str__(self) -> str:
        """One line for people: what, where, limit and value, what next."""
        where = f"{self.field}: " if self.field else ""
        numbers = "".join(
            f", {name} {number}"
            for name, number in (("limit", self.limit), ("value", self.value))
            if number is not None
        )
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.reason}{numbers}{hint}"

    def to_dict(self) -> dict[str, Any]:
        """Return the error as JSON-ready values, without the empty ones."""
        full = {
            "code": self.code,
            "field": self.field,
            "reason": self.reason,
            "limit": self.limit,
            "value": self.value,
            "hint": self.hint,
            "retry_after": self.retry_after,
        }
        return {name: value for name, value in full.items() if value not in ("", None)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> CaxtonError:
        """Rebuild the error that another process reported; an unknown code stays a CaxtonError."""
        kind = _by_code().get(str(data.get("code")), CaxtonError)
        return kind(
            str(data.get("reason", "no reason given")),
            field=str(data.get("field", "")),
            limit=data.get("limit"),
            value=data.get("value"),
            hint=str(data.get("hint", "")),
            retry_after=wait if isinstance(wait := data.get("retry_after"), int | float) else None,
        )


class MessageError(CaxtonError):
    """The message itself is wrong. Sending it again unchanged cannot help."""

    blame = Blame.SENDER


class MalformedEnvelope(MessageError):
    """The bytes are not an envelope: not JSON, not an object, not UTF-8, nested too deeply."""


class InvalidEnvelope(MessageError):
    """A field is missing, unknown, out of its bounds, or contradicts another one."""


class MessageTooLarge(MessageError):
    """More bytes than the deployment accepts (``limit`` and ``value`` in bytes)."""

    failure = FailureReason.MESSAGE_TOO_LARGE


class Expired(MessageError):
    """The message's ``reply_by`` or ``timeout`` passed before a handler could start."""

    failure = FailureReason.TIMEOUT


class TooManyParticipants(MessageError):
    """The conversation already has as many participants as the deployment allows."""

    failure = FailureReason.RESOURCE_EXHAUSTED


class ConversationTimeout(MessageError):
    """The conversation has ended: idle for too long, too old, or archived."""

    failure = FailureReason.TIMEOUT


class ProtocolViolation(MessageError):
    """The act is illegal in the state of its interaction; ``hint`` says which are legal."""


class UndeliverableError(CaxtonError):
    """The message is right but cannot be given to its receiver now."""

    blame = Blame.RECEIVER


class AgentNotFound(UndeliverableError):
    """No agent of that name is registered."""

    failure = FailureReason.AGENT_NOT_FOUND
    blame = Blame.SENDER


class AgentDraining(UndeliverableError):
    """The receiver is draining, and takes no part in the message's conversation."""

    failure = FailureReason.AGENT_NOT_RESPONDING


class AgentStopped(UndeliverableError):
    """The receiver is stopped; the message is a dead letter."""

    failure = FailureReason.AGENT_NOT_RESPONDING


class NoCapableAgent(AgentNotFound):
    """Nobody who offers the capability is available; ``hint`` names what is near it."""


class QueueFull(UndeliverableError):
    """The receiver's mailbox holds as many messages as it may (``limit``)."""

    failure = FailureReason.QUEUE_FULL
    transient = True


class CircuitBreakerOpen(UndeliverableError):
    """The receiver has failed too often in a row; ``retry_after`` says when it is tried again."""

    failure = FailureReason.CIRCUIT_BREAKER_OPEN
    transient = True


class ResourceExhausted(UndeliverableError):
    """The sender sends more than it may (``limit`` per second); ``retry_after`` says how long."""

    failure = FailureReason.RESOURCE_EXHAUSTED
    blame = Blame.OPERATOR
    transient = True


class MessageRemoved(UndeliverableError):
    """An operator took the message out of the receiver's mailbox."""

    blame = Blame.OPERATOR


class HandlerError(CaxtonError):
    """The receiving agent did not get the message done."""

    failure = FailureReason.AGENT_NOT_RESPONDING
    blame = Blame.RECEIVER
    transient = True


class HandlerFailed(HandlerError):
    """A handler raised."""


class HandlerDeferred(HandlerError):
    """A handler asked for more time by raising ``Retry``, once too often."""


class HandlerRejected(HandlerError):
    """A handler refused the delivery for good by raising ``Reject``."""

    failure = FailureReason.INVALID_MESSAGE
    transient = False


class AgentNotResponding(HandlerError):
    """The agent took the message, again and again, and never settled it."""


class TransportError(CaxtonError):
    """NATS could not be reached or did not answer; the outcome may be unknown."""

    failure = FailureReason.NETWORK_ERROR
    blame = Blame.INFRASTRUCTURE
    transient = True


class NotConnected(TransportError):
    """There is no connection to a server now."""


class PublishUnconfirmed(TransportError):
    """No PubAck came: stored or not is unknown. Retry with the same message id."""

    failure = FailureReason.TIMEOUT


class StreamMissing(TransportError):
    """No stream answers for the subject: the topology is not there."""


class RevisionConflict(TransportError):
    """Somebody else wrote the record first; read it again and decide again."""


class ServerExhausted(TransportError):
    """The server has no room for it: consumers of a stream, disk or memory."""

    failure = FailureReason.RESOURCE_EXHAUSTED


class RegistryError(CaxtonError):
    """The registry refuses the change."""


class AgentAlreadyRegistered(RegistryError):
    """An agent of that name runs, or somebody reads its mailbox."""


class InvalidStateTransition(RegistryError):
    """The wanted state (``value``) may not follow the present one (``limit``)."""


class ConversationNotFound(CaxtonError):
    """There is no conversation of this id, and no archived one."""


class MessageNotFound(CaxtonError):
    """No message, or more than one, of this id waits in the mailbox."""


class MessageInHand(CaxtonError):
    """An agent that runs was given the message and has not settled it."""


class DeadLetterNotFound(CaxtonError):
    """There is no dead letter of this id: somebody redrove or discarded it, or it never was."""


class RedriveRefused(CaxtonError):
    """A dead letter has been redriven often enough, or would provably die again."""


class ConfigurationError(CaxtonError):
    """Something the operator has to change; names the setting, file or server at fault."""


class PermissionDenied(ConfigurationError):
    """The server does not let this user do it: ``field`` is the subject, ``value`` the right."""


def _by_code() -> dict[str, type[CaxtonError]]:
    kinds = [CaxtonError]
    for kind in kinds:
        # The list grows while it is read.
        kinds.extend(kind.__subclasses__())
    return {kind.__name__: kind for kind in kinds}
