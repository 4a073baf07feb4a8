"""What becomes of a delivery: done, tried again, or dead; whatever fails in between."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.disposition import Ack, Reject, Retry, Term
from caxton_nats.engine.platform import Platform
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action
from tests.integration.faults import unsettling
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import PATIENCE, eventually


async def one_dead_letter(platform: Platform, within: float = PATIENCE) -> DeadLetter:
    """Wait until exactly one letter is there and its mailbox is empty; return the letter."""

    async def dead() -> bool:
        return bool(await platform.ports.dead_letters.list())

    async def settled() -> bool:
        return not await platform.ports.mailboxes.pending()

    await eventually(dead, within=within, what="a dead letter")
    await eventually(settled, within=within, what="an empty mailbox")
    (letter,) = await platform.ports.dead_letters.list()
    return letter


class Failing(Agent):
    """Raises what it is told, for each message as often as it is told."""

    def __init__(self, name: str, error: Exception, times: int = 1000) -> None:
        super().__init__(name)
        self.calls: list[tuple[float, Context]] = []
        self.done: list[object] = []
        self._error = error
        self._left = times
        self.on("*")(self._handle)

    async def _handle(self, ctx: Context) -> None:
        self.calls.append((asyncio.get_running_loop().time(), ctx))
        if self._left:
            self._left -= 1
            raise self._error
        self.done.append(ctx.content)

    @property
    def gaps(self) -> list[float]:
        times = [time for time, _ in self.calls]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


async def test_failure_is_retried_with_growing_delay(lab: Lab) -> None:
    """A handler that raises is called again after 0.1, 0.3, 0.9 s (less 20 % jitter at most)."""
    platform = await lab.platform(max_retries=3, retry_factor=3.0)
    bob = Failing("bob", ValueError("no ü"), times=3)
    await lab.start(bob, platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", "try")
    await eventually(lambda: bob.done == ["try"])
    assert [ctx.attempt for _, ctx in bob.calls] == [1, 2, 3, 4]
    floors = (0.08, 0.24, 0.72)
    assert all(gap >= floor for gap, floor in zip(bob.gaps, floors, strict=True)), bob.gaps
    assert lab.books.count(Action.RETRIED) == 3


async def test_exhausted_retries_become_a_dead_letter(lab: Lab, door: str) -> None:
    """After the last retry the message is a dead letter with reason, error and original bytes."""
    platform = await lab.through(door, max_retries=2)
    bob = Failing("bob", ValueError("no ü"))
    await lab.start(bob, platform)
    alice = await lab.collector("alice", platform)
    receipt = await alice.send("request", "bob", {"b": 1}, message_id="m-1", conversation_id="c")
    letter = await one_dead_letter(platform)
    assert [ctx.attempt for _, ctx in bob.calls] == [1, 2, 3]
    assert (letter.reason, letter.stage, letter.attempts) == ("AgentNotResponding", "deliver", 3)
    assert (letter.agent, letter.sender, letter.message_id) == ("bob@here", "alice@here", "m-1")
    assert (letter.origin.stream, letter.origin.sequence) == (
        receipt.outcomes[0].stream,
        receipt.outcomes[0].sequence,
    )
    assert letter.last_error["code"] == "HandlerFailed"
    assert letter.last_error["reason"] == "ValueError: no ü"
    assert b'"content":{"b":1}' in letter.original
    # The sender is told, in the conversation.
    await eventually(lambda: len(alice.got) == 1)
    (notice,) = alice.got
    assert (notice.performative, notice.sender) == ("failure", "ams@here")
    assert (notice.envelope.in_reply_to, notice.conversation_id) == ("m-1", "c")


async def test_message_brings_its_own_retries(lab: Lab) -> None:
    """`max_retries` of the message goes before the receiver's policy."""
    platform = await lab.platform(max_retries=9)
    bob = Failing("bob", ValueError("no"))
    await lab.start(bob, platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", 1, max_retries=1)
    assert (await one_dead_letter(platform)).attempts == 2


async def test_reject_is_not_retried(lab: Lab) -> None:
    """A handler that raises Reject sees the message once; it is a dead letter at once."""
    platform = await lab.platform(max_retries=9)
    bob = Failing("bob", Reject("never"))
    await lab.start(bob, platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)
    letter = await one_dead_letter(platform)
    assert (letter.reason, letter.attempts, len(bob.calls)) == ("InvalidMessage", 1, 1)
    assert letter.last_error == {"code": "HandlerRejected", "reason": "never"}


async def test_retry_after_is_honoured(lab: Lab) -> None:
    """Retry(after) is the delay, however short the policy's would be."""
    platform = await lab.platform()
    bob = Failing("bob", Retry(timedelta(seconds=0.7)), times=1)
    await lab.start(bob, platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", "later")
    await eventually(lambda: bob.done == ["later"])
    assert bob.gaps[0] >= 0.69


async def test_crash_between_record_and_settlement(lab: Lab) -> None:
    """The dead letter is written before the delivery is settled, and once.

    The settlement is lost, as in a crash between the two: the message comes again, is not handled
    again, and is settled then.
    """
    platform = await lab.platform(max_retries=1, ack_wait=1.0)
    bob = Failing("bob", ValueError("no"))
    await lab.start(bob, unsettling(platform, Term))
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)

    async def recorded_and_stored() -> bool:
        letters = await platform.ports.dead_letters.list()
        return len(letters) == 1 and bool(await platform.ports.mailboxes.pending())

    await eventually(recorded_and_stored, what="the record is there, the original still is")
    letter = await one_dead_letter(platform)
    assert letter.attempts == 2
    assert len(bob.calls) == 2
    assert lab.books.count(Action.DEAD_LETTERED) == 1


async def test_crash_between_handler_and_ack(lab: Lab) -> None:
    """A lost ack brings the message again; the process that handled it does not do so again."""
    platform = await lab.platform(ack_wait=1.0)
    bob = Failing("bob", ValueError(), times=0)
    await lab.start(bob, unsettling(platform, Ack))
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)
    await eventually(lambda: len(bob.calls) == 1)

    async def settled() -> bool:
        return not await platform.ports.mailboxes.pending()

    await eventually(settled)
    assert len(bob.calls) == 1
    assert lab.books.count(Action.DUPLICATE) == 1


