"""The catalogue through every door that needs no wire: the router itself, the ingress, the SDK."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.envelope import Envelope, content_value
from caxton_nats.core.errors import CaxtonError, MessageError, UndeliverableError
from caxton_nats.core.health import Healthy
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Receipt, Submission
from tests.bad_input import catalogue
from tests.bad_input.case import GOOD, RECEIVER, SENDER, Case
from tests.engine.bench import Bench


class Place:
    """A platform in memory with a sender and a receiver, and what lies in all of its stores."""

    def __init__(self, bench: Bench, platform: Platform) -> None:
        self.platform = platform
        self.broker = bench.broker
        self.ingress = bench.ingress(platform)

    async def send(self, body: bytes = b"", **more: Any) -> Receipt | CaxtonError:
        (result,) = await self.platform.router.send([Submission(sender=SENDER, body=body, **more)])
        return result

    async def submit(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        await self.broker.submit(SENDER, body, headers)
        await self.ingress.work_once(timedelta())

    async def mail(self, agent: Any) -> list[Envelope]:
        found = await self.broker.mailboxes.list(agent, limit=100)
        return [codec.read(one.body) for one in found]

    async def holds(self) -> tuple[int, int, int, int]:
        """Return how much lies in mailboxes, dead letters, conversations and at the door."""
        return (
            sum((await self.broker.mailboxes.pending()).values()),
            len(await self.broker.dead_letters.list()),
            await self.broker.conversations.count(),
            len(self.broker._ingress.queue("router").messages),
        )


@pytest.fixture
async def place(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        bench = Bench(stack)
        platform = await bench.known(bench.platform(), SENDER, RECEIVER)
        place = Place(bench, platform)
        yield place
        assert not [one for one in caplog.records if one.exc_info], "a traceback was logged"
        assert isinstance(await place.send(GOOD), Receipt)
        assert isinstance((await platform.health_check()).overall, Healthy)


def told(error: CaxtonError) -> dict[str, Any]:
    """Return an error as a client of any language reads it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(error.to_dict()))
    return found


@catalogue.refused
async def test_refused_by_the_router(place: Place, case: Case) -> None:
    """The sender gets the precise error, and nothing is stored anywhere."""
    before = await place.holds()
    result = await place.send(case.body, headers=case.headers)
    assert isinstance(result, MessageError | UndeliverableError), result
    assert case.refused is not None
    assert not case.refused.differs(told(result))
    assert await place.holds() == before
    assert len(msgspec.json.encode(told(result))) < 10_000


@catalogue.refused
async def test_refused_behind_the_store(place: Place, case: Case) -> None:
    """One dead letter with the original bytes, one notice that says the same, nothing else."""
    await place.submit(case.body, case.headers)
    (letter,) = await place.broker.dead_letters.list()
    assert case.refused is not None
    original = letter.original
    if letter.body_claim is not None:
        original = await place.broker.contents.get(letter.body_claim)
    assert (original, letter.agent, letter.stage) == (case.body, SENDER, "route")
    assert not case.refused.differs(letter.last_error)
    notices = await place.mail(SENDER)
    assert len(notices) == case.answered
    for notice in notices:
        assert not case.refused.differs(content_value(notice)["error"])
        assert notice.sender == "ams@here"
    assert await place.mail(RECEIVER) == []
    assert await place.holds() == (int(case.answered), 1, 0, 0)


@catalogue.right
async def test_right_by_each_door(place: Place, case: Case) -> None:
    """Odd, but nothing forbids it: it arrives by both doors, once each."""
    assert isinstance(await place.send(case.body, headers=case.headers), Receipt)
    arrived = await place.mail(RECEIVER)
    assert [one.sender for one in arrived] == [SENDER]
    await place.submit(case.body, case.headers)
    assert await place.broker.dead_letters.list() == []
    # A message id that it has itself makes the second one a duplicate.
    assert len(await place.mail(RECEIVER)) == 1 + (b'"message_id"' not in case.body)


@catalogue.envelopes
async def test_the_same_from_a_program(place: Place, case: Case) -> None:
    """An envelope that a program of this process made is held to the same rules as its bytes."""
    result = await place.send(envelope=catalogue.read(case))
    twice = case.refused is not None and case.refused.reason == "is given twice"
    if case.refused is None or twice:
        assert isinstance(result, Receipt) or twice
        return
    assert isinstance(result, CaxtonError)
    assert not case.refused.differs(told(result))


async def test_notice_says_which_message(place: Place) -> None:
    """Whatever else is wrong in it, a requester that waits learns which request it was."""
    wrong = (
        b'{"performative":"QueryIf","receiver":["a b"],"message-id":"m-1","conversation":"c-1",'
        b'"reply-with":"r-1","protocol":"fipa-query","priority":"urgent","ontology":"\\u001b"}'
    )
    await place.submit(wrong)
    (notice,) = await place.mail(SENDER)
    assert (notice.in_reply_to, notice.conversation_id) == ("r-1", "c-1")
    assert (notice.performative, notice.protocol) == ("not-understood", "fipa-query")
    assert content_value(notice)["message_id"] == "m-1"
    (letter,) = await place.broker.dead_letters.list()
    assert (letter.message_id, letter.performative, letter.sender) == ("m-1", "query-if", SENDER)


@pytest.mark.parametrize("act", ["failure", "not-understood", "Failure", "NOT_UNDERSTOOD"])
async def test_no_complaint_about_a_complaint(place: Place, act: str) -> None:
    """Two agents whose complaints are not understood do not complain for ever."""
    body = msgspec.json.encode({"performative": act, "receiver": ["nobody"]})
    await place.submit(body)
    await place.submit(body[:-1] + b',"reply_by":"never"}')
    assert await place.mail(SENDER) == []
    assert len(await place.broker.dead_letters.list()) == 2


async def test_batch_with_everything_in_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong with one message of a batch is no trouble to its neighbours."""
    caplog.set_level(logging.ERROR)
    batch = [
        Submission(sender=SENDER, body=body, headers=headers)
        for case in catalogue.REFUSED
        for body, headers in ((case.body, case.headers), (GOOD, {}))
    ]
    results = await place.platform.router.send(batch)
    assert all(isinstance(one, CaxtonError) for one in results[::2])
    assert all(isinstance(one, Receipt) for one in results[1::2])
    assert len(await place.broker.mailboxes.list(RECEIVER, limit=10_000)) == len(results) // 2
