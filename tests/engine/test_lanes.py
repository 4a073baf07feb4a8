"""The order in which a mailbox hands out what it holds."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Priority
from caxton_nats.core.identifiers import ConversationId, MessageId
from caxton_nats.engine.lanes import Held, Lanes
from caxton_nats.ports import Delivery
from tests.core.sample import NOON, sample

SECOND = timedelta(seconds=1)


def held(
    sequence: int,
    conversation: str = "",
    priority: Priority = Priority.NORMAL,
    *,
    readable: bool = True,
) -> Held:
    """Return a delivery with this sequence number."""
    envelope = sample(
        message_id=MessageId(f"m-{sequence}"),
        conversation_id=ConversationId(conversation),
        priority=priority,
    )
    delivery = Delivery(Origin("S", sequence), "subject", b"", {}, 1, NOON)
    return Held(delivery, envelope if readable else None)


def filled(*deliveries: Held) -> Lanes:
    """Return lanes that hold these, put in this order."""
    lanes = Lanes()
    for one in deliveries:
        lanes.put(one)
    return lanes


def handed_out(lanes: Lanes) -> list[int]:
    """Take until nothing is ready; settle nothing."""
    taken = []
    while (one := lanes.take()) is not None:
        taken.append(one.delivery.origin.sequence)
    return taken


def test_one_conversation_one_at_a_time() -> None:
    """The second message of a conversation is handed out when the first is settled."""
    first, second = held(1, "c"), held(2, "c")
    lanes = filled(first, second)
    assert handed_out(lanes) == [1]
    lanes.done(first)
    assert handed_out(lanes) == [2]
    lanes.done(second)
    assert (handed_out(lanes), len(lanes)) == ([], 0)


def test_conversations_run_beside_each_other() -> None:
    """Conversations, and messages without one, do not wait for each other."""
    lanes = filled(held(1, "c"), held(2, "d"), held(3), held(4), held(5, readable=False))
    assert handed_out(lanes) == [1, 2, 3, 4, 5]


def test_expired_ones_wait_for_nobody() -> None:
    """What is late is handed out at once, from any place in any lane; the others keep their order."""
    ones = [held(1, "c"), late(2, "c"), held(3, "c"), late(4, "d"), held(5, "d"), late(6)]
    lanes = filled(*ones)
    assert lanes.take() == ones[0]
    expired = lanes.take_expired(NOON)
    assert [one.delivery.origin.sequence for one in expired] == [2, 4, 6]
    assert lanes.take_expired(NOON) == []
    assert handed_out(lanes) == [5]
    for one in (*expired, ones[0], ones[4]):
        lanes.done(one)
    assert handed_out(lanes) == [3]
    lanes.done(ones[2])
    assert (len(lanes), handed_out(filled(held(7))), lanes.in_hand()) == (0, [7], [])


def test_expired_behind_a_blocked_head() -> None:
    """A lane goes on waiting for the head that went back."""
    first, second, third = held(1, "c"), late(2, "c"), held(3, "c")
    lanes = filled(first, second)
    assert handed_out(lanes) == [1]
    lanes.block(first, NOON + SECOND)
    (expired,) = lanes.take_expired(NOON)
    lanes.done(expired)
    lanes.put(third)
    assert handed_out(lanes) == []
    lanes.put(first)
    assert handed_out(lanes) == [1]


def late(sequence: int, conversation: str = "") -> Held:
    """Return a delivery whose deadline is noon."""
    one = held(sequence, conversation)
    assert one.envelope is not None
    return Held(one.delivery, msgspec.structs.replace(one.envelope, reply_by=NOON))


def test_priority_goes_first_among_ready_lanes() -> None:
    """The higher priority of the heads goes first, then the older arrival."""
    lanes = filled(
        held(1, "a", Priority.LOW),
        held(2, "b"),
        held(3, "c", Priority.CRITICAL),
        held(4, "d", Priority.HIGH),
        held(5, "e"),
        held(6, readable=False),
    )
    assert handed_out(lanes) == [3, 4, 2, 5, 6, 1]


def test_a_settled_head_leaves_no_priority_behind() -> None:
    """A low message does not go first because critical ones of its conversation went before."""
    critical = held(1, "c", Priority.CRITICAL)
    lanes = filled(critical, held(2, "c", Priority.LOW), held(3, "c", Priority.LOW))
    assert lanes.take() == critical
    lanes.put(held(4, "d", Priority.HIGH))
    lanes.done(critical)
    assert handed_out(lanes) == [4, 2]


def test_an_older_message_goes_before_a_newer_one_of_its_priority() -> None:
    """What waited behind its conversation keeps its place by arrival."""
    first = held(1, "c")
    lanes = filled(first, held(2, "c"), held(3, "d"))
    assert lanes.take() == first
    lanes.done(first)
    assert handed_out(lanes) == [2, 3]


def test_blocked_conversation_waits_for_its_head() -> None:
    """Later messages wait until what went back has come again and is settled."""
    first = held(1, "c")
    lanes = filled(first, held(2, "c"), held(3, "d"))
    assert lanes.take() == first
    lanes.block(first, NOON + SECOND)
    assert handed_out(lanes) == [3]
    assert lanes.next_due() == NOON + SECOND
    lanes.put(held(4, "c"))
    assert handed_out(lanes) == []
    lanes.put(first)
    assert lanes.next_due() is None
    assert handed_out(lanes) == [1]
    lanes.done(first)
    assert handed_out(lanes) == [2]


def test_what_went_back_is_not_in_hand() -> None:
    """Only running and waiting deliveries are kept alive at the server."""
    first, second = held(1, "c"), held(2, "c")
    lanes = filled(first, second)
    lanes.take()
    assert lanes.in_hand() == [first, second]
    lanes.block(first, NOON)
    assert lanes.in_hand() == [second]


def test_redelivery_of_what_is_in_hand_is_dropped() -> None:
    """A delivery that is running or waiting here is not taken a second time."""
    first, second = held(1, "c"), held(2, "c")
    lanes = filled(first, second, first, second)
    assert lanes.take() == first
    lanes.put(first)
    lanes.done(first)
    assert handed_out(lanes) == [2]
    assert len(lanes) == 1


def test_overdue_head_can_be_given_up() -> None:
    """A head settled elsewhere no longer holds up its lane, nor an empty lane the books."""
    first, alone = held(1, "c"), held(3, "d")
    lanes = filled(first, held(2, "c"), alone)
    handed_out(lanes)
    lanes.block(first, NOON)
    lanes.block(alone, NOON + SECOND)
    assert lanes.overdue(NOON) == []
    assert lanes.overdue(NOON + SECOND) == [Origin("S", 1)]
    lanes.unblock(Origin("S", 1))
    lanes.unblock(Origin("S", 3))
    assert handed_out(lanes) == [2]
    assert lanes.next_due() is None


def test_expected_answer_passes_its_own_conversation() -> None:
    """What a handler waits for is handed out although its conversation is busy, once."""
    asking, answer = held(1, "c"), held(2, "c")
    lanes = filled(asking)
    lanes.take()
    running = lanes.take_at_once(answer)
    assert running is not None
    assert running.delivery == answer.delivery
    lanes.put(answer)
    assert lanes.take_at_once(answer) is None
    assert handed_out(lanes) == []
    lanes.done(running)
    assert lanes.in_hand() == [asking]


def test_answer_that_went_back_holds_up_nobody() -> None:
    """An answer that could not be settled comes again as any message of its conversation."""
    answer = held(1, "c")
    lanes = Lanes()
    running = lanes.take_at_once(answer)
    assert running is not None
    lanes.block(running, NOON)
    assert (lanes.next_due(), lanes.overdue(NOON + SECOND)) == (None, [])
    lanes.put(answer)
    assert handed_out(lanes) == [1]


def test_blocked_head_that_has_become_an_answer() -> None:
    """If what a conversation waits for is expected now, the conversation waits no longer."""
    head = held(1, "c")
    lanes = filled(head, held(2, "c"))
    lanes.take()
    lanes.block(head, NOON)
    assert lanes.take_at_once(head) is not None
    assert handed_out(lanes) == [2]


def test_all_that_is_in_other_hands_comes_first() -> None:
    """Whatever order it comes in: one after the other, before what is newer."""
    one, two, three, newer = (held(number, "c") for number in range(1, 5))
    lanes = Lanes()
    for missing in (one, two, three):
        lanes.expect(missing, NOON)
    assert all(lanes.knows(missing.delivery.origin) for missing in (one, two, three))
    lanes.put(newer)
    lanes.put(three)
    assert handed_out(lanes) == []
    lanes.put(one)
    assert handed_out(lanes) == [1]
    lanes.done(one)
    assert handed_out(lanes) == []
    assert lanes.overdue(NOON + SECOND) == [two.delivery.origin]
    lanes.put(two)
    for last in (two, three, newer):
        assert handed_out(lanes) == [last.delivery.origin.sequence]
        lanes.done(last)
    assert len(lanes) == 0
    assert not lanes.knows(two.delivery.origin)


def test_what_was_in_other_hands_and_is_settled_there() -> None:
    """Nobody waits for it any more, whether its turn has come or not."""
    one, two, three, newer = (held(number, "c") for number in range(1, 5))
    lanes = Lanes()
    for missing in (one, two, three):
        lanes.expect(missing, NOON)
    lanes.put(newer)
    lanes.unblock(two.delivery.origin)
    lanes.unblock(one.delivery.origin)
    assert handed_out(lanes) == []
    assert lanes.overdue(NOON + SECOND) == [three.delivery.origin]
    lanes.unblock(three.delivery.origin)
    assert handed_out(lanes) == [4]


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, against a list per conversation."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes()
        self.numbers = count(1)
        self.waiting: dict[str, list[Held]] = {}
        self.running: dict[str, Held] = {}
        self.blocked: dict[str, Held] = {}
        self.alone: list[Held] = []

    def ready(self) -> list[Held]:
        busy = self.running.keys() | self.blocked.keys()
        return [lane[0] for key, lane in self.waiting.items() if lane and key not in busy]

    @rule(conversation=st.sampled_from(["", "c", "d"]), priority=st.sampled_from(Priority))
    def put(self, conversation: str, priority: Priority) -> None:
        one = held(next(self.numbers), conversation, priority)
        self.lanes.put(one)
        self.waiting.setdefault(one.key, []).append(one)

    @rule()
    def take(self) -> None:
        ready = self.ready()
        taken = self.lanes.take()
        if not ready:
            assert taken is None
            return
        assert taken in ready, "in order, one at a time, never while blocked"
        assert taken.priority == max(one.priority for one in ready)
        self.waiting[taken.key].remove(taken)
        self.running[taken.key] = taken

    @rule()
    def take_at_once(self) -> None:
        answer = self.lanes.take_at_once(held(next(self.numbers), "c"))
        assert answer is not None
        self.alone.append(answer)

    @precondition(lambda self: self.alone)
    @rule(settled=st.booleans())
    def end_alone(self, settled: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        answer = self.alone.pop()
        if settled:
            self.lanes.done(answer)
        else:
            self.lanes.block(answer, NOON)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.lanes.done(self.running.pop(key))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def block(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.blocked[key] = self.running.pop(key)
        self.lanes.block(self.blocked[key], NOON)

    @precondition(lambda self: self.blocked)
    @rule(data=st.data())
    def redeliver(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.blocked)))
        back = self.blocked.pop(key)
        self.lanes.put(back)
        self.waiting.setdefault(key, []).insert(0, back)

    @precondition(lambda self: self.blocked)
    @rule(data=st.data())
    def unblock(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.blocked)))
        self.lanes.unblock(self.blocked.pop(key).delivery.origin)

    @precondition(lambda self: self.lanes.in_hand())
    @rule(data=st.data())
    def redeliver_in_hand(self, data: st.DataObject) -> None:
        self.lanes.put(data.draw(st.sampled_from(self.lanes.in_hand())))

    @invariant()
    def nothing_is_lost(self) -> None:
        waiting = [one for lane in self.waiting.values() for one in lane]
        expected = [*waiting, *self.running.values(), *self.alone]
        origins = sorted(one.delivery.origin.sequence for one in expected)
        found = sorted(one.delivery.origin.sequence for one in self.lanes.in_hand())
        assert found == origins
        assert len(self.lanes) == len(origins)
        assert (self.lanes.next_due() is not None) == bool(self.blocked)

    def teardown(self) -> None:
        """Nothing is stuck: once all is settled and has come again, all is handed out."""
        for answer in self.alone:
            self.lanes.done(answer)
        for running in self.running.values():
            self.lanes.done(running)
        for back in self.blocked.values():
            self.lanes.put(back)
        while (one := self.lanes.take()) is not None:
            self.lanes.done(one)
        assert len(self.lanes) == 0


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
