"""admit: illegal acts are allowed, told of, or refused, and counted once."""

from __future__ import annotations

import logging

import msgspec
import pytest

from caxton_nats.core.conversation import Terms
from caxton_nats.core.errors import CaxtonError, ProtocolViolation, RevisionConflict
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.verdict import Finding, Interaction
from caxton_nats.engine.admission import Admission, Candidate
from caxton_nats.engine.watch import IllegalActs, Watch
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, Failing

C = ConversationId("c")


class Counted:
    """What the statistics would count."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, protocol: str, finding: Finding) -> None:
        self.seen.append(f"{protocol} {finding.state} {finding.verdict}")


def asks(message_id: str, act: str, sender: AgentId = ALICE, **fields: object) -> Candidate:
    to = BOB if sender == ALICE else ALICE
    envelope = sample(
        message_id=MessageId(message_id),
        conversation_id=C,
        performative=act,
        sender=sender,
        receiver=(to,),
        **{"protocol": "fipa-request", **fields},
    )
    return Candidate(envelope, [to])


async def admitted(
    bench: Bench, illegal_acts: IllegalActs, *candidates: Candidate, count: Counted | None = None
) -> list[CaxtonError | None]:
    watch = Watch(illegal_acts, count or Counted())
    return await Admission(bench.but(), Terms(), watch).admit(candidates)


async def interaction(bench: Bench) -> Interaction | None:
    found = await bench.broker.conversations.load(C)
    assert found is not None
    return found[0].interaction


async def test_the_state_is_in_the_record(bench: Bench) -> None:
    """Everybody who can read the conversation sees how far it is."""
    await admitted(bench, "allow", asks("m-1", "request"), asks("m-2", "agree", BOB))
    assert await interaction(bench) == Interaction(initiator=ALICE, states={BOB: "AGREED"})


@pytest.mark.parametrize(("illegal_acts", "warnings"), [("allow", 0), ("warn", 1)])
async def test_it_is_recorded_and_goes_on(
    bench: Bench, illegal_acts: IllegalActs, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With `warn`, the log names message, conversation, state, and what would be legal."""
    caplog.set_level(logging.WARNING, logger="caxton_nats")
    count = Counted()
    messages = asks("m-1", "request"), asks("m-2", "cfp", BOB)
    assert await admitted(bench, illegal_acts, *messages, count=count) == [None, None]
    assert (await interaction(bench) or Interaction()).illegal == 1
    told = [one.getMessage() for one in caplog.records if "fipa-request" in one.getMessage()]
    assert len(told) == warnings
    assert all("m-2" in one and "REQUESTED" in one and "agree" in one for one in told)
    assert count.seen == ["fipa-request INIT legal", "fipa-request REQUESTED illegal"]


async def test_refused(bench: Bench) -> None:
    """It is no part of the conversation; what comes after it is judged without it."""
    count = Counted()
    messages = asks("m-1", "request"), asks("m-2", "cfp", BOB), asks("m-3", "inform", BOB)
    first, second, third = await admitted(bench, "reject", *messages, count=count)
    assert (first, third) == (None, None)
    assert isinstance(second, ProtocolViolation)
    assert await interaction(bench) == Interaction(initiator=ALICE, states={BOB: "DONE"})
    assert count.seen.count("fipa-request REQUESTED illegal") == 1


async def test_a_refused_beginning_begins_nothing(bench: Bench) -> None:
    """Not even a record is left of it."""
    (refusal,) = await admitted(bench, "reject", asks("m-1", "cfp"))
    assert isinstance(refusal, ProtocolViolation)
    assert await bench.broker.conversations.load(C) is None


async def test_a_repeated_message_is_judged_once(bench: Bench) -> None:
    """A retry or a duplicate is no second act."""
    count = Counted()
    for _ in range(3):
        assert await admitted(bench, "reject", asks("m-1", "request"), count=count) == [None]
    assert count.seen == ["fipa-request INIT legal"]


async def test_a_lost_race_is_told_once(bench: Bench) -> None:
    """A verdict counts when the record with it is written."""
    count = Counted()
    store = Failing(bench.broker.conversations, save=[RevisionConflict("somebody"), None])
    admission = Admission(bench.but(conversations=store), Terms(), Watch("warn", count))
    assert await admission.admit([asks("m-1", "cfp")]) == [None]
    assert count.seen == ["fipa-request INIT illegal"]


@pytest.mark.parametrize("protocol", ["", "our-own"])
async def test_others_are_not_judged(bench: Bench, protocol: str) -> None:
    """Without a protocol, or with one that is not FIPA's, any act may follow any other."""
    count = Counted()
    messages = [asks(f"m-{act}", act, protocol=protocol) for act in ("inform", "cfp", "agree")]
    assert await admitted(bench, "reject", *messages, count=count) == [None] * 3
    assert await interaction(bench) is None
    assert count.seen == []


async def test_another_protocol_in_the_conversation_is_not_judged(bench: Bench) -> None:
    """The tables say nothing about two protocols in one conversation."""
    messages = asks("m-1", "request"), asks("m-2", "cfp", protocol="fipa-contract-net")
    assert await admitted(bench, "reject", *messages) == [None, None]
    assert await interaction(bench) == Interaction(initiator=ALICE, states={BOB: "REQUESTED"})


@pytest.mark.parametrize("protocol", ["", "fipa-request"])
async def test_nobody_else_cancels(bench: Bench, protocol: str) -> None:
    """The cancel of a stranger is refused whatever is allowed otherwise."""
    begun = asks("m-1", "request", protocol=protocol)
    foreign = asks("m-2", "cancel", CAROL, protocol=protocol)
    first, second = await admitted(bench, "allow", begun, foreign)
    assert first is None
    assert isinstance(second, ProtocolViolation)
    assert CAROL in second.reason


async def test_a_cancel_may_come_first(bench: Bench) -> None:
    """There is nobody yet who could be a stranger to it."""
    assert await admitted(bench, "warn", asks("m-1", "cancel", protocol="")) == [None]


@pytest.mark.parametrize("illegal_acts", ["warn", "reject"])
async def test_an_old_copy_of_the_record_convicts_nobody(
    bench: Bench, illegal_acts: IllegalActs
) -> None:
    """Before an act is found illegal, the record is read from where it is written."""
    await admitted(bench, "reject", asks("m-1", "request"))
    loaded: list[bool] = []
    real = bench.broker.conversations

    class Old:
        """A store whose first answer is that of a replica that is behind."""

        async def load(self, conversation_id: ConversationId, *, latest: bool = False) -> object:
            loaded.append(latest)
            found = await real.load(conversation_id, latest=latest)
            assert found is not None
            ahead = Interaction(initiator=ALICE, states={BOB: "AGREED"})
            stale = msgspec.structs.replace(found[0], interaction=ahead)
            return found if latest else (stale, found[1])

        save = real.save

    admission = Admission(bench.but(conversations=Old()), Terms(), Watch(illegal_acts))
    assert await admission.admit([asks("m-2", "agree", BOB)]) == [None]
    assert await interaction(bench) == Interaction(initiator=ALICE, states={BOB: "AGREED"})
