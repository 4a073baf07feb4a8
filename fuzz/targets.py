"""The targets: each takes any bytes, and raises if something else happens than is promised.

What is refused is refused by a `MessageError`, or by what the caller of a decoder catches; whatever
is accepted can be written, read again, and told. A target does no I/O and remembers nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from caxton_nats.cli.output import as_text, json_text, visible
from caxton_nats.core import codec, dead_letter, lease, redrive, representation
from caxton_nats.core.addressing import check_lengths
from caxton_nats.core.capability import check_capabilities
from caxton_nats.core.envelope import Envelope, content_size, content_value
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MessageError
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.health import DetailedHealthStatus
from caxton_nats.core.identifiers import AgentId, agent_from_token, agent_token, token, untoken
from caxton_nats.core.legible import legible
from caxton_nats.core.notice import notice
from caxton_nats.core.reading import UNREADABLE, members, repeated
from caxton_nats.core.registry import Registration
from caxton_nats.core.representation import Representation
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.core.statistics import Figures
from caxton_nats.core.validation import Limits, check, complete
from caxton_nats.engine.deadlines import Watched
from caxton_nats.engine.exhaustion import Advisory
from caxton_nats.jetstream import doors, service_client, subjects
from caxton_nats.jetstream.client import AttentiveClient
from caxton_nats.jetstream.headers import kept_headers, stored_headers
from caxton_nats.ports import StateChange, Timer

Target = Callable[[bytes], None]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SENDER = AgentId("alice@here")
_LIMITS = Limits(max_content=100_000, max_receivers=10)
_LARGEST = 200_000
_TOLD = 20_000
"""Bytes of an error as it is told, at most."""


def door(data: bytes) -> None:
    """Take a message as a router does; what is taken is stored, read again and completed again."""
    try:
        envelope = codec.decode(data, max_bytes=_LARGEST)
        check_lengths(envelope, _LIMITS.max_receivers)
        whole = _complete(envelope)
        check(whole, _LIMITS, NOW)
    except MessageError as error:
        _refuse(data, error)
        return
    written = codec.encode(whole)
    again = codec.read(written)
    assert again == whole, "what is stored is not what was checked"
    assert codec.encode(again) == written, "writing again writes something else"
    assert _complete(again) == whole, "completing again changes it"
    assert codec.checked(whole) == whole, "a program could not make it"
    assert repeated(written) is None, "we say something twice"
    assert content_size(whole) >= 0
    with contextlib.suppress(InvalidEnvelope):
        content_value(whole)


def represented(named: Representation) -> Target:
    """Return a target that takes a message in one of FIPA's encodings as a router does.

    What is taken can be written in each of them, and means the same in all.
    """

    def target(data: bytes) -> None:
        try:
            envelope = representation.decode(data, named, max_bytes=_LARGEST, now=NOW)
            check_lengths(envelope, _LIMITS.max_receivers)
            whole = _complete(envelope)
            check(whole, _LIMITS, NOW)
        except MessageError as error:
            _refuse(data, error, named)
            return
        assert codec.checked(whole) == whole, "a program could not make it"
        for to in Representation:
            try:
                written = representation.encode(whole, to)
            except InvalidEnvelope as error:
                _tell(error)
                continue
            again = representation.decode(written, to, max_bytes=10 * _LARGEST, now=NOW)
            assert again == whole, f"{to.short} says something else"
            assert representation.encode(again, to) == written, "writing again writes otherwise"

    return target


def members_of(data: bytes) -> None:
    """Find what an object says twice; nothing but a decoder's own errors comes of it."""
    try:
        found = members(data)
        twice = repeated(data, found)
    except UNREADABLE:
        return
    assert twice is None or twice in found


def letters(data: bytes) -> None:
    """Keep any bytes in a dead letter exactly, and read any bytes as one."""
    kept = dead_letter.keep(data)
    letter = dead_letter.DeadLetter(
        id="S-1",
        reason=FailureReason.INVALID_MESSAGE,
        stage=dead_letter.Stage.ROUTE,
        agent=SENDER,
        attempts=1,
        first_at=NOW,
        last_at=NOW,
        last_error={},
        origin=dead_letter.Origin("S", 1),
        subject="s",
        **kept,
    )
    assert dead_letter.decode(dead_letter.encode(letter)).original == data
    try:
        read = dead_letter.decode(data)
    except UNREADABLE:
        return
    assert dead_letter.decode(dead_letter.encode(read)) == read
    sent = redrive.headers(read)
    assert redrive.history(sent)[0] in (read.redrives + 1, 0)
    assert all(value.isascii() for value in sent.values())
    with contextlib.suppress(ValueError):
        assert read.original is not None


