"""One run of an agent: it takes the lease of its name, renews it, and gives it back.

A lease that cannot be renewed is lost: another instance has the name now, or nobody may have it
any more. Then the agent has to stop, for two readers of one mailbox would share its mail. The same
when an operator has made the agent Stopped, or deregistered it. The registry tells at once; and
when it shows another registration of the name, the lease is looked at before its time.

A registration that is gone without anybody having removed it was lost with its bucket: it is made
again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    RegistryError,
    TransportError,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Heartbeat
from caxton_nats.core.lifecycle import stopped
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.routing import agent_not_found
from caxton_nats.engine.platform import Platform
from caxton_nats.tasks import end, forever

_LAST_WORD = 2.0
"""Seconds for giving a lease back; without an answer it ends by itself."""
_AGAIN = timedelta(milliseconds=500)
"""Between two tries to renew a lease."""
log = logging.getLogger("caxton_nats")


class Tenure:
    """An agent's hold on its name, from `begin` to `end`."""

    def __init__(
        self, platform: Platform, agent: AgentId, *, lost: Callable[[CaxtonError], None]
    ) -> None:
        """Call ``lost`` once if the name is another's, or nobody's, before `end`."""
        self._platform = platform
        self._agent = agent
        self._tell_lost = lost
        self._beat = Heartbeat(
            instance=platform.ports.ids.new_id(), lease=platform.mailbox_options.lease
        )
        self._next = platform.ports.clock.now()
        self._renewing: list[asyncio.Task[None]] = []
        self._offers: tuple[Sequence[str], str] = (), ""
        """Capabilities and node."""
        self._registration: Registration | None = None
        self._seen = False
        """The registry has shown this very registration: if it goes, that one was removed."""
        self._is_lost = False
        self._forget: Callable[[], None] = _nothing

    async def begin(self, *, capabilities: Sequence[str], node: str) -> Registration:
        """Register the agent with its lease, and renew that from now on.

        Raises:
            AgentAlreadyRegistered: another instance runs.
        """
        self._offers = capabilities, node
        leases = self._platform.ports.leases
        await leases.answer_for(self._beat.instance)
        try:
            registration = await self._platform.registrar.register(
                self._agent, capabilities=capabilities, node=node, beat=self._beat
            )
        except BaseException:
            await leases.fall_silent(self._beat.instance)
            raise
        self._registration = registration
        self._forget = self._platform.registry.listeners.add(self._agent, self._look_at)
        # The registry may have shown it before anybody listened.
        self._look_at(self._platform.registry.find(self._agent))
        self._wait_for_next()
        if not self._seen and not self._is_lost:
            await self._look_in_store()
        renewing = forever(
            self._renew,
            what=f"renewing the lease of {self._agent}",
            expected=CaxtonError,
            sleep=self._platform.ports.clock.sleep,
        )
        self._renewing = [asyncio.create_task(renewing, name=f"renew {self._agent}")]
        return registration

    async def report(self, *, healthy: bool, reason: str) -> None:
        """Tell how the agent is, now and with every heartbeat from now on."""
        beat = Heartbeat(
            instance=self._beat.instance, lease=self._beat.lease, healthy=healthy, reason=reason
        )
        await self._platform.registrar.heartbeat(self._agent, beat)
        self._beat = beat

    async def end(self) -> None:
        """Give the lease back, as far as that is possible."""
        self._forget()
        await end(self._renewing)
        try:
            async with asyncio.timeout(_LAST_WORD):
                await self._platform.registrar.release(self._agent, self._beat.instance)
        except (CaxtonError, TimeoutError) as error:
            log.warning("the lease of %s ends by itself: %s", self._agent, error)
        try:
            await self._platform.ports.leases.fall_silent(self._beat.instance)
        except CaxtonError as error:
            log.warning("%s is asked for a sign of life still: %s", self._agent, error)

    def _look_at(self, found: Registration | None) -> None:
        """Lose the name if an operator has stopped or removed this very registration."""
        mine = self._registration
        own = found is not None and mine is not None and found.registered_at == mine.registered_at
        if found is None and self._seen:
            removed = agent_not_found(self._agent)
            self._renewing.append(asyncio.create_task(self._lose_or_return(removed)))
        elif found is not None and own and found.state is AgentState.STOPPED:
            self._lose(stopped(self._agent))
        elif found is not None and self._seen and not own:
            # Whoever took the name over reads the same mail: not only at the next heartbeat.
            self._renewing.append(asyncio.create_task(self._beat_now(), name="look at the lease"))
        self._seen = own

    async def _look_in_store(self) -> None:
        """Lose the name if it was removed before anybody listened: nobody would tell that again."""
        try:
            if await self._platform.ports.registry_store.load(self._agent) is None:
                self._lose(agent_not_found(self._agent))
        except CaxtonError as error:
            log.warning("the registration of %s could not be looked at: %s", self._agent, error)
            # The heartbeat looks, too, and need not wait.
            self._next = self._platform.ports.clock.now() + _AGAIN

    def _lose(self, error: CaxtonError) -> None:
        self._forget()
        if not self._is_lost:
            self._is_lost = True
            self._tell_lost(error)

    async def _beat_now(self) -> None:
        try:
            await self._platform.registrar.heartbeat(self._agent, self._beat)
        except RegistryError as error:
            self._lose(error)
        except AgentNotFound as error:
            await self._lose_or_return(error)
        except CaxtonError as error:
            log.warning("the lease of %s could not be looked at: %s", self._agent, error)

    async def _lose_or_return(self, error: AgentNotFound) -> None:
        """Lose the name to whoever has removed it; register again if nobody has."""
        capabilities, node = self._offers
        try:
            if await self._platform.ports.registry_store.has_left(self._agent):
                self._lose(error)
                return
            log.warning("nobody has removed %s, and it is not registered: it is again", self._agent)
            self._registration = await self._platform.registrar.register(
                self._agent, capabilities=capabilities, node=node, beat=self._beat
            )
        except TransportError as failure:
            # The next heartbeat finds the same.
            log.warning("%s could not be registered again: %s", self._agent, failure)
        except CaxtonError as failure:
            self._lose(failure)

    async def _renew(self) -> None:
        await self._platform.ports.clock.sleep(self._next - self._platform.ports.clock.now())
        try:
            await self._platform.registrar.heartbeat(self._agent, self._beat)
            # Told before this began to listen, it has not been heard.
            self._look_at(self._platform.registry.find(self._agent))
        except RegistryError as error:
            self._lose(error)
            await asyncio.Event().wait()
        except AgentNotFound as error:
            await self._lose_or_return(error)
        except CaxtonError as error:
            # Not with growing pauses: until it is renewed nobody finds an agent that is well.
            log.warning("the lease of %s is not renewed yet: %s", self._agent, error)
            await self._platform.ports.clock.sleep(_AGAIN)
            return
        self._wait_for_next()
        if not self._seen and not self._is_lost:
            await self._look_in_store()

    def _wait_for_next(self) -> None:
        third = timedelta(seconds=self._beat.lease / 3)
        self._next = self._platform.ports.clock.now() + third


def _nothing() -> None:
    pass
