"""What no client library lets anybody send, in plain bytes: headers, subjects, protocol lines."""

from __future__ import annotations

import asyncio

import pytest

from tests.bad_input.case import GOOD, SENDER
from tests.bad_input.town import Town
from tests.plugins.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
_V = b"NATS/1.0\r\n"
HEADERS = {
    "version-only": b"NATS/1.0",
    "junk-version": b"NA_S/110\r\n\r\n",
    "status": b"NATS/1.0 503 \xff\r\n\r\n",
    "bytes": b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    "no-end": _V + b"A: b",
    "no-colon": _V + b"A\r\n\r\n",
    "no-name": _V + b": b\r\n\r\n",
    "space-in-name": _V + b"A b: c\r\n\r\n",
    "space-around": _V + b" A : c\r\n\r\n",
    "not-ascii-name": _V + b"\xff\xfe: c\r\n\r\n",
    "not-utf-8-value": _V + b"A: \xff\r\n\r\n",
    "nul": _V + b"A: \0\r\n\r\n",
    "bare-newline": _V + b"A: b\nNats-Rollup: all\r\n\r\n",
    "bare-return": _V + b"A: b\rNats-Rollup: all\r\n\r\n",
    "folded": _V + b"A: b\r\n c\r\n\r\n",
    "twice": _V + b"A: b\r\nA: c\r\n\r\n",
    "encoded-word": _V + b"A: =?utf-8?q?=1B?=\r\n\r\n",
    "many": _V + b"".join(b"X-%d: %s\r\n" % (n, b"\x01" * 90) for n in range(8_000)) + b"\r\n",
    "60-kB": _V + b"".join(b"X-%d: %s\r\n" % (n, b"\x01" * 90) for n in range(600)) + b"\r\n",
    "60-kB-long": _V + b"A: " + b"\x01" * 60_000 + b"\r\n\r\n",
    "long": _V + b"A: " + b"\x01" * 900_000 + b"\r\n\r\n",
    "long-name": _V + b"A" * 900_000 + b": b\r\n\r\n",
    "our-own": _V + b"Caxton-Redrives: 9\r\nCaxton-History: []\r\nStatus: 100\r\n\r\n",
    "trace-of-junk": _V + b"traceparent: \x1b[2J\r\ntracestate: " + b"x" * 9_000 + b"\r\n\r\n",
}
CONTROL = {
    "Nats-Rollup": ["all", "sub"],
    "Nats-TTL": ["1s", "never", "junk"],
    "Nats-Expected-Stream": ["CAXTON_DLQ"],
    "Nats-Expected-Last-Sequence": ["0", "999", "abc"],
    "Nats-Expected-Last-Subject-Sequence": ["0"],
    "Nats-Expected-Last-Msg-Id": ["x"],
    "Nats-Schedule": ["@at 2036-01-01T00:00:00Z", "@every 1s"],
    "Nats-Schedule-Target": ["caxton.mailbox.0.bob"],
    "Nats-Incr": ["+1"],
    "Nats-Batch-Id": ["b"],
    "Nats-Required-Api-Level": ["99", "0"],
    "Nats-Trace-Dest": ["trace.nobody"],
    "Nats-Request-Info": ["{}"],
    "Nats-Marker-Reason": ["MaxAge"],
    "Nats-Sequence": ["7"],
    "nats-rollup": ["all"],
    "KV-Operation": ["PURGE", "DEL"],
    "Status": ["100", "404", "503"],
}
OURS = {"Nats-Msg-Id", "traceparent", "tracestate"}
each_header = pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)


@each_header
async def test_headers_of_a_request(town: Town, headers: bytes) -> None:
    """A good message is taken whatever its headers are, and none of them goes on."""
    before = (await town.marks())["CAXTON_MAILBOX_0"]
    async with town.stranger() as stranger:
        await stranger.publish(b"caxton.send.mallory", GOOD, headers=headers)

    async def arrived() -> bool:
        return (await town.marks())["CAXTON_MAILBOX_0"] == before + 1

    await eventually(arrived)
    assert (await town.newest()).sender == SENDER
    assert (await town.newest_headers()).keys() <= OURS