def headers(data: bytes) -> None:
    """Read a header block as both ways of the client do, and keep what may be kept."""
    found = asyncio.run(AttentiveClient()._process_headers(data))
    for one in (found, stored_headers(b64encode(data).decode())):
        kept = kept_headers(one)
        assert len(msgspec.json.encode(kept)) < 60_000, "a dead letter has no room for them"
        assert not any(name.lower().startswith("nats-") for name in kept)
        assert kept_headers(kept) == kept
        redrive.history(kept)


def names(data: bytes) -> None:
    """Escape any name reversibly, and take for an escape only what is one."""
    text = data.decode("utf-8", "replace")
    escaped = token(text)
    assert untoken(escaped) == text
    assert escaped.isascii()
    assert not set(escaped) & set(" .*>\r\n\t")
    with contextlib.suppress(InvalidEnvelope):
        assert token(untoken(text)) == text, "two tokens for one name"
    with contextlib.suppress(InvalidEnvelope):
        agent = agent_from_token(text, "here")
        assert agent_token(agent) == text
        assert subjects.agent_of(f"caxton.send.{text}", "here") == agent
        assert len(subjects.address(agent, 4).consumer) <= 255
    with contextlib.suppress(ValueError, OverflowError):
        subjects.parse_ack(text)
    with contextlib.suppress(InvalidEnvelope):
        subjects.link_sender(text if "." in text else f"a.{text}", "here")


_STORED = tuple(
    msgspec.json.Decoder(kind)
    for kind in (Advisory, Timer, Watched, Registration, lease.Lease, DetailedHealthStatus, Figures)
)


def records(data: bytes) -> None:
    """Read any bytes as what lies in streams and buckets, and as what other routers answer."""
    for decoder in _STORED:
        try:
            found = decoder.decode(data)
        except UNREADABLE:
            continue
        msgspec.json.encode(found)


def requests(data: bytes) -> None:
    """Read any bytes as the body of a request at the other doors."""
    for kind in (
        doors._Registering,
        doors._Releasing,
        doors._Asking,
        doors._Changing,
        lease.Heartbeat,
    ):
        try:
            found = doors._read(data, kind, "{}")
            if isinstance(found, doors._Registering):
                check_capabilities(found.capabilities)
                beat = found.beat()
                if beat is not None:
                    lease.check_heartbeat(beat)
            if isinstance(found, lease.Heartbeat):
                lease.check_heartbeat(found)
        except InvalidEnvelope as error:
            _tell(error)


def answers(data: bytes) -> None:
    """Read any bytes as what a router service answers."""
    for read in (
        service_client._receipt,
        *map(service_client._reader, (Registration, lease.Lease, StateChange, list[StagedReceipt])),
    ):
        try:
            service_client._read(data, "caxton.send.alice", read)
        except CaxtonError as error:
            _tell(error)


def screen(data: bytes) -> None:
    """Show any bytes to a person: nothing of them steers a terminal."""
    text = data.decode("utf-8", "surrogateescape")
    shown = [visible(text), as_text(data), json_text({"text": data.decode("utf-8", "replace")})]
    for one in shown:
        assert not any(ord(c) < 32 and c not in "\n\t" for c in one)
        assert not any(0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in one)
        assert not any(c in "\u200e\u200f\u202a\u202e\u2066\u2069\u2028\ufeff" for c in one)


TARGETS: dict[str, Target] = {
    "door": door,
    "members": members_of,
    "letters": letters,
    "headers": headers,
    "names": names,
    "records": records,
    "requests": requests,
    "answers": answers,
    "screen": screen,
    **{f"acl-{one.short}": represented(one) for one in Representation},
}


def _complete(envelope: Envelope) -> Envelope:
    return complete(envelope, sender=SENDER, platform="here", now=NOW, new_id=lambda: "fresh")


def _refuse(data: bytes, error: MessageError, named: str | None = None) -> None:
    """Do with a refused message what the ingress does: a notice that any client can read."""
    _tell(error)
    known = legible(data, named, sender=SENDER, fallback_id="m-1", now=NOW)
    told = notice(known, error, to=SENDER, platform="here", now=NOW, key="S-1")
    if told is not None:
        assert codec.read(codec.encode(told)) == told
        check(told, _LIMITS, NOW)


def _tell(error: CaxtonError) -> None:
    told = msgspec.json.encode(error.to_dict())
    assert len(told) < _TOLD, "an error that fits into no message"
    numbers = (error.limit, error.value)
    assert not any(isinstance(n, int) and abs(n) > 2**63 for n in numbers), "not for every client"
    assert CaxtonError.from_dict(msgspec.json.decode(told)).to_dict() == error.to_dict()
    assert str(error)
