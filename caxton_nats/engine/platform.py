"""One process's place on an agent platform: the ports, and the engine built over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from caxton_nats.core.capability import wanted
from caxton_nats.core.health import DetailedHealthStatus
from caxton_nats.core.identifiers import AgentId, agent_id
from caxton_nats.core.lease import Health, is_available
from caxton_nats.core.registry import Registry
from caxton_nats.core.remote import AgentLocation, Local, RouteInfo, locate
from caxton_nats.core.routing import agent_not_found
from caxton_nats.core.statistics import DeadLetterStats
from caxton_nats.engine import conversations, deadlines
from caxton_nats.engine.accounts import STATS, Accounts, Overview
from caxton_nats.engine.admission import Admission
from caxton_nats.engine.barrier import SYNC, Barrier
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.conversations import Conversations
from caxton_nats.engine.expiry import Expiry
from caxton_nats.engine.lifecycle import KIND as DRAIN
from caxton_nats.engine.lifecycle import Lifecycle
from caxton_nats.engine.mailbox import Mailbox
from caxton_nats.engine.messages import Messages
from caxton_nats.engine.meter import Meter
from caxton_nats.engine.monitor import HEALTH, Monitor
from caxton_nats.engine.outbox import Outbox
from caxton_nats.engine.receiver import MailboxOptions, Receiver
from caxton_nats.engine.redrive import Redrive
from caxton_nats.engine.registrar import LocalRegistrar
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.engine.router import Router, RouterOptions
from caxton_nats.engine.sharing import SHARING, Sharing
from caxton_nats.engine.timekeeper import WhenDue
from caxton_nats.engine.trials import Trials
from caxton_nats.ports import Answer, Door, Ports, Registrar
from caxton_nats.telemetry import Observer, guarded


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What agents and operators work with; built by the composition root."""

    name: str
    ports: Ports
    registry: Registry
    health: Health
    """Which agents run, and are well."""
    remote: RemoteAgents
    router: Router
    door: Door
    """How this process sends: its own router, or the router service."""
    registrar: Registrar
    burial: Burial
    redrive: Redrive
    conversations: Conversations
    mailbox_options: MailboxOptions
    max_body: int
    """Bytes of one NATS message that are left for what it says."""
    observer: Observer
    routes: bool
    """Whether this process routes what it sends, or leaves it to the router service."""
    accounts: Accounts
    monitor: Monitor
    sharing: Sharing
    """Which part of a sender's limit this router allows."""
    answers: Mapping[str, Answer]
    """What other processes may ask this router, by question."""
    when_due: Mapping[str, WhenDue]
    """What a router service does with timers that have come due, by their kind."""

    def agent_id(self, name: str) -> AgentId:
        """Return the checked identifier; a bare name is an agent of this platform."""
        return agent_id(name, self.name)

    @property
    def messages(self) -> Messages:
        """What lies in mailboxes."""
        return Messages(self.ports, self.burial, platform=self.name)

    async def statistics(self) -> Overview:
        """Return what all routers have measured, and what the streams hold."""
        return await self.accounts.overview()

    async def dead_letter_statistics(self) -> DeadLetterStats:
        """Return how many dead letters there are, why, how old and how large."""
        return await self.accounts.dead_letters()

    async def health_check(self) -> DetailedHealthStatus:
        """Have every router look after itself and the streams, and return what they found.

        Nothing is raised: a connection that is lost, or a process that was shut down, is Unhealthy.
        """
        return await self.monitor.everybody()

    async def update_remote_route(self, agent: str, node: str, hops: int = 1) -> RouteInfo:
        """Take note of where an agent of another platform is reached; return what is in force.

        Args:
            agent: ``bob@plant``, or ``*@plant`` for everybody there.
            node: name of the link, most often the platform's.
            hops: 0..255, how far away; the nearer route wins.

        Raises:
            InvalidEnvelope: a value out of its bounds, or an agent of this platform.
        """
        return await self.remote.update(self.agent_id(agent), node, hops)

    def lookup(self, name: str) -> AgentLocation:
        """Return where an agent is: here, with its registration, or behind a route.

        Raises:
            AgentNotFound: it is not registered, or no route leads to its platform now.
        """
        agent = self.agent_id(name)
        if not self.remote.is_own(agent):
            return locate(agent, self.remote.routes, self.ports.clock.now())
        registration = self.registry.find(agent)
        if registration is None:
            raise agent_not_found(agent)
        return Local(registration)

    def offering(self, capability: str, *, besides: AgentId) -> list[AgentId]:
        """Return the agents that are Running, well, and offer a capability, besides one."""
        now = self.ports.clock.now()
        for offer in wanted(capability).offers:
            found = [
                agent
                for agent in self.registry.offering(offer)
                if agent != besides and is_available(agent, self.registry, self.health, now)
            ]
            if found:
                return found
        return []

    def mailbox(self, agent: AgentId, receiver: Receiver) -> Mailbox:
        """Return the agent's mailbox, not started yet."""
        return Mailbox(
            agent,
            receiver,
            self.ports,
            self.burial,
            self.health.breakers,
            outbox=Outbox(agent, self.ports, self.door, max_body=self.max_body),
            options=self.mailbox_options,
            observer=self.observer,
        )


