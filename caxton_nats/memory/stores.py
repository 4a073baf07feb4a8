"""Dead letters, registrations, attempts and large content, in memory."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from hashlib import sha256
from itertools import islice

from caxton_nats.core import dead_letter
from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.envelope import Claim
from caxton_nats.core.errors import InvalidEnvelope, NotConnected
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Registration, Registry
from caxton_nats.core.remote import RouteInfo, Routes
from caxton_nats.core.selection import EVERY, Selection
from caxton_nats.core.stream_state import Role, StreamState
from caxton_nats.memory.bucket import Bucket
from caxton_nats.memory.mail import turn
from caxton_nats.ports import Clock
from caxton_nats.ports.stores import Page

PAGE = 256
"""Dead letters that are read at a time."""


class MemoryDeadLetters:
    """`DeadLetters`, encoded as they would lie in the stream."""

    def __init__(self, clock: Clock, *, max_letters: int) -> None:
        self._clock = clock
        self._max_letters = max_letters
        self._written = 0
        self._written_at: dict[str, datetime] = {}
        self._letters: dict[str, bytes] = {}
        self._sequences: dict[str, int] = {}

    async def write(self, letter: DeadLetter) -> bool:
        """Store the letter; when there are too many, the oldest goes."""
        await turn()
        if letter.id in self._letters:
            return False
        self._letters[letter.id] = dead_letter.encode(letter)
        self._written += 1
        self._sequences[letter.id] = self._written
        self._written_at[letter.id] = self._clock.now()
        if len(self._letters) > self._max_letters:
            self._forget(next(iter(self._letters)))
        return True

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return the letter, or None."""
        await turn()
        data = self._letters.get(letter_id)
        return dead_letter.decode(data) if data is not None else None

    async def remove(self, letter_id: str) -> bool:
        """Remove the letter; False if there was none."""
        await turn()
        return self._forget(letter_id)

    async def count(self) -> dict[tuple[AgentId, str], int]:
        """Return how many letters there are per (agent, reason)."""
        await turn()
        letters = map(dead_letter.decode, self._letters.values())
        return dict(Counter((letter.agent, str(letter.reason)) for letter in letters))

    async def list(self, which: Selection = EVERY, *, limit: int = 100) -> list[DeadLetter]:
        """Return the newest letters first."""
        await turn()
        newest = map(dead_letter.decode, reversed(self._letters.values()))
        return list(islice(filter(which.has, newest), limit))

    async def page(
        self, which: Selection = EVERY, *, after: int = 0, until: int | None = None
    ) -> Page:
        """Return the next page of the selection, the oldest first."""
        await turn()
        end = self._written if until is None else until
        known = [one for one, at in self._sequences.items() if after < at <= end]
        read = [dead_letter.decode(self._letters[one]) for one in known[:PAGE]]
        return Page(
            letters=[one for one in read if which.has(one)],
            after=self._sequences[known[:PAGE][-1]] if known else end,
            until=end,
            is_last=len(known) <= PAGE,
        )

    def state(self) -> StreamState:
        """Return what the stream of dead letters would say of itself."""
        return StreamState(
            name="CAXTON_DLQ",
            role=Role.DEAD_LETTERS,
            messages=len(self._letters),
            bytes=sum(map(len, self._letters.values())),
            last_sequence=self._written,
            first_at=next(iter(self._written_at.values()), None),
            max_messages=self._max_letters,
        )

    def _forget(self, letter_id: str) -> bool:
        self._written_at.pop(letter_id, None)
        self._sequences.pop(letter_id, None)
        return self._letters.pop(letter_id, None) is not None


