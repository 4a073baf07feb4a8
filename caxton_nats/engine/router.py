"""The router: decode, validate, size, resolve, admit, publish. Read `Router._route` top to bottom.

It takes batches and keeps nothing that is not in the store behind the ports, so that any number of
routers may run. Each message of a batch fails or succeeds on its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence

import msgspec

from caxton_nats.core import codec
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import NO_CONTENT, Envelope, content_bytes, with_content
from caxton_nats.core.errors import CaxtonError, QueueFull, TransportError
from caxton_nats.core.identifiers import AgentId, token
from caxton_nats.core.registry import Registration, Registry
from caxton_nats.core.routing import Route, agent_not_found, route
from caxton_nats.core.validation import Limits, check, complete
from caxton_nats.engine.admission import Admission, Candidate
from caxton_nats.ports import Letter, Outcome, Ports, Receipt, Stored, Submission
from caxton_nats.telemetry import Action, Observer, event

log = logging.getLogger("caxton_nats")


class RouterOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment's routers agree on."""

    platform: str
    limits: Limits = Limits()
    max_body: int = 1_000_000
    """Bytes of one encoded message; larger content goes to the content store (claim check)."""
    queue_size: int = 1000
    """Bound of a mailbox, for the error text; the server enforces it."""


class Accepted(msgspec.Struct, frozen=True):
    """A message on its way through the stages."""

    envelope: Envelope
    route: Route