async def test_killed_worker_is_covered_by_its_successor(lab: Lab) -> None:
    """What a process had in hand when it was SIGKILLed goes to the next one."""
    platform = await lab.platform(ack_wait=1.0)
    alice = await lab.agent("alice", platform)
    worker = await lab.spawn("agent", "bob", "stuck", ack_wait=1.0)
    await alice.send("inform", "bob", "job")
    await eventually(lambda: worker.notes == ["job"])
    await worker.kill()
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == ["job"])
    assert lab.books.count(Action.DELIVERED) == 2, "once in each process"


async def test_successor_waits_for_nothing(lab: Lab) -> None:
    """After a SIGKILL the next process has what the first had in hand, at once and in order."""
    hour = 3600.0
    platform = await lab.platform(ack_wait=hour)
    alice = await lab.agent("alice", platform)
    worker = await lab.spawn("agent", "bob", "stuck", ack_wait=hour)
    for number in range(5):
        await alice.send("inform", "bob", number, conversation_id="c")
    await eventually(lambda: worker.notes == [0])
    await worker.kill()
    await alice.send("inform", "bob", 5, conversation_id="c")
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == [0, 1, 2, 3, 4, 5])


async def test_message_that_kills_its_process_again_and_again(lab: Lab) -> None:
    """A message that kills every process that takes it is a dead letter after its retries.

    A death in the first attempt leaves no record, so one retry means three deaths.
    """
    platform = await lab.platform(ack_wait=0.5)
    alice = await lab.agent("alice", platform)
    for death in (1, 2, 3):
        worker = await lab.launch("agent", "bob", "dies", ack_wait=0.5)
        if death == 1:
            await worker.ready()
            await alice.send("inform", "bob", "poison", max_retries=1)
        assert await worker.wait() == -9
    bob = await lab.collector("bob", platform)
    letter = await one_dead_letter(platform)
    assert (letter.reason, bob.got) == ("AgentNotResponding", [])
    assert worker.notes == ["poison"] * 3


async def test_stopping_is_no_attempt(lab: Lab) -> None:
    """A message that is in hand at six stops in a row, begun or not, has used up no retry."""
    platform = await lab.platform(max_retries=1, drain=0.0)
    alice = await lab.agent("alice", platform)
    begun = asyncio.Event()

    async def never_ends(_: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    await lab.register("bob", platform)
    for content in (1, 2, 3):
        await alice.send("inform", "bob", content, conversation_id="c")
    for _ in range(6):
        begun.clear()
        stuck = Agent("bob")
        stuck.on("*")(never_ends)
        await stuck.start(platform)
        await asyncio.wait_for(begun.wait(), 5)
        await stuck.stop()
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == [1, 2, 3])
    assert await platform.ports.dead_letters.list() == []


