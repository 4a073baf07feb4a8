"""What a redriven message carries of its deaths, and whether it may go once more.

Its history travels in two headers of the letter in the mailbox. Doors copy no header of a client,
but whoever may write into a mailbox stream may write these: what is not as we write it counts for
nothing, and the worst that a forged one does is to make an operator say ``--force``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import msgspec

from caxton_nats.core.dead_letter import DeadLetter, Death, Stage
from caxton_nats.core.deadline import check_deadline
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import DeadLetterNotFound, Expired, RedriveRefused

MAX_REDRIVES = 3
"""How often a message is sent on its way again, unless an operator insists."""
REDRIVES_HEADER = "Caxton-Redrives"
"""How often the message was sent on its way again."""
HISTORY_HEADER = "Caxton-History"
"""Its deaths so far as compact JSON, ASCII only."""
REMEMBERED = 5
"""Deaths that are carried on; of more, the latest."""
LARGEST_HEADER = 4096
"""Characters; a longer one is not ours."""
_ERROR_BYTES = 200
_decoder = msgspec.json.Decoder(tuple[Death, ...])


def headers(letter: DeadLetter) -> dict[str, str]:
    """Return the headers that tell of this death and those before it."""
    deaths = (*letter.history, _death(letter))[-REMEMBERED:]
    # nats-py reads headers as ASCII in one of its two ways, so everything else is escaped.
    history = json.dumps(msgspec.to_builtins(deaths), separators=(",", ":"))
    return {REDRIVES_HEADER: str(letter.redrives + 1), HISTORY_HEADER: history}


def history(found: Mapping[str, str]) -> tuple[int, tuple[Death, ...]]:
    """Return how often a message was redriven, and its deaths before; (0, ()) of what is not ours.

    Args:
        found: the headers of a message in a mailbox.
    """
    redrives, deaths = found.get(REDRIVES_HEADER, ""), found.get(HISTORY_HEADER, "")
    # Any client may send the header, with a number of thousands of digits, too.
    times = int(redrives) if redrives.isdecimal() and len(redrives) < 10 else 0
    if not deaths or len(deaths) > LARGEST_HEADER:
        return times, ()
    try:
        known = _decoder.decode(deaths)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return times, ()
    return times, known[-REMEMBERED:]


def without(found: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are not of a redrive."""
    ours = (REDRIVES_HEADER, HISTORY_HEADER)
    return {name: value for name, value in found.items() if name not in ours}


def no_such_letter(letter_id: str) -> DeadLetterNotFound:
    """Return the error for an id of no letter."""
    return DeadLetterNotFound(
        "there is no such dead letter", field="id", value=letter_id, hint="see `caxton dlq list`"
    )


def check_redrive(letter: DeadLetter, envelope: Envelope | None, now: datetime) -> None:
    """Refuse what has been redriven often enough, or would provably die again.

    Args:
        letter: the dead letter.
        envelope: what its original decodes to; None if it does not.
        now: this moment.

    Raises:
        RedriveRefused: why.
    """
    insist = "find out why it dies; `--force` sends it all the same"
    if letter.redrives >= MAX_REDRIVES:
        raise RedriveRefused(
            "it died again after each redrive",
            field="redrives",
            limit=MAX_REDRIVES,
            value=letter.redrives,
            hint=insist,
        )
    if letter.stage is Stage.ROUTE:
        # The router looks at everything again; what it refuses stays a dead letter.
        return
    if envelope is None:
        raise RedriveRefused(
            "it would die again: its bytes are no message",
            field="body",
            hint="discard it; `caxton dlq show` has its bytes",
        )
    try:
        check_deadline(envelope, now)
    except Expired as expired:
        raise RedriveRefused(
            "it would die again: its deadline has passed",
            field="reply_by",
            limit=expired.limit,
            value=expired.value,
            hint="have its sender send it anew; `--force` sends it all the same",
        ) from None


def _death(letter: DeadLetter) -> Death:
    error = letter.last_error
    return Death(
        letter=letter.id[:200],
        at=letter.last_at,
        reason=letter.reason,
        stage=letter.stage,
        attempts=min(max(letter.attempts, 0), 1_000_000),
        error=_shortened(f"{error.get('code', '')}: {error.get('reason', '')}"),
    )


def _shortened(text: str) -> str:
    """Return the beginning of the text: as much as takes so many bytes with all escapes."""
    kept, size = [], 0
    for character in text[:_ERROR_BYTES]:
        size += len(json.dumps(character)) - 2
        if size > _ERROR_BYTES:
            break
        kept.append(character)
    return "".join(kept)
