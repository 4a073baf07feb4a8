"""What the tables say of the messages of a conversation, whatever order they are recorded in."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.interaction import MACHINES
from caxton_nats.core.performatives import Performative as Act
from caxton_nats.core.protocols import INIT, Role
from caxton_nats.core.verdict import REMEMBERED, Interaction, Verdict, judge, violation
from tests.core.sample import ALICE, BOB, CAROL, sample

AMS = AgentId("ams@caxton")
Said = tuple[AgentId, str, tuple[AgentId, ...]]


def talk(
    protocol: str, said: Iterable[Said], **fields: object
) -> tuple[Interaction, list[Verdict]]:
    """Return how far the interaction is, and the verdict on each message."""
    interaction, verdicts = Interaction(), []
    for number, (sender, act, to) in enumerate(said):
        envelope = sample(
            message_id=f"m-{number}", sender=sender, receiver=to, performative=act, **fields
        )
        interaction, finding = judge(MACHINES[protocol], interaction, envelope, to)
        verdicts.append(finding.verdict)
    return interaction, verdicts


def asked(act: str = "request") -> Said:
    return (ALICE, act, (BOB,))


def answered(act: str) -> Said:
    return (BOB, act, (ALICE,))


def test_a_legal_interaction() -> None:
    """Who begins is its initiator; the state is that of each participant's pair."""
    done, verdicts = talk("fipa-request", [asked(), answered("agree"), answered("inform")])
    assert done == Interaction(initiator=ALICE, states={BOB: "DONE"})
    assert set(verdicts) == {Verdict.LEGAL}


def test_one_state_for_each_participant() -> None:
    """A call for proposals goes to many, and each of them goes its own way."""
    market, verdicts = talk(
        "fipa-contract-net",
        [
            (ALICE, "cfp", (BOB, CAROL)),
            (BOB, "propose", (ALICE,)),
            (CAROL, "refuse", (ALICE,)),
            (ALICE, "accept-proposal", (BOB,)),
        ],
    )
    assert market.states == {BOB: "ACCEPTED", CAROL: "REFUSED"}
    assert set(verdicts) == {Verdict.LEGAL}


def test_an_illegal_act_changes_nothing() -> None:
    """It is counted and remembered with its state, and the interaction is where it was."""
    talked, verdicts = talk("fipa-request", [asked(), answered("propose"), answered("agree")])
    assert verdicts == [Verdict.LEGAL, Verdict.ILLEGAL, Verdict.LEGAL]
    assert (talked.states, talked.illegal) == ({BOB: "AGREED"}, 1)
    (finding,) = talked.findings
    assert (finding.state, finding.performative, finding.sender) == ("REQUESTED", "propose", BOB)


def test_the_worst_of_many() -> None:
    """A message to many is illegal if it is for one; for the others it counts."""
    talked, verdicts = talk(
        "fipa-contract-net",
        [
            (ALICE, "cfp", (BOB, CAROL)),
            (BOB, "propose", (ALICE,)),
            (ALICE, "reject-proposal", (BOB, CAROL)),
        ],
    )
    assert verdicts[-1] is Verdict.ILLEGAL
    assert talked.findings[0].participant == CAROL
    assert talked.states == {BOB: "REJECTED", CAROL: "CFP_SENT"}


def test_an_answer_before_its_question() -> None:
    """Nobody can know what it answers: no offence, and what comes after it is judged as ever."""
    talked, verdicts = talk("fipa-request", [answered("inform"), asked(), answered("agree")])
    assert verdicts == [Verdict.EARLY, Verdict.LEGAL, Verdict.LEGAL]
    assert (talked.initiator, talked.states) == (ALICE, {BOB: "AGREED"})


def test_a_beginning_that_is_none() -> None:
    """An act that is neither asked nor answered in the protocol is illegal as the first one."""
    assert talk("fipa-request", [asked("cfp")])[1] == [Verdict.ILLEGAL]


def test_a_late_act() -> None:
    """After the end nothing changes, and nobody has done anything wrong."""
    talked, verdicts = talk("fipa-request", [asked(), answered("inform"), asked("cancel")])
    assert verdicts[-1] is Verdict.LATE
    assert (talked.states, talked.illegal) == ({BOB: "DONE"}, 0)


def test_a_bid_and_the_next_call_at_the_same_time() -> None:
    """Whichever is recorded first, neither is an offence, and it is a bid."""
    begun: list[Said] = [asked("inform"), asked("cfp")]
    ends = [
        talk("fipa-auction-english", [*begun, *order])
        for order in ([answered("propose"), asked("cfp")], [asked("cfp"), answered("propose")])
    ]
    assert [interaction.states for interaction, _ in ends] == [{BOB: "BID"}] * 2
    assert [Verdict.ILLEGAL in verdicts for _, verdicts in ends] == [False, False]


def test_cancel_is_answered_by_what_is_in_reply_to_it() -> None:
    """An update that crossed the cancel is one more; the answer to the cancel ends it."""
    begun, _ = talk("fipa-subscribe", [asked("subscribe"), answered("agree")])
    cancel = sample(message_id="stop", performative="cancel", receiver=(BOB,))
    cancelling, _ = judge(MACHINES["fipa-subscribe"], begun, cancel, (BOB,))
    update = sample(message_id="u", sender=BOB, receiver=(ALICE,), performative="inform")
    crossed, finding = judge(MACHINES["fipa-subscribe"], cancelling, update, (ALICE,))
    assert (finding.verdict, crossed.states[BOB]) == (Verdict.LEGAL, "CANCELLING(ACTIVE)")
    done = sample(
        message_id="d", sender=BOB, receiver=(ALICE,), performative="inform", in_reply_to="stop"
    )
    assert judge(MACHINES["fipa-subscribe"], crossed, done, (ALICE,))[0].states == {
        BOB: "CANCELLED"
    }


