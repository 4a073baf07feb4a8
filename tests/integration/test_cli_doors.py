"""The doors as somebody with only the nats command line tool uses them."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from caxton_nats.core.envelope import Envelope
from caxton_nats.engine.platform import Platform
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli

pytestmark = pytest.mark.nats_cli
LEAST = {"performative": "inform", "receiver": "bob"}


async def ask(
    cli: NatsCli, lab: Lab, message: dict[str, Any] | str, *options: str, sender: str = "alice"
) -> dict[str, Any]:
    """Send the message through the request door and return the answer."""
    body = message if isinstance(message, str) else json.dumps(message)
    done = await cli(lab.url, "req", "--raw", f"caxton.send.{sender}", body, *options)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def stored_headers(platform: Platform, lab: Lab, receiver: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a stored message as the server has them."""
    nats = await lab.nats()
    answer = await nats.api(f"STREAM.MSG.GET.{receiver['stream']}", {"seq": receiver["sequence"]})
    lines = b64decode(answer["message"].get("hdrs", "")).decode().split("\r\n")[1:]
    return dict(
        line.split(": ", 1) if ": " in line else line.split(":", 1) for line in lines if line
    )


async def test_receipt(lab: Lab, nats_cli: NatsCli) -> None:
    """The least message is enough; the receipt names id, stream and sequence after the PubAck."""
    platform = await lab.router()
    bob = await lab.register("bob", platform)
    answer = await ask(nats_cli, lab, LEAST)
    (receiver,) = answer["receivers"]
    assert answer["message_id"]
    assert receiver["receiver"] == bob == "bob@here"
    assert receiver["stream"] == platform.ports.mailboxes.address(bob).stream
    assert (receiver["sequence"], receiver["duplicate"]) == (1, False)
    assert (await platform.ports.mailboxes.pending()) == {bob: 1}


async def test_router_fills_in_what_it_knows(lab: Lab, nats_cli: NatsCli) -> None:
    """Id, sender and time come from the router; the content arrives as it was typed."""
    platform = await lab.router()
    bob = await lab.collector("bob", platform)
    answer = await ask(nats_cli, lab, '{"performative":"QUERY-REF","to":"bob","content": {"a" :1}}')
    await eventually(lambda: len(bob.got) == 1)
    envelope: Envelope = bob.got[0].envelope
    assert envelope.message_id == answer["message_id"]
    assert (envelope.sender, envelope.performative) == ("alice@here", "query-ref")
    assert envelope.created_at is not None
    assert bytes(envelope.content) == b'{"a" :1}'


async def test_repeated_message_id(lab: Lab, nats_cli: NatsCli) -> None:
    """The same message id again is the same message: a duplicate, stored once."""
    platform = await lab.router()
    bob = await lab.register("bob", platform)
    first = await ask(nats_cli, lab, LEAST | {"message_id": "m-1"})
    again = await ask(nats_cli, lab, LEAST | {"message_id": "m-1"})
    assert again["receivers"][0].pop("duplicate") is True
    assert first["receivers"][0].pop("duplicate") is False
    assert again == first
    assert await platform.ports.mailboxes.pending() == {bob: 1}


async def test_same_id_of_another_sender(lab: Lab, nats_cli: NatsCli) -> None:
    """Nobody can swallow another's message by using its id."""
    platform = await lab.router()
    bob = await lab.register("bob", platform)
    await ask(nats_cli, lab, LEAST | {"message_id": "m-1"}, sender="mallory")
    answer = await ask(nats_cli, lab, LEAST | {"message_id": "m-1"})
    assert answer["receivers"][0]["duplicate"] is False
    assert await platform.ports.mailboxes.pending() == {bob: 2}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param(
            {"performative": "inform", "receiver": "nobody"},
            {"code": "AgentNotFound", "field": "receiver", "value": "nobody@here"},
            id="unknown-receiver",
        ),
        pytest.param(
            LEAST | {"performative": "shout"},
            {"code": "InvalidEnvelope", "field": "performative", "value": "'shout'"},
            id="unknown-performative",
        ),
        pytest.param(
            {"receiver": "bob"},
            {"code": "InvalidEnvelope", "field": "performative", "reason": "is missing"},
            id="no-performative",
        ),
        pytest.param(
            {"performative": "inform"},
            {"code": "InvalidEnvelope", "field": "receiver", "reason": "is missing or empty"},
            id="no-receiver",
        ),
        pytest.param(
            LEAST | {"sender": "mallory"},
            {"code": "InvalidEnvelope", "field": "sender", "value": "'mallory'"},
            id="another-sender",
        ),
        pytest.param("hello", {"code": "MalformedEnvelope"}, id="not-json"),
        pytest.param("", {"code": "MalformedEnvelope"}, id="nothing"),
        pytest.param("17", {"code": "MalformedEnvelope", "value": "b'17'"}, id="no-object"),
        pytest.param(
            LEAST | {"content": "x" * 200},
            {"code": "MessageTooLarge", "field": "content", "limit": 100, "value": 202},
            id="too-large",
        ),
        pytest.param(
            LEAST | {"receiver": ["a", "b", "c", "d"]},
            {"code": "InvalidEnvelope", "field": "receiver", "limit": 3, "value": 4},
            id="too-many-receivers",
        ),
        pytest.param(
            LEAST | {"colour": "red"},
            {"code": "InvalidEnvelope", "field": "colour"},
            id="unknown-field",
        ),
        pytest.param(
            LEAST | {"reply_by": "2020-01-01T00:00:00Z"},
            {"code": "Expired", "field": "reply_by"},
            id="expired",
        ),
    ],
)
async def test_structured_error(
    lab: Lab, nats_cli: NatsCli, message: dict[str, Any] | str, error: dict[str, Any]
) -> None:
    """What is wrong comes back at once: code, field, reason, limit and value; nothing is stored."""
    platform = await lab.router(max_content=100, max_receivers=3)
    await lab.register("bob", platform)
    answer = await ask(nats_cli, lab, message)
    assert set(answer) == {"error"}
    assert answer["error"]["reason"]
    assert error.items() <= answer["error"].items(), answer
    assert await platform.ports.mailboxes.stored() == 0


