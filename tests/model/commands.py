"""What may be done to a platform, as data: a schedule is a list of commands, drawn by a seed.

Every command can be carried out at any time (one that has nothing to do does nothing), so that any
part of a schedule is a schedule. That makes it easy to find the smallest one that still fails.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random

import msgspec

AGENTS = ("ann", "bob", "cay")
NOBODY = "nobody"
"""Never registered."""
CONVERSATIONS = ("c1", "c2", "c3")
ROUTERS = ("router-1", "router-2")
SERVICE, OPERATOR = "service", "operator"
STATES = ("Draining", "Stopped")


class Lost(StrEnum):
    """What the wire loses of one call."""

    CALL = "call"
    """It never arrives; the caller gets an error."""
    ANSWER = "answer"
    """It has arrived and is carried out; the caller gets an error."""
    PROCESS_BEFORE = "process, before the call"
    PROCESS_AFTER = "process, after the call"


class Does(StrEnum):
    """What a handler does with a message, one of them per attempt."""

    WORKS = "works"
    ANSWERS = "answers"
    FAILS = "fails"
    RETRIES = "retries"
    """It asks for another attempt after three seconds."""
    REJECTS = "rejects"
    TAKES_LONG = "takes long"
    """Longer than a delivery may go without a sign of life."""
    DIES_BEFORE = "dies before its effect"
    DIES_AFTER = "dies after its effect"
    ANSWERS_AND_DIES = "answers and dies before its effect"


class Command(msgspec.Struct, frozen=True, tag=True):
    """The base of all."""


class Mail(msgspec.Struct, frozen=True):
    """One message of a batch."""

    sender: str
    receivers: tuple[str, ...]
    number: int
    """Its message id; the same sender and number again is the same message."""
    conversation: str = ""
    urgent: bool = False
    deadline: float = 0.0
    """Seconds from now; 0 for none."""
    retries: int = 0
    """``max_retries``; 0 leaves it to the policy."""
    receipt: bool = False
    plan: tuple[Does, ...] = ()
    """What handlers do with it, attempt by attempt; after that they work."""


class Send(Command, frozen=True):
    """Send a batch through a router, in a process of the router's."""

    router: str
    batch: tuple[Mail, ...]


class Submit(Command, frozen=True):
    """Store a message for the router service."""

    mail: Mail


class Start(Command, frozen=True):
    """Start an agent in a process of its own; a rival if it runs already."""

    agent: str


class Stop(Command, frozen=True):
    """Stop an agent politely."""

    agent: str


class Leave(Command, frozen=True):
    """Stop an agent that runs, and remove its registration."""

    agent: str


class Kill(Command, frozen=True):
    """End a process at once."""

    process: str


class Change(Command, frozen=True):
    """An operator changes an agent's state."""

    agent: str
    state: str


class Deregister(Command, frozen=True):
    """An operator removes an agent's registration, whether it runs or not."""

    agent: str


class Register(Command, frozen=True):
    """An operator registers an agent that does not run."""

    agent: str


class Redrive(Command, frozen=True):
    """Send a dead letter on its way again."""

    which: int


class Discard(Command, frozen=True):
    """Remove a dead letter."""

    which: int


class Remove(Command, frozen=True):
    """Take a pending message out of a mailbox."""

    agent: str
    which: int


class Pass(Command, frozen=True):
    """Let time pass."""

    seconds: float


class Hurt(Command, frozen=True):
    """Have one of a process's next calls go wrong."""

    process: str
    call: str
    after: int
    lost: Lost


Schedule = tuple[Command, ...]


class Trouble:
    """A `Hurt` that has not happened yet."""

    def __init__(self, hurt: Hurt) -> None:
        self._call = hurt.call
        self.left = hurt.after
        self.lost = hurt.lost

    def matches(self, call: str) -> bool:
        return call.startswith(self._call)


