"""The reference model: what has happened to each message, and what may happen next.

It knows nothing of how the engine works. It is told what reached the broker, what handlers did and
what was done to processes, at the moment of each, and complains of what docs/guarantees.md forbids.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, QueueFull
from caxton_nats.core.identifiers import token
from caxton_nats.core.ledger import Page
from caxton_nats.core.outbox import Commit
from caxton_nats.core.redrive import REDRIVES_HEADER
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.engine import stored as stored_message
from caxton_nats.ports import Delivery, Letter, Stored
from tests.model.commands import Does, Mail
from tests.model.records import Copy, Key, Rules, Run
from tests.model.states import States

GRACE = 1.0
"""Seconds that a process has for noticing that its agent was stopped or removed."""


HEARTBEAT = 5.0
_REFUSALS = {
    *("AgentNotFound", "AgentStopped", "AgentDraining", "QueueFull", "ConversationTimeout"),
    *("InvalidEnvelope", "CircuitBreakerOpen"),
}


class Reference:
    """Keeps the books, and complains."""

    def __init__(
        self, rules: Rules, now: Callable[[], float], seconds: Callable[[object], float]
    ) -> None:
        self.rules = rules
        self.complaints: list[str] = []
        self.states = States()
        self.copies: dict[Origin, Copy] = {}
        self.by_key: dict[Key, list[Copy]] = defaultdict(list)
        self.runs: dict[Key, list[Run]] = defaultdict(list)
        self.letters: dict[str, DeadLetter] = {}
        """Every dead letter that was ever written."""
        self.kept: set[str] = set()
        """Those that have not been redriven or discarded."""
        self.processes = 0
        """The number of the last one that was begun."""
        self._evicted: dict[str, int] = {}
        """Up to which number the processes of a deregistered agent are told to end."""
        self.astray: Counter[Origin] = Counter()
        """How often it was handed to a process and lost on the way, or with the process."""
        self.lost: set[Origin] = set()
        """What was lost on its way to a process that goes on."""
        self.removals: set[Origin] = set()
        """What an operator has tried to take out."""
        self.recorded_keys: set[Key] = set()
        """What the agents' ledgers say was handled."""
        self.committed: set[Key] = set()
        """Messages whose answers are on record."""
        self.discarded: set[str] = set()
        """Dead letters that an operator has tried to throw away."""
        self.mails: dict[Key, Mail] = {}
        self.disturbed: dict[str, float] = {}
        """When each agent's process was last touched by anything but mail."""
        self.faults: dict[str, list[float]] = defaultdict(list)
        self._in_hand: dict[str, set[Origin]] = defaultdict(set)
        self._ended: set[str] = set()
        self.killed: set[str] = set()
        """Processes that ended without clearing up after themselves."""
        self._polite: set[str] = set()
        self._stored_at: dict[str, float] = {}
        self._named_at: dict[Key, float] = {}
        self._died: set[Origin] = set()
        self._redriven: Counter[tuple[Key, int]] = Counter()
        self._now = now
        self._seconds = seconds

    def complain(self, text: str) -> None:
        self.complaints.append(f"at {self._now():.3f} s: {text}")

    # What reaches the broker

    def stored(self, letter: Letter, result: Stored) -> None:
        """A letter got its acknowledgement."""
        now = self._now()
        origin = Origin(result.stream, result.sequence)
        before = self._stored_at.get(letter.message_key)
        fresh = self._is_fresh(before)
        if result.duplicate:
            if before is None:
                self.complain(f"{letter.message_key} is called a duplicate and came never before")
            return
        if fresh:
            self.complain(f"{letter.message_key} was stored twice within the duplicate window")
        self._stored_at[letter.message_key] = now
        copy = self._learn(origin, letter.receiver, letter.address.subject, letter.body)
        self._check_redrive(copy, letter)
        self._check_name(copy, letter)
        if not self.rules.slack and self.depth(copy.subject) > self.rules.queue_size:
            self.complain(f"the mailbox {copy.subject} holds more than it may")

    def _check_redrive(self, copy: Copy, letter: Letter) -> None:
        number = int(letter.headers.get(REDRIVES_HEADER, 0))
        refused = any(
            one.stage is Stage.ROUTE and (one.sender, one.message_id) == copy.key[1:]
            for one in self.letters.values()
        )
        # Refused for one receiver only, it goes to the others as often as that one is tried.
        if not number or refused:
            return
        self._redriven[copy.key, number] += 1
        died = sum(
            (one.sender, one.message_id) == copy.key[1:]
            and one.agent == copy.key.receiver
            and one.redrives == number - 1
            for one in self.letters.values()
        )
        if self._redriven[copy.key, number] > died:
            self.complain(f"{_name(copy.key)} was redriven more often than it died")

    def _is_fresh(self, before: float | None) -> bool:
        window = self.rules.duplicate_window - 4 * self.rules.slack
        return before is not None and self._now() - before < window

    def _check_name(self, copy: Copy, letter: Letter) -> None:
        """Whatever its letter is called, a message is stored once, unless it was redriven."""
        if letter.headers.get(REDRIVES_HEADER) or letter.message_key.startswith("redrive."):
            return
        if self._is_fresh(self._named_at.get(copy.key)):
            self.complain(f"{_name(copy.key)} was stored twice within the duplicate window")
        self._named_at[copy.key] = self._now()

    def not_stored(self, letter: Letter, error: CaxtonError) -> None:
        """A letter was refused."""
        if self.rules.slack or not isinstance(error, QueueFull):
            return
        if self.depth(letter.address.subject) < self.rules.queue_size:
            self.complain(f"{letter.address.subject} is called full and is not")

    def depth(self, subject: str) -> int:
        """Return how many messages a mailbox holds."""
        return sum(one.subject == subject and not one.settled for one in self.copies.values())

    def delivered(self, process: str, deliveries: Sequence[Delivery]) -> None:
        """A process was handed these."""
        for one in deliveries:
            if "MAILBOX" in one.origin.stream:
                if one.origin not in self.copies:
                    self._learn(one.origin, "", one.subject, one.body)
                self._in_hand[process].add(one.origin)

    def gave_back(self, process: str, origin: Origin) -> None:
        """A process has given this back."""
        self._in_hand[process].discard(origin)

    def went_astray(self, origins: Iterable[Origin]) -> None:
        """These were handed out and reached nobody, and nobody's process ended over it."""
        found = list(origins)
        self.lost.update(found)
        self.astray.update(found)

    def settled(self, origin: Origin) -> None:
        """A message is gone from its mailbox."""
        for held in self._in_hand.values():
            held.discard(origin)
        if origin in self.copies:
            self.copies[origin].settled = True

    def buried(self, letter: DeadLetter) -> None:
        """A dead letter was written."""
        # A stopped agent may be sent the same again, and a router find the same wrong again.
        again = letter.stage is not Stage.DELIVER and letter.id not in self.kept
        if letter.id in self.letters and not again:
            self.complain(f"the dead letter {letter.id} was written twice")
        self.letters[letter.id] = letter
        self.kept.add(letter.id)
        if letter.stage is Stage.DELIVER:
            if letter.origin in self._died:
                self.complain(f"{letter.origin.key} died twice")
            self._died.add(letter.origin)
            self._check_fate(letter)

    def unburied(self, letter_id: str) -> None:
        """A dead letter was removed: nobody has it any more, so somebody must have the message."""
        letter = self.letters.get(letter_id)
        if letter is not None and letter_id in self.kept - self.discarded:
            redriven = f"redrive.{token(letter_id)}" in self._stored_at
            known = any(
                (key.sender, key.message_id) == (letter.sender, letter.message_id)
                for key, copies in self.by_key.items()
                if copies
            )
            if not (redriven or (letter.stage is not Stage.DELIVER and known)):
                self.complain(f"the dead letter {letter_id} was removed before it was redriven")
        self.kept.discard(letter_id)

    def registered(self, registration: Registration) -> None:
        """A registration was written."""
        self.states.put(registration.agent, registration.state, self._now())
        self.disturb(_local(registration.agent))

    def deregistered(self, agent: str) -> None:
        """A registration was removed: its process finishes what it has begun, and has no name."""
        self._evicted[_local(agent)] = self.processes
        self.states.put(agent, None, self._now())
        self.disturb(_local(agent))

    # What happens to processes

    def fault(self, process: str) -> None:
        """A call of the process was lost, or its answer."""
        self.faults[process].append(self._now())
        self.disturb(process)

    def disturb(self, process: str) -> None:
        """Something was done to an agent or its process."""
        self.disturbed[process.partition("#")[0]] = self._now()

    def goes_politely(self, process: str) -> None:
        """A process is about to end, having cleared up after itself."""
        self._polite.add(process)
        left = self._in_hand.get(process)
        if left and not self.faults[process]:
            keys = ", ".join(origin.key for origin in left)
            self.complain(f"{process} has stopped without giving back {keys}")

    def ended(self, process: str) -> None:
        """A process is no more; what it had not given back went astray."""
        self._ended.add(process)
        if process not in self._polite:
            self.killed.add(process)
        self.disturb(process)
        self.astray.update(self._in_hand.pop(process, set()))

    def faulty_since(self, process: str, since: float) -> bool:
        """Return whether any call of the process was lost since then."""
        return any(at >= since for at in self.faults[process])

    # What handlers do

    def run_begins(self, process: str, receiver: str, envelope: Envelope, does: Does) -> Run:
        """A handler is called with a message."""
        now = self._now()
        key = Key(receiver, envelope.sender, envelope.message_id)
        until = envelope.reply_by
        if until is not None and now - self.rules.slack >= self._seconds(until):
            self.complain(f"a handler starts with {_name(key)} after its deadline")
        # Asked in vain whether it was removed, it asks again with its next heartbeat.
        grace = 3 * HEARTBEAT if self.faulty_since(process, now - 3 * HEARTBEAT) else GRACE
        states = self.states.between(receiver, now - grace - self.rules.slack, now)
        if not states & {AgentState.RUNNING, AgentState.DRAINING}:
            self.complain(f"a handler starts with {_name(key)} although the agent is {states}")
        run = Run(key, process, does, now)
        for other in self.runs[key]:
            is_over = other.ended or other.process in self._ended
            if not (is_over or self._is_evicted(other.process)):
                self.complain(f"two handlers have {_name(key)} at the same time")
        self.runs[key].append(run)
        return run

    def effect(self, run: Run) -> None:
        """A handler has done what cannot be undone."""
        earlier = [one for one in self.runs[run.key] if one.effect is not None]
        run.effect = self._now()
        self._check_order(run)
        copies = self.by_key[run.key]
        if copies and all(copy.origin.key in self.letters for copy in copies):
            self.complain(f"{_name(run.key)} was handled although it is a dead letter")
        if any(copy.origin.key in self.letters for copy in copies):
            # Its answer was refused for good. Redriven, it is handled as a new one.
            return
        if run.key in self.committed:
            self.complain(f"{_name(run.key)} was handled again after its answers were on record")
        if run.key in self.recorded_keys:
            self.complain(f"{_name(run.key)} was handled again, and is in the ledger")
        for one in earlier:
            if one.process == run.process:
                self.complain(f"{_name(run.key)} was handled twice by one process")
            elif not (
                one.process in self.killed
                or self.faulty_since(one.process, one.began)
                or self._is_evicted(one.process)
            ):
                self.complain(f"{_name(run.key)} was handled again, and nobody was killed")

    def recorded(self, page: Page) -> None:
        """A page of a ledger was written."""
        self.recorded_keys |= {
            Key(page.agent, entry.sender, entry.message_id) for entry in page.entries
        }

    def _is_evicted(self, process: str) -> bool:
        name, _, number = process.partition("#")
        return int(number) <= self._evicted.get(name, 0)

    def commits(self, commit: Commit) -> None:
        """A handler's answers were put on record."""
        self.committed.add(Key(commit.agent, commit.entry.sender, commit.entry.message_id))

    def _check_order(self, run: Run) -> None:
        copies = self.by_key[run.key]
        evicted = any(
            held and process not in self._ended and self._is_evicted(process)
            for process, held in self._in_hand.items()
        )
        if len(copies) != 1 or not copies[0].conversation or evicted:
            return
        for one in self._before(copies[0]):
            if not (self._has_ended(one) or one.origin in self.lost or self._is_late(one)):
                self.complain(f"{_name(run.key)} overtook {_name(one.key)}")

    def _before(self, copy: Copy) -> list[Copy]:
        return [
            one
            for one in self.copies.values()
            if one.subject == copy.subject
            and one.conversation == copy.conversation
            and one.origin.sequence < copy.origin.sequence
        ]

    def _has_ended(self, copy: Copy) -> bool:
        return copy.settled or self.is_handled(copy.key) or copy.origin.key in self.letters

    def _is_late(self, copy: Copy) -> bool:
        return copy.deadline is not None and copy.deadline <= self._now()

    def is_handled(self, key: Key) -> bool:
        """Return whether a handler has worked with the message."""
        return any(run.effect is not None for run in self.runs[key])

    def _learn(self, origin: Origin, receiver: str, subject: str, body: bytes) -> Copy:
        envelope = stored_message.decode(body)
        if origin in self.copies:
            # Its receiver may have it before its sender has heard of that.
            return self.copies[origin]
        until = self._seconds(envelope.reply_by) if envelope.reply_by is not None else None
        if not receiver:
            receiver = f"{subject.rsplit('.', 1)[-1]}@here"
        key = Key(receiver, envelope.sender, envelope.message_id)
        copy = Copy(origin, key, envelope.conversation_id, subject, self._now(), until)
        self.copies[origin] = copy
        self.by_key[key].append(copy)
        return copy

    # What becomes of messages

    def _check_fate(self, letter: DeadLetter) -> None:
        copy = self.copies.get(letter.origin)
        if copy is None:
            self.complain(f"{letter.id} is of a message that was never stored")
            return
        code = str(letter.last_error["code"])
        if not self._may_die(copy, code):
            self.complain(f"{_name(copy.key)} must not die of {code}")
        alive = [
            run
            for run in self.runs[copy.key]
            if run.effect is not None
            and run.process not in self._ended
            and not run.answer
            # What was handled and could not be settled dies with an agent that leaves.
            and not self.faulty_since(run.process, run.began)
        ]
        if alive and len(self.by_key[copy.key]) == 1:
            self.complain(f"{_name(copy.key)} was handled, and is a dead letter for {code}")

    def _may_die(self, copy: Copy, code: str) -> bool:
        now, agent = self._now(), copy.key.receiver
        runs = self.runs[copy.key]
        mail = self.mails.get(copy.key)
        allowed = (mail.retries if mail else 0) or self.rules.max_retries
        touched = copy.origin in self.astray or self.disturbed.get(_local(agent), -1.0) >= copy.at
        since = copy.at - self.rules.slack
        reasons = {
            "HandlerFailed": len(runs) + self.astray[copy.origin] > allowed,
            "HandlerDeferred": len(runs) + self.astray[copy.origin] > allowed,
            "HandlerRejected": any(run.does is Does.REJECTS for run in runs),
            "Expired": copy.deadline is not None and copy.deadline <= now + self.rules.slack,
            "AgentStopped": AgentState.STOPPED in self.states.between(agent, since, now),
            "AgentNotFound": self.states.gone_for(agent, since, now) >= self.rules.patience - GRACE,
            "AgentNotResponding": touched,
            "MessageRemoved": copy.origin in self.removals,
        }
        # An answer that nobody takes ends the message that it answers.
        answers = any(run.answer for run in runs) and code in _REFUSALS
        # What lies between may fail for as many attempts as a handler may.
        return answers or reasons.get(code, touched)

    def fate(self, copy: Copy) -> str:
        """Return what became of a copy that is no longer in its mailbox."""
        if copy.origin.key in self.letters:
            return "dead"
        return "handled" if self.is_handled(copy.key) else "lost"

    def foretold(self, copy: Copy) -> str:
        """Return what must become of a copy that nothing has disturbed; empty if that is open."""
        mail = self.mails.get(copy.key)
        agent = _local(copy.key.receiver)
        if (
            mail is None
            or copy.deadline is not None
            or copy.origin in self.removals
            or len(self.by_key[copy.key]) > 1
            or self.disturbed.get(agent, -1.0) >= copy.at
            or self.states.between(copy.key.receiver, copy.at, self._now()) != {AgentState.RUNNING}
        ):
            return ""
        allowed = mail.retries or self.rules.max_retries
        for does in mail.plan[: allowed + 1]:
            if does in (Does.FAILS, Does.RETRIES):
                continue
            if does is Does.REJECTS:
                return "dead"
            return "handled" if does in (Does.WORKS, Does.TAKES_LONG) else ""
        return "dead" if len(mail.plan) > allowed else "handled"

    def balance(self, last: dict[str, int], pending: set[Origin]) -> None:
        """Complain of what does not add up now that everything is quiet.

        Args:
            last: the last sequence of each mailbox stream.
            pending: what the mailboxes still hold.
        """
        for stream, number in last.items():
            for sequence in range(1, number + 1):
                self._balance_one(Origin(stream, sequence), pending)
        for key, runs in self.runs.items():
            if any(not run.ended and run.process not in self._ended for run in runs):
                self.complain(f"a handler still has {_name(key)}")
            for run in runs:
                self._check_answer(run)

    def _check_answer(self, run: Run) -> None:
        """Complain of an answer that was given and went nowhere."""
        told = Key(run.key.sender, run.key.receiver, run.answer)
        given = run.answer and run.ended and run.process not in self.killed
        died = any(copy.origin.key in self.letters for copy in self.by_key[run.key])
        if given and not died and not self.by_key.get(told):
            self.complain(f"the answer {run.answer} to {_name(run.key)} is lost")

    def _balance_one(self, origin: Origin, pending: set[Origin]) -> None:
        copy = self.copies.get(origin)
        if copy is None:
            self.complain(f"{origin.key} was accepted, and nobody has ever seen it")
            return
        name, fate = _name(copy.key), self.fate(copy)
        if origin in pending:
            if copy.settled:
                self.complain(f"{name} ({origin.key}) was settled, and is still pending")
            elif self.states.ever(copy.key.receiver):
                self.complain(f"{name} ({origin.key}) is still pending")
        elif fate == "lost":
            self.complain(f"{name} ({origin.key}) is lost: not handled, dead, or pending")
        else:
            foretold = self.foretold(copy)
            if foretold and foretold != fate:
                self.complain(f"{name} ({origin.key}) is {fate} and should be {foretold}")


def _name(key: Key) -> str:
    return f"{key.message_id} from {_local(key.sender)} for {_local(key.receiver)}"


def _local(agent: str) -> str:
    return agent.partition("@")[0]
