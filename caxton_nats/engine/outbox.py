"""One agent's outbox: what its handlers answer is committed first, and sent then.

From the commit on the handler is not run again, whatever happens; its answers are sent, again if
need be, until the message is settled. A commit that was not confirmed may have been made all the
same: then its slot is read before the handler runs again.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Container, Sequence
from datetime import timedelta

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, ResourceExhausted
from caxton_nats.core.identifiers import AgentId, agent_token
from caxton_nats.core.ledger import Entry
from caxton_nats.core.outbox import Commit, answers_of, set_aside, with_answers
from caxton_nats.ports import Delivery, Door, Ports, Receipt, Submission

_FEW = 32
"""Commits that are kept before it is asked whether their messages are still there."""
_ROOM = 4_096
"""Bytes of a record beside its answers, at most: names of agents are bounded."""
log = logging.getLogger("caxton_nats")


class _Kept(msgspec.Struct):
    """A commit whose message is not settled."""

    commit: Commit
    answers: tuple[Envelope, ...] | None = None
    sent: int = 0


class Outbox:
    """What the handlers of one agent have answered."""

    def __init__(self, agent: AgentId, ports: Ports, door: Door, *, max_body: int) -> None:
        self._agent = agent
        self._ports = ports
        self._door = door
        self._max_body = max_body
        self._kept: dict[Entry, _Kept] = {}
        self._revisions: dict[int, int] = {}
        self._free: list[int] = []
        self._slots = 0
        """So many have ever been used by this process, or hold something."""
        self._unsure: set[int] = set()
        """Slots of which nobody knows whether the last write was made."""
        self._looking = asyncio.Lock()
        self._many = _FEW

    async def open(self, handled: Container[Entry]) -> None:
        """Learn what was committed and not settled.

        Args:
            handled: messages whose answers were all sent.

        Raises:
            CaxtonError: that could not be read; nothing may be handled yet.
        """
        self._kept, self._revisions, self._free, self._unsure = {}, {}, [], set()
        stored = await self._ports.outboxes.commits(self._agent)
        self._slots = max((commit.slot + 1 for commit, _ in stored), default=0)
        used = {commit.slot for commit, _ in stored}
        self._free = [slot for slot in range(self._slots) if slot not in used]
        for commit, revision in stored:
            await self._take_up(commit, revision, handled)

    def __contains__(self, entry: object) -> bool:
        """Return whether the message's handler has returned, and its answers are on record."""
        return entry in self._kept

    async def commit(self, entry: Entry, delivery: Delivery, answers: Sequence[Envelope]) -> None:
        """Put the answers on record: from now on they are sent, and the handler runs no more.

        Raises:
            CaxtonError: that is not certain.
        """
        slot = await self._take_slot()
        try:
            bare = Commit(
                agent=self._agent,
                slot=slot,
                entry=entry,
                origin=delivery.origin,
                at=self._ports.clock.now(),
            )
            commit = await self._fitting(with_answers(bare, answers))
            revision = self._revisions.get(slot)
            self._revisions[slot] = await self._ports.outboxes.save(commit, revision=revision)
        except BaseException:
            self._unsure.add(slot)
            raise
        self._kept[entry] = _Kept(commit, tuple(answers))

    @property
    def is_unsure(self) -> bool:
        """Whether a commit was not confirmed; then `make_sure` before a handler is run."""
        return bool(self._unsure)

    async def make_sure(self, handled: Container[Entry]) -> None:
        """Find out about commits that were not confirmed.

        Raises:
            CaxtonError: that could not be read.
        """
        async with self._looking:
            if not self._unsure:
                return
            found = await self._ports.outboxes.commits(self._agent)
            stored = {commit.slot: (commit, revision) for commit, revision in found}
            for slot in list(self._unsure):
                self._revisions.pop(slot, None)
                if slot in stored:
                    await self._take_up(*stored[slot], handled)
                else:
                    heapq.heappush(self._free, slot)
                self._unsure.discard(slot)

    async def send(self, entry: Entry) -> None:
        """Send the answers to a message that have not been sent, one after the other.

        Raises:
            CaxtonError: why one of them, and so none after it, could be sent.
        """
        kept = self._kept[entry]
        if kept.answers is None:
            claim = kept.commit.claim
            aside = None if claim is None else await self._ports.contents.get(claim)
            kept.answers = answers_of(kept.commit, aside)
        waited = False
        while kept.sent < len(kept.answers):
            answer = kept.answers[kept.sent]
            submission = Submission(
                sender=self._agent, envelope=answer, since=kept.commit.at, waited=waited
            )
            (result,) = await self._door.send([submission])
            waited = isinstance(result, ResourceExhausted)
            if isinstance(result, ResourceExhausted) and result.retry_after is not None:
                # No failure, and no attempt: an agent that answers faster than it may has to slow
                # down, and this keeps one of its handlers' places until then.
                await self._ports.clock.sleep(timedelta(seconds=result.retry_after))
                continue
            if isinstance(result, CaxtonError):
                raise result
            _check_all_have_it(result)
            kept.sent += 1

    async def release(self, entry: Entry) -> None:
        """The message is settled: its slot may be used again."""
        kept = self._kept.pop(entry, None)
        if kept is None:
            return
        heapq.heappush(self._free, kept.commit.slot)
        await _forget_aside(self._ports, kept.commit)

    async def close(self) -> None:
        """Leave no used slot behind, unless answers are owed that the next start has to send."""
        if self._kept or self._unsure:
            return
        used, self._revisions = self._revisions, {}
        try:
            for slot, revision in used.items():
                await self._ports.outboxes.forget(self._agent, slot, revision=revision)
        except CaxtonError as error:
            log.warning("%s: used slots of its outbox stay behind: %s", self._agent, error)

    async def _take_slot(self) -> int:
        if not self._free and len(self._kept) >= self._many:
            await self._look_who_is_gone()
            self._many = max(_FEW, 2 * len(self._kept))
        if self._free:
            return heapq.heappop(self._free)
        self._slots += 1
        return self._slots - 1

    async def _look_who_is_gone(self) -> None:
        """Release what others have settled: an operator, or a deadline, between two attempts."""
        for entry, kept in list(self._kept.items()):
            if await self._ports.mailboxes.get(kept.commit.origin) is None:
                await self.release(entry)

    async def _take_up(self, commit: Commit, revision: int, handled: Container[Entry]) -> None:
        self._revisions[commit.slot] = revision
        owed = commit.entry not in handled and commit.entry not in self._kept
        if owed and await self._ports.mailboxes.get(commit.origin) is not None:
            self._kept[commit.entry] = _Kept(commit)
        else:
            heapq.heappush(self._free, commit.slot)
            await _forget_aside(self._ports, commit)

    async def _fitting(self, commit: Commit) -> Commit:
        """Return the commit, its answers set aside if there are too many bytes of them."""
        size = sum(len(bytes(one)) for one in commit.answers)
        if size <= self._max_body - _ROOM:
            return commit
        name = f"outbox.{agent_token(self._agent)}.{commit.slot}.{self._ports.ids.new_id()}"
        claim = await self._ports.contents.put(name, set_aside(commit))
        return msgspec.structs.replace(commit, answers=(), claim=claim)


async def clear(ports: Ports, agent: AgentId) -> None:
    """Forget what an agent has committed that has left: its mail is dead letters by now."""
    for commit, revision in await ports.outboxes.commits(agent):
        await _forget_aside(ports, commit)
        await ports.outboxes.forget(agent, commit.slot, revision=revision)


async def _forget_aside(ports: Ports, commit: Commit) -> None:
    if commit.claim is None:
        return
    try:
        await ports.contents.remove(commit.claim)
    except CaxtonError as error:
        log.warning("the answers in %s stay behind: %s", commit.claim.object, error)


def _check_all_have_it(receipt: Receipt) -> None:
    """Raise why a receiver of the answer does not have it, if it may have it later."""
    for outcome in receipt.outcomes:
        if outcome.error is None:
            continue
        if outcome.error.transient:
            raise outcome.error
        log.warning("an answer did not reach %s: %s", outcome.receiver, outcome.error)