def build(
    ports: Ports,
    options: RouterOptions,
    *,
    observer: Observer,
    mailbox_options: MailboxOptions,
    door: Door | None = None,
    registrar: Registrar | None = None,
) -> Platform:
    """Build the engine over an adapter's ports.

    Args:
        ports: the adapter.
        options: what the routers of this deployment agree on.
        observer: is told of every outcome; what it raises is logged, and changes nothing.
        mailbox_options: how agents of this process take their mail.
        door: another way to a router than the one in this process.
        registrar: another way to the registry than the one in this process.
    """
    registry, health = Registry(), Health()
    meter = Meter(ports.clock)
    observer = meter.observing(guarded(observer))
    ports = msgspec.structs.replace(ports, publisher=meter.counting(ports.publisher))
    remote = RemoteAgents(ports, platform=options.platform, queue_size=options.queue_size)
    burial = Burial(ports, registry, remote, max_body=options.max_body, observer=observer)
    router = Router(
        ports, registry, health, remote, options, burial=burial, observer=observer, meter=meter
    )
    barrier = Barrier(ports, router.settled)
    lifecycle = Lifecycle(ports, barrier)
    accounts = Accounts(ports, registry, health.breakers, meter)
    monitor = Monitor(
        ports,
        health.breakers,
        queue_size=options.queue_size,
        interval=options.health_interval,
    )
    sharing = Sharing(ports, router.rate_limit, interval=options.health_interval)
    own_door = door or router
    expires = Expiry(ports, burial, ack_wait=mailbox_options.ack_wait)
    kept = Conversations(ports)
    return Platform(
        name=options.platform,
        ports=ports,
        registry=registry,
        health=health,
        remote=remote,
        router=router,
        door=own_door,
        registrar=registrar
        or _own_registrar(ports, registry, health, lifecycle, options, observer),
        burial=burial,
        redrive=_redrive(ports, health, remote, own_door, options, observer),
        mailbox_options=mailbox_options,
        max_body=options.max_body,
        observer=observer,
        routes=door is None,
        accounts=accounts,
        conversations=kept,
        monitor=monitor,
        sharing=sharing,
        answers={
            STATS: accounts.answer,
            HEALTH: monitor.answer,
            SYNC: barrier.answer,
            SHARING: sharing.answer,
        },
        when_due=_when_due(expires, kept, lifecycle),
    )


def _when_due(expires: Expiry, kept: Conversations, lifecycle: Lifecycle) -> Mapping[str, WhenDue]:
    return {
        deadlines.KIND: expires.when_due,
        conversations.KIND: kept.when_due,
        DRAIN: lifecycle.when_due,
    }


def _own_registrar(
    ports: Ports,
    registry: Registry,
    health: Health,
    lifecycle: Lifecycle,
    options: RouterOptions,
    observer: Observer,
) -> LocalRegistrar:
    return LocalRegistrar(
        ports,
        registry,
        health,
        lifecycle,
        platform=options.platform,
        queue_size=options.queue_size,
        observer=observer,
    )


def _redrive(
    ports: Ports,
    health: Health,
    remote: RemoteAgents,
    door: Door,
    options: RouterOptions,
    observer: Observer,
) -> Redrive:
    admission = Admission(ports, options.terms)
    return Redrive(ports, remote, door, Trials(ports, health), admission, observer=observer)
