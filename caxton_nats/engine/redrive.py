"""Dead letters: back to their mailbox, or away for good; one, or all of a selection.

The original goes first, then the copy is stored, then the letter is removed: a crash anywhere in
between leaves the letter, and doing it again sends no second copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage, is_of
from caxton_nats.core.envelope import Claim, Envelope
from caxton_nats.core.errors import (
    CaxtonError,
    InvalidEnvelope,
    RedriveRefused,
)
from caxton_nats.core.identifiers import AgentId, token
from caxton_nats.core.lifecycle import stopped
from caxton_nats.core.redrive import check_redrive, headers
from caxton_nats.core.registry import AgentState
from caxton_nats.core.selection import Selection
from caxton_nats.engine import aftercare, stored
from caxton_nats.engine.admission import Admission, Candidate
from caxton_nats.engine.dispatch import message_key
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.engine.selected import Ended, each, find
from caxton_nats.engine.trials import Trials
from caxton_nats.ports import Door, Letter, Ports, Submission
from caxton_nats.telemetry import Action, Event, Observer, event


class Redrive:
    """What an operator does with dead letters."""

    def __init__(
        self,
        ports: Ports,
        remote: RemoteAgents,
        door: Door,
        trials: Trials,
        admission: Admission,
        *,
        observer: Observer,
    ) -> None:
        self._ports = ports
        self._remote = remote
        self._door = door
        self._trials = trials
        self._admission = admission
        self._observe = observer

    async def redrive(self, letter_id: str, *, force: bool = False) -> DeadLetter:
        """Send the message on its way again, then remove the dead letter.

        What died in a mailbox goes back there unchanged, with its own message id, behind what is
        waiting. What the router refused goes through the router again. Calling it twice sends one
        message: the mailbox knows the letter's id for as long as its duplicate window, and whoever
        handled the message does not handle it again.

        Args:
            letter_id: which.
            force: send what was redriven often enough, or would die again, too.

        Raises:
            DeadLetterNotFound: there is no such dead letter.
            RedriveRefused: it was redriven often enough, or would provably die again.
            AgentStopped: its receiver is stopped, and has to register again first.
            CaxtonError: it could not be stored; the dead letter stays.
        """
        letter = await find(self._ports, letter_id)
        await self.check(letter, force=force)
        if letter.stage is Stage.ROUTE:
            await self._through_router(letter)
        else:
            # What a crash left behind would be delivered beside the redriven copy.
            await self._settle_original(letter)
            await self._to_mailbox(letter)
        is_first = await self._ports.dead_letters.remove(letter.id)
        if letter.body_claim is not None:
            await self._ports.contents.remove(letter.body_claim)
        if is_first:
            self._observe(
                event(Action.REDRIVEN, letter.agent, origin=letter.origin, detail=letter.message_id)
            )
        return letter

    async def check(self, letter: DeadLetter, *, force: bool = False) -> None:
        """Refuse to redrive the letter if that is bound to fail; nothing is changed.

        Raises:
            RedriveRefused: see `redrive`; not with ``force``.
            AgentStopped: its receiver is stopped.
            CircuitBreakerOpen: its receiver fails all the time; not with ``force``.
        """
        if letter.stage is not Stage.ROUTE:
            await self._refuse_if_stopped(letter.agent)
        if force:
            return
        if letter.stage is not Stage.ROUTE:
            self._trials.check(letter.agent)
        envelope = None
        if letter.stage is not Stage.ROUTE:
            envelope = stored.readable(await self.original(letter))
        check_redrive(letter, envelope, self._ports.clock.now())
        if envelope is not None:
            await self._refuse_if_nobody_reads(letter.agent)
            await self._refuse_if_content_is_gone(letter, envelope)

    async def discard(self, letter_id: str) -> DeadLetter:
        """Remove the dead letter and what it keeps, and the original that a crash left behind.

        Raises:
            DeadLetterNotFound: there is no such dead letter.
        """
        letter = await find(self._ports, letter_id)
        claims = [letter.body_claim, await self._content_claim(letter)]
        # What a crash left behind would die again, or even be handled.
        await self._settle_original(letter)
        await self._ports.dead_letters.remove(letter.id)
        for claim in claims:
            if claim is not None:
                await self._ports.contents.remove(claim)
        return letter

    async def redrive_all(
        self,
        which: Selection | Sequence[str],
        *,
        rate: float | None = None,
        force: bool = False,
        dry_run: bool = False,
        stop: asyncio.Event | None = None,
    ) -> AsyncIterator[Ended]:
        """Redrive the letters that are there now, the oldest first; yield what became of each.

        What dies again meanwhile is a new letter, and not among them. What somebody else redrives
        or discards meanwhile is left out. Calling it again goes on where it ended.

        Args:
            which: of what kind; or the ids, in their order.
            rate: at most so many in a second.
            force: see `redrive`.
            dry_run: only see what would be refused before anything is sent; change nothing.
            stop: when it is set, no further one is begun.
        """

        async def act(letter: DeadLetter) -> None:
            if dry_run:
                await self.check(letter, force=force)
            else:
                # By its id: since its page was read, somebody may have redriven it.
                await self.redrive(letter.id, force=force)

        async for ended in each(self._ports, which, act, rate, stop):
            yield ended

    async def discard_all(
        self,
        which: Selection | Sequence[str],
        *,
        rate: float | None = None,
        dry_run: bool = False,
        stop: asyncio.Event | None = None,
    ) -> AsyncIterator[Ended]:
        """Discard the letters that are there now, the oldest first (see `redrive_all`)."""

        async def act(letter: DeadLetter) -> None:
            if not dry_run:
                await self.discard(letter.id)

        async for ended in each(self._ports, which, act, rate, stop):
            yield ended

    async def original(self, letter: DeadLetter) -> bytes:
        """Return the original bytes, wherever they lie."""
        if letter.body_claim is not None:
            return await self._ports.contents.get(letter.body_claim)
        return letter.original

    async def _content_claim(self, letter: DeadLetter) -> Claim | None:
        """Return where the receiver's own copy of large content lies, if there is one."""
        if letter.stage is Stage.ROUTE:
            return None
        try:
            envelope = stored.readable(await self.original(letter))
        except InvalidEnvelope:
            # The original itself is gone: nothing tells any more.
            return None
        return envelope.claim if envelope is not None else None

    async def _settle_original(self, letter: DeadLetter) -> None:
        """Remove the original from its mailbox if it is still there."""
        if letter.stage is not Stage.DELIVER:
            return
        found = await self._ports.mailboxes.get(letter.origin)
        if found is not None and is_of(letter, found.stored_at):
            await self._ports.mailboxes.discard(letter.origin)

    async def _refuse_if_stopped(self, agent: AgentId) -> None:
        registered = await self._ports.registry_store.load(agent)
        if registered is not None and registered[0].state is AgentState.STOPPED:
            # It would only die again.
            raise stopped(agent)

    async def _refuse_if_nobody_reads(self, agent: AgentId) -> None:
        if await self._ports.registry_store.has_left(agent):
            raise RedriveRefused(
                "it would die again: its receiver has left",
                field="agent",
                value=agent,
                hint="start or register the agent first; `--force` sends it all the same",
            )

    async def _refuse_if_content_is_gone(self, letter: DeadLetter, envelope: Envelope) -> None:
        if envelope.claim is None or letter.last_error.get("field") != "claim":
            return
        try:
            await self._ports.contents.get(envelope.claim)
        except InvalidEnvelope as error:
            raise RedriveRefused(
                f"it would die again: {error.reason}",
                field="claim",
                value=error.value,
                hint="have its sender send it anew; `--force` sends it all the same",
            ) from None

    async def _to_mailbox(self, letter: DeadLetter) -> None:
        # By the way it came, for the sake of the order within its conversation.
        urgent = aftercare.is_urgent(self._ports, letter.agent, letter.subject)
        body = await self.original(letter)
        envelope = stored.readable(body)
        if letter.stage is Stage.RESOLVE and envelope is not None:
            urgent = await self._admit(letter.agent, envelope)
        post = Letter(
            letter.agent,
            aftercare.way(
                self._ports,
                letter.agent,
                await self._remote.address(letter.agent),
                urgent=urgent,
            ),
            _key(letter, envelope),
            body,
            {**letter.headers, **headers(letter)},
        )
        for result in await self._ports.publisher.publish([post]):
            if isinstance(result, CaxtonError):
                raise result
            if not result.duplicate:
                self._tell_routed(letter, Origin(result.stream, result.sequence))
            if envelope is not None and aftercare.is_wanted(envelope, urgent=urgent):
                given = await aftercare.give(self._ports, envelope, post, result, urgent=urgent)
                if isinstance(given, CaxtonError):
                    raise given

    async def _admit(self, agent: AgentId, envelope: Envelope) -> bool:
        """Record what no router has in its conversation; return whether it is urgent.

        Raises:
            ConversationTimeout: the conversation has ended.
        """
        if envelope.conversation_id:
            (refusal,) = await self._admission.admit([Candidate(envelope, [agent])])
            if refusal is not None:
                raise refusal
        return self._admission.is_urgent(envelope)

    def _tell_routed(self, letter: DeadLetter, origin: Origin) -> None:
        self._observe(
            Event(
                action=Action.ROUTED,
                agent=letter.agent,
                sender=letter.sender,
                message_id=letter.message_id,
                performative=letter.performative,
                conversation_id=letter.conversation_id,
                origin=origin,
                detail=f"redriven from {letter.id}",
            )
        )

    async def _through_router(self, letter: DeadLetter) -> None:
        submission = Submission(
            sender=letter.agent,
            body=await self.original(letter),
            headers=letter.headers,
            fallback_id=letter.message_id or letter.id,
            redriven=headers(letter),
        )
        for result in await self._door.send([submission]):
            if isinstance(result, CaxtonError):
                raise result
            for outcome in result.outcomes:
                # Whom it reached will take another try for the duplicate that it is.
                if outcome.error is not None:
                    raise outcome.error


def _key(letter: DeadLetter, envelope: Envelope | None) -> str:
    """Return the identity under which the mailbox takes the letter's message once.

    What reached no mailbox goes there as its sender would send it again: whichever comes first is
    the one copy.
    """
    if letter.stage is Stage.RESOLVE and envelope is not None:
        return message_key(envelope, letter.agent)
    return f"redrive.{token(letter.id)}"
