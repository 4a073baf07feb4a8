"""Ways to a router, and what comes back through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.lease import Heartbeat, Lease
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.staged_receipt import StagedReceipt

REACH_WAIT = timedelta(seconds=5)
"""How long a change of the registry waits for routers to go by it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one receiver's copy of a message."""

    receiver: AgentId
    stream: str = ""
    sequence: int = 0
    duplicate: bool = False
    target: str = ""
    """The capability on whose behalf this receiver was chosen; empty if it was named."""
    reason: str = ""
    """Why it was chosen."""
    error: CaxtonError | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Given after every PubAck: the message is durable in each mailbox without an error."""

    message_id: str
    outcomes: tuple[Outcome, ...]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One message at a door: bytes as they came in, or an envelope from inside this process."""

    sender: AgentId
    body: bytes = b""
    envelope: Envelope | None = None
    headers: Mapping[str, str] = {}
    since: datetime | None = None
    """When it came in, if it has waited since: its ``timeout`` counts from then."""
    waited: bool = False
    """It has had a turn under its sender's rate limit, and comes again."""
    fallback_id: str = ""
    """The message id if the message has none and the door needs a repeatable one."""
    redriven: Mapping[str, str] = {}
    """What its letters tell of earlier deaths. No client can say so: it does not leave the process,
    so the router service gets it without."""


class Door(Protocol):
    """A way to a router: in this process, or the router service over NATS."""

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        """Route the batch; one receipt or error each, in order."""

    async def receipts(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Return how far a message that asked for it is with each receiver; [] if nobody knows."""


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an agent's state that was made, and how far it has come."""

    agent: AgentId
    state: AgentState
    drain_until: datetime | None = None
    """When an agent that is Draining becomes Stopped."""
    revision: int
    """Of the registration that says so."""
    everywhere: bool
    """No router accepts anything any more by what was before."""
    missing: tuple[str, ...] = ()
    """The ids of routers that did not say so in time."""


class Registrar(Protocol):
    """Where agents come to be known: in this process, or the router service over NATS."""

    async def register(
        self,
        agent: AgentId,
        *,
        capabilities: Sequence[str] = (),
        node: str = "",
        beat: Heartbeat | None = None,
        state: AgentState = AgentState.RUNNING,
    ) -> Registration:
        """Register the agent and make its mailbox readable.

        Args:
            agent: who.
            capabilities: what it offers.
            node: host and process, for people.
            beat: the first heartbeat of an agent that takes the lease, and renews it from now on.
                Without it nobody judges whether the agent runs.
            state: Running, or Loaded or Unloaded for one whose program comes later.

        Raises:
            AgentAlreadyRegistered: an agent of that name runs, or somebody reads its mailbox.
        """

    async def heartbeat(self, agent: AgentId, beat: Heartbeat) -> Lease:
        """Renew the agent's lease, and say how it is.

        Raises:
            AgentAlreadyRegistered: another instance has taken the name over.
            AgentNotFound: the agent is not registered, or not any more.
        """

    async def release(self, agent: AgentId, instance: str) -> bool:
        """Give the lease back: the agent is away, its name is free. False if it was another's."""

    async def update_state(
        self, agent: AgentId, state: AgentState, *, drain: timedelta | None = None
    ) -> StateChange:
        """Change the agent's state; for operators.

        Returns when every router goes by it, or after a few seconds with the ids of those that
        did not say so.

        Raises:
            AgentNotFound: nobody of that name is registered.
            InvalidStateTransition: the state may not follow the present one, or somebody else
                changed it at the same moment.
            InvalidEnvelope: the drain is out of its bounds.
        """

    async def deregister(self, agent: AgentId) -> bool:
        """Remove the registration; False if there was none.

        Mail that is stored goes to the dead letters, after its retries, unless an agent of that
        name registers before.
        """
