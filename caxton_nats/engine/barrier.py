"""When every router knows a change of the registry, and routes nothing any more by what was before.

The change is a write with a revision. Each router is asked, and answers when two things are true:
its registry has that write, and the batches that it was routing then are done. What it routes later
is routed by the new state, so whoever has all answers knows that the change has taken effect.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from caxton_nats.core.errors import CaxtonError
from caxton_nats.ports import Ports
from caxton_nats.ports.doors import REACH_WAIT

SYNC = "sync"
"""The question that routers are asked."""
log = logging.getLogger("caxton_nats")


class Reach(msgspec.Struct, frozen=True):
    """How far a change has come."""

    everywhere: bool
    """Every router goes by it."""
    missing: tuple[str, ...] = ()
    """The routers that did not say so in time."""


class Barrier:
    """One router's end of it: asks the others, and answers them."""

    def __init__(self, ports: Ports, settled: Callable[[], Awaitable[None]]) -> None:
        """Take what returns when all that is being routed now is done."""
        self._ports = ports
        self._settled = settled

    async def answer(self, body: bytes) -> bytes:
        """Return when this router goes by the write of this revision."""
        await self._ports.registry_store.caught_up(int(body))
        await self._settled()
        return b"1"

    async def reached(self, revision: int) -> Reach:
        """Return when every router goes by the write, or who does not after `REACH_WAIT`."""
        try:
            answers = await self._ports.peers.ask(SYNC, str(revision).encode(), wait=REACH_WAIT)
        except CaxtonError as error:
            # The change is made; what is not known is who knows of it.
            log.warning("the routers could not be asked: %s", error)
            return Reach(everywhere=False)
        missing = tuple(sorted(router for router, answer in answers.items() if answer is None))
        return Reach(everywhere=not missing, missing=missing)
