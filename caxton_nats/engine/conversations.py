"""Conversations as operators see them, and how they end without anybody's help.

One that has ended is moved into the archive in three steps, each of which may be done again after a
crash: its end is written into the record (by compare-and-set: from then on no message gets in), the
record is put into the archive, and it is removed from where it was. A durable timer comes due when
nobody has written for the timeout. It is set before the record is created, and again only when it
finds that there was activity meanwhile: one write in each idle period, none for a message.
"""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.core.conversation import Conversation, end, end_of
from caxton_nats.core.conversation_stats import ConversationStats, Tally
from caxton_nats.core.errors import ConversationNotFound, RevisionConflict
from caxton_nats.core.identifiers import AgentId, ConversationId
from caxton_nats.ports import Ports, Timer, Timers

KIND = "conversation"
"""Timers of this kind are handled by `Conversations.when_due`."""
_TRIES = 10
_PAUSE = timedelta(milliseconds=20)


async def wake_at_end(timers: Timers, record: Conversation) -> None:
    """Have the conversation looked at when it will have ended if nobody writes any more."""
    await timers.set(Timer(KIND, record.conversation_id), record.expires_at)


class Conversations:
    """The conversations of a platform (seed: ConversationManager, ConversationStorage)."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def get(self, conversation_id: ConversationId) -> Conversation | None:
        """Return the record, archived or not; an archived one has its end in it."""
        found = await self._ports.conversations.load(conversation_id)
        if found is not None:
            return found[0]
        return await self._ports.archive.load(conversation_id)

    async def list(
        self, *, agent: AgentId | None = None, archived: bool = False, limit: int = 100
    ) -> list[Conversation]:
        """Return those of the agent (or all), the latest first: by activity, or by their end."""
        if archived:
            return await self._ports.archive.list(limit=limit, agent=agent)
        return await self._ports.conversations.list(limit=limit, agent=agent)

    async def statistics(self) -> ConversationStats:
        """Return how many conversations there are, how long they last, and how many talk in them.

        Reads the record of every active conversation: about 60 µs each, 3 s for 50,000.
        """
        ended = await self._ports.archive.added()
        tally = Tally()
        async for record in self._ports.conversations.each():
            tally.add(record)
        return tally.stats(ended=ended)

    async def archive(self, conversation_id: ConversationId) -> Conversation:
        """End the conversation now, and return its record; nothing changes if it has ended.

        Raises:
            ConversationNotFound: there is none of this id.
            CaxtonError: it has ended or not, but may not be in the archive yet; call it again.
        """
        found = await self._end(conversation_id, due_only=False)
        if found is None:
            found = await self._ports.archive.load(conversation_id)
        if found is None:
            raise ConversationNotFound(
                "there is no such conversation",
                field="conversation_id",
                value=conversation_id,
                hint="see `caxton conversations`",
            )
        await self._ports.timers.cancel(KIND, conversation_id)
        return found

    async def when_due(self, timer: Timer) -> None:
        """Archive the conversation if it has ended; else look again when it will have."""
        record = await self._end(ConversationId(timer.key), due_only=True)
        if record is not None and record.ended_by is None:
            await wake_at_end(self._ports.timers, record)

    async def _end(self, conversation_id: ConversationId, *, due_only: bool) -> Conversation | None:
        """Archive the conversation and return its record; None if it is not among the active.

        Args:
            conversation_id: which one.
            due_only: leave it alone if it has not ended by itself.
        """
        for _ in range(_TRIES):
            found = await self._ports.conversations.load(conversation_id)
            if found is None:
                return None
            record, revision = found
            now = self._ports.clock.now()
            if due_only and end_of(record, now) is None:
                return record
            ended = end(record, now)
            try:
                if ended is not record:
                    revision = await self._ports.conversations.save(ended, revision=revision)
            except RevisionConflict:
                # A message was taken at the same time: look again.
                await self._ports.clock.sleep(_PAUSE * self._ports.clock.chance())
                continue
            await self._ports.archive.add(ended)
            await self._ports.conversations.remove(conversation_id, revision=revision)
            return ended
        raise RevisionConflict(
            f"conversation {conversation_id} is too busy to be archived",
            field="conversation_id",
            hint="try again",
        )
