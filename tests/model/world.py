"""Carries out a schedule on the real engine, beside the reference model.

Commands do not wait for each other: each is begun in the process that it concerns, and goes on
while the next ones are. `World.settle` brings back whoever should run, lets time pass until
nothing moves, and has the books balanced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, singledispatchmethod
from random import Random
from typing import Any

from caxton_nats.core.codec import encode
from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.disposition import Reject, Retry
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.fields import build
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import AgentState
from caxton_nats.ports import Submission
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.model import commands as do
from tests.model.commands import AGENTS, OPERATOR, ROUTERS, SERVICE, Command, Does, Mail
from tests.model.ground import PLATFORM, Ground
from tests.model.process import Process, factory
from tests.model.records import Key, Run
from tests.model.reference import Reference
from tests.model.sends import Asked, Sends

_ROUNDS = 40
_ROUND = 5.0


class Violation(AssertionError):
    """The engine did what the model forbids."""


class _Bugs(logging.Handler):
    """What the engine logs as a bug: an exception of no kind of its own."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(logging.WARNING)
        self._reference = reference

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, CaxtonError):
            self._reference.complain(f"logged: {record.getMessage()} ({error!r})")


class World:
    """One broker, its processes, and what should become of everything."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        self.reference = Reference(ground.rules, ground.now, ground.seconds)
        self.sends = Sends(self.reference)
        self._random = Random(seed)  # noqa: S311 - no secret
        self._processes: dict[str, Process] = {}
        self._plans: dict[Key, list[Does]] = {}
        self._doing: set[asyncio.Task[Any]] = set()
        self._everybody: list[Process] = []

    async def carry_out(self, command: Command) -> None:
        """Begin with a command, and let a moment pass."""
        await self._do(command)
        await self.ground.sleep(0.001)
        self.check()

    def check(self) -> None:
        """Raise what the model complains of."""
        if self.reference.complaints:
            raise Violation("\n".join(self.reference.complaints[:5]))

    async def settle(self) -> None:
        """Let everything come to an end, and look whether it adds up."""
        for process in self._processes.values():
            process.wire.calm()
        for _ in range(_ROUNDS):
            await self._bring_back()
            await self.ground.sleep(_ROUND)
            self.check()
            if not self._doing and await self._is_quiet():
                break
        self.reference.balance(await self.ground.last(), await self.ground.pending())
        self.sends.balance()
        self.check()

    def unheard(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take note of an exception that nobody was told of."""
        self.reference.complain(f"unheard: {context['message']} {context.get('exception')!r}")

    async def close(self) -> None:
        """End everything."""
        for process in self._everybody:
            await process.close()

    async def _bring_back(self) -> None:
        await self._process(SERVICE)
        for name in AGENTS:
            state = self.reference.states.now(_agent(name))
            running = self._processes.get(name)
            if state in (None, AgentState.STOPPED):
                continue
            if running is None or running.dead or running.agent is None or _is_over(running.agent):
                await self._start(name)

    async def _is_quiet(self) -> bool:
        if await self.ground.submitted():
            return False
        pending = await self.ground.pending()
        copies = self.reference.copies
        return all(
            origin in copies and not self.reference.states.ever(copies[origin].key.receiver)
            for origin in pending
        )

    async def _process(self, name: str) -> Process:
        """Return the process of this name, a new one if it has ended."""
        found = self._processes.get(name)
        if found is None or found.dead:
            found = self._processes[name] = self._make(name)
            await found.open(serves=name == SERVICE)
        return found

    def _make(self, name: str) -> Process:
        self.reference.processes += 1
        made = Process(
            f"{name}#{self.reference.processes}",
            self.ground,
            self.reference,
            Random(self._random.random()),  # noqa: S311 - no secret
        )
        self._everybody.append(made)
        return made

    def _begin(self, process: Process, work: Callable[[], Awaitable[Any]]) -> None:
        task = process.begin(self._guarded(work))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _guarded(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Do what somebody has asked for; an error of ours is an answer, any other a bug."""
        try:
            await work()
        except CaxtonError:
            pass
        except Exception as error:  # noqa: BLE001 - it is reported
            self.reference.complain(f"a call raised {error!r}")

    # Commands

    @singledispatchmethod
    async def _do(self, command: Command) -> None:
        raise NotImplementedError(command)

    @_do.register
    async def _(self, command: do.Send) -> None:
        process = await self._process(command.router)
        asked = [self._ask(mail, process) for mail in command.batch]
        envelopes = [self._envelope(mail) for mail in command.batch]

        async def send() -> None:
            results = await process.platform.door.send(
                [
                    Submission(sender=AgentId(_agent(mail.sender)), envelope=envelope)
                    for mail, envelope in zip(command.batch, envelopes, strict=True)
                ]
            )
            for one, result in zip(asked, results, strict=True):
                self.sends.answered(one, result, self.ground.now())

        self._begin(process, send)

    @_do.register
    async def _(self, command: do.Submit) -> None:
        asked = self._ask(command.mail, await self._process(SERVICE))
        envelope = self._envelope(command.mail)
        await self.ground.submit(AgentId(asked.sender), encode(envelope))
        self.sends.submitted.append(asked)

    def _ask(self, mail: Mail, process: Process) -> Asked:
        receivers = tuple(_agent(name) for name in mail.receivers)
        asked = Asked(
            mail=mail,
            sender=_agent(mail.sender),
            receivers=receivers,
            message_id=f"m{mail.number}",
            began=self.ground.now(),
            process=process.name,
        )
        if mail.deadline:
            asked.until = self.ground.seconds(self.ground.moment(mail.deadline))
        for receiver in receivers:
            key = Key(receiver, asked.sender, asked.message_id)
            self._plans.setdefault(key, list(mail.plan))
            self.reference.mails.setdefault(key, mail)
        self.sends.asked(asked)
        return asked

    def _envelope(self, mail: Mail) -> Envelope:
        fields: dict[str, Any] = {
            "performative": "request",
            "receiver": mail.receivers,
            "message_id": f"m{mail.number}",
            "conversation_id": mail.conversation,
            "reply_by": self.ground.moment(mail.deadline) if mail.deadline else None,
            "max_retries": mail.retries or None,
            "require_receipt": mail.receipt or None,
            "priority": Priority.HIGH if mail.urgent else None,
        }
        return build({name: value for name, value in fields.items() if value not in (None, "")})

    @_do.register
    async def _(self, command: do.Start) -> None:
        await self._start(command.agent)

    async def _start(self, name: str) -> None:
        process = self._make(name)
        await process.open()
        agent = Agent(name)

        @agent.on("*")
        async def handle(context: Context) -> None:
            await self._handle(process, context)

        async def start() -> None:
            before = self._processes.get(name)
            try:
                await agent.start(process.platform)
            except CaxtonError:
                process.kill()
                raise
            if before is not None and self._runs(before):
                self.reference.complain(f"{name} runs twice: {before.name} and {process.name}")
            process.agent = agent
            self._processes[name] = process

        self._begin(process, start)

    def _runs(self, process: Process) -> bool:
        agent = process.agent
        return not process.dead and agent is not None and not _is_over(agent)

    @_do.register
    async def _(self, command: do.Stop) -> None:
        process = self._processes.get(command.agent)
        if process is not None and process.agent is not None and not process.dead:
            self.reference.disturb(command.agent)
            self._begin(process, partial(self._stop, process, process.agent.stop))

    @_do.register
    async def _(self, command: do.Leave) -> None:
        process = self._processes.get(command.agent)
        if process is not None and process.agent is not None and not process.dead:
            self.reference.disturb(command.agent)
            self._begin(process, partial(self._stop, process, process.agent.leave))

    async def _stop(self, process: Process, how: Callable[[], Awaitable[None]]) -> None:
        try:
            await how()
        finally:
            if not process.dead:
                self.reference.goes_politely(process.name)
                process.kill()

    @_do.register
    async def _(self, command: do.Kill) -> None:
        process = self._processes.get(command.process)
        if process is not None:
            process.kill()

    @_do.register
    async def _(self, command: do.Hurt) -> None:
        process = self._processes.get(command.process)
        if process is not None and not process.dead:
            process.wire.expect(do.Trouble(command))

    @_do.register
    async def _(self, command: do.Change) -> None:
        operator = await self._process(OPERATOR)
        registrar, state = operator.platform.registrar, AgentState(command.state)
        agent = AgentId(_agent(command.agent))
        self._begin(operator, partial(registrar.update_state, agent, state))

    @_do.register
    async def _(self, command: do.Deregister) -> None:
        operator = await self._process(OPERATOR)
        agent = AgentId(_agent(command.agent))
        self._begin(operator, partial(operator.platform.registrar.deregister, agent))

    @_do.register
    async def _(self, command: do.Register) -> None:
        operator = await self._process(OPERATOR)
        agent = AgentId(_agent(command.agent))
        running = self._processes.get(command.agent)

        async def register() -> None:
            state = self.reference.states.now(agent)
            await operator.platform.registrar.register(agent)
            if running is not None and self._runs(running) and state is AgentState.RUNNING:
                self.reference.complain(f"{agent} was registered although it runs")

        self._begin(operator, register)

    @_do.register
    async def _(self, command: do.Redrive) -> None:
        operator = await self._process(OPERATOR)
        letter = self._letter(command.which)
        if letter is not None:
            self._begin(operator, partial(operator.platform.redrive.redrive, letter.id))

    @_do.register
    async def _(self, command: do.Discard) -> None:
        operator = await self._process(OPERATOR)
        letter = self._letter(command.which)
        if letter is not None:
            self.reference.discarded.add(letter.id)
            self._begin(operator, partial(operator.platform.redrive.discard, letter.id))

    def _letter(self, which: int) -> DeadLetter | None:
        kept = [letter for key, letter in self.reference.letters.items() if key in self._kept()]
        return kept[which % len(kept)] if kept else None

    def _kept(self) -> set[str]:
        return self.reference.kept

    @_do.register
    async def _(self, command: do.Remove) -> None:
        operator = await self._process(OPERATOR)
        agent = _agent(command.agent)
        held = [
            copy
            for copy in self.reference.copies.values()
            if copy.key.receiver == agent and not copy.settled
        ]
        if held:
            origin = held[command.which % len(held)].origin
            self.reference.removals.add(origin)
            remove = operator.platform.messages.remove
            self._begin(operator, partial(remove, AgentId(agent), origin.key))

    @_do.register
    async def _(self, command: do.Pass) -> None:
        await self.ground.sleep(command.seconds)

    # Handlers

    async def _handle(self, process: Process, context: Context) -> None:
        envelope = context.envelope
        receiver = _agent(process.name.partition("#")[0])
        plan = self._plans.get(Key(receiver, envelope.sender, envelope.message_id), [])
        does = plan.pop(0) if plan else Does.WORKS
        run = self.reference.run_begins(process.name, receiver, envelope, does)
        try:
            await self._act(process, context, run)
        finally:
            run.ended = not process.dead

    async def _act(self, process: Process, context: Context, run: Run) -> None:
        match run.does:
            case Does.FAILS:
                raise ValueError("as planned")
            case Does.RETRIES:
                raise Retry
            case Does.REJECTS:
                raise Reject("as planned")
            case Does.TAKES_LONG:
                await self.ground.sleep(12.0)
            case Does.ANSWERS | Does.ANSWERS_AND_DIES:
                run.answer = await context.inform("done")
            case _:
                pass
        if run.does in (Does.DIES_BEFORE, Does.ANSWERS_AND_DIES):
            process.kill()
            await asyncio.sleep(0)
        self.reference.effect(run)
        if run.does is Does.DIES_AFTER:
            process.kill()
            await asyncio.sleep(0)


def _agent(name: str) -> str:
    return f"{name}@{PLATFORM}"


def _is_over(agent: Agent) -> bool:
    mailbox = agent._mailbox
    return mailbox is None or mailbox.is_draining


@asynccontextmanager
async def opened(ground: Ground, seed: int) -> AsyncIterator[World]:
    """Yield a world whose routers and service run."""
    asyncio.get_running_loop().set_task_factory(factory)  # type: ignore[arg-type]
    world = World(ground, seed)
    asyncio.get_running_loop().set_exception_handler(world.unheard)
    bugs = _Bugs(world.reference)
    log = logging.getLogger("caxton_nats")
    log.addHandler(bugs)
    log.propagate = False
    try:
        for name in (*ROUTERS, SERVICE, OPERATOR):
            await world._process(name)
        yield world
    finally:
        log.removeHandler(bugs)
        log.propagate = True
        await world.close()