async def test_full_mailbox(lab: Lab, nats_cli: NatsCli) -> None:
    """A full mailbox is an error with the limit and how much it holds."""
    platform = await lab.router(queue_size=2)
    await lab.register("bob", platform)
    for _ in range(2):
        assert "error" not in await ask(nats_cli, lab, LEAST)
    error = (await ask(nats_cli, lab, LEAST))["error"]
    assert (error["code"], error["field"]) == ("QueueFull", "receiver")
    assert (error["limit"], error["value"]) == (2, 2)


@pytest.mark.parametrize("sender", ["a=2eb", "=", "al=ice"])
async def test_sender_that_is_no_name(lab: Lab, nats_cli: NatsCli, sender: str) -> None:
    """A subject token that is not the escape of a name is refused."""
    await lab.register("bob", await lab.router())
    error = (await ask(nats_cli, lab, LEAST, sender=sender))["error"]
    assert (error["code"], error["field"]) == ("InvalidEnvelope", "subject")


async def test_no_router(lab: Lab, nats_cli: NatsCli) -> None:
    """Without a router the request door says so at once, rather than timing out."""
    await lab.platform()
    done = await nats_cli(lab.url, "req", "caxton.send.alice", json.dumps(LEAST))
    assert "no responders" in (done.stdout + done.stderr).lower()


async def test_orders_to_the_server_stop_at_the_request_door(lab: Lab, nats_cli: NatsCli) -> None:
    """No Nats-* header of a client reaches a mailbox: not roll-up, not time to live, not an id."""
    platform = await lab.router()
    bob = await lab.register("bob", platform)
    await ask(nats_cli, lab, LEAST)
    orders = ["Nats-Rollup:all", "Nats-TTL:1s", "Nats-Msg-Id:guess", "nats-expected-last-msg-id:x"]
    options = [part for order in orders for part in ("-H", order)]
    answer = await ask(nats_cli, lab, LEAST, *options, "-H", "traceparent:00-ab-cd-01")
    (receiver,) = answer["receivers"]
    headers = await stored_headers(platform, lab, receiver)
    assert headers.pop("Nats-Msg-Id") == f"alice=40here.bob=40here.{answer['message_id']}"
    assert headers == {"traceparent": "00-ab-cd-01"}
    assert await platform.ports.mailboxes.pending() == {bob: 2}, "nothing was rolled up"


async def test_orders_to_the_server_stop_at_the_submit_door(lab: Lab, nats_cli: NatsCli) -> None:
    """The ingress refuses what is an order to it, and passes on no Nats-* header."""
    platform = await lab.router()
    bob = await lab.register("bob", platform)
    nats = await lab.nats()
    for order in ("Nats-Rollup:all", "Nats-TTL:1s"):
        subject, body = "caxton.submit.alice", json.dumps(LEAST)
        done = await nats_cli(lab.url, "req", "--raw", subject, body, "-H", order)
        assert "error" in json.loads(done.stdout), done.stdout
    assert (await nats.api("STREAM.INFO.CAXTON_INGRESS"))["state"]["last_seq"] == 0
    body = json.dumps(LEAST | {"message_id": "m-1"})
    await nats_cli(lab.url, "pub", "caxton.submit.alice", body, "-H", "Nats-Msg-Id:guess")

    async def arrived() -> bool:
        return await platform.ports.mailboxes.pending() == {bob: 1}

    await eventually(arrived)
    stream = platform.ports.mailboxes.address(bob).stream
    headers = await stored_headers(platform, lab, {"stream": stream, "sequence": 1})
    assert headers == {"Nats-Msg-Id": "alice=40here.bob=40here.m-1"}


async def test_submitted_message_arrives(lab: Lab, nats_cli: NatsCli) -> None:
    """`nats pub caxton.submit.alice` is enough to send."""
    platform = await lab.router()
    bob = await lab.collector("bob", platform)
    body = json.dumps(LEAST | {"content": "from the shell"})
    done = await nats_cli(lab.url, "pub", "caxton.submit.alice", body)
    assert done.returncode == 0
    await eventually(lambda: bob.contents == ["from the shell"])
    assert bob.got[0].sender == "alice@here"


async def test_state_is_readable(lab: Lab, nats_cli: NatsCli) -> None:
    """`nats kv get` shows registrations and conversations as JSON."""
    platform = await lab.router()
    await lab.register("bob", platform)
    await ask(nats_cli, lab, LEAST | {"conversation_id": "order/1"})
    done = await nats_cli(lab.url, "kv", "get", "--raw", "caxton-agents", "bob")
    assert json.loads(done.stdout)["agent"] == "bob@here"
    done = await nats_cli(lab.url, "kv", "get", "--raw", "caxton-conversations", "order=2F1")
    record = json.loads(done.stdout)
    assert (record["message_count"], record["participants"]) == (1, ["alice@here", "bob@here"])
