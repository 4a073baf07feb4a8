"""Registration, heartbeats, states, receipts: their subjects and bodies, as strangers write them."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import pytest

from tests.bad_input.case import Refused, invalid
from tests.bad_input.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CANNOT = "the request cannot be read: "
_EACH = ("register", "heartbeat", "release", "receipts", "state")


class Request(NamedTuple):
    door: str
    body: bytes
    refused: Refused

    @property
    def name(self) -> str:
        return f"{self.door}-{self.body[:30]!r}"


def junk() -> list[Request]:
    """Return what is no body for any door."""
    bodies = {
        b"junk": "not a JSON object: ",
        b"null": "Expected `object`, got `null`",
        b"[]": "Expected `object`, got `array`",
        b"[" * 9_000: "Expected `object`, got `array`",
        b"\xff": "not UTF-8 at byte 0",
        b'{"\xff":1}': "not UTF-8 at byte 2",
        b'{"instance":"\xff","message_id":"\xff","state":"\xff"}': "not UTF-8 at byte 13",
        b'{"instance":"\\ud800","message_id":"\\ud800","state":"\\ud800"}': "half of a surrogate",
        "{}".encode("utf-16"): "the text begins with a byte order mark",
    }
    return [
        Request(door, body, invalid("body", _CANNOT + words, hint="for example "))
        for door in _EACH
        for body, words in bodies.items()
    ]


def register(reason: str, field: str, **body: Any) -> Request:
    return Request("register", json.dumps(body).encode(), invalid(field, reason))


REQUESTS = [
    *junk(),
    register("contains a control", "capabilities", capabilities=["a\x1b[2J"]),
    register("is blank", "capabilities", capabilities=[" "]),
    register("are too many", "capabilities", capabilities=[f"c{n}" for n in range(60_000)]),
    register("must have 1 to 100", "capabilities", capabilities=["x" * 900_000]),
    register("is a name, or NAME:VERSION", "capabilities", capabilities=["a:b,c"]),
    register(_CANNOT + "Expected `str`", "body", capabilities=[1]),
    register(_CANNOT + "Expected `array`", "body", capabilities="a"),
    register("contains a control", "node", node="\u202eevil"),
    register("must have 1 to 255", "node", node="x" * 900_000),
    register(_CANNOT + "Invalid enum value", "body", state="Dancing"),
    register("has letters, digits", "instance", instance="a.>*"),
    register("must have 1 to 200", "instance", instance="x" * 900_000),
    register("must be 1 to 3600", "lease", instance="z", lease=1e308),
    register("must be 1 to 3600", "lease", instance="z", lease=0),
    register("is missing", "instance", lease=5),
    register(_CANNOT + "Object contains unknown field", "body", **{"\x1b": 1}),
    Request("register", b'{"node":"a","node":"b"}', invalid("node", "is given twice")),
    Request("register", b'{"node":1e999}', invalid("body", _CANNOT)),
    Request("heartbeat", b'{"instance":"z","reason":"\\u001b"}', invalid("reason", "contains a control")),
    Request("heartbeat", b"{}", invalid("body", _CANNOT + "Object missing required field `instance`")),
    Request("state", b'{"state":"Draining","drain":-1}', invalid("drain", "must be 5 to 600", limit=5)),
    Request("state", b'{"state":"Draining","drain":1e308}', invalid("drain", "must be 5 to 600", limit=600)),
    Request("state", b'{"state":"Draining","drain":' + b"9" * 4_000 + b"}", invalid("body", _CANNOT)),
    Request("state", b"", invalid("body", _CANNOT + "Object missing required field `state`")),
    Request("receipts", b"", invalid("body", _CANNOT + "Object missing required field `message_id`")),
    Request("receipts", json.dumps({"message_id": "é" * 150_000}).encode(), invalid("message_id", "must have 1 to 128")),
    Request("receipts", b'{"message_id":"a b"}', invalid("message_id", "a message id has printable")),
]  # fmt: skip

SUBJECTS = {
    "=zz": "the subject token is not an escaped agent name",
    "=41": "the subject token is not an escaped agent name",
    "=2e": "the subject token is not an escaped agent name",
    "=FF": "the subject token is not an escaped agent name",
    "=": "the subject token is not an escaped agent name",
    "é": "the subject token is not an escaped agent name",
    "$SYS": "the subject token is not an escaped agent name",
    "a=40plant": "the subject token is not an escaped agent name",
    "a=20b": "an agent name has no white space",
    "=00": "contains a control or invisible character",
    "=E2=80=8B": "contains a control or invisible character",
    "e=CC=81": "is not in Unicode's composed form (NFC)",
    "capability=3Ax": "is a capability, not a name",
    "x" * 256: "the local part of an agent name has 1 to 255 characters",
}


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Any:
    """Insist that nothing was logged as an accident."""
    caplog.set_level(logging.WARNING)
    yield
    assert not [one for one in caplog.records if one.exc_info], "a traceback was logged"


@pytest.mark.parametrize("request_", REQUESTS, ids=[one.name for one in REQUESTS])
async def test_body(town: Town, request_: Request) -> None:
    """The answer says what is wrong; nothing is stored, and no agent comes to be."""
    before = await town.marks()
    whose = "bob" if request_.door == "state" else "zed"
    answer = await town.ask(f"caxton.{request_.door}.{whose}", request_.body)
    assert not request_.refused.differs(answer["error"])
    assert len(json.dumps(answer)) < 10_000
    assert await town.marks() == before


@pytest.mark.parametrize("token", SUBJECTS, ids=lambda one: ascii(one)[:30])
@pytest.mark.parametrize("door", [*_EACH, "send", "deregister"])
async def test_subject(town: Town, door: str, token: str) -> None:
    """A subject that names nobody is answered so, by each door."""
    before = await town.marks()
    answer = await town.ask(f"caxton.{door}.{token}", b"{}")
    assert not invalid("subject", SUBJECTS[token]).differs(answer["error"])
    assert await town.marks() == before


@pytest.mark.parametrize("name", ["ams", "AMS", "Ams"])
async def test_name_of_the_platform(town: Town, name: str) -> None:
    """Nobody registers as the agent that speaks for the platform, or speaks as it."""
    taken = invalid("agent", "is the platform's own agent", hint="another name")
    assert not taken.differs((await town.ask(f"caxton.register.{name}"))["error"])
    body = b'{"performative":"inform","receiver":["bob"]}'
    answer = await town.ask(f"caxton.send.{name}", body)
    assert not taken._replace(field="sender").differs(answer["error"])


VICTIMS = [
    "$KV.caxton-agents.bob",
    "caxton.submit.bob",
    "caxton.mailbox.0.bob",
    "caxton.dlq.x.bob.y",
]
ASKED = ["send.mallory", "register.mallory", "heartbeat.mallory", "receipts.mallory", "state.bob"]


@pytest.mark.parametrize("victim", [*VICTIMS, "$JS.API.STREAM.DELETE.CAXTON_DLQ"])
@pytest.mark.parametrize("door", [*ASKED, "reader.bob", "alive.bob-1"])
async def test_answer_for_somebody_else(town: Town, door: str, victim: str) -> None:
    """No answer is written where whoever asks may not write, and the router may."""
    before = await town.marks()
    async with town.stranger() as stranger:
        await stranger.publish(f"caxton.{door}".encode(), b"{", reply=victim.encode())
    # What is asked later is answered later.
    await town.ask("caxton.heartbeat.mallory", b"{")
    await town.is_quick()
    after = await town.marks()
    after["CAXTON_MAILBOX_0"] -= 1
    assert after == before
