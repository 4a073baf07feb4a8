"""The catalogue through the doors of a router service: one deployment bears all of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from caxton_nats import app
from caxton_nats.config import Settings
from caxton_nats.core.envelope import content_value
from caxton_nats.core.errors import CaxtonError
from caxton_nats.ports import Submission
from tests.bad_input import catalogue
from tests.bad_input.case import SENDER, Case
from tests.bad_input.town import Marks, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")
LARGEST = 1_040_000
"""Bytes that fit into a NATS message beside the rest of it."""
refused = catalogue.each([case for case in catalogue.REFUSED if len(case.body) < LARGEST])
asked = catalogue.each(
    [one for one in catalogue.REFUSED if len(one.body) < LARGEST and one.body[:1] != b"["]
)
"""What a request is refused for; an array is several messages there (test_many.py)."""
right = catalogue.each([case for case in catalogue.RIGHT if len(case.body) < LARGEST])


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Any:
    """Insist that nothing was logged as an accident."""
    caplog.set_level(logging.WARNING)
    yield
    assert not [one for one in caplog.records if one.exc_info], "a traceback was logged"


def moved(before: Marks, after: Marks) -> Marks:
    return {name: last - before[name] for name, last in after.items() if last != before[name]}


@asked
async def test_refused_request(town: Town, case: Case) -> None:
    """The answer is the precise error, and not one stream has got anything."""
    before = await town.marks()
    answer = await town.ask("caxton.send.mallory", case.body, headers=dict(case.headers) or None)
    assert case.refused is not None
    assert not case.refused.differs(answer["error"])
    assert moved(before, await town.marks()) == {}
    await town.is_quick()


@refused
async def test_refused_submission(town: Town, case: Case) -> None:
    """It is stored as its one dead letter, byte for byte, and its sender has one notice of it."""
    before = await town.marks()
    origin = await town.submit(case.body, **case.headers)
    await town.worked_off()
    after = moved(before, await town.marks())
    # What does not fit beside its letter lies in the object store.
    aside = after.pop("OBJ_caxton-content", 0)
    told = {"CAXTON_MAILBOX_0": 1} if case.answered else {}
    assert after == {"CAXTON_INGRESS": 1, "CAXTON_DLQ": 1, **told}
    letter = await town.letter(origin)
    assert (await town.platform.redrive.original(letter), letter.agent) == (case.body, SENDER)
    assert bool(aside) == (letter.body_claim is not None)
    assert case.refused is not None
    assert not case.refused.differs(letter.last_error)
    if case.answered:
        notice = await town.newest(SENDER)
        assert not case.refused.differs(content_value(notice)["error"])
    await town.is_quick()


@right
async def test_right_request(town: Town, case: Case) -> None:
    """Odd, but nothing forbids it: what lies in the mailbox says what was sent."""
    answer = await town.ask("caxton.send.mallory", case.body, headers=dict(case.headers) or None)
    assert "error" not in answer, answer
    found = await town.newest()
    sent = catalogue.read(case)
    assert (found.message_id, found.sender) == (answer["message_id"], SENDER)
    assert bytes(found.content) == bytes(sent.content)
    assert found.conversation_id == sent.conversation_id


async def test_program_on_the_service(town: Town) -> None:
    """A program that sends through the service gets the same errors for the same mistakes."""
    chosen = Settings(nats_url=town.url, platform="here", router="service", request_timeout=10)
    cases = [
        case
        for case in catalogue.REFUSED
        if case.refused is not None
        and case.refused.reason != "is given twice"
        and len(case.body) < LARGEST
        and catalogue.is_envelope(case)
    ]
    async with app.connect(chosen, observer=lambda _: None) as platform:
        before = await town.marks()
        results = await platform.door.send(
            [Submission(sender=SENDER, envelope=catalogue.read(case)) for case in cases]
        )
        assert moved(before, await town.marks()).keys() <= {"OBJ_caxton-content"}
    for case, result in zip(cases, results, strict=True):
        assert case.refused is not None
        assert isinstance(result, CaxtonError), case.name
        # Of content that is uploaded the size is told as the receiver would get it.
        error = {**result.to_dict(), "value": case.refused.value}
        assert not case.refused.differs(error)


async def test_bytes_of_a_program_on_the_service(town: Town) -> None:
    """Bytes that a program sends through the service are read there as what it says they are."""
    chosen = Settings(nats_url=town.url, platform="here", router="service", request_timeout=10)
    cases = [case for case in catalogue.CATALOGUE if case.headers and len(case.body) < LARGEST]
    async with app.connect(chosen, observer=lambda _: None) as platform:
        results = await platform.door.send(
            [Submission(sender=SENDER, body=case.body, headers=case.headers) for case in cases]
        )
    for case, result in zip(cases, results, strict=True):
        if case.refused is None:
            assert not isinstance(result, CaxtonError), case.name
        else:
            assert isinstance(result, CaxtonError), case.name
            assert not case.refused.differs(result.to_dict()), case.name