async def test_stopping_under_load(lab: Lab) -> None:
    """Stopped with mail in hand and on its way, an agent leaves it to its successor, in order.

    At once: a message that got lost on the way would come after ack_wait only, which is 30 s.
    """
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    await lab.register("bob", platform)
    messages = [alice.message("inform", "bob", n, conversation_id="c") for n in range(400)]
    sending = asyncio.create_task(alice.send_many(messages))
    done: list[object] = []
    while not sending.done() or await platform.ports.mailboxes.pending():
        bob, enough = Agent("bob"), asyncio.Event()
        goal = len(done) + 40

        async def handle(ctx: Context, goal: int = goal, enough: asyncio.Event = enough) -> None:
            done.append(ctx.content)
            if len(done) >= min(goal, 400):
                enough.set()

        bob.on("inform")(handle)
        await bob.start(platform)
        await asyncio.wait_for(enough.wait(), 5)
        await bob.stop()
    assert done == list(range(400))


async def test_delivery_that_exhausts_the_server(lab: Lab) -> None:
    """What used up the server's max_deliver is caught through the advisory, not left behind."""
    limit = {"CAXTON_TEST_MAX_DELIVER": "2"}
    platform = await lab.router()
    alice = await lab.collector("alice", platform)
    for attempt in (1, 2):
        worker = await lab.launch("agent", "bob", "dies", test=limit, ack_wait=0.5)
        if attempt == 1:
            await worker.ready()
            await alice.send("request", "bob", "poison", message_id="m-1")
        assert await worker.wait() == -9
    # The server notices when the next pull comes.
    idle = await lab.spawn("agent", "bob", "record", test=limit, ack_wait=0.5)
    letter = await one_dead_letter(platform)
    assert (letter.reason, letter.attempts) == ("AgentNotResponding", 2)
    assert (letter.agent, letter.message_id) == ("bob@here", "m-1")
    assert b"poison" in letter.original
    assert idle.notes == ["poison", "poison"], "those of the two that died, which share the file"
    await eventually(lambda: [one.performative for one in alice.got] == ["failure"])


async def test_order_survives_a_retry(lab: Lab) -> None:
    """A conversation's later messages wait for its failed one; other conversations go on."""
    platform = await lab.platform(retry_delay=0.5)
    alice = await lab.agent("alice", platform)
    await lab.register("bob", platform)
    for conversation, content in (("c", 1), ("c", 2), ("d", 3), ("c", 4), ("", 5)):
        await alice.send("inform", "bob", content, conversation_id=conversation)
    bob = Failing("bob", ValueError("first try"), times=1)
    await lab.start(bob, platform)
    await eventually(lambda: len(bob.done) == 5)
    assert bob.calls[0][1].content == 1
    assert [content for content in bob.done if content in (1, 2, 4)] == [1, 2, 4]
    assert bob.done[-3:] == [1, 2, 4], "what is not of the conversation did not wait"


async def test_handler_longer_than_ack_wait(lab: Lab) -> None:
    """A handler may take much longer than ack_wait: its delivery is kept and not given twice."""
    platform = await lab.platform(ack_wait=1.5)
    bob = Agent("bob")
    done: list[int] = []

    @bob.on("inform")
    async def slow(ctx: Context) -> None:
        await asyncio.sleep(3.5)  # more than two of them
        done.append(ctx.attempt)

    await lab.start(bob, platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)
    await eventually(lambda: done == [1])

    async def settled() -> bool:
        return not await platform.ports.mailboxes.pending()

    await eventually(settled)
    assert lab.books.count(Action.DELIVERED) == 1
    where = platform.ports.mailboxes.address(bob.id)
    info = await (await lab.nats()).api(f"CONSUMER.INFO.{where.stream}.{where.consumer}")
    assert info["delivered"]["consumer_seq"] == 1, "the server handed it over once, too"


@EMBEDDED_ONLY  # about what one process keeps
async def test_waiting_message_is_kept_too(lab: Lab) -> None:
    """A message that waits in the process behind a slow one is not delivered again either."""
    platform = await lab.platform(ack_wait=1.5)
    bob = Agent("bob")
    done: list[tuple[object, int]] = []

    @bob.on("inform")
    async def slow(ctx: Context) -> None:
        await asyncio.sleep(2.5)  # the second one waits longer than that
        done.append((ctx.content, ctx.attempt))

    await lab.start(bob, platform)
    alice = await lab.agent("alice", platform)
    for content in (1, 2):
        await alice.send("inform", "bob", content, conversation_id="c")
    await eventually(lambda: done == [(1, 1), (2, 1)])


async def test_expired_message_is_not_handled(lab: Lab) -> None:
    """A message whose reply_by passed while it waited is a dead letter, reason Timeout."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    await lab.register("bob", platform)
    deadline = alice.deadline(0.3)
    await alice.send("request", "bob", 1, reply_by=deadline)
    await eventually(lambda: alice.deadline(0) > deadline)
    bob = await lab.collector("bob", platform)
    letter = await one_dead_letter(platform)
    assert (letter.reason, bob.got) == ("Timeout", [])
