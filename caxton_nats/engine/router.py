"""The router: decode, validate, size, resolve, admit, publish. Read `Router._route` top to bottom.

It takes batches and keeps nothing that is not in the store behind the ports, so that any number of
routers may run. Each message of a batch fails or succeeds on its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from time import perf_counter_ns

import msgspec

from caxton_nats.core import codec, representation
from caxton_nats.core.addressing import check_lengths
from caxton_nats.core.conversation import Terms
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Claim, Envelope, with_content
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.lease import Health
from caxton_nats.core.rate_limit import RateLimit
from caxton_nats.core.registry import Registry
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.core.validation import MAX_TRACE, Limits, check, complete
from caxton_nats.engine.admission import Admission, Candidate
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.choosing import Addressed, Choosing
from caxton_nats.engine.dispatch import Accepted, Dispatch
from caxton_nats.engine.meter import Meter
from caxton_nats.engine.reception import Reception
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.engine.resolution import Resolution
from caxton_nats.engine.trials import Trials
from caxton_nats.engine.watch import IllegalActs, Watch
from caxton_nats.ports import Outcome, Ports, Receipt, Submission
from caxton_nats.telemetry import Action, Observer, event

log = logging.getLogger("caxton_nats")


class RouterOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment's routers agree on."""

    platform: str
    limits: Limits = Limits()
    terms: Terms = Terms()
    max_body: int = 1_000_000
    """Bytes of one encoded message; larger content goes to the content store (claim check)."""
    queue_size: int = 1000
    """Bound of a mailbox, for the error text; the server enforces it."""
    illegal_acts: IllegalActs = "warn"
    """What becomes of an act that is illegal in the state of its interaction."""
    rate_limit: int = 0
    """Messages that one sender may send per second; 0: as many as it likes."""
    health_interval: timedelta = timedelta(seconds=30)
    """How often a router service looks after itself and the streams."""


