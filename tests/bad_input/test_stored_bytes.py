"""What somebody with the right to has written into streams, buckets and objects, past all doors."""

from __future__ import annotations

import hashlib
import logging
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest

from tests.bad_input.case import GOOD, RECEIVER
from tests.bad_input.town import Town
from tests.plugins.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
JUNK = [b"", b"junk", b"null", b"[" * 9_000, b"\xff", b'{"agent":"\xff"}', b'{"agent":"\\ud800"}']
TIMERS = [
    msgspec.json.encode({"kind": kind, "key": key, "data": data})
    for kind in ("drain", "expiry", "conversation")
    for key, data in (("", ""), ("x", "x"), ("a b\r\n", "2036 \x1b"), ("*", "2036 *@>"))
]
BUCKETS = ["agents", "leases", "routes", "conversations", "decisions", "attempts", "routers"]


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Any:
    """Insist that nothing was logged as an accident."""
    caplog.set_level(logging.WARNING)
    yield
    assert not [one for one in caplog.records if one.exc_info], "a traceback was logged"


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("junk", JUNK, ids=lambda one: ascii(one)[:20])
async def test_record_of_junk(
    town: Town, bucket: str, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is nobody's record: what comes after it is seen, and the others are served."""
    for key in ("ghost", "=ZZ", "x-1"):
        subject = f"$KV.caxton-{bucket}.{key}"
        assert "error" not in await town.ask(subject, junk)
        assert "error" not in await town.ask(subject, b"", headers={"KV-Operation": "DEL"})
    await town.ask("caxton.register.late", b'{"node":"later"}')
    await town.is_quick()
    assert town.platform.registry.find(town.platform.agent_id("late")) is not None
    assert "starting again" not in caplog.text, "a watch did not survive it"
    assert (await town.platform.statistics()).total is not None


@pytest.mark.parametrize("junk", [*JUNK, *TIMERS], ids=lambda one: ascii(one)[:60])
@pytest.mark.parametrize(
    "subject", ["caxton.due.expiry", "caxton.due.drain", "caxton.due.nobody-knows", "caxton.due.="]
)
async def test_timer_of_junk(town: Town, subject: str, junk: bytes) -> None:
    """It is not worked off for ever."""
    assert "error" not in await town.ask(subject, junk)

    async def gone() -> bool:
        info = await town.connection.api(
            "STREAM.INFO.CAXTON_TIMERS", {"subjects_filter": "caxton.due.>"}
        )
        return not info["state"].get("subjects")

    await eventually(gone)


@pytest.mark.parametrize(
    "advisory",
    [
        *JUNK,
        b'{"stream":"KV_caxton-agents","stream_seq":1,"deliveries":9}',
        b'{"stream":"CAXTON_DLQ","stream_seq":1,"deliveries":9}',
        b'{"stream":"*","stream_seq":1,"deliveries":9}',
        b'{"stream":"A B\\r\\nPUB x 1","stream_seq":1,"deliveries":9}',
        b'{"stream":"CAXTON_MAILBOX_0","stream_seq":-1,"deliveries":9}',
        b'{"stream":"CAXTON_MAILBOX_0","stream_seq":' + b"9" * 4_000 + b',"deliveries":9}',
    ],
    ids=lambda one: ascii(one)[:60],
)
async def test_advisory_of_junk(town: Town, advisory: bytes) -> None:
    """Nothing is buried by it, or removed, and it is settled."""
    subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CAXTON_MAILBOX_0.bob"
    before = await town.marks()
    assert "error" not in await town.ask(subject, advisory)

    async def gone() -> bool:
        info = await town.connection.api("STREAM.INFO.CAXTON_ADVISORIES")
        return not info["state"]["messages"]

    await eventually(gone)
    after = await town.marks()
    assert after.pop("CAXTON_ADVISORIES") == before.pop("CAXTON_ADVISORIES") + 1
    assert after == before
    assert town.platform.registry.find(RECEIVER) is not None


@pytest.mark.parametrize(
    "junk", [*JUNK, GOOD[:-1], b'{"id":"\xff"}'], ids=lambda one: ascii(one)[:20]
)
async def test_dead_letter_of_junk(town: Town, junk: bytes) -> None:
    """It is left out of the list, and the letters beside it are listed."""
    await town.submit(b"\xff")
    await town.worked_off()
    assert "error" not in await town.ask("caxton.dlq.Timeout.bob.ghost", junk)
    listed = await town.platform.ports.dead_letters.list()
    assert listed
    assert "ghost" not in [letter.id for letter in listed]


@pytest.mark.parametrize("question", ["stats", "health", "sync", "nothing"])
@pytest.mark.parametrize("junk", [*JUNK, b"9" * 5_000, b"-1"], ids=lambda one: ascii(one)[:20])
async def test_question_of_junk(town: Town, question: str, junk: bytes) -> None:
    """Whoever asks a router like this gets an answer or none; the others get theirs."""
    own = town.platform.ports.peers.own_id
    await town.connection.client.publish(f"caxton.router.{own}.{question}", junk)
    await town.connection.client.publish(f"caxton.router.{own}.{question}", junk, reply="_INBOX.x")
    assert (await town.platform.statistics()).total is not None


def claim(body: bytes, **changes: Any) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"object": "mallory.x", "size": len(body), "sha256": digest, **changes}