class Router:
    """The engine behind all three doors (seed: MessageRouter.route_message, DeliveryEngine)."""

    def __init__(
        self, ports: Ports, registry: Registry, options: RouterOptions, *, observer: Observer
    ) -> None:
        self._ports = ports
        self._registry = registry
        self._options = options
        self._observe = observer
        self._admission = Admission(
            ports.conversations,
            ports.clock,
            max_participants=options.limits.max_participants,
        )

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        """Route the batch; one receipt or error each, in order.

        A receipt means: each outcome without an error is stored durably in that mailbox. If no
        receiver got the message, the result is the first receiver's error.
        """
        try:
            return await self._route(batch)
        except Exception as error:
            if len(batch) > 1:
                # One of them must not hold up the others; what was stored by now is a duplicate.
                return [result for one in batch for result in await self.send([one])]
            log.exception("a message cannot be routed")
            failure = TransportError(
                f"routing: {type(error).__name__}: {error}",
                hint="this is a bug, see the router's log; sending again is safe",
            )
            return [self._report(submission, failure) for submission in batch]

    async def _route(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        results: list[Receipt | CaxtonError | None] = [None] * len(batch)
        accepted: dict[int, Accepted] = {}
        for at, submission in enumerate(batch):
            try:
                envelope = await self._take_up(self._check(submission))
                accepted[at] = Accepted(envelope, await self._resolve(envelope))
            except CaxtonError as refusal:
                results[at] = refusal
        await self._admit(accepted, results)
        await self._publish(accepted, results)
        return [self._report(*pair) for pair in zip(batch, results, strict=True)]

    def _check(self, submission: Submission) -> Envelope:
        """Decode, complete, check: the message as it will be stored, or raise why not."""
        limits = self._options.limits
        envelope = submission.envelope
        if envelope is None:
            # base64 makes four characters of three bytes.
            largest = limits.max_content * 4 // 3 + codec.ENVELOPE_OVERHEAD
            envelope = codec.decode(submission.body, max_bytes=largest)
        envelope = _with_trace(envelope, submission)
        now = self._ports.clock.now()
        envelope = complete(
            envelope,
            sender=submission.sender,
            platform=self._options.platform,
            now=now,
            new_id=lambda: submission.fallback_id or self._ports.ids.new_id(),
        )
        check(envelope, limits, now)
        return envelope

    async def _take_up(self, envelope: Envelope) -> Envelope:
        """Fetch content that the sender uploaded because it does not fit into a request."""
        if envelope.claim is None:
            return envelope
        content = await self._ports.contents.get(envelope.claim)
        whole = with_content(envelope, content)
        check(whole, self._options.limits, self._ports.clock.now())
        return whole

    async def _resolve(self, envelope: Envelope) -> Route:
        """Look the receivers up; ask the store for those that the mirror does not know yet."""
        found = route(envelope, self._registry)
        if not found.unknown:
            return found
        for agent in found.unknown:
            stored = await self._ports.registry_store.load(agent)
            if stored is not None:
                self._registry.put(stored[0])
        found = route(envelope, self._registry)
        if not found.found:
            raise agent_not_found(found.unknown[0])
        return found

    async def _admit(
        self, accepted: dict[int, Accepted], results: list[Receipt | CaxtonError | None]
    ) -> None:
        candidates = [
            Candidate(one.envelope, [registration.agent for registration in one.route.found])
            for one in accepted.values()
        ]
        refusals = await self._admission.admit(candidates)
        for at, refusal in zip(list(accepted), refusals, strict=True):
            if refusal is not None:
                results[at] = refusal
                del accepted[at]

    async def _publish(
        self, accepted: dict[int, Accepted], results: list[Receipt | CaxtonError | None]
    ) -> None:
        packed = await asyncio.gather(
            *(self._pack(one) for one in accepted.values()), return_exceptions=True
        )
        letters: list[Letter] = []
        owners: list[tuple[int, int]] = []
        for at, pack in zip(list(accepted), packed, strict=True):
            if isinstance(pack, CaxtonError):
                results[at] = pack
                del accepted[at]
            elif isinstance(pack, BaseException):
                raise pack
            else:
                owners.append((at, len(pack)))
                letters += pack
        stored = iter(await self._ports.publisher.publish(letters) if letters else [])
        for at, count in owners:
            results[at] = self._receipt(accepted[at], [next(stored) for _ in range(count)])

    async def _pack(self, one: Accepted) -> list[Letter]:
        """Return one letter per receiver; they share their bytes unless content is set aside."""
        body = codec.encode(one.envelope)
        headers = _headers(one.envelope)
        letters = []
        for registration in one.route.found:
            key = message_key(one.envelope, registration.agent)
            if len(body) > self._options.max_body:
                letter_body = await self._set_aside(one.envelope, key)
            else:
                letter_body = body
            letters.append(
                Letter(registration.agent, registration.address, key, letter_body, headers)
            )
        return letters

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
        outcomes = {
            registration.agent: self._outcome(registration, result)
            for registration, result in zip(one.route.found, stored, strict=True)
        }
        for agent in one.route.unknown:
            outcomes[agent] = Outcome(receiver=agent, error=agent_not_found(agent))
        ordered = tuple(outcomes[agent] for agent in one.envelope.receiver)
        errors = [outcome.error for outcome in ordered if outcome.error is not None]
        if len(errors) == len(ordered):
            return errors[0]
        self._tell_routed(one.envelope, ordered)
        return Receipt(message_id=one.envelope.message_id, outcomes=ordered)

    def _outcome(self, registration: Registration, result: Stored | CaxtonError) -> Outcome:
        agent = registration.agent
        if isinstance(result, QueueFull):
            full = QueueFull(
                f"the mailbox of {agent} is full",
                field="receiver",
                limit=self._options.queue_size,
                value=self._options.queue_size,
                hint="send again when the agent has worked some of it off",
            )
            return Outcome(receiver=agent, error=full)
        if isinstance(result, CaxtonError):
            return Outcome(receiver=agent, error=result)
        return Outcome(
            receiver=agent,
            stream=result.stream,
            sequence=result.sequence,
            duplicate=result.duplicate,
        )

    def _tell_routed(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.error is None:
                action = Action.DUPLICATE if outcome.duplicate else Action.ROUTED
                origin = Origin(outcome.stream, outcome.sequence)
                self._observe(event(action, outcome.receiver, envelope, origin=origin))

    def _report(
        self, submission: Submission, result: Receipt | CaxtonError | None
    ) -> Receipt | CaxtonError:
        if result is None:
            # Each stage leaves a result or raises; this line is the proof that none forgot.
            raise AssertionError("a message of the batch has no result")
        if isinstance(result, CaxtonError):
            self._observe(event(Action.REFUSED, submission.sender, detail=str(result)))
        return result


def message_key(envelope: Envelope, receiver: AgentId) -> str:
    """Return the identity under which a mailbox stream suppresses duplicates.

    A stream compares ids of all its messages, whoever sent them: with the sender in it, nobody can
    swallow another's message by guessing its id. Tokens have no dot, so no two keys can meet.
    """
    return f"{token(envelope.sender)}.{token(receiver)}.{envelope.message_id}"


def _with_trace(envelope: Envelope, submission: Submission) -> Envelope:
    if envelope.traceparent or "traceparent" not in submission.headers:
        return envelope
    return msgspec.structs.replace(
        envelope,
        traceparent=submission.headers["traceparent"],
        tracestate=submission.headers.get("tracestate", ""),
    )


def _headers(envelope: Envelope) -> dict[str, str]:
    """Return the W3C trace context as headers, for tools that look there."""
    headers = {}
    if envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    if envelope.tracestate:
        headers["tracestate"] = envelope.tracestate
    return headers
