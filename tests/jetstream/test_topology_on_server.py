"""Applying the topology to a real server: what it makes, what it refuses, what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from nats.js.errors import ServiceUnavailableError

from caxton_nats.core.conversation import Terms
from caxton_nats.core.errors import ConfigurationError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.remote import NodeId
from caxton_nats.jetstream import subjects, topology
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.topology import Deployment, Options
from caxton_nats.ports import Stored
from tests.plugins.servers import StartServer

OPTIONS = Options(platform="lab", shards=2, queue_size=10)
BOB = "caxton.mailbox.0.bob"


@pytest.fixture
async def connection(embedded_server: StartServer) -> AsyncIterator[Connection]:
    server = await embedded_server()
    connection = await connect(server.url, name="test")
    yield connection
    await connection.close()


def changed(**keys: Any) -> Options:
    return msgspec.structs.replace(OPTIONS, **keys)


async def names(connection: Connection) -> set[str]:
    return set((await connection.api("STREAM.NAMES"))["streams"] or ())


async def info(connection: Connection, stream: str) -> dict[str, Any]:
    return await connection.api(f"STREAM.INFO.{stream}")


async def create(connection: Connection, name: str, *subjects: str, **keys: Any) -> None:
    config = {"name": name, "subjects": subjects, **keys}
    await connection.api(f"STREAM.CREATE.{name}", config)


async def store(connection: Connection, subject: str, count: int) -> None:
    """Put this many messages there."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    results = await publisher.store(
        [Post(subject, b"{}", {"Nats-Msg-Id": f"{subject} {number}"}) for number in range(count)]
    )
    assert all(isinstance(one, Stored) for one in results), results


async def everything(connection: Connection) -> dict[str, Any]:
    """Return the configuration of every stream on the server."""
    found = await asyncio.gather(*(info(connection, name) for name in await names(connection)))
    return {one["config"]["name"]: one["config"] for one in found}


async def refused(connection: Connection, options: Options) -> ConfigurationError:
    """Return why applying is refused; the server must be as it was."""
    before = await everything(connection)
    with pytest.raises(ConfigurationError) as error:
        await topology.apply(connection, options)
    assert await everything(connection) == before
    assert error.value.hint
    return error.value


async def test_applying_twice_changes_nothing_the_second_time(connection: Connection) -> None:
    """All is missing, then all is as it should be."""
    wanted = {config["name"] for config in topology.streams(OPTIONS)}
    done = await topology.apply(connection, OPTIONS)
    assert {one.kind for one in done} == {"missing"}
    assert {one.stream for one in done} == wanted == await names(connection)
    before = await everything(connection)
    assert await topology.inspect(connection, OPTIONS) == []
    assert await topology.apply(connection, OPTIONS) == []
    assert await everything(connection) == before


async def test_looking_makes_nothing(connection: Connection) -> None:
    """`inspect` and `discover` leave an empty server empty."""
    kinds = {one.kind for one in await topology.inspect(connection, OPTIONS)}
    assert kinds == {"missing"}
    assert await topology.discover(connection) is None
    assert await names(connection) == set()


async def test_two_that_apply_at_once_both_succeed(connection: Connection) -> None:
    """Processes of one deployment may start together."""
    await asyncio.gather(*(topology.apply(connection, OPTIONS) for _ in range(5)))
    assert await topology.inspect(connection, OPTIONS) == []


async def test_a_deployment_says_of_itself_what_was_chosen(connection: Connection) -> None:
    """A client needs the address of a server, and nothing else."""
    await topology.apply(connection, OPTIONS)
    assert await topology.discover(connection) == Deployment("lab", shards=2, queue_size=10)
    chosen = changed(max_participants=5, conversation_timeout=300.5, conversation_lifetime=900)
    await topology.apply(connection, chosen)
    terms = Terms(
        max_participants=5, timeout=timedelta(seconds=300.5), lifetime=timedelta(minutes=15)
    )
    assert await topology.discover(connection) == Deployment("lab", 2, 10, terms)
    await topology.apply(connection, changed(rate_limit=70))
    found = await topology.discover(connection)
    assert found is not None
    assert found.rate_limit == 70


