"""Many dead letters, one after the other: those that are there when it begins, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import msgspec

from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.errors import CaxtonError, DeadLetterNotFound, NotConnected
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.redrive import no_such_letter
from caxton_nats.core.selection import Selection
from caxton_nats.ports import Clock, Ports
from caxton_nats.tasks import end


class Ended(msgspec.Struct, frozen=True):
    """What became of one letter of many, or would."""

    letter_id: str
    agent: AgentId = AgentId("")
    error: CaxtonError | None = None
    """Why it stays; None if it was redriven, or discarded."""


async def find(ports: Ports, letter_id: str) -> DeadLetter:
    """Return the letter.

    Raises:
        DeadLetterNotFound: there is none of this id.
    """
    letter = await ports.dead_letters.get(letter_id)
    if letter is None:
        raise no_such_letter(letter_id)
    return letter


async def select(ports: Ports, which: Selection) -> AsyncIterator[DeadLetter]:
    """Yield the letters that are there now, the oldest first; a page of them is kept in memory."""
    page = await ports.dead_letters.page(which)
    while True:
        for letter in page.letters:
            yield letter
        if page.is_last:
            return
        page = await ports.dead_letters.page(which, after=page.after, until=page.until)


async def each(
    ports: Ports,
    which: Selection | Sequence[str],
    act: Callable[[DeadLetter], Awaitable[None]],
    rate: float | None,
    stop: asyncio.Event | None,
) -> AsyncIterator[Ended]:
    """Do it to each letter, whatever becomes of the others; yield what became of each.

    Args:
        ports: the adapter.
        which: of what kind; or the ids, in their order.
        act: does it, or raises why it cannot.
        rate: at most so many in a second.
        stop: when it is set, no further one is begun.

    Raises:
        NotConnected: there is no server; what was done is done.
        TransportError: the next letters could not be read.
    """
    stop, begun = stop or asyncio.Event(), None
    by_name = not isinstance(which, Selection)
    async for name, listed in _chosen(ports, which):
        if rate is not None and begun is not None:
            due = begun + timedelta(seconds=1 / rate)
            await _pause(ports.clock, due - ports.clock.now(), stop)
        if stop.is_set():
            return
        begun = ports.clock.now()
        whose = listed.agent if listed is not None else AgentId("")
        try:
            letter = listed or await find(ports, name)
            whose = letter.agent
            await act(letter)
        except DeadLetterNotFound as error:
            # Somebody else was there first: that is what was wanted, unless the id was wrong.
            if by_name:
                yield Ended(name, whose, error)
        except NotConnected:
            # Each of the others would wait in vain, too.
            raise
        except CaxtonError as error:
            yield Ended(name, whose, error)
        else:
            yield Ended(name, whose)


async def _chosen(
    ports: Ports, which: Selection | Sequence[str]
) -> AsyncIterator[tuple[str, DeadLetter | None]]:
    if isinstance(which, Selection):
        async for letter in select(ports, which):
            yield letter.id, letter
        return
    for name in which:
        yield name, None


async def _pause(clock: Clock, wait: timedelta, stop: asyncio.Event) -> None:
    if wait <= timedelta():
        return
    waits = [asyncio.ensure_future(clock.sleep(wait)), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(waits)
