"""streams/ is JetStream's own configuration, and what lies in the streams is readable JSON.

The witness is the nats command line tool: it takes the files as they are, and shows the state to
somebody who has nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from caxton_nats import Agent, Context, Reject, serve, settings, started
from caxton_nats.core.identifiers import ConversationId
from caxton_nats.core.registry import Registration
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.embedded import EmbeddedServer
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli
from tests.plugins.requirements import find_nats_cli
from tests.plugins.servers import StartServer

ROOT = Path(__file__).resolve().parents[1]
STREAMS = sorted((ROOT / "streams").glob("*.stream.json"))
CONSUMERS = {
    "router": "CAXTON_INGRESS",
    "advisories": "CAXTON_ADVISORIES",
    "mailbox": "CAXTON_MAILBOX_0",
    "timers": "CAXTON_TIMERS",
    "outbound": "CAXTON_OUTBOUND",
    "link": "CAXTON_LINK",
}


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.fixture
async def server(embedded_server: StartServer) -> EmbeddedServer:
    return await embedded_server()


@pytest.fixture
async def platform(server: EmbeddedServer) -> AsyncIterator[Platform]:
    chosen = settings(nats_url=server.url, shards=1)
    async with serve(chosen, observer=lambda _: None) as made:
        yield made


@pytest.mark.nats_cli
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
async def test_the_nats_tool_makes_a_stream_of_each_file(
    nats_cli: NatsCli, server: EmbeddedServer, path: Path
) -> None:
    """`nats stream add --config FILE` asks nothing, and the stream is as the file says."""
    config = content(path)
    added = await nats_cli(server.url, "stream", "add", "--config", str(path))
    assert added.returncode == 0, added.stderr
    shown = await nats_cli(server.url, "stream", "info", config["name"], "--json")
    assert topology.compare(config, json.loads(shown.stdout)["config"]) is None


@pytest.mark.nats_cli
@pytest.mark.parametrize("name", CONSUMERS)
async def test_the_nats_tool_makes_a_consumer_of_each_file(
    nats_cli: NatsCli, server: EmbeddedServer, name: str
) -> None:
    """`nats consumer add STREAM --config FILE` asks nothing, and every key of the file is kept."""
    stream = CONSUMERS[name]
    source = next(path for path in STREAMS if content(path)["name"] == stream)
    await nats_cli(server.url, "stream", "add", "--config", str(source))
    file = ROOT / "streams" / f"{name}.consumer.json"
    config = content(file)
    added = await nats_cli(server.url, "consumer", "add", stream, "--config", str(file))
    assert added.returncode == 0, added.stderr
    shown = await nats_cli(server.url, "consumer", "info", stream, config["durable_name"], "--json")
    has = json.loads(shown.stdout)["config"]
    assert {key: has[key] for key in config} == config


def test_every_consumer_file_is_tried() -> None:
    """A new file without a stream in the table above would pass unseen."""
    files = {path.name.partition(".")[0] for path in (ROOT / "streams").glob("*.consumer.json")}
    assert files == set(CONSUMERS)


@pytest.mark.nats_cli
async def test_registrations_are_readable_in_their_bucket(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """`nats kv get caxton-agents bob` shows the registration as JSON, under FIPA's names."""
    bob = platform.agent_id("bob")
    made = await platform.registrar.register(bob, capabilities=["shout"])
    got = await nats_cli(server.url, "kv", "get", "caxton-agents", "bob", "--raw")
    assert msgspec.json.decode(got.stdout, type=Registration) == made
    shown = await nats_cli(server.url, "kv", "get", "caxton-agents", "bob")
    assert '"capabilities":["shout"]' in shown.stdout