async def upload(town: Town, body: bytes, *, chunks: int = 1, **changes: Any) -> None:
    """Write an object as a client of the object store does, with these of its facts changed."""
    for _ in range(chunks):
        await town.ask("$O.caxton-content.C.NUID", body)
    digest = urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    info = {
        "name": "mallory.x", "bucket": "caxton-content", "nuid": "NUID", "size": len(body),
        "chunks": 1, "digest": f"SHA-256={digest}", **changes,
    }  # fmt: skip
    name = urlsafe_b64encode(b"mallory.x").decode()
    headers = {"Nats-Rollup": "sub"}
    await town.ask(f"$O.caxton-content.M.{name}", msgspec.json.encode(info), headers=headers)


WHOLE = b'{"a":1}'


@pytest.mark.parametrize(
    ("made", "claimed"),
    [
        ({"chunks": 0}, {}),
        ({"chunks": 2}, {}),
        ({"size": 9_000_000}, {"size": 9_000_000}),
        ({"size": 900_000}, {}),
        ({"nuid": "*"}, {}),
        ({"nuid": "a b"}, {}),
        ({"nuid": 7}, {}),
        ({"digest": None}, {}),
        ({"digest": "MD5=x"}, {}),
        ({"digest": "SHA-256=x"}, {}),
        ({"options": {"link": {"bucket": "other", "name": "secret"}}}, {}),
        ({"options": 7}, {}),
        ({"deleted": True}, {}),
        ({}, {"sha256": "0" * 64}),
        ({}, {"size": 6}),
    ],
    ids=str,
)
async def test_object_that_is_not_what_it_says(
    town: Town, made: dict[str, Any], claimed: dict[str, Any]
) -> None:
    """A claim on it is refused at once: it is not waited for, or read, beyond what it claims."""
    await town.connection.api("STREAM.PURGE.OBJ_caxton-content")
    chunks = made.pop("chunks", 1) if set(made) == {"chunks"} else 1
    await upload(town, WHOLE, chunks=chunks, **made)
    message = {"performative": "inform", "receiver": ["bob"], "claim": claim(WHOLE, **claimed)}
    answer = await town.ask("caxton.send.mallory", msgspec.json.encode(message))
    assert answer["error"]["field"] in ("claim", "content"), answer
    await town.is_quick()


async def test_object_that_is(town: Town) -> None:
    """The same object, made as it should be, is taken up."""
    await town.connection.api("STREAM.PURGE.OBJ_caxton-content")
    await upload(town, WHOLE)
    message = {"performative": "inform", "receiver": ["bob"], "claim": claim(WHOLE)}
    answer = await town.ask("caxton.send.mallory", msgspec.json.encode(message))
    assert "error" not in answer, answer
    assert bytes((await town.newest()).content) == WHOLE
