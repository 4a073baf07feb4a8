"""publish: letters for the receivers of routed messages, and what became of each.

One letter per receiver. Content that does not fit into a NATS message is put into the content
store first, one object per receiver, and the letter carries its claim.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from caxton_nats.core import codec
from caxton_nats.core.choice import Choice
from caxton_nats.core.envelope import NO_CONTENT, Envelope, content_bytes
from caxton_nats.core.errors import CaxtonError, QueueFull
from caxton_nats.core.identifiers import AgentId, token
from caxton_nats.core.registry import Registration
from caxton_nats.core.routing import Route, mailbox_full
from caxton_nats.engine import aftercare
from caxton_nats.engine.choosing import Addressed
from caxton_nats.ports import Letter, Outcome, Ports, Receipt, Stored


class Accepted(msgspec.Struct, frozen=True):
    """A message on its way through the stages."""

    addressed: Addressed
    route: Route
    refused: Mapping[AgentId, CaxtonError] = {}
    """Receivers that do not get it although they are known, and why not."""
    stopped: tuple[Registration, ...] = ()
    """Those of them whose copy becomes a dead letter."""
    redriven: Mapping[str, str] = {}
    """Headers of its letters that tell of earlier deaths."""

    @property
    def envelope(self) -> Envelope:
        """The message, its receivers being agents."""
        return self.addressed.envelope


class Dispatch:
    """Publishes what has been routed and admitted."""

    def __init__(
        self,
        ports: Ports,
        *,
        max_body: int,
        queue_size: int,
        is_urgent: Callable[[Envelope], bool],
    ) -> None:
        """Take limits and who knows what is urgent.

        Args:
            ports: the adapter.
            max_body: the largest body of a letter, in bytes.
            queue_size: the bound of a mailbox, for its error.
            is_urgent: says it of an admitted message.
        """
        self._ports = ports
        self._is_urgent = is_urgent
        self._max_body = max_body
        self._queue_size = queue_size

    async def publish(self, batch: Sequence[Accepted]) -> list[Receipt | CaxtonError]:
        """Store each message in the mailboxes of its receivers; one result each, in order.

        A receipt has an outcome for every receiver that the message names or that was chosen, in
        its order. If no receiver got the message, the result is the first receiver's error.
        """
        packed = await self._pack_all(batch)
        letters: list[tuple[Envelope, Letter]] = []
        for one, pack in zip(batch, packed, strict=True):
            if isinstance(pack, list):
                letters += [(one.envelope, letter) for letter in pack]
        stored = iter(await self._store(letters) if letters else [])
        return [
            self._receipt(one, [next(stored) for _ in pack]) if isinstance(pack, list) else pack
            for one, pack in zip(batch, packed, strict=True)
        ]

    async def _pack_all(self, batch: Sequence[Accepted]) -> list[list[Letter] | CaxtonError]:
        bodies = [codec.encode(one.envelope) for one in batch]
        # A task each only for what has to be set aside: for the rest it would cost more than this.
        packed: list[list[Letter] | CaxtonError] = [
            [] if len(body) > self._max_body else self._letters(one, one.route.found, body)
            for one, body in zip(batch, bodies, strict=True)
        ]
        large = [at for at, body in enumerate(bodies) if len(body) > self._max_body]
        if large:
            given = await asyncio.gather(
                *(self.pack(batch[at], batch[at].route.found) for at in large),
                return_exceptions=True,
            )
            for at, pack in zip(large, given, strict=True):
                if not isinstance(pack, list | CaxtonError):
                    raise pack
                packed[at] = pack
        return packed

    async def _store(
        self, letters: Sequence[tuple[Envelope, Letter]]
    ) -> list[Stored | CaxtonError]:
        """Store the letters, and do what their messages ask for beyond that."""
        stored = await self._ports.publisher.publish([letter for _, letter in letters])
        wanted = [
            (at, aftercare.give(self._ports, envelope, letter, result, urgent=urgent))
            for at, ((envelope, letter), result) in enumerate(zip(letters, stored, strict=True))
            for urgent in [self._is_urgent(envelope) and self._goes_urgent(letter)]
            if isinstance(result, Stored) and aftercare.is_wanted(envelope, urgent=urgent)
        ]
        if not wanted:
            return stored
        given = await asyncio.gather(*(one for _, one in wanted))
        for (at, _), result in zip(wanted, given, strict=True):
            stored[at] = result
        return stored

    def _goes_urgent(self, letter: Letter) -> bool:
        return aftercare.is_urgent(self._ports, letter.receiver, letter.address.subject)

    async def pack(self, accepted: Accepted, receivers: Sequence[Registration]) -> list[Letter]:
        """Return one letter per receiver; they share their bytes unless content is set aside."""
        envelope = accepted.envelope
        body = codec.encode(envelope)
        letters = self._letters(accepted, receivers, body)
        if len(body) <= self._max_body:
            return letters
        return [
            msgspec.structs.replace(one, body=await self._set_aside(envelope, one.message_key))
            for one in letters
        ]

    def _letters(
        self, accepted: Accepted, receivers: Sequence[Registration], body: bytes
    ) -> list[Letter]:
        envelope = accepted.envelope
        headers = _headers(envelope)
        if accepted.redriven:
            headers |= accepted.redriven
        urgent = self._is_urgent(envelope)
        return [
            Letter(
                one.agent,
                aftercare.way(self._ports, one.agent, one.address, urgent=urgent),
                message_key(envelope, one.agent),
                body,
                headers,
            )
            for one in receivers
        ]

    async def _set_aside(self, envelope: Envelope, key: str) -> bytes:
        """Put the content into the content store and return the envelope with its claim.

        Each receiver has an object of its own, which goes when that receiver has settled.
        """
        content = content_bytes(envelope)
        digest = hashlib.sha256(content).hexdigest()
        claim = await self._ports.contents.put(f"{key}.{digest[:16]}", content)
        return codec.encode(msgspec.structs.replace(envelope, content=NO_CONTENT, claim=claim))

    def _receipt(
        self, one: Accepted, stored: Sequence[Stored | CaxtonError]
    ) -> Receipt | CaxtonError:
        route, addressed = one.route, one.addressed
        if len(route.found) == len(one.envelope.receiver) == 1 and not (
            addressed.choices or addressed.unmet or one.refused
        ):
            # Most messages, in a short way.
            outcome = self._outcome(route.found[0], stored[0])
            if outcome.error is not None:
                return outcome.error
            return Receipt(message_id=one.envelope.message_id, outcomes=(outcome,))
        outcomes = {
            registration.agent: self._outcome(registration, result)
            for registration, result in zip(one.route.found, stored, strict=True)
        }
        for agent, error in {**one.route.errors, **one.refused}.items():
            outcomes[agent] = Outcome(receiver=agent, error=error)
        # What came over a link is for some of its receivers only.
        ordered = [outcomes[agent] for agent in one.envelope.receiver if agent in outcomes]
        if one.addressed.choices:
            chosen = one.addressed.by_agent()
            ordered = [_explained(outcome, chosen.get(outcome.receiver)) for outcome in ordered]
        ordered += [
            Outcome(receiver=target, target=target, error=error)
            for target, error in one.addressed.unmet.items()
        ]
        errors = [outcome.error for outcome in ordered if outcome.error is not None]
        if len(errors) == len(ordered):
            return errors[0]
        return Receipt(message_id=one.envelope.message_id, outcomes=tuple(ordered))

    def _outcome(self, registration: Registration, result: Stored | CaxtonError) -> Outcome:
        agent = registration.agent
        if isinstance(result, QueueFull):
            full = mailbox_full(agent, self._queue_size)
            return Outcome(receiver=agent, error=full)
        if isinstance(result, CaxtonError):
            return Outcome(receiver=agent, error=result)
        return Outcome(
            receiver=agent,
            stream=result.stream,
            sequence=result.sequence,
            duplicate=result.duplicate,
        )


def _explained(outcome: Outcome, choice: Choice | None) -> Outcome:
    if choice is None:
        return outcome
    return msgspec.structs.replace(outcome, target=choice.target, reason=choice.reason)


def message_key(envelope: Envelope, receiver: AgentId) -> str:
    """Return the identity under which a mailbox stream suppresses duplicates.

    A stream compares ids of all its messages, whoever sent them: with the sender in it, nobody can
    swallow another's message by guessing its id. Tokens have no dot, so no two keys can meet.
    """
    return f"{token(envelope.sender)}.{token(receiver)}.{envelope.message_id}"


def _headers(envelope: Envelope) -> dict[str, str]:
    """Return the W3C trace context as headers, for tools that look there."""
    headers = {}
    if envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    if envelope.tracestate:
        headers["tracestate"] = envelope.tracestate
    return headers
