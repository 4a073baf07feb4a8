"""Dead letters: back to their mailbox, or away for good."""

from __future__ import annotations

from caxton_nats.core.dead_letter import REDRIVES_HEADER, DeadLetter, Origin, Stage
from caxton_nats.core.envelope import Claim, Envelope
from caxton_nats.core.errors import CaxtonError, ConfigurationError
from caxton_nats.core.identifiers import AgentId, token
from caxton_nats.core.lifecycle import stopped
from caxton_nats.core.registry import AgentState
from caxton_nats.engine import aftercare, stored
from caxton_nats.engine.dispatch import message_key
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.ports import Door, Letter, Ports, Submission
from caxton_nats.telemetry import Action, Event, Observer, event


class Redrive:
    """What an operator does with dead letters."""

    def __init__(
        self, ports: Ports, remote: RemoteAgents, door: Door, *, observer: Observer
    ) -> None:
        self._ports = ports
        self._remote = remote
        self._door = door
        self._observe = observer

    async def redrive(self, letter_id: str) -> DeadLetter:
        """Send the message on its way again, then remove the dead letter.

        What died in a mailbox goes back there unchanged, with its own message id, behind what is
        waiting. What the router refused goes through the router again. Calling it twice sends one
        message: the mailbox knows the letter's id.

        Raises:
            ConfigurationError: there is no such dead letter.
            AgentStopped: its receiver is stopped, and has to register again first.
            CaxtonError: it could not be stored; the dead letter stays.
        """
        letter = await self._find(letter_id)
        if letter.stage is Stage.ROUTE:
            await self._through_router(letter)
        else:
            await self._refuse_if_stopped(letter.agent)
            if letter.stage is Stage.DELIVER:
                # An original left behind by a crash would be delivered beside the redriven copy.
                await self._ports.mailboxes.discard(letter.origin)
            await self._to_mailbox(letter)
        await self._ports.dead_letters.remove(letter.id)
        if letter.body_claim is not None:
            await self._ports.contents.remove(letter.body_claim)
        self._observe(
            event(Action.REDRIVEN, letter.agent, origin=letter.origin, detail=letter.message_id)
        )
        return letter

    async def discard(self, letter_id: str) -> DeadLetter:
        """Remove the dead letter and what it keeps.

        Raises:
            ConfigurationError: there is no such dead letter.
        """
        letter = await self._find(letter_id)
        claims = [letter.body_claim, await self._content_claim(letter)]
        await self._ports.dead_letters.remove(letter.id)
        for claim in claims:
            if claim is not None:
                await self._ports.contents.remove(claim)
        return letter

    async def original(self, letter: DeadLetter) -> bytes:
        """Return the original bytes, wherever they lie."""
        if letter.body_claim is not None:
            return await self._ports.contents.get(letter.body_claim)
        return letter.original

    async def _content_claim(self, letter: DeadLetter) -> Claim | None:
        """Return where the receiver's own copy of large content lies, if there is one."""
        if letter.stage is Stage.ROUTE:
            return None
        envelope = stored.readable(await self.original(letter))
        return envelope.claim if envelope is not None else None

    async def _refuse_if_stopped(self, agent: AgentId) -> None:
        registered = await self._ports.registry_store.load(agent)
        if registered is not None and registered[0].state is AgentState.STOPPED:
            # It would only die again.
            raise stopped(agent)

    async def _find(self, letter_id: str) -> DeadLetter:
        letter = await self._ports.dead_letters.get(letter_id)
        if letter is None:
            raise ConfigurationError(
                f"there is no dead letter {letter_id!a}",
                field="id",
                hint="see `caxton dlq list`",
            )
        return letter

    async def _to_mailbox(self, letter: DeadLetter) -> None:
        # By the way it came, for the sake of the order within its conversation.
        urgent = aftercare.is_urgent(self._ports, letter.agent, letter.subject)
        body = await self.original(letter)
        envelope = stored.readable(body)
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
            {**letter.headers, REDRIVES_HEADER: str(letter.redrives + 1)},
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
