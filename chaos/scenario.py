"""What a scenario is: a name, a server to play on, a fault, and what it promises.

A module of scenarios calls `scenario` on coroutine functions that do the fault to a `Stage` under
load, and `python -m chaos` finds them in `SCENARIOS`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.load import Shape
from chaos.needs import Need
from chaos.oracle import Promises
from chaos.servers import Server, single

if TYPE_CHECKING:
    from chaos.stage import Stage

USUAL = Promises(unordered=frozenset({"sender-submit"}))
"""What was submitted and was in a router's hand at a fault comes again behind newer submissions."""
Play = Callable[["Stage"], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Casting:
    """What one run of a scenario has: its place, its seed, its time."""

    folder: Path
    rng: random.Random
    seconds: float
    """How long the fault may go on."""
    say: Callable[[str], None]


@asynccontextmanager
async def _single(casting: Casting) -> AsyncIterator[Server]:
    async with single(casting.folder / "store") as server:
        yield server


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault, or a series of them.

    Attributes:
        name: what is typed.
        about: what happens, in a line.
        play: does the fault; the load is on from before until after it.
        server: makes the server.
        routers: router services.
        workers: agents that handle the load, each in a process of its own.
        needs: what the machine must have.
        short: whether it belongs to the short programme.
        promises: what it takes from the usual ones.
        shape: the load.
        settings: of all processes.
    """

    name: str
    about: str
    play: Play
    server: Callable[[Casting], AbstractAsyncContextManager[Server]] = _single
    routers: int = 2
    workers: int = 2
    needs: tuple[Need, ...] = ()
    short: bool = True
    promises: Promises = USUAL
    shape: Shape = field(default_factory=Shape)
    settings: dict[str, Any] = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, **chosen: Any) -> Callable[[Play], Play]:
    """Add the decorated function to the programme; the first line of its docstring is shown.

    Args:
        name: what is typed.
        chosen: attributes of `Scenario`.
    """

    def add(play: Play) -> Play:
        about = (play.__doc__ or "").strip().splitlines()[0]
        SCENARIOS[name] = Scenario(name=name, about=about, play=play, **chosen)
        return play

    return add