def test_only_the_initiators_cancel_is_answered() -> None:
    """A cancel of the participant is illegal, and does not become what is answered."""
    machine = MACHINES["fipa-subscribe"]
    talked, _ = talk("fipa-subscribe", [asked("subscribe"), answered("agree"), asked("cancel")])
    foreign = sample(message_id="no", sender=BOB, receiver=(ALICE,), performative="cancel")
    talked, finding = judge(machine, talked, foreign, (ALICE,))
    assert finding.verdict is Verdict.ILLEGAL
    done = sample(
        message_id="d", sender=BOB, receiver=(ALICE,), performative="inform", in_reply_to="m-2"
    )
    assert judge(machine, talked, done, (ALICE,))[0].states == {BOB: "CANCELLED"}


def test_a_copy_to_oneself() -> None:
    """Who begins is no participant of its own interaction."""
    talked, _ = talk("fipa-contract-net", [(ALICE, "cfp", (ALICE, BOB))])
    assert talked.states == {BOB: "CFP_SENT"}


def test_who_is_no_party() -> None:
    """Neither initiator nor addressed by it: anything from there is illegal until it is over."""
    talked, verdicts = talk("fipa-request", [asked(), (CAROL, "inform", (ALICE,))])
    assert verdicts[-1] is Verdict.ILLEGAL
    assert CAROL not in talked.states
    over = [asked(), answered("inform"), (CAROL, "request", (BOB,))]
    assert talk("fipa-request", over)[1][-1] is Verdict.LATE


def test_the_platform_tells_of_a_failed_delivery() -> None:
    """It ends the only pair there is; of several, only the content would say which."""
    assert talk("fipa-request", [asked(), (AMS, "failure", (ALICE,))])[0].states == {
        BOB: "DELIVERY_FAILED"
    }
    many, verdicts = talk(
        "fipa-contract-net", [(ALICE, "cfp", (BOB, CAROL)), (AMS, "failure", (ALICE,))]
    )
    assert many.states == {BOB: "CFP_SENT", CAROL: "CFP_SENT"}
    assert verdicts[-1] is Verdict.LEGAL


def test_the_last_findings_are_kept() -> None:
    """As many as `REMEMBERED`; the illegal ones are counted for good."""
    talked, _ = talk("fipa-request", [asked(), *[answered("cfp")] * (REMEMBERED + 5)])
    assert len(talked.findings) == REMEMBERED
    assert talked.illegal == REMEMBERED + 5
    assert talked.findings[-1].message_id == f"m-{REMEMBERED + 5}"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            [asked(), answered("cfp")],
            "legal now for its participant: refuse, agree, failure, inform",
        ),
        ([asked("cfp")], "legal now for its initiator: request"),
        ([asked(), (CAROL, "inform", (ALICE,))], "only its initiator alice@here and whom"),
    ],
)
def test_the_error_says_what_would_be_legal(said: list[Said], hint: str) -> None:
    """With conversation, protocol, state and act."""
    before, _ = talk("fipa-request", said[:-1])
    sender, act, to = said[-1]
    envelope = sample(sender=sender, performative=act, receiver=to, conversation_id="c-9")
    _, finding = judge(MACHINES["fipa-request"], before, envelope, to)
    error = violation(MACHINES["fipa-request"], before, finding, envelope)
    assert error.hint.startswith(hint)
    assert (error.field, error.value) == ("performative", act)
    assert f"state {finding.state} of fipa-request" in error.reason
    assert "c-9" in error.reason


speakers = st.sampled_from([ALICE, BOB, CAROL, AMS])
acts = st.lists(st.tuples(speakers, st.sampled_from(Act), speakers), max_size=12)


@given(st.sampled_from(sorted(MACHINES)), acts)
def test_whatever_is_said(name: str, said: list[tuple[AgentId, Act, AgentId]]) -> None:
    """Any acts in any order leave every pair in a state of the table; only legal ones move it."""
    machine = MACHINES[name]
    before = Interaction()
    for sender, act, to in said:
        envelope = sample(sender=sender, performative=act, receiver=(to,))
        after, finding = judge(machine, before, envelope, (to,))
        assert set(after.states.values()) <= set(machine.states)
        moved = {
            pair for pair, state in after.states.items() if state != before.states.get(pair, INIT)
        }
        assert not moved or finding.verdict in (Verdict.LEGAL, Verdict.CROSSED)
        before = after


@pytest.mark.parametrize("name", MACHINES)
def test_every_row_is_legal_to_the_watcher(name: str) -> None:
    """The routers judge by the same tables: an act with a row is legal, whoever watches."""
    machine = MACHINES[name]
    for row in machine.rows:
        if row.guard or row.role is Role.PLATFORM:
            continue
        before = Interaction(
            initiator=AgentId("") if row.state == INIT else ALICE,
            states={} if row.state == INIT else {BOB: row.state},
        )
        sender, to = (ALICE, BOB) if row.role is Role.INITIATOR else (BOB, ALICE)
        envelope = sample(sender=sender, performative=row.act, receiver=(to,))
        after, finding = judge(machine, before, envelope, (to,))
        assert (finding.verdict, after.states[BOB]) == (Verdict.LEGAL, row.next)