@pytest.mark.parametrize("made", [0, 1, 3, -1])
async def test_an_interrupted_creation_is_completed(connection: Connection, made: int) -> None:
    """Wherever it stopped, there is no deployment yet, and applying again makes the rest."""
    for config in topology.streams(OPTIONS)[:made]:
        await connection.api(f"STREAM.CREATE.{config['name']}", config)
    assert await topology.discover(connection) is None
    await topology.apply(connection, OPTIONS)
    assert await topology.inspect(connection, OPTIONS) == []
    assert await topology.discover(connection) is not None


async def test_an_ingress_that_was_made_by_hand_is_completed(connection: Connection) -> None:
    """The file as it is, given to the nats tool, does not say what was chosen."""
    config = topology.streams(OPTIONS)[-1]
    await connection.api(
        f"STREAM.CREATE.{config['name']}", {**config, "metadata": {topology.MARK: "1"}}
    )
    assert await topology.discover(connection) is None
    await topology.apply(connection, OPTIONS)
    assert await topology.discover(connection) == Deployment("lab", shards=2, queue_size=10)


async def test_a_lost_stream_is_made_again(connection: Connection) -> None:
    """The others stay as they are, with what lies in them."""
    await topology.apply(connection, OPTIONS)
    await store(connection, BOB, 3)
    await connection.api("STREAM.DELETE.CAXTON_ADVISORIES")
    (done,) = await topology.apply(connection, OPTIONS)
    assert (done.stream, done.kind) == ("CAXTON_ADVISORIES", "missing")
    assert (await info(connection, "CAXTON_MAILBOX_0"))["state"]["messages"] == 3


@pytest.mark.parametrize("stream", ["CAXTON_DLQ", "CAXTON_INGRESS", "KV_caxton-agents"])
async def test_a_foreign_stream_is_refused_before_anything_is_made(
    connection: Connection, stream: str
) -> None:
    """It is named, with what to do, and nothing is made around it."""
    await create(connection, stream, "theirs")
    error = await refused(connection, OPTIONS)
    assert (error.field, "did not make" in error.reason) == (stream, True)
    assert "nats stream rm" in error.hint
    assert await names(connection) == {stream}


async def test_a_foreign_ingress_is_no_deployment_of_ours(connection: Connection) -> None:
    """Connecting to it would take somebody else's messages."""
    await create(connection, "CAXTON_INGRESS", "theirs")
    with pytest.raises(ConfigurationError, match="did not make"):
        await topology.discover(connection)


async def test_foreign_subjects_that_overlap_are_refused(connection: Connection) -> None:
    """The stream that wanted them is named; with the other one gone, applying goes on."""
    await create(connection, "THEIRS", "caxton.dlq.>")
    with pytest.raises(ConfigurationError) as error:
        await topology.apply(connection, OPTIONS)
    assert error.value.field == "CAXTON_DLQ"
    assert "caxton.dlq." in error.value.reason
    assert "nats stream ls --subjects" in error.value.hint
    assert await topology.discover(connection) is None
    await connection.api("STREAM.DELETE.THEIRS")
    await topology.apply(connection, OPTIONS)
    assert await topology.inspect(connection, OPTIONS) == []


@pytest.mark.parametrize(("key", "value"), [("storage", "memory"), ("retention", "interest")])
async def test_what_a_server_cannot_change_is_refused(
    connection: Connection, key: str, value: str
) -> None:
    """Stream, key and both values are told, before another stream is touched."""
    await topology.apply(connection, OPTIONS)
    (config,) = [one for one in topology.streams(OPTIONS) if one["name"] == "CAXTON_ADVISORIES"]
    await connection.api("STREAM.DELETE.CAXTON_ADVISORIES")
    await connection.api("STREAM.CREATE.CAXTON_ADVISORIES", {**config, key: value})
    error = await refused(connection, changed(queue_size=20))
    assert error.field == "CAXTON_ADVISORIES"
    assert f"{key} is {value} and should be {config[key]}" in error.reason


@pytest.mark.parametrize("shards", [1, 3])
async def test_another_number_of_shards_is_refused(connection: Connection, shards: int) -> None:
    """Agents would look for their mail in another stream."""
    await topology.apply(connection, OPTIONS)
    error = await refused(connection, changed(shards=shards))
    assert (error.field, error.limit, error.value) == ("shards", 2, shards)


