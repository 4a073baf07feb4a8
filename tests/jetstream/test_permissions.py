"""What the server refuses is raised at once, with the subject and the right; nothing times out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from caxton_nats import connect, serve, settings
from caxton_nats.config import Settings
from caxton_nats.core.disposition import Ack
from caxton_nats.core.errors import CaxtonError, PermissionDenied
from caxton_nats.core.failure import Blame
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Submission, Timer
from tests.core.sample import NOON
from tests.plugins.permissions import Guarded, but, guarded

LONG = 60.0
"""Seconds of the request time-out: whoever waits for it, fails the test."""
BOB = AgentId("bob@caxton")
USERS = {
    "mail": but("publish", "caxton.mailbox.>"),
    "api": but("publish", "$JS.API.>"),
    "deaf": but("subscribe", "_INBOX.>"),
    "door": but("publish", "caxton.send.>", "caxton.register.>"),
    "pull": but("publish", "$JS.API.CONSUMER.MSG.NEXT.>"),
    "ack": but("publish", "$JS.ACK.>"),
    "bucket": but("publish", "$KV.>"),
    "leader": but("publish", "$JS.API.STREAM.MSG.GET.>"),
    "manage": but("publish", "$JS.API.CONSUMER.CREATE.CAXTON_MAILBOX_0.>", "$JS.API.STREAM.LIST"),
    "batch": but("publish", "$JS.API.DIRECT.GET.CAXTON_MAILBOX_0"),
    "timer": but("publish", "caxton.timer.>"),
    "router": but("subscribe", "caxton.send.*"),
    "peer": but("subscribe", "caxton.router.>"),
}
Operation = Callable[[Platform], Awaitable[object]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, **USERS) as server:
        yield server


@pytest.fixture
async def ready(server: Guarded) -> AsyncIterator[Platform]:
    """A platform with bob on it, and one message for him."""
    async with connect(settings(nats_url=server.url(), shards=1)) as platform:
        await platform.registrar.register(BOB)
        await send(platform)
        yield platform


def chosen(server: Guarded, user: str, **more: object) -> Settings:
    return settings(nats_url=server.url(user), request_timeout=LONG, **more)


async def send(platform: Platform) -> object:
    body = b'{"performative":"inform","receiver":"bob","reply_with":"x"}'
    (result,) = await platform.door.send([Submission(sender=AgentId("alice@caxton"), body=body)])
    if isinstance(result, CaxtonError):
        raise result
    for outcome in result.outcomes:
        if outcome.error is not None:
            raise outcome.error
    return result


async def read(platform: Platform) -> None:
    inbox = await platform.ports.mailboxes.open(BOB)
    try:
        (delivery,) = await inbox.fetch(1, timedelta(seconds=LONG))
        await inbox.settle([(delivery, Ack())])
    finally:
        await inbox.close()


async def set_timer(platform: Platform) -> None:
    await platform.ports.timers.set(Timer(kind="x", key="y"), NOON)


REFUSED: list[tuple[str, str, str, Operation]] = [
    ("mail", "caxton.mailbox.0.bob", "publish", send),
    ("pull", "$JS.API.CONSUMER.MSG.NEXT.CAXTON_MAILBOX_0.bob", "publish", read),
    ("ack", "$JS.ACK.CAXTON_MAILBOX_0.bob", "publish", read),
    ("manage", "$JS.API.CONSUMER.CREATE.CAXTON_MAILBOX_0.bob", "publish", read),
    ("manage", "$JS.API.STREAM.LIST", "publish", lambda one: one.ports.streams.states()),
    (
        "batch",
        "$JS.API.DIRECT.GET.CAXTON_MAILBOX_0",
        "publish",
        lambda one: one.ports.mailboxes.list(BOB, limit=1),
    ),
    ("timer", "caxton.timer.x.", "publish", set_timer),
]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("user", "subject", "right", "operation"), REFUSED)
async def test_an_operation_of_the_sdk(
    server: Guarded, user: str, subject: str, right: str, operation: Operation
) -> None:
    """The error names what is missing, blames the operator, and comes without waiting."""
    async with connect(chosen(server, user)) as platform, asyncio.timeout(LONG / 6):
        with pytest.raises(PermissionDenied) as error:
            await operation(platform)
    assert error.value.field.startswith(subject)
    assert error.value.value == right
    assert (error.value.blame, error.value.transient) == (Blame.OPERATOR, False)
    assert f"permissions to {right}" in error.value.hint


OPENING = [
    ("api", "$JS.API.INFO", "publish"),
    ("deaf", "_INBOX.", "subscribe"),
    ("leader", "$JS.API.STREAM.MSG.GET.KV_caxton-", "publish"),
    ("bucket", "$KV.caxton-routers.", "publish"),
    ("peer", "caxton.router.", "subscribe"),
]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("user", "subject", "right"), OPENING)
async def test_opening_a_connection(server: Guarded, user: str, subject: str, right: str) -> None:
    """What is needed from the start is refused at the start."""
    async with asyncio.timeout(LONG / 6):
        with pytest.raises(PermissionDenied) as error:
            async with connect(chosen(server, user)):
                pass
    assert error.value.field.startswith(subject)
    assert error.value.value == right


@pytest.mark.usefixtures("ready")
async def test_a_router_that_may_not_hear_requests(server: Guarded) -> None:
    """It does not start: with the door closed it would look as if it ran."""
    async with asyncio.timeout(LONG / 6):
        with pytest.raises(PermissionDenied, match=r"caxton\.send\.\*"):
            async with serve(chosen(server, "router")):
                pass


@pytest.mark.usefixtures("ready")
async def test_the_door_of_the_router_service(server: Guarded) -> None:
    """Sending and registering through it."""
    async with connect(chosen(server, "door", router="service")) as platform:
        async with asyncio.timeout(LONG / 6):
            with pytest.raises(PermissionDenied, match=r"caxton\.send\.alice"):
                await send(platform)
            with pytest.raises(PermissionDenied, match=r"caxton\.register\.carol"):
                await platform.registrar.register(AgentId("carol@caxton"))


@pytest.mark.parametrize("way", ["user", "password"])
async def test_who_is_not_let_in(server: Guarded, way: str) -> None:
    """A wrong user is the operator's fault; the error has no password."""
    url = server.url("nobody") if way == "user" else server.url("mail").replace("secret", "guess")
    with pytest.raises(PermissionDenied) as error:
        async with connect(settings(nats_url=url)):
            pass
    assert error.value.field == "nats_url"
    assert "guess" not in str(error.value)
    assert "secret" not in str(error.value)


async def test_what_is_not_refused_goes_on(server: Guarded, ready: Platform) -> None:
    """A refusal concerns who asked: nobody else's question fails with it."""
    async with connect(chosen(server, "timer")) as platform, asyncio.timeout(LONG / 6):
        results = await asyncio.gather(
            set_timer(platform),
            send(platform),
            platform.ports.streams.states(),
            platform.ports.mailboxes.pending(),
            return_exceptions=True,
        )
    assert isinstance(results[0], PermissionDenied)
    assert results[3] in ({BOB: 1}, {BOB: 2})
    assert not any(isinstance(one, Exception) for one in results[1:])
