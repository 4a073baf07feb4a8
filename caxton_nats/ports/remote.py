"""Other platforms: the routes to them, and the links that lie between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Address
from caxton_nats.core.remote import NodeId, RouteInfo, Routes
from caxton_nats.ports.mail import Inbox, Stored


class RouteStore(Protocol):
    """The durable routes, one for each name."""

    async def save(self, route: RouteInfo, *, revision: int | None) -> int:
        """Write it if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def load(self, agent: AgentId) -> tuple[RouteInfo, int] | None:
        """Return the route of exactly this name, expired or not, and its revision."""

    async def remove(self, agent: AgentId) -> bool:
        """Remove the route; False if there was none."""

    async def follow(self, routes: Routes) -> None:
        """Keep ``routes`` equal to the store, for as long as the adapter is connected.

        Returns when the first complete state is in.
        """


class Parcel(msgspec.Struct, frozen=True):
    """One message on its way over a link."""

    sender: AgentId
    receiver: AgentId
    message_key: str
    """Identity for duplicate suppression at the other end."""
    body: bytes
    headers: Mapping[str, str] = {}


class Links(Protocol):
    """What lies between this platform and others: mail that waits here, and the way across."""

    @property
    def max_parcel(self) -> int:
        """Bytes of a parcel's body that every link takes."""

    def address(self, agent: AgentId, node: NodeId) -> Address:
        """Return where a letter for an agent of another platform waits for its link."""

    def receiver(self, subject: str) -> AgentId:
        """Return whom a delivery of this subject from `outbound` is for.

        Raises:
            InvalidEnvelope: nobody, for anybody with the right to may write into a stream.
        """

    def sender(self, subject: str) -> AgentId:
        """Return who sent a delivery of this subject from `inbound`, by the link's authority.

        Raises:
            InvalidEnvelope: nobody, or an agent of this very platform.
        """

    def holds(self, origin: Origin) -> bool:
        """Return whether a stored message of this name waits, or waited, for a link."""

    async def waiting(self) -> dict[NodeId, int]:
        """Return how much mail waits, by node."""

    async def outbound(self, node: NodeId) -> Inbox:
        """Return what waits for a node, for reading; all readers share it."""

    async def inbound(self) -> Inbox:
        """Return what other platforms have sent here, for reading; all readers share it."""

    async def forward(self, node: NodeId, parcels: Sequence[Parcel]) -> list[Stored | CaxtonError]:
        """Store the parcels at the other end, at once; one result each, in order.

        Nothing is tried twice here. What was stored there within an hour is a duplicate.
        """

    async def ping(self, node: NodeId, *, wait: timedelta) -> str | None:
        """Return the name of the platform at the other end; None if nobody answers in time."""

    async def answer_pings(self) -> Callable[[], Awaitable[None]]:
        """Tell other platforms that ask that this one is there; the returned call ends that."""