async def test_another_name_of_the_platform_is_refused(connection: Connection) -> None:
    """Agents and the mail that is under way carry the old one."""
    await topology.apply(connection, OPTIONS)
    error = await refused(connection, changed(platform="home"))
    assert (error.field, error.limit, error.value) == ("platform", "lab", "home")


async def test_limits_change_on_a_running_deployment_and_no_message_is_lost(
    connection: Connection,
) -> None:
    """Up and down, as long as no mailbox holds more than the new bound."""
    await topology.apply(connection, OPTIONS)
    await store(connection, BOB, 8)
    for size, window in ((20, 60.0), (8, 120.0)):
        options = changed(queue_size=size, duplicate_window=window)
        done = await topology.apply(connection, options)
        assert {one.stream for one in done} == {
            *("CAXTON_MAILBOX_0", "CAXTON_MAILBOX_1", "CAXTON_OUTBOUND", "KV_caxton-decisions"),
        }
        assert await topology.inspect(connection, options) == []
        assert await topology.discover(connection) == Deployment("lab", 2, size)
        assert (await info(connection, "CAXTON_MAILBOX_0"))["state"]["messages"] == 8


async def test_a_bound_below_what_a_mailbox_holds_is_refused(connection: Connection) -> None:
    """A server would drop the oldest messages of that mailbox, and say nothing."""
    await topology.apply(connection, OPTIONS)
    await store(connection, BOB, 8)
    error = await refused(connection, changed(queue_size=7))
    assert (error.field, error.limit, error.value) == ("queue_size", 8, 7)
    assert BOB in error.reason
    assert (await info(connection, "CAXTON_MAILBOX_0"))["state"]["messages"] == 8


async def test_a_bound_below_what_waits_for_another_platform_is_refused(
    connection: Connection,
) -> None:
    """What waits for a link is mail like any other."""
    await topology.apply(connection, OPTIONS)
    place = subjects.outbound_address(AgentId("bob@plant"), NodeId("plant")).subject
    for number in range(8):
        await connection.request(place, b"%d" % number, what="store")
    error = await refused(connection, changed(queue_size=7))
    assert (error.field, error.limit, error.value) == ("queue_size", 8, 7)
    assert (await info(connection, "CAXTON_OUTBOUND"))["state"]["messages"] == 8


