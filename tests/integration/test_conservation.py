"""The fixture under which every other test here runs can fail, and says what is missing."""

from __future__ import annotations

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.telemetry import Action, Event
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins import conservation
from tests.plugins.conservation import Tally
from tests.plugins.eventually import eventually

pytestmark = EMBEDDED_ONLY  # it is about the books, which the other tests keep on both servers


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conservation, "PATIENCE", 0.3)


def at(*sequences: int) -> set[Origin]:
    return {Origin("CAXTON_MAILBOX_0", sequence) for sequence in sequences}


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(accepted=at(1, 2, 3), handled=at(1), dead=at(2), pending=at(3)), ""),
        (Tally(accepted=at(1, 2), handled=at(1), dead=set(), pending=set()), "1 lost"),
        (Tally(accepted=at(1), handled=at(1, 2), dead=set(), pending=set()), "never accepted"),
        (Tally(accepted=at(1), handled=at(1), dead=at(1), pending=set()), "and dead-lettered"),
        (Tally(accepted=at(1), handled=at(1), dead=set(), pending=at(1)), "and still pending"),
        (Tally(accepted=at(1), handled=set(), dead=at(1), pending=at(1)), "and still pending"),
        (
            Tally(accepted=at(1), handled=set(), dead=at(1), pending=set(), records=2, letters=1),
            "2 dead letter records for 1",
        ),
    ],
)
async def test_tally(lab: Lab, tally: Tally, said: str) -> None:
    """A tally complains of what is lost, invented, or counted under two heads."""
    complaint = tally.complaint()
    assert (said in complaint) if said else (complaint == "")


async def test_equal_counts_are_not_enough(lab: Lab) -> None:
    """One message lost and another one counted that nobody accepted: the sum is right, not the books."""
    tally = Tally(
        accepted=at(1, 2),
        handled=at(1, 7),
        dead=set(),
        pending=set(),
        owners=dict.fromkeys(at(2), "bob@here"),
    )
    assert "bob@here: 1 lost" in tally.complaint()
    assert "CAXTON_MAILBOX_0-7" in tally.complaint()


async def test_lost_message_is_named(lab: Lab) -> None:
    """A message that is taken out of its mailbox behind everybody's back is missed by name."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    bob = await lab.register("bob", platform)
    receipt = await alice.send("inform", "bob", "precious")
    (outcome,) = receipt.outcomes
    origin = Origin(outcome.stream, outcome.sequence)
    assert await platform.ports.mailboxes.discard(origin)
    with pytest.raises(AssertionError, match=f"{bob}: 1 lost.*{origin.key}"):
        await lab.books.check()
    # Own up, or the fixture itself fails this test.
    lab.books.observe(Event(action=Action.HANDLED, agent=bob, origin=origin, attempt=1))


async def test_forgotten_event_is_missed(lab: Lab) -> None:
    """A message that was handled without a word is missed."""
    platform = await lab.platform()
    bob = await lab.collector("bob", platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", "quiet")

    async def done() -> bool:
        return bool(bob.got) and not await platform.ports.mailboxes.pending()

    await eventually(done)
    kept = list(lab.books.events)
    lab.books.events[:] = [one for one in kept if one.action is not Action.HANDLED]
    with pytest.raises(AssertionError, match="bob@here: 1 lost"):
        await lab.books.check()
    lab.books.events[:] = kept


async def test_invented_event_is_noticed(lab: Lab) -> None:
    """A handled message that the server never stored is noticed."""
    platform = await lab.platform()
    bob = platform.agent_id("bob")
    lie = Event(action=Action.HANDLED, agent=bob, origin=Origin("CAXTON_MAILBOX_0", 9), attempt=1)
    lab.books.observe(lie)
    with pytest.raises(AssertionError, match="never accepted by the server: CAXTON_MAILBOX_0-9"):
        await lab.books.check()
    lab.books.events.remove(lie)


async def test_another_process_keeps_books_too(lab: Lab) -> None:
    """What a process handled counts after its SIGKILL; without its journal it would be missing."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    program = await lab.spawn("agent", "bob", "record")
    await alice.send("inform", "bob", "hello")

    async def done() -> bool:
        return program.notes == ["hello"] and not await platform.ports.mailboxes.pending()

    await eventually(done)
    await program.kill()
    await lab.books.check()
    journal = lab.books.journal("process-1")
    kept = journal.read_bytes()
    journal.write_bytes(b"")
    with pytest.raises(AssertionError, match="1 lost"):
        await lab.books.check()
    journal.write_bytes(kept)
