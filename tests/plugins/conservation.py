"""The conservation law: accepted = handled + dead-lettered + pending, message by message.

Four sources that know nothing of each other are compared, by the stored message's name (stream and
sequence), so that a lost message cannot be made up for by one that was counted twice:

- accepted: every sequence number that the server itself has given out in a mailbox stream, or in
  the stream of mail for other platforms (a duplicate gets none, and neither does what was refused);
- handled: what the mailboxes of all agents said has ended, and the forwarders said is across the
  link, in this process or, through a file that survives SIGKILL, in another one;
- dead-lettered: every record ever seen on its way into CAXTON_DLQ, redriven and discarded ones
  included; that each was stored once is checked against the stream's own sequence;
- pending: what these streams hold now.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage, decode
from caxton_nats.core.errors import CaxtonError, StreamMissing
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.stream_files import is_bounded
from caxton_nats.telemetry import Action, Event
from tests.plugins.deployments import wipe
from tests.plugins.eventually import PATIENCE

_ENDED = (Action.HANDLED, Action.DUPLICATE, Action.FORWARDED)
_decoder = msgspec.json.Decoder(Event)


class Journal:
    """An observer that keeps each event in a file, in one write that a SIGKILL cannot tear."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __call__(self, happened: Event) -> None:
        self._file.write(msgspec.json.encode(happened) + b"\n")

    def close(self) -> None:
        self._file.close()


class Tally(msgspec.Struct, kw_only=True):
    """What the four sources say at one moment."""

    accepted: set[Origin]
    handled: set[Origin]
    dead: set[Origin]
    pending: set[Origin]
    records: int = 0
    """Records that the dead letter stream has stored, ever."""
    letters: int = 0
    """Dead letters that were seen, one per id."""
    owners: dict[Origin, str] = {}
    """Whose message it was, as far as anybody said."""

    def complaint(self) -> str:
        """Return what does not add up, per agent and message; empty if all does."""
        ended = self.handled | self.dead | self.pending
        wrong = [
            *self._lines("lost, neither handled nor dead nor pending", self.accepted - ended),
            *self._lines("never accepted by the server", ended - self.accepted),
            *self._lines("handled and dead-lettered", self.handled & self.dead),
            *self._lines("handled and still pending", self.handled & self.pending),
            *self._lines("dead-lettered and still pending", self.dead & self.pending),
        ]
        if self.records != self.letters:
            wrong.append(f"  {self.records} dead letter records for {self.letters} messages")
        return "\n".join(["the books do not balance:", *wrong, *self._table()]) if wrong else ""

    def _lines(self, what: str, origins: set[Origin]) -> list[str]:
        found: dict[str, list[str]] = {}
        for origin in sorted(origins, key=lambda one: (one.stream, one.sequence)):
            found.setdefault(self._owner(origin), []).append(origin.key)
        return [
            f"  {owner}: {len(keys)} {what}: {', '.join(keys[:5])}{' …' if keys[5:] else ''}"
            for owner, keys in found.items()
        ]

    def _table(self) -> list[str]:
        columns = (self.accepted, self.handled, self.dead, self.pending)
        counts = [Counter(map(self._owner, column)) for column in columns]
        return [
            f"  {owner}: accepted {accepted}, handled {handled}, dead {dead}, pending {pending}"
            for owner in sorted(set().union(*counts))
            for accepted, handled, dead, pending in [[count[owner] for count in counts]]
        ]

    def _owner(self, origin: Origin) -> str:
        return self.owners.get(origin, "somebody")


