"""Dead letters: the stream CAXTON_DLQ, one subject and at most one message per dead letter."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress

from caxton_nats.core.dead_letter import DeadLetter, decode, encode
from caxton_nats.core.errors import ConfigurationError, InvalidEnvelope, RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.core.remote import any_agent_from_token, any_agent_token
from caxton_nats.core.selection import EVERY, Selection
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.headers import EXPECTED_LAST_SUBJECT, EXPECTED_LAST_SUBJECT_SEQUENCE
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports.stores import Page

PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of letters that are read at a time; a single one may be larger than its share."""
log = logging.getLogger("caxton_nats.jetstream")


class DlqStream:
    """See `ports.DeadLetters`."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, platform: str
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._platform = platform

    async def write(self, letter: DeadLetter) -> bool:
        """Store the letter; False if one of this id exists, whatever reason it was given.

        The mailbox and the advisory path may meet the same message and call it by different
        reasons: the expected sequence is that of any subject with this id.
        """
        whose = any_agent_token(letter.agent, self._platform)
        any_reason = f"{subjects.DLQ}.*.{whose}.{letter.id}"
        headers = {EXPECTED_LAST_SUBJECT_SEQUENCE: "0", EXPECTED_LAST_SUBJECT: any_reason}
        post = Post(subjects.dead_letter_subject(letter, self._platform), encode(letter), headers)
        try:
            await self._publisher.store_one(post)
        except RevisionConflict:
            return False
        return True

    async def list(self, which: Selection = EVERY, *, limit: int = 100) -> list[DeadLetter]:
        """Return the newest letters first; what is none is logged."""
        return await direct.newest_of(
            self._connection,
            subjects.DLQ_STREAM,
            self._subject(which),
            limit,
            lambda record: _listed(record, which),
        )

    async def page(
        self, which: Selection = EVERY, *, after: int = 0, until: int | None = None
    ) -> Page:
        """Return the next page of the selection; what is no letter is logged."""
        stream, subject = subjects.DLQ_STREAM, self._subject(which)
        end = await direct.last_sequence(self._connection, stream) if until is None else until
        found: list[DeadLetter] = []
        number = size = 0
        async for record in direct.each_of_leader(self._connection, stream, subject, after + 1):
            if record.sequence > end:
                break
            letter = _listed(record, which)
            found += [] if letter is None else [letter]
            number, size, after = number + 1, size + len(record.body), record.sequence
            if number >= direct.BATCH or size >= PAGE_BYTES:
                return Page(letters=found, after=after, until=end, is_last=after >= end)
        return Page(letters=found, after=end, until=end, is_last=True)

    def _subject(self, which: Selection) -> str:
        """Return the subjects to read; what else is wanted, only the letters themselves tell."""
        whose = "*" if which.agent is None else any_agent_token(which.agent, self._platform)
        return f"{subjects.DLQ}.{which.reason or '*'}.{whose}.*"

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return the letter, or None.

        Raises:
            ConfigurationError: somebody else wrote what is there.
        """
        record = await self._find(letter_id)
        return _read(record) if record else None

    async def remove(self, letter_id: str) -> bool:
        """Remove the letter; False if there was none."""
        record = await self._find(letter_id)
        if record is None:
            return False
        answer = await self._connection.api(
            f"STREAM.PURGE.{subjects.DLQ_STREAM}", {"filter": record.subject}
        )
        return int(answer.get("purged", 0)) > 0

    async def count(self) -> dict[tuple[AgentId, str], int]:
        """Return how many letters there are per (agent, reason)."""
        counts: Counter[tuple[AgentId, str]] = Counter()
        seen = 0
        while True:
            # The server tells of 100,000 subjects at a time.
            info = await self._connection.api(
                f"STREAM.INFO.{subjects.DLQ_STREAM}",
                {"subjects_filter": f"{subjects.DLQ}.>", "offset": seen},
            )
            told = info["state"].get("subjects") or {}
            seen += len(told)
            for subject, number in told.items():
                reason, agent = subject.split(".")[2:4]
                # Whoever wrote what has no agent there did not mean one.
                with suppress(InvalidEnvelope):
                    counts[any_agent_from_token(agent, self._platform), reason] += number
            if not told or seen >= info.get("total", 0):
                return dict(counts)

    async def _find(self, letter_id: str) -> direct.Record | None:
        # The id becomes part of a subject filter: a wildcard must not pass for an id.
        if not letter_id or any(character in letter_id for character in "*>. \t\r\n"):
            return None
        return await direct.first_of_leader(
            self._connection, subjects.DLQ_STREAM, f"{subjects.DLQ}.*.*.{letter_id}"
        )


def _read(record: direct.Record) -> DeadLetter:
    try:
        letter = decode(record.body)
    except UNREADABLE as error:
        raise _foreign(record, str(error)) from None
    if letter.id != record.subject.rpartition(".")[2]:
        raise _foreign(record, f"it says that its id is {letter.id!a}")
    return letter


def _foreign(record: direct.Record, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the dead letter is not readable: {why}",
        field=f"{subjects.DLQ_STREAM} {record.subject}",
        hint="somebody else wrote it: remove it with"
        f" `nats stream rmm {subjects.DLQ_STREAM} {record.sequence}`",
    )


def _listed(record: direct.Record, which: Selection) -> DeadLetter | None:
    try:
        letter = _read(record)
    except ConfigurationError as error:
        log.warning("%s", error)
        return None
    return letter if which.has(letter) else None
