"""Several messages in one request: each has its own result, in its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from caxton_nats.jetstream.send_door import MANY
from tests.bad_input import catalogue
from tests.bad_input.case import GOOD, Case
from tests.bad_input.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOOR = "caxton.send.mallory"
BODIES = [case for case in catalogue.REFUSED if len(case.body) < 100_000 and not case.headers]


def good(message_id: str) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(GOOD), "message_id": message_id})


def many(*bodies: bytes) -> bytes:
    return b"[" + b",".join(bodies) + b"]"


async def ask(town: Town, body: bytes) -> Any:
    return await town.ask(DOOR, body)


async def test_results_are_in_order(town: Town) -> None:
    """Two good ones around a bad one: both are stored, and the bad one is told why not."""
    before = await town.mailed()
    answer = await ask(town, many(good("m-1"), b'{"performative": "shout"}', good("m-2")))
    assert [one.get("message_id") for one in answer] == ["m-1", None, "m-2"]
    assert answer[1]["error"]["field"] in ("performative", "receiver")
    assert await town.mailed() == before + 2


async def test_the_same_message_twice(town: Town) -> None:
    """It is stored once, and the second is called a duplicate; so is a request that is repeated."""
    for expected in ([False, True], [True, True]):
        answer = await ask(town, many(good("m-3"), good("m-3")))
        assert [one["receivers"][0]["duplicate"] for one in answer] == expected


async def test_nothing_to_send(town: Town) -> None:
    """An empty array is answered by one."""
    assert await ask(town, b"[]") == []


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.name)
async def test_a_bad_one_among_good_ones(town: Town, case: Case) -> None:
    """It is refused alone, or breaks the array: then nothing of it is sent. The next is taken."""
    before = await town.mailed()
    answer = await ask(town, many(good("m-4"), case.body, good("m-5")))
    if isinstance(answer, dict):
        assert answer["error"]["code"] == "MalformedEnvelope"
        assert await town.mailed() == before
    else:
        assert [bool(one.get("error")) for one in answer][:: len(answer) - 1] == [False, False]
        assert any("error" in one for one in answer)
    await town.is_quick()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (many(*[b"{}"] * (MANY + 1)), "InvalidEnvelope"),
        (b"[", "MalformedEnvelope"),
        (b"[{}", "MalformedEnvelope"),
        (b"[{}]]", "MalformedEnvelope"),
        (b"[" * 50_000, "MalformedEnvelope"),
        (b"[" * 50_000 + b"]" * 50_000, "MalformedEnvelope"),
        (b"[\xff]", "MalformedEnvelope"),
    ],
    ids=["too many", "open", "not closed", "closed twice", "deep open", "deep", "no text"],
)
async def test_what_is_no_array_of_messages(town: Town, body: bytes, code: str) -> None:
    """It is refused as a whole, with the reason, or its one element is."""
    answer = await ask(town, body)
    told = answer if isinstance(answer, dict) else answer[0]
    assert told["error"]["code"] == code
    if code == "InvalidEnvelope":
        assert (told["error"]["limit"], told["error"]["value"]) == (str(MANY), str(MANY + 1)) or (
            told["error"]["limit"],
            told["error"]["value"],
        ) == (MANY, MANY + 1)
    await town.is_quick()
