"""The request doors: every request is answered, whatever happens behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.errors import AgentNotFound, CaxtonError
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.lease import Heartbeat, Lease, leased
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.jetstream import waiting
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.doors import Doors
from caxton_nats.ports import Outcome, Receipt, StateChange, Submission
from caxton_nats.tasks import Workers
from tests.core.sample import NOON
from tests.plugins.eventually import eventually

BATCH = 20
BOB = AgentId("bob@here")


class Behind:
    """The router and the registrar behind the doors, as the test wants them."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.passes = asyncio.Event()
        self.passes.set()
        self.error: Exception | None = None

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        self.batches.append(len(batch))
        await self.passes.wait()
        return [self._result(submission) for submission in batch]

    async def receipts(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        raise self.error or AssertionError(sender, message_id)

    async def register(
        self,
        agent: AgentId,
        *,
        capabilities: Sequence[str] = (),
        node: str = "",
        beat: Heartbeat | None = None,
        state: AgentState = AgentState.RUNNING,
    ) -> Registration:
        raise self.error or AssertionError(agent, capabilities, node, beat, state)

    async def heartbeat(self, agent: AgentId, beat: Heartbeat) -> Lease:
        return leased(agent, beat, now=NOON)

    async def release(self, agent: AgentId, instance: str) -> bool:
        return (agent, instance) == (BOB, "bob-1")

    async def update_state(
        self, agent: AgentId, state: AgentState, *, drain: timedelta | None = None
    ) -> StateChange:
        until = NOON + drain if drain is not None else None
        return StateChange(
            agent=agent,
            state=state,
            drain_until=until,
            revision=7,
            everywhere=False,
            missing=("router-1",),
        )

    async def deregister(self, agent: AgentId) -> bool:
        await self.passes.wait()
        return agent == BOB

    def _result(self, submission: Submission) -> Receipt | CaxtonError:
        if submission.body == b"refuse":
            return AgentNotFound("nobody", field="receiver")
        outcome = Outcome(receiver=BOB, stream="S", sequence=1)
        number = 30_000 if submission.body == b"many" else 1
        return Receipt(message_id=submission.sender, outcomes=(outcome,) * number)


@pytest.fixture
async def connection(embedded_url: str) -> AsyncIterator[Connection]:
    connection = await connect(embedded_url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def behind() -> Behind:
    return Behind()


@pytest.fixture
async def doors(connection: Connection, behind: Behind) -> AsyncIterator[Doors]:
    doors = Doors(connection, behind, behind, platform="here", workers=Workers(4, BATCH))
    await doors.open()
    yield doors
    behind.passes.set()
    await doors.close()


async def test_what_waits_is_bounded(
    connection: Connection, behind: Behind, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the router is stuck, no more waits than may; the others are refused and told when."""
    monkeypatch.setattr(waiting, "MOST", 50)
    behind.passes.clear()
    asking = [asyncio.create_task(ask(connection, "send.alice")) for _ in range(4 * BATCH + 500)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert {one.result()["error"]["code"] for one in done} == {"QueueFull"}
    await eventually(lambda: sum(one.done() for one in asking) >= 500 - 50)
    behind.passes.set()
    answers = await asyncio.gather(*asking)
    refused = [one["error"] for one in answers if "error" in one]
    assert {(one["limit"], one["field"], one["retry_after"]) for one in refused} == {
        (50, "router", 1.0)
    }
    # Those that were taken up at once, and those that waited.
    assert 50 <= len(answers) - len(refused) <= 4 * BATCH + 50


async def test_what_waits_is_bounded_in_bytes(
    connection: Connection, behind: Behind, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few large ones fill it as many small ones do; so do requests that are being answered."""
    monkeypatch.setattr(waiting, "MOST_BYTES", 1_000_000)
    behind.passes.clear()
    asking = [
        asyncio.create_task(ask(connection, "send.alice", bytes(100_000))) for _ in range(100)
    ]
    await eventually(lambda: sum(one.done() for one in asking) >= 100 - 4 * BATCH - 10)
    monkeypatch.setattr("caxton_nats.jetstream.doors.MOST", 0)
    refused = await ask(connection, "deregister.bob")
    assert refused["error"]["code"] == "QueueFull"
    behind.passes.set()
    await asyncio.gather(*asking)


async def ask(connection: Connection, subject: str, body: bytes = b"") -> dict[str, Any]:
    answer = await connection.request(f"caxton.{subject}", body, what="asking")
    found: dict[str, Any] = msgspec.json.decode(answer)
    return found


async def test_sender_is_that_of_the_subject(connection: Connection, doors: Doors) -> None:
    """The subject says who sends; a subject that names nobody is told so."""
    assert (await ask(connection, "send.alice"))["message_id"] == "alice@here"
    assert (await ask(connection, "send.=zz"))["error"]["code"] == "InvalidEnvelope"


async def test_result_of_each(connection: Connection, doors: Doors) -> None:
    """A refusal is an error with its code, a success a receipt for each receiver."""
    refused, stored = await asyncio.gather(
        ask(connection, "send.alice", b"refuse"), ask(connection, "send.alice", b"take")
    )
    assert refused == {"error": {"code": "AgentNotFound", "field": "receiver", "reason": "nobody"}}
    assert stored["receivers"] == [
        {"receiver": "bob@here", "stream": "S", "sequence": 1, "duplicate": False}
    ]


async def test_answer_that_is_too_long(connection: Connection, doors: Doors) -> None:
    """A receipt that no message can hold is said to be one, and at once."""
    error = (await ask(connection, "send.alice", b"many"))["error"]
    assert error["code"] == "TransportError"
    assert error["limit"] == connection.max_payload < error["value"]


async def test_requests_that_come_together(connection: Connection, behind: Behind) -> None:
    """So many batches at once, of such a size; what comes in meanwhile shares the next ones."""
    doors = Doors(connection, behind, behind, platform="here", workers=Workers(2, BATCH))
    await doors.open()
    behind.passes.clear()
    many = [asyncio.create_task(ask(connection, "send.alice")) for _ in range(51)]
    # One is out of the queue already, and waits for its turn.
    await eventually(lambda: sum(behind.batches) + len(doors._sending._requests) + 1 == len(many))
    assert len(behind.batches) == 2
    behind.passes.set()
    assert len(await asyncio.gather(*many)) == 51
    assert max(behind.batches) <= BATCH
    assert len(behind.batches) <= 2 + 3
    await doors.close()


async def test_bug_behind_the_door(connection: Connection, behind: Behind, doors: Doors) -> None:
    """An exception that is not ours is answered at once, and the door stays open."""
    behind.error = ZeroDivisionError("a bug")
    answer = await ask(connection, "register.alice")
    assert answer["error"]["code"] == "TransportError"
    assert await ask(connection, "deregister.bob") == {"agent": "bob@here", "deregistered": True}


@pytest.mark.parametrize("body", [b"no json", b'{"capability": "x"}', b'{"capabilities": 1}'])
async def test_registration_that_cannot_be_read(
    connection: Connection, doors: Doors, body: bytes
) -> None:
    """It is answered with what was expected."""
    error = (await ask(connection, "register.alice", body))["error"]
    assert (error["code"], error["field"]) == ("InvalidEnvelope", "body")
    assert "capabilities" in error["hint"]


async def test_change_of_a_state(connection: Connection, doors: Doors) -> None:
    """The answer says what was changed, and which routers did not say that they go by it."""
    answer = await ask(connection, "state.bob", b'{"state": "Draining", "drain": 60}')
    assert answer == {
        "agent": "bob@here",
        "state": "Draining",
        "drain_until": "2026-05-01T12:01:00Z",
        "revision": 7,
        "everywhere": False,
        "missing": ["router-1"],
    }


@pytest.mark.parametrize("body", [b"", b'{"state": "Asleep"}', b'{"drain": 1}'])
async def test_change_that_cannot_be_read(
    connection: Connection, doors: Doors, body: bytes
) -> None:
    """It is answered with what was expected."""
    error = (await ask(connection, "state.bob", body))["error"]
    assert (error["code"], error["field"]) == ("InvalidEnvelope", "body")
    assert "Draining" in error["hint"]


@pytest.mark.parametrize("number", [1, 32])
async def test_closing_answers_what_is_in(
    connection: Connection, behind: Behind, number: int
) -> None:
    """Requests that have come in are answered before the doors are closed, in work or not."""
    doors = Doors(connection, behind, behind, platform="here", workers=Workers(number, BATCH))
    await doors.open()
    behind.passes.clear()
    requests = [
        *(asyncio.create_task(ask(connection, "send.alice")) for _ in range(30)),
        asyncio.create_task(ask(connection, "deregister.bob")),
    ]
    waits = number == 1
    await eventually(lambda: sum(behind.batches) + len(doors._sending._requests) + waits == 30)
    closing = asyncio.create_task(doors.close())
    # From here on nobody else takes up what waits.
    await eventually(lambda: doors._sending._worker is not None and doors._sending._worker.done())
    behind.passes.set()
    await closing
    assert len(await asyncio.gather(*requests)) == 31


async def test_closing_without_a_connection(embedded_url: str, behind: Behind) -> None:
    """Doors whose connection is gone can be closed all the same."""
    connection = await connect(embedded_url, name="test", request_timeout=0.5)
    doors = Doors(connection, behind, behind, platform="here", workers=Workers(4, BATCH))
    await doors.open()
    await connection.close()
    await doors.close()
    assert doors._sending._worker is not None
    assert doors._sending._worker.done()


async def test_heartbeats_and_releases(connection: Connection, doors: Doors) -> None:
    """Both are answered with what has become of the lease."""
    beat = {"instance": "bob-1", "lease": 2, "healthy": False, "reason": "no disk"}
    renewed = await ask(connection, "heartbeat.bob", msgspec.json.encode(beat))
    lease = leased(BOB, Heartbeat(**beat), now=NOON)  # type: ignore[arg-type]
    assert msgspec.convert(renewed, Lease) == lease
    for name, released in (("bob", True), ("alice", False)):
        answer = await ask(connection, f"release.{name}", b'{"instance": "bob-1"}')
        assert answer == {"agent": f"{name}@here", "released": released}


@pytest.mark.parametrize("lease", ['"lease": 60', '"instance": null, "lease": 60'])
async def test_a_lease_of_no_instance(connection: Connection, doors: Doors, lease: str) -> None:
    """Who asks for a lease and could not renew it is told so, and not registered without one."""
    error = (await ask(connection, "register.bob", f"{{{lease}}}".encode()))["error"]
    assert (error["code"], error["field"]) == ("InvalidEnvelope", "instance")
    assert "bob-1" in error["hint"]


@pytest.mark.parametrize("door", ["register", "heartbeat", "release"])
async def test_a_body_that_cannot_be_read(connection: Connection, doors: Doors, door: str) -> None:
    """Neither JSON of another form nor no JSON is taken; the hint shows an example."""
    for body in (b'{"instance": 7}', b"instance", b'{"instances": "x"}'):
        error = (await ask(connection, f"{door}.bob", body))["error"]
        assert (error["code"], error["field"]) == ("InvalidEnvelope", "body")
        assert "for example {" in error["hint"]
