"""The outer side of a router service: mail to other platforms, mail from them, and pings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Protocol

from caxton_nats.app.options import retry_policy
from caxton_nats.config import Settings
from caxton_nats.core.remote import NodeId
from caxton_nats.engine.forwarder import Forwarder
from caxton_nats.engine.frontier import Frontier, LinkWatch
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Inbox
from caxton_nats.tasks import Workers


class Work(Protocol):
    """Something a router service does in the background."""

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""


async def outer_side(
    platform: Platform,
    chosen: Settings,
    workers: Workers,
    stack: AsyncExitStack,
    taking: Callable[[Inbox], Inbox],
) -> list[Work]:
    """Return what a router service does for the links; pings are answered from now on.

    Args:
        platform: whose outer side it is.
        chosen: the settings.
        workers: what the process routes with.
        stack: ends, in the right order, what is begun here.
        taking: has what was taken from an inbox finished, and the rest given back, at the end.
    """
    ports = platform.ports
    inbound = taking(await ports.links.inbound())
    stack.push_async_callback(await ports.links.answer_pings())

    def forwarder(node: NodeId) -> Forwarder:
        return Forwarder(
            node,
            ports,
            platform.burial,
            ack_wait=timedelta(seconds=chosen.ack_wait),
            observer=platform.observer,
        )

    frontier = Frontier(ports, platform.remote, forwarder)
    stack.push_async_callback(frontier.close)
    return [
        Ingress(
            inbound,
            platform.router,
            platform.burial,
            ports,
            platform=platform.name,
            sender_of=ports.links.sender,
            policy=retry_policy(chosen),
            workers=workers,
        ),
        frontier,
        LinkWatch(ports, platform.remote, filter(None, chosen.links.split(","))),
    ]
