"""deliver and settle: from the end of a handler to the end of its message.

What has been handled goes on record and is acknowledged by itself, many messages at a time, while
handlers go on with others. Two steps, in this order, for each message: that it was handled is on
record, it is settled. What is on its way is bounded by the window of the mailbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from caxton_nats.core.disposition import Ack
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.ended import Ended
from caxton_nats.engine.handling import Handling
from caxton_nats.engine.intake import Intake
from caxton_nats.engine.lanes import Held
from caxton_nats.engine.receipts import Stages
from caxton_nats.engine.together import Together
from caxton_nats.telemetry import Action

Failed = Callable[[Sequence[Held], Exception], Awaitable[None]]


class Settling:
    """Settles what has ended, for one mailbox."""

    def __init__(  # noqa: PLR0913 - what the end of a message takes
        self,
        agent: AgentId,
        handling: Handling,
        intake: Intake,
        stages: Stages,
        *,
        tell: Callable[[Action, Held], None],
        done: Callable[[Sequence[Ended]], Awaitable[None]],
        failed: Failed,
    ) -> None:
        """Take whom it works with.

        Args:
            agent: whose mailbox.
            handling: keeps the ledger.
            intake: settles.
            stages: writes receipts.
            tell: is told what became of each.
            done: is called with what is settled.
            failed: is called with what could not be; it comes again.
        """
        self._agent = agent
        self._handling = handling
        self._intake = intake
        self._stages = stages
        self._tell = tell
        self._done = done
        self._failed = failed
        self._ended = Together(self._record, name=f"record {agent}")
        self._recorded = Together(self._settle, name=f"settle {agent}")

    def add(self, ended: Ended) -> None:
        """Settle this; the dead letter, if it is one, is written."""
        if isinstance(ended.disposition, Ack):
            self._ended.add(ended)
        else:
            self._recorded.add(ended)

    @property
    def is_at_work(self) -> bool:
        """Whether anything is on its way to be settled."""
        return self._ended.is_at_work or self._recorded.is_at_work

    async def close(self, patience: float) -> None:
        """Return when all is settled, or after so many seconds for each of the two steps."""
        await self._ended.close(patience)
        await self._recorded.close(patience)

    async def _record(self, ends: list[Ended]) -> None:
        try:
            await self._handling.record(ends)
        except Exception as error:  # noqa: BLE001 - whatever it is, each comes again
            await self._failed([one.held for one in ends], error)
            return
        asking = [one for one in ends if one.asks_for_receipt]
        if asking:
            told = await asyncio.gather(*map(self._say_handled, asking))
            unsaid = {id(one) for one, said in zip(asking, told, strict=True) if not said}
            ends = [one for one in ends if id(one) not in unsaid]
        for one in ends:
            self._tell(Action.DUPLICATE if one.repeated else Action.HANDLED, one.held)
            self._recorded.add(one)

    async def _say_handled(self, ended: Ended) -> bool:
        held = ended.held
        try:
            await self._stages.handled(held.envelope, self._agent, held.delivery)
        except CaxtonError as error:
            await self._failed([held], error)
            return False
        return True

    async def _settle(self, ends: list[Ended]) -> None:
        try:
            await self._intake.settle([(one.held.delivery, one.disposition) for one in ends])
        except Exception as error:  # noqa: BLE001 - whatever it is, each comes again
            await self._failed([one.held for one in ends], error)
        else:
            await self._done(ends)
