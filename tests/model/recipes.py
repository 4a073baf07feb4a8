"""Ways to break the engine that the model has to find, or it would prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import msgspec
import pytest

from caxton_nats.core import disposition
from caxton_nats.core.disposition import Ack, Nak, Term
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine import burial, dispatch, handling, redrive, sweeper, takeover
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.dispatch import Accepted
from caxton_nats.engine.ended import Ended
from caxton_nats.engine.lanes import Held, Lanes
from caxton_nats.engine.ledger import Ledger
from caxton_nats.engine.mailbox import Mailbox
from caxton_nats.engine.outbox import Outbox
from caxton_nats.engine.reception import Reception
from caxton_nats.engine.redrive import Redrive
from tests.model.explore import run, schedule

Patch = pytest.MonkeyPatch
_numbers = count(1)


def ack_before_effect(patch: Patch) -> None:
    """Settle what was fetched, then have it handled."""
    real = Mailbox._work

    async def hasty(self: Mailbox, held: Held) -> None:
        await self._intake.settle([(held.delivery, Ack())])
        await real(self, held)

    patch.setattr(Mailbox, "_work", hasty)


def settle_before_dead_letter(patch: Patch) -> None:
    """Settle the original, then write its dead letter."""
    real = Mailbox._buried

    async def reckless(self: Mailbox, ended: Ended, disposition: Term) -> Ended:
        await self._intake.settle([(ended.held.delivery, disposition)])
        return await real(self, ended, disposition)

    patch.setattr(Mailbox, "_buried", reckless)


def no_ledger(patch: Patch) -> None:
    """Remember nothing of what was handled."""
    patch.setattr(Ledger, "__contains__", lambda _self, _entry: False)


def ledger_of_one_process(patch: Patch) -> None:
    """Remember what was handled for as long as the process lives."""

    async def nothing(self: Ledger) -> None:
        self._is_sure = True

    patch.setattr(Ledger, "_read", nothing)


def ledger_with_a_window(patch: Patch) -> None:
    """Forget what was handled more than a few messages ago."""
    real = Ledger.__contains__

    def short(self: Ledger, entry: object) -> bool:
        known = list(self._recorded)[-1:]
        return real(self, entry) and (entry in known or entry in self._unsettled)

    patch.setattr(Ledger, "__contains__", short)


def no_outbox(patch: Patch) -> None:
    """Forget with the process what a handler has answered, or that it has."""

    class Forgetful:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        async def commits(self, _agent: AgentId) -> list[Any]:
            return []

    real = Outbox.__init__

    def forgetful(self: Outbox, *given: Any, **named: Any) -> None:
        real(self, *given, **named)
        self._ports = msgspec.structs.replace(self._ports, outboxes=Forgetful(self._ports.outboxes))

    patch.setattr(Outbox, "__init__", forgetful)


def no_order_across_retries(patch: Patch) -> None:
    """Go on with a conversation while one of its messages waits for its retry."""
    patch.setattr(Lanes, "block", lambda self, held, _due: self.done(held))


def no_order_across_crashes(patch: Patch) -> None:
    """Begin with what is there, whatever an earlier process had in hand."""

    async def nothing(*_: Any, **__: Any) -> None:
        pass

    patch.setattr(takeover.TakeOver, "go_on", nothing)


def no_deadline(patch: Patch) -> None:
    """Start handlers whenever their turn comes."""
    patch.setattr(handling, "check_deadline", lambda _envelope, _now: None)


def redrive_without_identity(patch: Patch) -> None:
    """Give every redriven copy another name."""
    patch.setattr(redrive, "_key", lambda _letter, _envelope: f"redrive.{next(_numbers)}")


def redrive_removes_first(patch: Patch) -> None:
    """Remove the dead letter, then send the message."""
    real = Redrive._to_mailbox

    async def reckless(self: Redrive, letter: Any) -> None:
        await self._ports.dead_letters.remove(letter.id)
        await real(self, letter)

    patch.setattr(Redrive, "_to_mailbox", reckless)


def dead_letters_of_any_name(patch: Patch) -> None:
    """Give every dead letter another name."""
    real = Burial._letter

    async def nameless(self: Burial, *given: Any, **named: Any) -> Any:
        letter = await real(self, *given, **named)
        return msgspec.structs.replace(letter, id=f"{letter.id}-{next(_numbers)}")

    patch.setattr(Burial, "_letter", nameless)


def no_duplicate_suppression(patch: Patch) -> None:
    """Store a message as often as it is sent."""
    for module in (dispatch, burial):
        patch.setattr(module, "message_key", lambda _envelope, _to: f"key-{next(_numbers)}")


def stopped_agents_get_mail(patch: Patch) -> None:
    """Route as if every agent were Running."""

    async def anyone(_self: Reception, addressed: Any, route: Any) -> Accepted:
        return Accepted(addressed, route)

    patch.setattr(Reception, "sort", anyone)


def mail_of_who_has_left_dies_at_once(patch: Patch) -> None:
    """Bury without the patience that an agent may come back in."""
    patch.setattr(sweeper, "patience", lambda *_: timedelta())


def no_second_net(patch: Patch) -> None:
    """Leave what the server has given up where it is."""

    async def nothing(*_: Any) -> None:
        pass

    patch.setattr("caxton_nats.engine.exhaustion.Exhaustion._bury", nothing)


def expiry_looks_at_nothing(patch: Patch) -> None:
    """Bury what has expired, whoever has it in hand."""

    async def nobody(*_: Any) -> None:
        return None

    patch.setattr("caxton_nats.engine.expiry.Expiry._in_hand", nobody)


def retries_without_end(patch: Patch) -> None:
    """Try again for ever."""
    real = disposition.settle

    def stubborn(error: Any, **named: Any) -> Any:
        found = real(error, **named)
        return Nak(timedelta(seconds=1)) if isinstance(found, Term) and error.transient else found

    patch.setattr(handling, "settle", stubborn)
    patch.setattr(handling, "exhausted", lambda *_: None)


class Recipe(NamedTuple):
    """A way to break the engine."""

    apply: Callable[[Patch], None]
    complaint: str
    """What the model has to say of it."""
    first: int = 0
    """A seed a little before the one that finds it: finding it from 0 on takes a minute."""


RECIPES = (
    Recipe(ack_before_effect, r"is lost"),
    Recipe(settle_before_dead_letter, r"is lost", 60),
    Recipe(no_ledger, r"handled (twice|again)"),
    Recipe(ledger_of_one_process, r"handled again"),
    Recipe(ledger_with_a_window, r"handled (twice|again)"),
    Recipe(no_outbox, r"answers were on record|is lost", 38),
    Recipe(no_order_across_retries, r"overtook"),
    Recipe(no_order_across_crashes, r"overtook"),
    Recipe(no_deadline, r"after its deadline"),
    Recipe(redrive_without_identity, r"redriven more often", 40),
    Recipe(redrive_removes_first, r"removed before it was redriven"),
    Recipe(dead_letters_of_any_name, r"died twice"),
    Recipe(no_duplicate_suppression, r"stored twice"),
    Recipe(stopped_agents_get_mail, r"was taken for"),
    Recipe(mail_of_who_has_left_dies_at_once, r"must not die of AgentNotFound"),
    Recipe(no_second_net, r"still pending", 205),
    Recipe(
        expiry_looks_at_nothing, r"handled, and is a dead letter|although it is a dead letter", 95
    ),
    Recipe(retries_without_end, r"still pending|should be dead"),
)


def found(pattern: str, seeds: Sequence[int]) -> int:
    """Return after how many schedules the model complains in these words; 0 if it does not."""
    for number, seed in enumerate(seeds, 1):
        violation = run(schedule(seed), seed)
        if violation is not None and re.search(pattern, str(violation)):
            return number
    return 0