@pytest.mark.parametrize("after", [1, 2])
async def test_mail_that_comes_while_the_bound_is_lowered_is_not_lost(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """After the first look it is seen by the second one; after the second none is let in."""
    await topology.apply(connection, OPTIONS)
    await store(connection, BOB, 5)
    looked = 0
    accepted = 5
    look = topology._check_room

    async def look_and_be_too_slow(connection: Connection, stream: str, size: int) -> None:
        nonlocal looked, accepted
        await look(connection, stream, size)
        looked += stream == "CAXTON_MAILBOX_0"
        if (stream, looked) == ("CAXTON_MAILBOX_0", after):
            for _ in range(5):
                with suppress(ServiceUnavailableError):
                    await connection.client.jetstream().publish(BOB, b"{}")
                    accepted += 1

    monkeypatch.setattr(topology, "_check_room", look_and_be_too_slow)
    options = changed(queue_size=5)
    if after == 1:
        assert (await refused(connection, options)).field == "queue_size"
        assert accepted == 10
    else:
        await topology.apply(connection, options)
    assert (await info(connection, "CAXTON_MAILBOX_0"))["state"]["messages"] == accepted


async def test_nothing_is_ever_deleted(connection: Connection) -> None:
    """Streams of others, and one of ours that the files do not have, stay with what they hold."""
    await topology.apply(connection, OPTIONS)
    await create(connection, "THEIRS", "theirs")
    await create(connection, "CAXTON_OLD", "old", metadata={topology.MARK: "0"})
    await store(connection, "theirs", 2)
    await store(connection, "caxton.submit.bob", 2)
    before = await names(connection)
    await topology.apply(connection, changed(queue_size=20))
    assert await names(connection) == before
    for stream in ("THEIRS", "CAXTON_INGRESS"):
        assert (await info(connection, stream))["state"]["messages"] == 2


async def test_a_consumer_is_made_once_and_brought_up_to_date(connection: Connection) -> None:
    """Asked for again it stays, with where it stands; another setting is taken over."""
    await topology.apply(connection, OPTIONS)
    config = topology.consumer("router")
    for ack_wait in (30, 30, 7):
        config["ack_wait"] = ack_wait * 10**9
        await topology.ensure_consumer(connection, "CAXTON_INGRESS", config)
        found = await connection.api("CONSUMER.INFO.CAXTON_INGRESS.router")
        assert found["config"]["ack_wait"] == ack_wait * 10**9
    assert (await info(connection, "CAXTON_INGRESS"))["state"]["consumer_count"] == 1


async def test_a_full_ingress_refuses_and_keeps(connection: Connection) -> None:
    """At its bound the next submission is refused; a bound below what waits drops nothing."""
    await topology.apply(connection, changed(ingress_size=12))
    await store(connection, "caxton.submit.bob", 12)
    for size in (12, 10):
        await topology.apply(connection, changed(ingress_size=size))
        with pytest.raises(ServiceUnavailableError):
            await connection.client.jetstream().publish("caxton.submit.bob", b"{}")
    assert (await info(connection, "CAXTON_INGRESS"))["state"]["messages"] == 12


async def test_the_oldest_dead_letters_go_at_the_bound_and_never_by_lowering_it(
    connection: Connection,
) -> None:
    """A bound below what is kept is refused, for it would drop letters that nobody has seen."""
    await topology.apply(connection, changed(dead_letter_size=5))
    await store(connection, "caxton.dlq.timeout.bob.1", 7)
    state = (await info(connection, "CAXTON_DLQ"))["state"]
    assert (state["messages"], state["first_seq"]) == (5, 3)
    error = await refused(connection, changed(dead_letter_size=4))
    assert (error.field, error.limit, error.value) == ("dead_letter_size", 5, 4)
    await topology.apply(connection, changed(dead_letter_size=6))
    assert (await info(connection, "CAXTON_DLQ"))["state"]["messages"] == 5


async def test_compression_changes_on_a_running_deployment(connection: Connection) -> None:
    """Every stream lies compressed from then on, and what is stored can still be read."""
    await topology.apply(connection, OPTIONS)
    await store(connection, BOB, 3)
    options = changed(compression="s2")
    done = await topology.apply(connection, options)
    assert {one.stream for one in done} == {one["name"] for one in topology.streams(options)}
    assert await topology.inspect(connection, options) == []
    mailbox = await info(connection, "CAXTON_MAILBOX_0")
    assert (mailbox["config"]["compression"], mailbox["state"]["messages"]) == ("s2", 3)


async def test_streams_in_memory_are_gone_with_the_server(embedded_server: StartServer) -> None:
    """Those on disk are there again: that is all the difference there is."""
    for storage, left in (("memory", 0), ("file", 3)):
        server = await embedded_server()
        connection = await connect(server.url, name="test")
        options = msgspec.convert({"shards": 1, "storage": storage}, Options)
        await topology.apply(connection, options)
        assert await topology.inspect(connection, options) == []
        await store(connection, BOB, 3)
        await connection.close()
        await server.restart()
        connection = await connect(server.url, name="test")
        there = BOB.rpartition(".")[0]
        found = (await connection.api("STREAM.LIST"))["streams"] or []
        kept = sum(one["state"]["messages"] for one in found if there in str(one["config"]))
        assert kept == left
        await connection.close()


async def test_where_streams_lie_is_for_good(connection: Connection) -> None:
    """A server cannot move them: it is said before anything is changed."""
    await topology.apply(connection, OPTIONS)
    error = await refused(connection, changed(storage="memory"))
    assert "storage is file and should be memory" in error.reason


async def test_a_deployment_tells_all_that_it_has_chosen(connection: Connection) -> None:
    """So that what is not chosen again stays."""
    assert await topology.agreed(connection) is None
    options = changed(
        duplicate_window=0.5,
        conversation_retention=7200.0,
        ingress_size=77,
        rate_limit=9,
        dead_letter_size=10_001,
        compression="s2",
    )
    await topology.apply(connection, options)
    assert await topology.agreed(connection) == options
