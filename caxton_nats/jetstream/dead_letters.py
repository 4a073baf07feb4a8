"""Dead letters: the stream CAXTON_DLQ, one subject and at most one message per dead letter."""

from __future__ import annotations

from collections import Counter

from caxton_nats.core.dead_letter import DeadLetter, decode, encode
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.remote import any_agent_from_token, any_agent_token
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.headers import EXPECTED_LAST_SUBJECT, EXPECTED_LAST_SUBJECT_SEQUENCE
from caxton_nats.jetstream.publisher import JetStreamPublisher, Post


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

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[DeadLetter]:
        """Return the newest letters first."""
        whose = "*" if agent is None else any_agent_token(agent, self._platform)
        records = await direct.newest(
            self._connection, subjects.DLQ_STREAM, f"{subjects.DLQ}.*.{whose}.*", limit
        )
        return [decode(record.body) for record in records]

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return the letter, or None."""
        record = await self._find(letter_id)
        return decode(record.body) if record else None

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
        info = await self._connection.api(
            f"STREAM.INFO.{subjects.DLQ_STREAM}", {"subjects_filter": f"{subjects.DLQ}.>"}
        )
        counts: Counter[tuple[AgentId, str]] = Counter()
        for subject, number in (info["state"].get("subjects") or {}).items():
            reason, agent = subject.split(".")[2:4]
            counts[any_agent_from_token(agent, self._platform), reason] += number
        return dict(counts)

    async def _find(self, letter_id: str) -> direct.Record | None:
        # The id becomes part of a subject filter: a wildcard must not pass for an id.
        if not letter_id or any(character in letter_id for character in "*>. \t\r\n"):
            return None
        return await direct.first(
            self._connection, subjects.DLQ_STREAM, f"{subjects.DLQ}.*.*.{letter_id}"
        )
