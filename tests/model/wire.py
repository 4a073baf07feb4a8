"""What lies between a process and the broker: it takes time, loses things, and sees everything.

Every port of a process is laid over by its `Wire`. A call arrives after a moment and its answer
comes after another one; told to, the wire loses a call or the answer to it, or ends the process
between the two. What got through is noted at that very moment, whether or not anybody hears of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import msgspec

from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.disposition import Ack, Disposition, Nak, Term
from caxton_nats.core.errors import NotConnected, PublishUnconfirmed
from caxton_nats.ports import Delivery, Letter, Ports, Stored
from tests.model.commands import Lost, Trouble
from tests.model.reference import Reference

_MOMENTS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.001, 0.002, 0.004, 0.02, 0.3)
"""How long a call, or its answer, is on its way: mostly nothing, now and then long."""


class Wire:
    """One process's lines to the broker."""

    def __init__(
        self, process: str, reference: Reference, random: Random, die: Callable[[], None]
    ) -> None:
        self.process = process
        self.reference = reference
        self.cut = False
        """The process is dead: nothing goes through, nothing comes back."""
        self.inboxes: list[WiredInbox] = []
        self.instances: set[str] = set()
        self.faults = 0
        """Calls that were lost so far."""
        self._random = random
        self._die = die
        self._troubles: list[Trouble] = []
        self.scale = 1.0
        """How much of its moments a call takes."""
        self.context = contextvars.copy_context()
        """Of the process."""

    def ports(self, real: Ports) -> Ports:
        names = set(real.__struct_fields__) - {"clock", "ids"}
        return msgspec.structs.replace(
            real, **{name: Wired(getattr(real, name), name, self) for name in names}
        )

    def expect(self, trouble: Trouble) -> None:
        """Have something happen to one of the next calls."""
        self._troubles.append(trouble)

    def calm(self) -> None:
        self._troubles.clear()

    async def call(
        self, port: str, name: str, real: Callable[..., Any], *given: Any, **named: Any
    ) -> Any:
        """Carry one call to the broker, and its answer back."""
        lost = self._next(f"{port}.{name}")
        await self._moment()
        if lost in (Lost.CALL, Lost.PROCESS_BEFORE):
            return self._lose(lost, port, given)
        result = await real(*given, **named)
        self._note(port, name, given, result)
        if lost in (Lost.ANSWER, Lost.PROCESS_AFTER):
            return self._lose(lost, port, given)
        await self._moment()
        return result

    def trouble_with(self, call: str) -> Lost | None:
        return self._next(call)

    def _next(self, call: str) -> Lost | None:
        if self.cut:
            raise asyncio.CancelledError("the process is dead")
        for one in self._troubles:
            if one.matches(call):
                one.left -= 1
                if one.left < 0:
                    self._troubles.remove(one)
                    return one.lost
        return None

    def _lose(self, lost: Lost, port: str, given: Sequence[Any]) -> Any:
        self.faults += 1
        self.reference.fault(self.process)
        if lost in (Lost.PROCESS_BEFORE, Lost.PROCESS_AFTER):
            self._die()
            raise asyncio.CancelledError("the process is dead")
        if port == "publisher":
            return [PublishUnconfirmed("lost on purpose") for _ in given[0]]
        raise NotConnected("lost on purpose")

    async def _moment(self) -> None:
        moment = self._random.choice(_MOMENTS)
        if moment:
            await asyncio.sleep(moment * self.scale)
        if self.cut:
            raise asyncio.CancelledError("the process is dead")

    def _note(self, port: str, name: str, given: Sequence[Any], result: Any) -> None:
        note = _NOTES.get((port, name))
        if note is not None:
            note(self, given, result)


class Wired:
    """A port as a process has it."""

    def __init__(self, real: Any, port: str, wire: Wire) -> None:
        self._real = real
        self._port = port
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not inspect.iscoroutinefunction(real):
            return real

        async def call(*given: Any, **named: Any) -> Any:
            if name == "follow":
                given = (Follower(given[0], self._wire),)
            result = await self._wire.call(self._port, name, real, *given, **named)
            if (self._port, name) in (("mailboxes", "open"), ("timers", "inbox")):
                return WiredInbox(result, self._wire)
            return result

        setattr(self, name, call)
        return call


class Follower:
    """What follows a store in a process: told by whoever changes it, it acts in its own name."""

    def __init__(self, real: Any, wire: Wire) -> None:
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_wire", wire)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real):
            return real

        def call(*given: Any, **named: Any) -> Any:
            if not self._wire.cut:
                return self._wire.context.copy().run(real, *given, **named)
            return None

        return call

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._real, name, value)


class WiredInbox:
    """An inbox as a process has it; what comes in while nobody looks stays with it."""

    def __init__(self, real: Any, wire: Wire) -> None:
        self._real = real
        self._wire = wire
        self._came: list[Delivery] = []
        wire.inboxes.append(self)

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        wire = self._wire
        if not self._came:
            lost = wire.trouble_with("inbox.fetch")
            if lost in (Lost.CALL, Lost.PROCESS_BEFORE):
                wire._lose(lost, "inbox", ())
            came = await self._real.fetch(limit, wait)
            wire.reference.delivered(wire.process, came)
            if lost is not None:
                wire.reference.went_astray(one.origin for one in came)
                wire._lose(lost, "inbox", ())
            self._came = came
            await wire._moment()
        came, self._came = self._came[:limit], self._came[limit:]
        return came

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        await self._wire.call("inbox", "settle", self._real.settle, settled)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        await self._wire.call("inbox", "keep", self._real.keep, deliveries)

    async def close(self) -> list[Delivery]:
        left = await self._wire.call("inbox", "close", self._real.close)
        came, self._came = self._came, []
        return [*came, *left]

    async def forget(self) -> None:
        """Let the broker notice that nobody is there any more."""
        await self._real.close()


def _published(wire: Wire, given: Sequence[Any], result: Any) -> None:
    letters: Sequence[Letter] = given[0]
    for letter, one in zip(letters, result, strict=True):
        if isinstance(one, Stored):
            wire.reference.stored(letter, one)
        else:
            wire.reference.not_stored(letter, one)


def _settled(wire: Wire, given: Sequence[Any], _result: Any) -> None:
    pairs: Sequence[tuple[Delivery, Disposition]] = given[0]
    for delivery, disposition in pairs:
        if isinstance(disposition, Ack | Term):
            wire.reference.settled(delivery.origin)
        elif isinstance(disposition, Nak):
            wire.reference.gave_back(wire.process, delivery.origin)


def _wrote(wire: Wire, given: Sequence[Any], result: Any) -> None:
    letter: DeadLetter = given[0]
    if result:
        wire.reference.buried(letter)


_NOTES: dict[tuple[str, str], Callable[[Wire, Sequence[Any], Any], None]] = {
    ("publisher", "publish"): _published,
    ("inbox", "settle"): _settled,
    ("mailboxes", "discard"): lambda wire, given, _: wire.reference.settled(given[0]),
    ("dead_letters", "write"): _wrote,
    ("dead_letters", "remove"): lambda wire, given, _: wire.reference.unburied(given[0]),
    ("registry_store", "save"): lambda wire, given, _: wire.reference.registered(given[0]),
    ("registry_store", "remove"): lambda wire, given, revision: (
        wire.reference.deregistered(given[0]) if revision else None
    ),
    ("ledgers", "save"): lambda wire, given, _: wire.reference.recorded(given[0]),
    ("outboxes", "save"): lambda wire, given, _: wire.reference.commits(given[0]),
    ("leases", "answer_for"): lambda wire, given, _: wire.instances.add(given[0]),
}