class Books:
    """Kept during one test on one server."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self.events: list[Event] = []
        """What happened in this process."""
        self.letters: dict[str, DeadLetter] = {}
        """Every dead letter that was ever written."""

    def observe(self, happened: Event) -> None:
        """Be told of an outcome in this process."""
        self.events.append(happened)

    def journal(self, name: str) -> Path:
        """Return the file in which another process keeps its events."""
        return self._folder / f"{name}.jsonl"

    def everything(self) -> list[Event]:
        """Return the events of all processes."""
        lines = [
            line for file in self._folder.glob("*.jsonl") for line in file.read_bytes().splitlines()
        ]
        return self.events + [_decoder.decode(line) for line in lines]

    def count(self, action: Action, message_id: str | None = None) -> int:
        """Return how often it happened, in all processes, to one message or to any."""
        return sum(
            one.action is action and message_id in (None, one.message_id)
            for one in self.everything()
        )

    async def open(self) -> None:
        """Begin to watch the way into the dead letters."""

        async def remember(message: object) -> None:
            self._remember(bytes(getattr(message, "data", b"")))

        await self._connection.client.subscribe(f"{subjects.DLQ}.>", cb=remember)
        await self._connection.client.flush()

    async def tally(self) -> Tally:
        """Ask all sources. What comes in meanwhile is left out: it has not been accepted yet."""
        accepted: set[Origin] = set()
        pending: dict[Origin, str] = {}
        for stream in await self._mailbox_streams():
            last = await direct.last_sequence(self._connection, stream)
            accepted |= {Origin(stream, sequence) for sequence in range(1, last + 1)}
            pending |= await self._pending(stream)
        records = await self._read_dead_letters()
        # Read last: what left a mailbox was told before.
        events = [one for one in self.everything() if one.origin is not None]
        owners = {one.origin: str(one.agent) for one in events if one.origin is not None}
        dead = {one.origin for one in self.letters.values() if one.stage is Stage.DELIVER}
        return Tally(
            accepted=accepted,
            # A router tells of duplicates, too, as attempt 0: nothing has ended by that.
            handled={
                one.origin
                for one in events
                if one.action in _ENDED and one.attempt > 0 and one.origin is not None
            },
            dead=dead,
            pending=set(pending),
            records=records,
            letters=len(self.letters),
            owners=pending | owners,
        )

    async def check(self) -> None:
        """Wait until what is under way has settled; then all must add up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while complaint := (await self.tally()).complaint():
            assert loop.time() < end, complaint
            await asyncio.sleep(0.05)

    def _remember(self, data: bytes) -> None:
        letter = decode(data)
        self.letters[letter.id] = letter

    async def _mailbox_streams(self) -> list[str]:
        names = (await self._connection.api("STREAM.NAMES"))["streams"] or ()
        return [name for name in names if is_bounded(name)]

    async def _pending(self, stream: str) -> dict[Origin, str]:
        place = subjects.OUTBOUND if stream == subjects.OUTBOUND_STREAM else subjects.ANY_MAIL
        found = await _all(self._connection, stream, f"{place}.>")
        return {Origin(stream, one.sequence): one.subject.rsplit(".", 1)[-1] for one in found}

    async def _read_dead_letters(self) -> int:
        try:
            for record in await _all(self._connection, subjects.DLQ_STREAM, f"{subjects.DLQ}.>"):
                self._remember(record.body)
            return await direct.last_sequence(self._connection, subjects.DLQ_STREAM)
        except StreamMissing:
            return 0


async def _all(connection: Connection, stream: str, subject: str) -> list[direct.Record]:
    found: list[direct.Record] = []
    while True:
        start = found[-1].sequence + 1 if found else 1
        page = await direct.batch(
            connection, stream, {"seq": start, "next_by_subj": subject, "batch": direct.BATCH}
        )
        found += page
        if not page or not page[-1].behind_it:
            return found


@asynccontextmanager
async def conserved(url: str, folder: Path) -> AsyncIterator[Books]:
    """Keep books while the body runs on an empty deployment, and check them after it."""
    connection = await connect(url, name="books")
    try:
        await wipe(connection)
        books = Books(connection, folder)
        await books.open()
        yield books
        await books.check()
        await wipe(connection)
    except CaxtonError as error:
        raise AssertionError(f"the books could not be kept: {error}") from error
    finally:
        await connection.close()