_CALLS = (
    *("", "inbox.settle", "inbox.fetch", "publisher.publish", "dead_letters.write"),
    *("dead_letters.remove", "mailboxes.discard", "attempts.", "conversations.save", "timers.set"),
    *("registry_store.", "leases."),
)
_PLANS: tuple[tuple[tuple[Does, ...], int], ...] = (
    ((), 8),
    ((Does.ANSWERS,), 4),
    ((Does.FAILS,), 3),
    ((Does.FAILS, Does.RETRIES), 1),
    ((Does.RETRIES,), 1),
    ((Does.FAILS,) * 4, 2),
    ((Does.REJECTS,), 1),
    ((Does.FAILS, Does.ANSWERS), 1),
    ((Does.TAKES_LONG,), 1),
    ((Does.DIES_BEFORE,), 1),
    ((Does.DIES_AFTER,), 1),
    ((Does.DIES_BEFORE,) * 8, 1),
    ((Does.ANSWERS_AND_DIES,), 2),
)


class Draw:
    """Draws schedules."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - no secret
        self._sent: list[Mail] = []

    def schedule(self, length: int) -> Schedule:
        """Return so many commands; most begin with agents that run."""
        start = [Start(agent) for agent in AGENTS if self._random.random() < 0.9]
        return (*start, *(self._command() for _ in range(length)))

    def _command(self) -> Command:
        draw = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        drawn: Command = getattr(self, f"_{draw}")()
        return drawn

    def _send(self) -> Command:
        router = self._random.choice(ROUTERS)
        many = self._random.choice((1, 1, 1, 2, 4))
        return Send(router, tuple(self._mail() for _ in range(many)))

    def _submit(self) -> Command:
        return Submit(self._mail())

    def _mail(self) -> Mail:
        random = self._random
        if self._sent and random.random() < 0.15:
            return random.choice(self._sent)
        many = random.choice((1, 1, 1, 1, 2, 3))
        known = (*AGENTS, *AGENTS, *AGENTS, NOBODY)
        plans, weights = zip(*_PLANS, strict=True)
        mail = Mail(
            sender=random.choice(AGENTS),
            receivers=tuple(dict.fromkeys(random.choice(known) for _ in range(many))),
            number=len(self._sent),
            conversation=random.choice(("", *CONVERSATIONS)),
            urgent=random.random() < 0.15,
            deadline=random.choice((0.0,) * 8 + (0.5, 2.0, 5.0, 15.0)),
            retries=random.choice((0,) * 8 + (1, 4)),
            receipt=random.random() < 0.2,
            plan=random.choices(plans, weights)[0],
        )
        self._sent.append(mail)
        return mail

    def _agent(self) -> str:
        return self._random.choice(AGENTS)

    def _process(self) -> str:
        return self._random.choice((*AGENTS, *AGENTS, *ROUTERS, SERVICE, SERVICE, OPERATOR))

    def _start(self) -> Command:
        return Start(self._agent())

    def _stop(self) -> Command:
        return Stop(self._agent())

    def _leave(self) -> Command:
        return Leave(self._agent())

    def _kill(self) -> Command:
        return Kill(self._process())

    def _change(self) -> Command:
        return Change(self._agent(), self._random.choice(STATES))

    def _deregister(self) -> Command:
        return Deregister(self._agent())

    def _register(self) -> Command:
        return Register(self._agent())

    def _redrive(self) -> Command:
        return Redrive(self._random.randrange(4))

    def _discard(self) -> Command:
        return Discard(self._random.randrange(4))

    def _remove(self) -> Command:
        return Remove(self._agent(), self._random.randrange(4))

    def _pass(self) -> Command:
        return Pass(self._random.choice((0.01, 0.3, 1.0, 1.0, 3.0, 3.0, 8.0, 20.0, 70.0)))

    def _hurt(self) -> Command:
        lost = self._random.choice(tuple(Lost))
        after = self._random.choice((0, 0, 1, 2, 5, 10))
        return Hurt(self._process(), self._random.choice(_CALLS), after, lost)


_WEIGHTS = {
    "send": 30,
    "submit": 5,
    "start": 8,
    "stop": 4,
    "leave": 1,
    "kill": 6,
    "change": 4,
    "deregister": 2,
    "register": 2,
    "redrive": 8,
    "discard": 1,
    "remove": 2,
    "pass": 24,
    "hurt": 14,
}
