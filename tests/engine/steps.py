"""A process whose calls of its ports are counted, and that fails or dies at any one of them."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import msgspec

from caxton_nats.core.errors import NotConnected, PublishUnconfirmed
from caxton_nats.ports import Ports


class Fault(msgspec.Struct, frozen=True):
    """What happens at one call."""

    at: int
    """1 is the first call; 0 is none."""
    after: bool = False
    """The call is done, and its answer is lost; else it is not done at all."""
    fatal: bool = False
    """The process dies of it; else the caller gets an error, and goes on."""


class Steps:
    """Ports as one process has them, with a fault at one of their calls.

    A process that has died neither calls nor hears of anything, until `bury` clears it away.
    """

    def __init__(self, ports: Ports, fault: Fault) -> None:
        self.calls: list[str] = []
        self.dead = False
        self._fault = fault
        self._buried = asyncio.Event()
        self._inboxes: list[Any] = []
        names = set(ports.__struct_fields__) - {"clock", "ids"}
        shared = {name: self.counting(getattr(ports, name), name) for name in names}
        self.ports = msgspec.structs.replace(ports, **shared)

    def counting(self, real: Any, name: str) -> Any:
        """Return the port with its calls counted."""
        return _Counted(real, name, self)

    def bury(self) -> None:
        """Let what is left of the process be cleared away: each call fails at once."""
        self.dead = True
        self._buried.set()

    async def call(self, port: str, name: str, real: Any, arguments: Any, named: Any) -> Any:
        """Do the call, unless the fault is here or the process is dead."""
        if self.dead:
            await self._hang()
        self.calls.append(f"{port}.{name}")
        is_here = len(self.calls) == self._fault.at
        if is_here and not self._fault.after:
            return await self._fail(name, arguments, NotConnected("away"))
        result = await real(*arguments, **named)
        if self.dead:
            await self._hang()
        if is_here:
            return await self._fail(name, arguments, PublishUnconfirmed("no answer"))
        if name == "open":
            self._inboxes.append(result)
            return _Counted(result, "inbox", self)
        return result

    async def _fail(self, name: str, arguments: Any, error: Exception) -> Any:
        if self._fault.fatal:
            self.dead = True
            # The server notices that its readers are gone.
            for inbox in self._inboxes:
                await inbox.close()
            await self._hang()
        if name == "publish":
            return [error for _ in arguments[0]]
        raise error

    async def _hang(self) -> None:
        await self._buried.wait()
        raise NotConnected("the process is dead")


class _Counted:
    def __init__(self, real: Any, name: str, steps: Steps) -> None:
        self._real = real
        self._name = name
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not inspect.iscoroutinefunction(real):
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._steps.call(self._name, name, real, arguments, named)

        return call
