"""admit: a message that names a conversation changes its record before it is delivered.

The record is changed by compare-and-set. Messages of one conversation that meet in this process
while a write is under way wait and share the next write. What this process has written last is
kept in mind and not read again: it counts only if the store takes the next write on top of it. A
message of a conversation that has ended is refused by the record's own times, whether or not
anybody works off the timers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from caxton_nats.core.conversation import Conversation, Terms, receive
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, RevisionConflict, TransportError
from caxton_nats.core.identifiers import AgentId, ConversationId
from caxton_nats.core.urgency import is_urgent
from caxton_nats.engine.conversations import wake_at_end
from caxton_nats.engine.watch import Judged, Watch
from caxton_nats.ports import Ports

TRIES = 30
"""Compare-and-set tries before giving up; each loser waits a random moment."""
REMEMBERED = 10_000
"""Conversations of which it is known whether they are urgent."""
KEPT = 100_000
"""Messages and participants, in all, of the conversations whose records are kept in mind."""
_PAUSE = timedelta(milliseconds=40)
log = logging.getLogger("caxton_nats")


class Candidate(msgspec.Struct, frozen=True):
    """A message that asks to be admitted, and its receivers that exist."""

    envelope: Envelope
    receivers: Sequence[AgentId]


class Written:
    """Records as this process has written them last, and their revisions; the oldest give way."""

    def __init__(self, most: int = KEPT) -> None:
        """Keep conversations of so many messages and participants altogether."""
        self._most = most
        self._size = 0
        self._records: OrderedDict[ConversationId, tuple[Conversation, int]] = OrderedDict()

    def put(self, record: Conversation, revision: int) -> None:
        """Keep what was written under this revision."""
        self.pop(record.conversation_id)
        self._records[record.conversation_id] = record, revision
        self._size += _size(record)
        while self._size > self._most:
            self.pop(next(iter(self._records)))

    def pop(self, conversation_id: ConversationId) -> tuple[Conversation, int] | None:
        """Forget a record, and return it with its revision."""
        found = self._records.pop(conversation_id, None)
        if found is not None:
            self._size -= _size(found[0])
        return found


def _is_wrong(refusals: Sequence[CaxtonError | None], judged: Sequence[Judged]) -> bool:
    return any(refusals) or any(one.error for one in judged)


def _size(record: Conversation) -> int:
    return len(record.thread.ids) + len(record.participants)


class Admission:
    """Admits messages into their conversations."""

    def __init__(self, ports: Ports, terms: Terms, watch: Watch | None = None) -> None:
        self._watch = watch or Watch()
        self._ports = ports
        self._clock = ports.clock
        self._terms = terms
        self._waiting: dict[
            ConversationId, list[tuple[Candidate, asyncio.Future[CaxtonError | None]]]
        ] = {}
        self._writers: set[asyncio.Task[None]] = set()
        self._urgent: OrderedDict[ConversationId, bool] = OrderedDict()
        self._written = Written()

    async def admit(self, candidates: Sequence[Candidate]) -> list[CaxtonError | None]:
        """Record the messages; one refusal or None each, in order.

        A message without a conversation id costs nothing here.
        """
        outcomes: list[asyncio.Future[CaxtonError | None] | None] = []
        for candidate in candidates:
            conversation_id = candidate.envelope.conversation_id
            if not conversation_id:
                outcomes.append(None)
                continue
            outcome: asyncio.Future[CaxtonError | None] = asyncio.get_running_loop().create_future()
            outcomes.append(outcome)
            if conversation_id in self._waiting:
                self._waiting[conversation_id].append((candidate, outcome))
            else:
                self._waiting[conversation_id] = [(candidate, outcome)]
                writer = asyncio.create_task(self._write_all(conversation_id))
                self._writers.add(writer)
                writer.add_done_callback(self._writers.discard)
        return [None if outcome is None else await outcome for outcome in outcomes]

    def is_urgent(self, envelope: Envelope) -> bool:
        """Return whether an admitted message goes the urgent way: as its conversation does."""
        if not envelope.conversation_id:
            return is_urgent(envelope)
        return self._urgent.get(envelope.conversation_id, False)

    def _remember(self, record: Conversation) -> None:
        # Asked for as soon as it is admitted, so few are enough.
        self._urgent[record.conversation_id] = record.urgent
        self._urgent.move_to_end(record.conversation_id)
        if len(self._urgent) > REMEMBERED:
            self._urgent.popitem(last=False)

    async def _write_all(self, conversation_id: ConversationId) -> None:
        """Write until nobody waits; what comes in meanwhile shares the next write."""
        while waiting := self._waiting[conversation_id]:
            self._waiting[conversation_id] = []
            candidates = [candidate for candidate, _ in waiting]
            refusals: list[CaxtonError | None]
            try:
                refusals = await self._write(conversation_id, candidates)
            except CaxtonError as error:
                refusals = [error] * len(waiting)
            except Exception as error:
                # Nobody else would ever tell those who wait.
                log.exception("conversation %a cannot be recorded", conversation_id)
                failure = TransportError(f"recording: {type(error).__name__}: {error}")
                refusals = [failure] * len(waiting)
            for (_, outcome), refusal in zip(waiting, refusals, strict=True):
                if not outcome.done():
                    outcome.set_result(refusal)
        del self._waiting[conversation_id]

    async def _write(
        self, conversation_id: ConversationId, candidates: Sequence[Candidate]
    ) -> list[CaxtonError | None]:
        refusals, latest = await self._write_on_top(conversation_id, candidates)
        if refusals is not None:
            return refusals
        for attempt in range(TRIES):
            before, revision = await self._load(conversation_id, latest=latest)
            record, refusals, judged = self._advance(before, candidates)
            if not latest and _is_wrong(refusals, judged):
                # In a cluster the record may be a moment old, without what an answer refers to.
                latest = True
                continue
            if record is not None:
                self._remember(record)
            if record is None or record is before:
                self._watch.tell(judged)
                return refusals
            if before is None:
                await wake_at_end(self._ports.timers, record)
            try:
                await self._save(record, revision)
            except RevisionConflict:
                latest = True
                await self._clock.sleep(_PAUSE * self._clock.chance() * min(attempt + 1, 8))
            else:
                self._watch.tell(judged)
                return refusals
        raise RevisionConflict(
            f"conversation {conversation_id} is changed by too many routers at once",
            field="conversation_id",
            hint="send again with the same message id",
        )

    async def _write_on_top(
        self, conversation_id: ConversationId, candidates: Sequence[Candidate]
    ) -> tuple[list[CaxtonError | None] | None, bool]:
        """Write on top of what this process has written last, if it has.

        Returns the outcome, None if the record has to be read first, and whether it has changed.
        """
        known = self._written.pop(conversation_id)
        if known is None:
            return None, False
        before, revision = known
        record, refusals, judged = self._advance(before, candidates)
        # Only the store can say that nothing has changed, or that something is wrong.
        if record is None or record is before or _is_wrong(refusals, judged):
            return None, False
        try:
            await self._save(record, revision)
        except RevisionConflict:
            return None, True
        self._remember(record)
        self._watch.tell(judged)
        return refusals, False

    async def _save(self, record: Conversation, revision: int | None) -> None:
        self._written.put(record, await self._ports.conversations.save(record, revision=revision))

    async def _load(
        self, conversation_id: ConversationId, *, latest: bool
    ) -> tuple[Conversation | None, int | None]:
        """Return the record and its revision; of an archived conversation, the record alone."""
        found = await self._ports.conversations.load(conversation_id, latest=latest)
        if found is not None:
            return found
        return await self._ports.archive.load(conversation_id), None

    def _advance(
        self, record: Conversation | None, candidates: Sequence[Candidate]
    ) -> tuple[Conversation | None, list[CaxtonError | None], list[Judged]]:
        refusals: list[CaxtonError | None] = []
        verdicts: list[Judged] = []
        for candidate in candidates:
            envelope, receivers = candidate.envelope, candidate.receivers
            try:
                after = receive(
                    record,
                    envelope,
                    receivers=receivers,
                    now=self._clock.now(),
                    terms=self._terms,
                )
            except CaxtonError as refusal:
                refusals.append(refusal)
                continue
            refusal_of_act = None
            if envelope.protocol and after is not record:
                judged = self._watch.judge(after, envelope, receivers)
                if judged is not None:
                    verdicts.append(judged)
                    after = judged.record
                    refusal_of_act = judged.error if self._watch.refuses else None
            refusals.append(refusal_of_act)
            record = record if refusal_of_act else after
        return record, refusals, verdicts
