"""The director: has a server, a router and the players started, watches them, and keeps the books.

What they are made to do is in `story.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from caxton_nats import Agent, Settings, connect, started
from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.selection import Selection
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from caxton_nats.telemetry import Action, Event
from examples.market import books
from examples.market.cast import HAULIERS, MANAGER, ROUTER, TOWN
from examples.market.journal import Entry, Happened, Journal, Reader, Started, journaled, now
from examples.market.troupe import Troupe
from examples.market.view import Standing, View, short

PLATFORM: Final = "market"
SETTINGS: Final = {
    "platform": PLATFORM,
    "router": "service",
    "shards": 4,
    # Short, so that nobody in the audience falls asleep; 30 s is the default.
    "ack_wait": 2,
    "max_retries": 2,
    "retry_delay": 0.2,
    "drain": 3,
}
LOOK: Final = 0.1
"""Seconds between two looks at the journals."""
SETTLING: Final = 0.15
"""Seconds after which no journal gets an older entry: a message is noted with its receipt."""
PAUSE: Final = 1.2
"""Seconds for the audience to read what is told."""
PATIENCE: Final = 20.0
"""Seconds until what does not happen counts as going wrong."""


class Stuck(Exception):
    """Something that had to happen did not."""


class Director:
    """Everything that the story needs; see `opened`."""

    def __init__(self, troupe: Troupe, platform: Platform, town: Agent, view: View) -> None:
        self.troupe = troupe
        self.platform = platform
        self.town = town
        self.view = view
        self.entries: list[Entry] = []
        self._not_shown: list[Entry] = []
        self.states = dict.fromkeys((TOWN, MANAGER, *HAULIERS), "at work")
        self.pending: dict[str, int] = {}
        self._dead: Counter[str] = Counter()
        self._reader = Reader(troupe.journals)
        self._news = asyncio.Condition()

    # Watching

    async def watch(self) -> None:
        """Look at the journals and the mailboxes until cancelled.

        Raises:
            PlayerLost: a process has ended that should not have.
        """
        while True:
            await self.look()
            async with self._news:
                self._news.notify_all()
            self.troupe.roll_call()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take in what is new in the journals and on the server."""
        self._read(show_until=now() - SETTLING)
        pending = await self.platform.ports.mailboxes.pending()
        self.pending = {short(agent): number for agent, number in pending.items()}
        dead = await self.platform.ports.dead_letters.count()
        self._dead = Counter()
        for (agent, _), number in dead.items():
            self._dead[short(agent)] += number
        self.view.standings([self._standing(name) for name in self.states])

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds.

        Raises:
            Stuck: it does not come to hold.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self.look()
                async with self._news:
                    await self._news.wait_for(condition)
        except TimeoutError:
            raise Stuck(f"waited {PATIENCE:g} s in vain for this: {what}") from None

    def events(self, action: Action, agent: str) -> list[Event]:
        """Return what has happened to an agent's messages, so far."""
        return [
            entry.event
            for entry in self.entries
            if isinstance(entry, Happened)
            and entry.event.action is action
            and short(entry.event.agent) == agent
        ]

    def is_given(self, agent: str, act: str) -> bool:
        """Return whether an agent has a message of this kind in hand, or had it."""
        return any(event.performative == act for event in self.events(Action.DELIVERED, agent))

    def _standing(self, name: str) -> Standing:
        handled = {event.origin for event in self.events(Action.HANDLED, name)}
        return Standing(
            name, self.states[name], self.pending.get(name, 0), len(handled), self._dead[name]
        )

    def _read(self, *, show_until: float) -> None:
        found = self._reader.new_entries()
        self.entries += found
        self._not_shown = sorted([*self._not_shown, *found], key=lambda entry: entry.at)
        ripe = [entry for entry in self._not_shown if entry.at <= show_until]
        del self._not_shown[: len(ripe)]
        self.view.show(ripe)

    # Telling

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._read(show_until=now())
        self.view.chapter(title)

    async def tell(self, words: str) -> None:
        """Say something in plain words, with time to read it if anybody is watching."""
        self._read(show_until=now())
        self.view.tell(words)
        if self.view.moving:
            await asyncio.sleep(PAUSE)

    # Doing

    async def start(self, name: str, module: str, *arguments: str) -> int:
        """Start a player and wait until it is ready; return its process id."""
        before = len(self._starts(name))
        pid = await self.troupe.start(name, module, *arguments)
        await self.until(f"{name} to be ready", lambda: len(self._starts(name)) > before)
        if name in self.states:
            self.states[name] = "at work"
        return pid

    async def kill(self, name: str) -> int:
        """Kill a player; return its process id."""
        pid = await self.troupe.kill(name)
        self.states[name] = "killed"
        return pid

    async def send_home(self, name: str) -> None:
        """Have a player finish what it has in hand and go."""
        await self.troupe.dismiss(name)
        self.states[name] = "away"

    async def only_dead_letter(self, agent: str) -> DeadLetter:
        """Return the dead letter of an agent that has one."""
        (letter,) = await self.platform.ports.dead_letters.list(
            Selection(agent=self.platform.agent_id(agent))
        )
        return letter

    async def close_books(self) -> books.Books:
        """Return the books, as they are now."""
        await self.look()
        ports = self.platform.ports
        letters = await ports.dead_letters.list(limit=1000)
        pending = {str(one): n for one, n in (await ports.mailboxes.pending()).items()}
        return books.close(self.entries, letters, pending, await ports.mailboxes.stored())

    def _starts(self, name: str) -> list[Entry]:
        return [one for one in self.entries if isinstance(one, Started) and one.name == name]


@asynccontextmanager
async def opened(folder: Path, view: View) -> AsyncIterator[Director]:
    """Start the server, the router and all players; at the end nothing of it is left."""
    server = EmbeddedServer(EmbeddedOptions(store=folder / "server", durability="power"))
    async with server:
        view.tell(f"A nats-server listens on {server.url}; it syncs every write before it answers.")
        settings = Settings.model_validate({**SETTINGS, "nats_url": server.url})
        environment = {
            f"CAXTON_{name.upper()}": str(value)
            for name, value in {**SETTINGS, "nats_url": server.url}.items()
        }
        async with Troupe(folder, environment) as troupe:
            journal = Journal(troupe.journals / f"{TOWN}.jsonl")
            town = Agent(TOWN)
            async with connect(settings, name=TOWN, observer=journal.happened) as platform:
                director = Director(troupe, platform, town, view)
                async with _watched(director):
                    await director.start(ROUTER, "router")
                    async with started(journaled(platform, journal), town):
                        await _start_players(director)
                        yield director


@asynccontextmanager
async def _watched(director: Director) -> AsyncIterator[None]:
    """Watch while the body runs; what watching finds ends the body."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(director.watch())
        yield
        watching.cancel()


async def _start_players(director: Director) -> None:
    await asyncio.gather(
        director.start(MANAGER, "manager"),
        *(director.start(name, "bidder", name) for name in HAULIERS),
    )