class MemoryRegistryStore:
    """`RegistryStore` whose followers see a change at once."""

    def __init__(self) -> None:
        self._bucket: Bucket[AgentId, Registration] = Bucket("registration")
        self._followers: list[Registry] = []
        self._left: set[AgentId] = set()

    async def save(self, registration: Registration, *, revision: int | None) -> int:
        """Write the registration if the stored revision is still this."""
        await turn()
        saved = self._bucket.save(registration.agent, registration, revision)
        for registry in self._followers:
            registry.put(registration)
            registry.revision = saved
        return saved

    async def load(self, agent: AgentId) -> tuple[Registration, int] | None:
        """Return the registration and its revision."""
        await turn()
        return self._bucket.records.get(agent)

    async def remove(self, agent: AgentId) -> int:
        """Remove the registration; 0 if there was none."""
        await turn()
        removed = self._bucket.remove(agent)
        self._left |= {agent} if removed else set()
        for registry in self._followers if removed else ():
            registry.remove(agent)
            registry.revision = removed
        return removed

    async def has_left(self, agent: AgentId) -> bool:
        """Return whether the agent was registered once, and is not any more."""
        await turn()
        return agent in self._left and agent not in self._bucket.records

    async def follow(self, registry: Registry) -> None:
        """Keep the registry equal to the store from now on."""
        await turn()
        registry.replace(registration for registration, _ in self._bucket.records.values())
        registry.revision = self._bucket.last
        self._followers.append(registry)

    async def caught_up(self, revision: int = 0) -> int:
        """Followers are told before a write returns, and no connection is ever lost."""
        if revision > self._bucket.last:
            raise NotConnected("no such write has been made", field="revision", value=revision)
        return 0

    async def behind(self) -> int:
        """Return 0: every change is seen at once."""
        await turn()
        return 0


class MemoryRouteStore:
    """`RouteStore` whose followers see a change at once."""

    def __init__(self) -> None:
        self._bucket: Bucket[AgentId, RouteInfo] = Bucket("route")
        self._followers: list[Routes] = []

    async def save(self, route: RouteInfo, *, revision: int | None) -> int:
        """Write the route if the stored revision is still this."""
        await turn()
        saved = self._bucket.save(route.agent, route, revision)
        for routes in self._followers:
            routes.put(route)
        return saved

    async def load(self, agent: AgentId) -> tuple[RouteInfo, int] | None:
        """Return the route and its revision."""
        await turn()
        return self._bucket.records.get(agent)

    async def remove(self, agent: AgentId) -> bool:
        """Remove the route; False if there was none."""
        await turn()
        for routes in self._followers:
            routes.remove(agent)
        return bool(self._bucket.remove(agent))

    async def follow(self, routes: Routes) -> None:
        """Keep the routes equal to the store from now on."""
        await turn()
        routes.replace(route for route, _ in self._bucket.records.values())
        self._followers.append(routes)


class MemoryAttempts:
    """See `ports.Attempts`."""

    def __init__(self) -> None:
        self._attempts: dict[Origin, int] = {}

    async def recorded(self, origin: Origin) -> int:
        """Return the attempts on record; 0 if there is no record."""
        return self._attempts.get(origin, 0)

    async def record(self, origin: Origin, attempts: int) -> None:
        """Put this number on record."""
        self._attempts[origin] = attempts


class MemoryContentStore:
    """`ContentStore` in a dict."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._contents: dict[str, bytes] = {}
        self._puts: dict[str, tuple[int, datetime]] = {}
        self._revision = 0

    async def put(self, name: str, content: bytes) -> Claim:
        """Store the content under the name."""
        await turn()
        self._contents[name] = bytes(content)
        self._revision += 1
        self._puts[name] = (self._revision, self._clock.now())
        return Claim(object=name, size=len(content), sha256=sha256(content).hexdigest())

    async def get(self, claim: Claim) -> bytes:
        """Return the content if it is there and unchanged."""
        await turn()
        content = self._contents.get(claim.object)
        if content is None:
            raise InvalidEnvelope(
                "no content is stored under this name", field="claim", value=ascii(claim.object)
            )
        if (len(content), sha256(content).hexdigest()) != (claim.size, claim.sha256):
            raise InvalidEnvelope(
                "the stored content is not what the claim says",
                field="claim",
                value=ascii(claim.object),
            )
        return content

    async def remove(self, claim: Claim) -> None:
        """Forget the content."""
        await turn()
        self._contents.pop(claim.object, None)

    async def names(self, *, before: datetime) -> dict[str, int]:
        """Return what was last stored before this moment, and its revision."""
        await turn()
        return {
            name: revision
            for name, (revision, at) in self._puts.items()
            if at < before and name in self._contents
        }

    async def forget(self, name: str, *, revision: int) -> bool:
        """Forget the content unless something was stored under its name since."""
        await turn()
        if name not in self._contents or self._puts[name][0] != revision:
            return False
        del self._contents[name]
        return True