@each_header
@pytest.mark.parametrize("body", [GOOD, b"\xff"], ids=["good", "bad"])
async def test_headers_of_a_submission(town: Town, headers: bytes, body: bytes) -> None:
    """It is taken like any other; refused, its letter has room for what can be kept of them."""
    before = await town.marks()
    async with town.stranger() as stranger:
        ack = await stranger.store(b"caxton.submit.mallory", body, headers=headers)
    if len(headers) > 65_536:
        assert ack["error"]["err_code"] == 10097, "a stream takes so many headers now"
        assert await town.marks() == before
        return
    assert "error" not in ack
    await town.worked_off()
    after = await town.marks()
    assert after["CAXTON_MAILBOX_0"] - before["CAXTON_MAILBOX_0"] == 1
    assert after["CAXTON_DLQ"] - before["CAXTON_DLQ"] == (body != GOOD)
    if body == GOOD:
        assert (await town.newest_headers()).keys() <= OURS
    else:
        (letter,) = await town.platform.ports.dead_letters.list(limit=1)
        assert letter.original == body
        assert len(str(letter.headers)) < 60_000


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in CONTROL.items() for value in values]
)
async def test_orders_to_the_server(town: Town, name: str, value: str) -> None:
    """A client's orders are carried out on nobody's mailbox: the router copies none of them."""
    before = await town.marks()
    answer = await town.ask("caxton.send.mallory", GOOD, headers={name: value})
    assert "error" not in answer, answer
    assert (await town.newest_headers()).keys() <= OURS
    async with town.stranger() as stranger:
        line = f"NATS/1.0\r\n{name}: {value}\r\n\r\n".encode()
        taken = "error" not in await stranger.store(b"caxton.submit.mallory", GOOD, line)
    await town.worked_off()
    assert (await town.newest_headers()).keys() <= OURS
    after = await town.marks()
    # The server refuses some of them at the door; nothing is in between.
    assert after["CAXTON_MAILBOX_0"] - before["CAXTON_MAILBOX_0"] == 1 + taken
    assert after["CAXTON_DLQ"] == before["CAXTON_DLQ"]


@pytest.mark.parametrize(
    "token", [b"\xff", b"a\xc3", b"a\x0bb", b"a\x0cb", b"a\x00b", b"=ZZ", b"\x1b[2J", b"x" * 900]
)
@pytest.mark.parametrize("door", [b"send", b"register", b"heartbeat", b"state", b"receipts"])
async def test_subject_that_is_no_text(town: Town, door: bytes, token: bytes) -> None:
    """Nobody is meant by it, and whoever comes next is served."""
    before = await town.marks()
    async with town.stranger() as stranger:
        await stranger.publish(b"caxton.%s.%s" % (door, token), GOOD, reply=b"_INBOX.nobody")
    assert await town.marks() == before
    await town.is_quick()


@pytest.mark.parametrize("token", [b"\xff", b"a\x0bb", b"a\x00b", b"=ZZ", b"\x1b[2J", b"x" * 900])
async def test_submission_by_nobody(town: Town, token: bytes) -> None:
    """It is buried on the platform's own account, and nobody is told."""
    before = await town.marks()
    async with town.stranger() as stranger:
        await stranger.store(b"caxton.submit." + token, GOOD)
    await town.worked_off()
    after = await town.marks()
    assert after["CAXTON_DLQ"] - before["CAXTON_DLQ"] == 1
    assert after["CAXTON_MAILBOX_0"] == before["CAXTON_MAILBOX_0"]
    (letter,) = await town.platform.ports.dead_letters.list(limit=1)
    assert (letter.agent, letter.original) == ("ams@here", GOOD)
    await town.is_quick()


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUB " + b"a" * 5_000 + b" 1\r\nx\r\n",
        b"PUB caxton.submit.mallory -1\r\n\r\n",
        b"PUB caxton.submit.mallory 99999999999\r\n\r\n",
        b"PUB caxton.submit.mallory 1\r\nxyz\r\n",
        b"HPUB caxton.submit.mallory 20 10\r\n" + b"x" * 20 + b"\r\n",
        b"HPUB caxton.submit.mallory -1 10\r\n" + b"x" * 20 + b"\r\n",
        b"CONNECT " + b"{" * 900 + b"\r\n",
        b"SUB caxton.> \xff\xff\r\nUNSUB x\r\nMSG a 1 1\r\n",
        b"\0" * 10_000,
        b"PU",
    ],
    ids=lambda one: ascii(one)[:40],
)
async def test_protocol_of_junk(town: Town, junk: bytes) -> None:
    """It is between the stranger and the server: no stream and no process of ours hears of it."""
    before = await town.marks()
    async with town.stranger() as stranger:
        await stranger.write(junk)
    assert await town.marks() == before
    await town.is_quick()


@pytest.mark.parametrize(
    "request_",
    [b"1", b'{"batch":1000000000,"expires":31536000000000000}', b'{"batch":-1}', b"junk", b"\xff"],
)
async def test_reader_that_never_settles(town: Town, request_: bytes) -> None:
    """What a stranger takes out of the door's stream and keeps comes to the router after all."""
    async with town.stranger() as stranger:
        subject = b"$JS.API.CONSUMER.MSG.NEXT.CAXTON_INGRESS.router"
        stranger._writer.write(b"SUB _INBOX.thief 1\r\n")
        for _ in range(3):
            await stranger.publish(subject, request_, reply=b"_INBOX.thief")
        origins = [await town.submit(GOOD) for _ in range(5)]
        await asyncio.sleep(0)
    await town.worked_off()
    assert len(origins) == 5
    await town.is_quick()
