"""Large content that was set aside and that nothing stored speaks of any more.

It stays behind after a crash between an acknowledgement and its removal, when its message found the
mailbox full or was a repeat of one that had been handled, and when a dead letter is pushed out by
newer ones. It is looked for now and then, and removed when it is a day old: long after whoever put
it there has stored the message, too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from caxton_nats.core.envelope import Claim
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope
from caxton_nats.core.identifiers import AgentId, untoken
from caxton_nats.core.selection import EVERY
from caxton_nats.core.stream_state import Role
from caxton_nats.engine import stored
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.engine.selected import select
from caxton_nats.ports import Ports
from caxton_nats.tasks import forever

AGE = timedelta(days=1)
"""How old content is when it is looked after."""
INTERVAL = timedelta(hours=6)
"""Between two looks: each reads all mail and all dead letters, if there is any old content."""
_DEAD = "dead."
_SET_ASIDE = re.compile(r"([^.]+)\.([^.]+)\..+\.[0-9a-f]{16}", re.DOTALL)
_EVERYTHING = 10_000_000
log = logging.getLogger("caxton_nats")


class Leftovers:
    """Removes content that nobody will ask for."""

    def __init__(self, ports: Ports, remote: RemoteAgents) -> None:
        self._ports = ports
        self._remote = remote

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""
        await forever(
            self._step,
            what="looking for content that was left behind",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )

    async def _step(self) -> None:
        await self._ports.clock.sleep(INTERVAL)
        removed = await self.sweep()
        if removed:
            log.info("%d objects were left behind, and are removed", removed)

    async def sweep(self) -> int:
        """Remove what was left behind; return how many objects.

        Nothing is removed if a message may have moved behind our back: between mailbox and dead
        letters, or from the ingress. The next time will do.
        """
        names = await self._ports.contents.names(before=self._ports.clock.now() - AGE)
        old = {name: revision for name, revision in names.items() if self._is_own(name)}
        if not old:
            return 0
        before = await self._movements()
        used, aside = await self._used_by_dead_letters()
        unused = old.keys() - used - await self._used_by_mail()
        if unused:
            # Large originals are read only if anything might go.
            unused -= await self._used_by_originals(aside)
        if before is None or await self._movements() != before:
            return 0
        gone = [
            await self._ports.contents.forget(name, revision=old[name]) for name in sorted(unused)
        ]
        return sum(gone)

    def _is_own(self, name: str) -> bool:
        """Return whether this platform gave the name, and keeps the message here."""
        if name.startswith(_DEAD):
            return True
        found = _SET_ASIDE.fullmatch(name)
        if found is None:
            return False
        try:
            sender, receiver = untoken(found[1]), untoken(found[2])
        except InvalidEnvelope:
            return False
        return "@" in sender and "@" in receiver and self._remote.is_own(AgentId(receiver))

    async def _movements(self) -> tuple[int, int] | None:
        """Return what changes whenever a dead letter comes or goes; None while mail comes in."""
        states = await self._ports.streams.states()
        if any(one.messages for one in states if one.role is Role.INGRESS):
            return None
        (letters,) = (one for one in states if one.role is Role.DEAD_LETTERS)
        return letters.last_sequence, letters.messages

    async def _used_by_dead_letters(self) -> tuple[set[str], list[Claim]]:
        """Return the names that the letters speak of, and where their larger originals lie."""
        used: set[str] = set()
        aside: list[Claim] = []
        async for letter in select(self._ports, EVERY):
            used |= _claimed(letter.original)
            if letter.body_claim is not None:
                used.add(letter.body_claim.object)
                aside.append(letter.body_claim)
        return used, aside

    async def _used_by_originals(self, aside: Sequence[Claim]) -> set[str]:
        used: set[str] = set()
        for claim in aside:
            # One that is gone speaks of nothing any more.
            with suppress(InvalidEnvelope):
                used |= _claimed(await self._ports.contents.get(claim))
        return used

    async def _used_by_mail(self) -> set[str]:
        used: set[str] = set()
        for agent in await self._ports.mailboxes.pending():
            stored_now = await self._ports.mailboxes.list(agent, limit=_EVERYTHING, latest=True)
            for message in stored_now:
                used |= _claimed(message.body)
        return used


def _claimed(body: bytes) -> set[str]:
    """Return the name of the content that a stored message speaks of."""
    if b'"claim"' not in body:
        return set()
    envelope = stored.readable(body)
    return {envelope.claim.object} if envelope is not None and envelope.claim is not None else set()
