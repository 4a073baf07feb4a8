"""Ports that fail on purpose, laid over a platform's real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from caxton_nats.core.disposition import Ack, Disposition, Term
from caxton_nats.core.errors import PublishUnconfirmed
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Delivery, Inbox


class Unsettling:
    """Mailboxes whose inboxes lose the first settlements of a kind, as a crash before it would."""

    def __init__(self, real: Any, kind: type[Ack | Term], times: int) -> None:
        self._real = real
        self._kind = kind
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def open(self, agent: AgentId, *, urgent: bool = False) -> Inbox:
        return _UnsettlingInbox(await self._real.open(agent, urgent=urgent), self)

    def loses(self, disposition: Disposition) -> bool:
        if self.left and isinstance(disposition, self._kind):
            self.left -= 1
            return True
        return False


class _UnsettlingInbox:
    def __init__(self, real: Inbox, faults: Unsettling) -> None:
        self._real = real
        self._faults = faults

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        return await self._real.fetch(limit, wait)

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        for _, disposition in settled:
            if self._faults.loses(disposition):
                raise PublishUnconfirmed("lost on purpose")
        await self._real.settle(settled)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        await self._real.keep(deliveries)

    async def close(self) -> list[Delivery]:
        return await self._real.close()


def unsettling(platform: Platform, kind: type[Ack | Term], times: int = 1) -> Platform:
    """Return the platform with mailboxes that lose the first settlements of this kind."""
    mailboxes = Unsettling(platform.ports.mailboxes, kind, times)
    ports = msgspec.structs.replace(platform.ports, mailboxes=mailboxes)
    return dataclasses.replace(platform, ports=ports)