class Router:
    """The engine behind all three doors (seed: MessageRouter.route_message, DeliveryEngine)."""

    def __init__(  # noqa: PLR0913 - the stages share what it is made of
        self,
        ports: Ports,
        registry: Registry,
        health: Health,
        remote: RemoteAgents,
        options: RouterOptions,
        *,
        burial: Burial,
        observer: Observer,
        meter: Meter,
    ) -> None:
        self._ports = ports
        self._options = options
        self._burial = burial
        self._observe = observer
        self._meter = meter
        self._choosing = Choosing(
            ports, registry, health, max_receivers=options.limits.max_receivers
        )
        self.rate_limit = RateLimit(options.rate_limit, ports.clock.now())
        self._under_way: set[asyncio.Future[None]] = set()
        self._resolution = Resolution(registry, ports.registry_store, remote)
        self._reception = Reception(ports.conversations, Trials(ports, health))
        self._admission = Admission(ports, options.terms, Watch(options.illegal_acts, meter.judged))
        self._dispatch = Dispatch(
            ports,
            max_body=options.max_body,
            queue_size=options.queue_size,
            is_urgent=self._admission.is_urgent,
        )

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        """Route the batch; one receipt or error each, in order.

        A receipt means: each outcome without an error is stored durably in that mailbox. If no
        receiver got the message, the result is the first receiver's error.
        """
        began = perf_counter_ns()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(done)
        try:
            results = await self._send(batch)
        finally:
            self._under_way.discard(done)
            done.set_result(None)
        self._meter.routed(results, perf_counter_ns() - began)
        return results

    async def settled(self) -> None:
        """Return when all batches that are being routed now are done."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        try:
            return await self._route(batch)
        except Exception as error:
            if len(batch) > 1:
                # One of them must not hold up the others; what was stored by now is a duplicate.
                return [result for one in batch for result in await self._send([one])]
            log.exception("a message cannot be routed")
            failure = TransportError(
                f"routing: {type(error).__name__}: {error}",
                hint="this is a bug, see the router's log; sending again is safe",
            )
            return [self._report(submission, failure) for submission in batch]

    async def receipts(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Return how far a message that asked for it is with each receiver."""
        return await self._ports.receipts.list(sender, message_id)

    async def _route(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        results: dict[int, Receipt | CaxtonError] = {}
        checked: dict[int, Envelope] = {}
        for at, submission in enumerate(batch):
            try:
                envelope = self._check(submission)
                if envelope.claim is not None:
                    envelope = await self._take_up(envelope, envelope.claim, submission.since)
                checked[at] = envelope
            except CaxtonError as refusal:
                results[at] = refusal
        accepted = await self._resolve_and_admit(batch, checked, results)
        await self._publish(accepted, results)
        return [self._report(one, results[at]) for at, one in enumerate(batch)]

    async def _resolve_and_admit(
        self,
        batch: Sequence[Submission],
        checked: Mapping[int, Envelope],
        results: dict[int, Receipt | CaxtonError],
    ) -> dict[int, Accepted]:
        """Return what may be published, by a registry that has missed no change until then."""
        while True:
            refused: dict[int, CaxtonError] = {}
            accepted: dict[int, Accepted] = {}
            try:
                known = await self._resolution.current()
                for at, addressed in (await self._choosing.address(checked)).items():
                    try:
                        accepted[at] = await self._resolve(addressed, batch[at])
                    except CaxtonError as refusal:
                        refused[at] = refusal
                await self._admit(accepted, refused)
                if await self._resolution.current() == known:
                    results.update(refused)
                    return accepted
            except CaxtonError as error:
                results.update(dict.fromkeys(checked, error))
                return {}

    async def _resolve(
        self, addressed: Addressed | CaxtonError, submission: Submission
    ) -> Accepted:
        if isinstance(addressed, CaxtonError):
            raise addressed
        route = await self._resolution.resolve(addressed.envelope, submission.headers)
        sorted_out = await self._reception.sort(addressed, route)
        if submission.redriven:
            return msgspec.structs.replace(sorted_out, redriven=submission.redriven)
        return sorted_out

    def _check(self, submission: Submission) -> Envelope:
        """Decode, complete, check: the message as it will be stored, or raise why not."""
        limits, now = self._options.limits, self._ports.clock.now()
        if submission.since is None:
            self.rate_limit.take(submission.sender, now)
        else:
            self.rate_limit.take_in_turn(submission.sender, now, waited=submission.waited)
        if submission.envelope is None:
            envelope = _decoded(submission, limits, now)
        else:
            envelope = codec.checked(submission.envelope)
        check_lengths(envelope, limits.max_receivers)
        envelope = _with_trace(envelope, submission)
        envelope = complete(
            envelope,
            sender=submission.sender,
            platform=self._options.platform,
            now=submission.since or now,
            new_id=lambda: submission.fallback_id or self._ports.ids.new_id(),
        )
        # Another try may have stored it. Whether it has waited too long is for its mailbox to say:
        # told here and there, the same message would die twice.
        check(envelope, limits, submission.since or now)
        return envelope

    async def _take_up(self, envelope: Envelope, claim: Claim, since: datetime | None) -> Envelope:
        """Fetch content that the sender uploaded because it does not fit into a request."""
        content = await self._ports.contents.get(claim)
        whole = with_content(envelope, content)
        check(whole, self._options.limits, since or self._ports.clock.now())
        return whole

    async def _admit(self, accepted: dict[int, Accepted], refused: dict[int, CaxtonError]) -> None:
        """Record the messages that anybody takes in their conversations."""
        candidates = {
            at: Candidate(one.envelope, [registration.agent for registration in one.route.found])
            for at, one in accepted.items()
            if one.envelope.conversation_id and one.route.found
        }
        if not candidates:
            return
        refusals = await self._admission.admit(list(candidates.values()))
        for at, refusal in zip(candidates, refusals, strict=True):
            if refusal is not None:
                refused[at] = refusal
                del accepted[at]

    async def _publish(
        self, accepted: Mapping[int, Accepted], results: dict[int, Receipt | CaxtonError]
    ) -> None:
        ready = [await self._keep_for_stopped(one) for one in accepted.values()]
        published = await self._dispatch.publish(ready)
        for (at, one), result in zip(accepted.items(), published, strict=True):
            results[at] = result
            if isinstance(result, Receipt):
                self._tell_routed(one.envelope, result.outcomes)

    async def _keep_for_stopped(self, one: Accepted) -> Accepted:
        """Write the dead letters for receivers that are stopped, or say why that is not certain."""
        if not one.stopped:
            return one
        refused = dict(one.refused)
        try:
            for letter in await self._dispatch.pack(one, one.stopped):
                await self._burial.keep(letter, one.envelope, refused[letter.receiver])
        except CaxtonError as error:
            refused |= {registration.agent: error for registration in one.stopped}
        return msgspec.structs.replace(one, refused=refused)

    def _tell_routed(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.error is None:
                action = Action.DUPLICATE if outcome.duplicate else Action.ROUTED
                origin = Origin(outcome.stream, outcome.sequence)
                told = event(
                    action, outcome.receiver, envelope, origin=origin, detail=outcome.reason
                )
                self._observe(told)

    def _report(
        self, submission: Submission, result: Receipt | CaxtonError
    ) -> Receipt | CaxtonError:
        if isinstance(result, CaxtonError):
            self._observe(event(Action.REFUSED, submission.sender, detail=str(result)))
        return result


def _decoded(submission: Submission, limits: Limits, now: datetime) -> Envelope:
    # base64 makes four characters of three bytes.
    largest = limits.max_content * 4 // 3 + codec.ENVELOPE_OVERHEAD
    named = submission.headers.get(codec.REPRESENTATION)
    if named is None:
        return codec.decode(submission.body, max_bytes=largest)
    now = submission.since or now
    return representation.decode(submission.body, named, max_bytes=largest, now=now)


def _with_trace(envelope: Envelope, submission: Submission) -> Envelope:
    parent = submission.headers.get("traceparent")
    state = submission.headers.get("tracestate", "")
    if envelope.traceparent or not parent or not (_fits(parent) and _fits(state or parent)):
        # W3C: a trace context that is none is left out, and breaks nothing.
        return envelope
    return msgspec.structs.replace(envelope, traceparent=parent, tracestate=state)


def _fits(header: str) -> bool:
    return len(header) <= MAX_TRACE and header.isascii() and header.isprintable()