@pytest.mark.nats_cli
async def test_an_agent_of_another_language_has_a_lease(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """Registered with an instance, it renews its lease by requests; the bucket shows it."""
    body = '{"capabilities": ["shout"], "instance": "bob-1", "lease": 60}'
    await nats_cli(server.url, "req", "caxton.register.bob", body)
    ill = '{"instance": "bob-1", "lease": 60, "healthy": false, "reason": "no disk"}'
    answer = await nats_cli(server.url, "req", "caxton.heartbeat.bob", ill, "--raw")
    got = await nats_cli(server.url, "kv", "get", "caxton-leases", "bob", "--raw")
    lease = json.loads(got.stdout)
    assert (lease["instance"], lease["healthy"], lease["reason"]) == ("bob-1", False, "no disk")
    assert json.loads(answer.stdout) == lease
    released = await nats_cli(
        server.url, "req", "caxton.release.bob", '{"instance": "bob-1"}', "--raw"
    )
    assert json.loads(released.stdout) == {"agent": "bob@caxton", "released": True}
    nobody = await nats_cli(server.url, "req", "caxton.deregister.nobody", "", "--raw")
    assert json.loads(nobody.stdout) == {"agent": "nobody@caxton", "deregistered": False}


@pytest.mark.nats_cli
async def test_conversations_are_readable_in_their_bucket(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """`nats kv get caxton-conversations ID` shows who takes part and how many messages there are."""
    await platform.registrar.register(platform.agent_id("bob"))
    message = {"performative": "inform", "receiver": "bob", "conversation_id": "order-17"}
    await nats_cli(server.url, "req", "caxton.send.alice", json.dumps(message))
    got = await nats_cli(server.url, "kv", "get", "caxton-conversations", "order-17", "--raw")
    record = json.loads(got.stdout)
    assert record["participants"] == ["alice@caxton", "bob@caxton"]
    assert record["message_count"] == 1


@pytest.mark.nats_cli
async def test_ended_conversations_are_readable_in_their_bucket(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """`nats kv get caxton-conversations-archive ID` shows the record, with why it has ended."""
    await platform.registrar.register(platform.agent_id("bob"))
    message = {"performative": "inform", "receiver": "bob", "conversation_id": "order-17"}
    await nats_cli(server.url, "req", "caxton.send.alice", json.dumps(message))
    await platform.conversations.archive(ConversationId("order-17"))
    got = await nats_cli(
        server.url, "kv", "get", "caxton-conversations-archive", "order-17", "--raw"
    )
    record = json.loads(got.stdout)
    assert (record["ended_by"], record["message_count"]) == ("archived", 1)
    gone = await nats_cli(server.url, "kv", "get", "caxton-conversations", "order-17", "--raw")
    assert gone.returncode != 0


@pytest.mark.nats_cli
async def test_dead_letters_are_readable_in_their_stream(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """`nats stream view CAXTON_DLQ` and `stream get` show the reason and the original message."""
    await reject_one(nats_cli, server, platform)
    got = await nats_cli(server.url, "stream", "get", "CAXTON_DLQ", "1", "--json")
    assert got.returncode == 0, got.stderr
    viewed = await on_terminal(server.url, "stream", "view", "CAXTON_DLQ")
    letter = json.loads(next(line for line in viewed.splitlines() if line.startswith("{")))
    assert letter["last_error"]["reason"] == "no"
    assert letter["body"]["content"] == {"door": "open"}


@pytest.mark.nats_cli
async def test_ledgers_are_readable_in_their_bucket(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """`nats kv get caxton-ledgers bob.0` shows what bob has handled: senders and message ids."""
    bob = Agent("bob")

    @bob.on("inform")
    async def handle(_: Context) -> None:
        pass

    async def handled() -> bool:
        return not await platform.ports.mailboxes.pending()

    async with started(platform, bob):
        message = {"performative": "inform", "receiver": "bob", "message_id": "m-1"}
        await nats_cli(server.url, "req", "caxton.send.alice", json.dumps(message))
        await eventually(handled)
    got = await nats_cli(server.url, "kv", "get", "caxton-ledgers", "bob.0", "--raw")
    page = json.loads(got.stdout)
    assert (page["agent"], page["number"]) == ("bob@caxton", 0)
    assert page["entries"] == [["alice@caxton", "m-1", None, None]]


@pytest.mark.nats_cli
async def test_commits_are_readable_in_their_bucket(
    nats_cli: NatsCli, server: EmbeddedServer, platform: Platform
) -> None:
    """`nats kv get caxton-outboxes bob.0` shows what was answered last, until the agent stops."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform({"door": "open"})

    async def committed() -> bool:
        return bool(await platform.ports.outboxes.commits(bob.id))

    await platform.registrar.register(platform.agent_id("alice"))
    async with started(platform, bob):
        message = {"performative": "request", "receiver": "bob", "message_id": "m-1"}
        await nats_cli(server.url, "req", "caxton.send.alice", json.dumps(message))
        await eventually(committed)
        got = await nats_cli(server.url, "kv", "get", "caxton-outboxes", "bob.0", "--raw")
    commit = json.loads(got.stdout)
    assert commit["entry"] == ["alice@caxton", "m-1", None, None]
    assert [one["content"] for one in commit["answers"]] == [{"door": "open"}]
    gone = await nats_cli(server.url, "kv", "get", "caxton-outboxes", "bob.0", "--raw")
    assert gone.returncode != 0


async def reject_one(nats_cli: NatsCli, server: EmbeddedServer, platform: Platform) -> None:
    """Have bob reject a message of alice's."""
    bob = Agent("bob")

    @bob.on("inform")
    async def reject(ctx: Context) -> None:
        raise Reject("no")

    async def died() -> bool:
        return bool(await platform.ports.dead_letters.list())

    async with started(platform, bob):
        message = {"performative": "inform", "receiver": "bob", "content": {"door": "open"}}
        await nats_cli(server.url, "req", "caxton.send.alice", json.dumps(message))
        await eventually(died)


async def on_terminal(url: str, *arguments: str) -> str:
    """Run the nats tool where it insists on a terminal, and return what it shows."""
    binary = find_nats_cli()
    assert binary is not None
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(binary, "--server", url, *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(theirs)
    reading = asyncio.to_thread(_read_all, ours)
    shown = await asyncio.wait_for(reading, 30)
    await process.wait()
    os.close(ours)
    return shown


def _read_all(terminal: int) -> str:
    shown = bytearray()
    # Linux says the end of a terminal as an input/output error.
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown += piece
    return shown.decode().replace("\r\n", "\n")
