"""What every `Links` promises: mail for other platforms waits here, and crosses once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from caxton_nats.app import RandomIds
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, QueueFull, TransportError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.remote import NodeId
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.adapter import open_ports
from caxton_nats.jetstream.connection import connect
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.mailboxes import ConsumerOptions
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Delivery, Letter, Ports, Stored
from caxton_nats.ports.remote import Parcel
from tests.conformance.adapters import A_MOMENT, LONG, Adapter
from tests.integration.linked import free_port, options
from tests.plugins.clock import RealClock
from tests.plugins.eventually import eventually

ALICE = AgentId("alice@office")
BOB = AgentId("bob@plant")
PLANT, OFFICE = NodeId("plant"), NodeId("office")


class Pair(msgspec.Struct):
    """Two platforms, joined, and how their link is cut for good."""

    office: Ports
    plant: Ports
    cut: Callable[[], Awaitable[None]]


@pytest.fixture
async def pair(adapter_name: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """Join two platforms of one adapter."""
    async with AsyncExitStack() as stack:
        yield await (_memory() if adapter_name == "memory" else _jetstream(stack, tmp_path))


async def _memory() -> Pair:
    brokers = [MemoryBroker(RealClock(), platform=name) for name in ("office", "plant")]
    brokers[0].links.join(brokers[1].links)

    async def cut() -> None:
        brokers[1].links.up = False

    return Pair(brokers[0].ports(RandomIds()), brokers[1].ports(RandomIds()), cut)


async def _jetstream(stack: AsyncExitStack, folder: Path) -> Pair:
    port, made, servers = free_port(), {}, {}
    for name in ("office", "plant"):
        server = await stack.enter_async_context(EmbeddedServer(options(name, port, folder)))
        connection = await connect(server.url, name="conformance")
        stack.push_async_callback(connection.close)
        await topology.apply(connection, topology.Options(platform=name, shards=1))
        deployment = await topology.discover(connection)
        assert deployment is not None
        ports = open_ports(
            connection, deployment, ConsumerOptions(), clock=RealClock(), ids=RandomIds()
        )
        made[name], servers[name] = await stack.enter_async_context(ports), server
    pair = Pair(made["office"], made["plant"], servers["plant"].kill)
    stop = await pair.plant.links.answer_pings()

    async def up() -> bool:
        return await pair.office.links.ping(PLANT, wait=A_MOMENT * 10) == "plant"

    await eventually(up)
    await stop()
    return pair


def parcel(key: str, sender: AgentId = ALICE) -> Parcel:
    return Parcel(sender, BOB, key, key.encode(), {"Caxton-Receiver": BOB})


def letter(adapter: Adapter, agent: AgentId, key: str, node: NodeId = PLANT) -> Letter:
    return Letter(agent, adapter.links.address(agent, node), key, key.encode(), {"x": "y"})


async def test_a_letter_waits_for_its_node(adapter: Adapter) -> None:
    """It is stored as mail is, counted, and read with whom it is for; other nodes do not see it."""
    (stored,) = await adapter.publisher.publish([letter(adapter, BOB, "one")])
    assert isinstance(stored, Stored)
    assert stored.stream == "CAXTON_OUTBOUND"
    assert await adapter.links.waiting() == {"plant": 1}
    assert await (await adapter.links.outbound(NodeId("mine"))).fetch(1, A_MOMENT) == []
    inbox = await adapter.links.outbound(PLANT)
    (delivery,) = await inbox.fetch(10, LONG)
    assert adapter.links.receiver(delivery.subject) == BOB
    assert (delivery.body, delivery.headers["x"]) == (b"one", "y")
    assert await adapter.mailboxes.get(delivery.origin) is not None
    assert adapter.links.holds(delivery.origin)
    assert not adapter.links.holds(Origin("CAXTON_MAILBOX_0", 1))
    await inbox.settle([(delivery, Ack())])
    assert await adapter.links.waiting() == {}


@pytest.mark.parametrize("name", ["a.*.>@plant", "ä@ö", "x" * 100 + "@plant"])
async def test_awkward_names_wait(adapter: Adapter, name: str) -> None:
    """Whatever a name or a node means to NATS."""
    node = NodeId(name.rpartition("@")[2])
    await adapter.publisher.publish([letter(adapter, AgentId(name), "one", node)])
    assert await adapter.links.waiting() == {node: 1}
    (delivery,) = await (await adapter.links.outbound(node)).fetch(10, LONG)
    assert adapter.links.receiver(delivery.subject) == name


async def test_readers_share_what_waits(adapter: Adapter) -> None:
    """What one gives back the other gets."""
    await adapter.publisher.publish([letter(adapter, BOB, "one")])
    first, second = await adapter.links.outbound(PLANT), await adapter.links.outbound(PLANT)
    (delivery,) = await first.fetch(1, LONG)
    await first.settle([(delivery, Nak(timedelta()))])
    (again,) = await second.fetch(1, LONG)
    assert (again.origin, again.attempt) == (delivery.origin, 2)


async def test_what_waits_is_bounded_for_each_receiver(adapter: Adapter) -> None:
    """As in a mailbox, exactly; a repeated key is a duplicate also when it is full."""
    size = adapter.limits.queue_size
    letters = [letter(adapter, BOB, f"{number}") for number in range(size + 1)]
    results = await adapter.publisher.publish(letters)
    assert [type(one) for one in results] == [Stored] * size + [QueueFull]
    other = letter(adapter, AgentId("carol@plant"), "other")
    results = await adapter.publisher.publish([other, letters[0]])
    assert [isinstance(one, Stored) and one.duplicate for one in results] == [False, True]


async def test_a_subject_that_names_nobody(adapter: Adapter) -> None:
    """Whoever may write into a stream may write nonsense."""
    for subject in ("caxton.outbound.plant.bob", "caxton.outbound.plant.=="):
        with pytest.raises(InvalidEnvelope):
            adapter.links.receiver(subject)
    for subject in ("caxton.link.mail.here.here.bob", "caxton.link.mail.here.there.=="):
        with pytest.raises(InvalidEnvelope):
            adapter.links.sender(subject)


async def test_parcels_cross(pair: Pair) -> None:
    """In order, with body and headers, and the link says who sent them."""
    results = await pair.office.links.forward(PLANT, [parcel("one"), parcel("two")])
    assert [isinstance(one, Stored) and one.duplicate for one in results] == [False, False]
    inbox = await pair.plant.links.inbound()
    found: list[Delivery] = []
    while len(found) < 2:
        found += await inbox.fetch(10, LONG)
    assert [one.body for one in found] == [b"one", b"two"]
    assert found[0].headers["Caxton-Receiver"] == BOB
    assert pair.plant.links.sender(found[0].subject) == ALICE


async def test_a_parcel_crosses_once(pair: Pair) -> None:
    """The same key again is a duplicate at the other end, also when it was taken there."""
    await pair.office.links.forward(PLANT, [parcel("one")])
    inbox = await pair.plant.links.inbound()
    (delivery,) = await inbox.fetch(10, LONG)
    await inbox.settle([(delivery, Ack())])
    (again,) = await pair.office.links.forward(PLANT, [parcel("one")])
    assert isinstance(again, Stored)
    assert again.duplicate
    assert await inbox.fetch(10, A_MOMENT) == []


async def test_both_directions(pair: Pair) -> None:
    """The other platform sends over the same link, in its own name."""
    (stored,) = await pair.plant.links.forward(OFFICE, [parcel("one", sender=BOB)])
    assert isinstance(stored, Stored)
    (delivery,) = await (await pair.office.links.inbound()).fetch(1, LONG)
    assert pair.office.links.sender(delivery.subject) == BOB


async def test_ping(pair: Pair) -> None:
    """A platform answers with its name while one of its routers does, and nobody else does."""
    assert await pair.office.links.ping(PLANT, wait=A_MOMENT) is None
    stop = await pair.plant.links.answer_pings()

    async def answered() -> bool:
        return await pair.office.links.ping(PLANT, wait=LONG) == "plant"

    async def silent() -> bool:
        return not await answered()

    # The other server hears of it a moment later.
    await eventually(answered)
    assert await pair.office.links.ping(NodeId("mine"), wait=A_MOMENT) is None
    await stop()
    await eventually(silent)


async def test_a_link_that_is_down(pair: Pair) -> None:
    """Every parcel is refused with a transport error, and nobody answers a ping."""
    await pair.cut()
    results: list[Stored | CaxtonError] = await pair.office.links.forward(PLANT, [parcel("one")])
    assert [isinstance(one, TransportError) for one in results] == [True]
    assert await pair.office.links.ping(PLANT, wait=A_MOMENT) is None
