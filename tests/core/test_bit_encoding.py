"""FIPA's bit-efficient encoding: what is written is read as the same, and what is wrong is shown."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_nats.core import bit_reader, bit_writer, string_writer, xml_writer
from caxton_nats.core.envelope import Envelope, content_bytes, content_value, value_content
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.parameters import envelope_of
from caxton_nats.core.performatives import Performative
from tests.core.acl import NOON, envelopes, full, insist_it_comes_back
from tests.core.sample import attempt

BEGINS, INFORM, END = b"\xfa\x10", b"\x08", b"\x01"
NOON_Z = b"\x31\x47\x16\x12\x23\x11\x11\x11\x10"  # 2036 05 01 12 00 00 000 and a nibble to fill


def read(data: bytes) -> Envelope:
    return envelope_of(bit_reader.read(data), NOON)


def inform(parameters: bytes) -> Envelope:
    return read(BEGINS + INFORM + parameters + END)


@settings(max_examples=400)
@given(envelopes())
def test_round_trip(envelope: Envelope) -> None:
    """Every envelope comes back from its bytes as it was, content byte for byte."""
    insist_it_comes_back(envelope, bit_writer.write, read)


@given(envelopes())
def test_short(envelope: Envelope) -> None:
    """It is never longer than the string or the document."""
    size = len(bit_writer.write(envelope))
    assert size <= len(string_writer.write(envelope))
    assert size <= len(xml_writer.write(envelope))


def test_golden() -> None:
    """The bytes are those of FIPA's grammar, made by hand."""
    assert bit_writer.write(full()) == b"".join(
        (
            *(b"\xfa\x10", b"\x13"),
            *(b"\x02", b"\x02\x10alice@here\0\x01"),
            *(b"\x03", b"\x02\x10bob@here\0\x01", b"\x02\x10carol@there\0\x01", b"\x01"),
            *(b"\x04", b'\x14((action (agent-identifier :name bob@here) (open "door")))\0'),
            *(b"\x09\x10fipa-sl\0", b"\x0a\x10utf-8\0", b"\x0b\x10doors\0"),
            *(b"\x0c\x10fipa-request\0", b"\x0d\x10c-1\0", b"\x05\x10r-1\0", b"\x07\x14q 7\0"),
            *(b"\x08", b"\x02\x10dave@here\0\x01", b"\x01"),
            *(b"\x06", b"\x24\x31\x47\x16\x12\x23\x11\x11\x36\x10Z"),
            *(b"\x00\x10X-Note\0", b"\x14by hand\0"),
            b"\x01",
        )
    )


def test_a_message_in_fipas_shape() -> None:
    """Addresses and resolvers are read over; numbers and lists are the text of a string."""
    envelope = read(
        BEGINS
        + b"\x04"
        + b"\x02\x02\x10j@x\0\x02\x10http://x/acc\0\x10iiop://x\0\x01"
        + b"\x03\x02\x10ams@x\0\x03\x02\x10ams@y\0\x01\x01\x01\x01\x04\x10X-Rack\0\x12\x80\x01"
        + b"\x03\x02\x10i\0\x01\x02\x10k\0\x01\x01"
        + b"\x05\x12\x53\x00"
        + b"\x07\x12\xe5\xf6\xd2\x00"
        + b"\x0b\x70set\0\x14a b\0\x50plums\0"
        + b"\x0d\xff\x14(c 1)\0"
        + b"\x06\x21\x11\x11\x11\x11\x11\x12\x41\x16\x10"
        + END
    )
    assert (envelope.performative, envelope.sender) == ("cfp", "j@x")
    assert envelope.receiver == ("i", "k")
    assert (envelope.reply_with, envelope.in_reply_to) == ("42", "-4.5E1")
    assert envelope.ontology == '(set "a b" plums)'
    assert envelope.conversation_id == "(c 1)"
    assert envelope.reply_by is not None
    assert (envelope.reply_by - NOON).total_seconds() == 90.05


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"\x60\x40", "()"),
        (b"\x60\x10a\0\x60\x12\x20\x40\x40", "(a (1))"),
        (b"\x60\x60\x40\x60\x40\x40", "(() ())"),
        (b"\x72\x20\x70x\0\x52\x31\x00\x40", "(1 (x 20))"),
        (b"\x74( \x22\0\x40", '("( \\"")'),
        (b"\x76\x02hi\x57\x00\x01)", '("hi" ")")'),
        (b"\x78\x00\x00\x00\x01a\x58\x00\x00\x00\x01b", '("a" "b")'),
        (b"\x73\x20\x53\x30", "(1 2)"),
        (b"\x60\x10a b\0\x40", '("a b")'),
        (b"\xff\x16\x02hi", "hi"),
    ],
)
def test_lists(written: bytes, text: str) -> None:
    """A list of any items, however they are packed, is the text that the string encoding has."""
    assert inform(b"\x0b" + written).ontology == text


@pytest.mark.parametrize("act", Performative)
def test_each_act(act: Performative) -> None:
    """Each of FIPA's acts is one byte; another one is written out."""
    written = bit_writer.write(Envelope(performative=act))
    assert written == BEGINS + bytes([list(Performative).index(act) + 1]) + END
    assert read(written).performative == act
    assert read(BEGINS + b"\0\x10tell\0" + END).performative == "tell"
    assert bit_writer.write(Envelope(performative="tell")) == BEGINS + b"\0\x10tell\0" + END


@pytest.mark.parametrize("size", [0, 255, 256, 65_535, 65_536])
def test_bytes(size: int) -> None:
    """Bytes are written as they are, behind the shortest length that says how many."""
    content, encoding = value_content(b"\0" * size)
    envelope = Envelope(performative="inform", content=content, encoding=encoding)
    written = bit_writer.write(envelope)
    assert len(written) == size + 6 + (1 if size < 256 else 2 if size < 65_536 else 4)
    assert content_bytes(read(written)) == b"\0" * size


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (b"", "at byte 0 something is cut off"),
        (b"(inform)", "it begins with 0x28, and such a message begins with 0xfa, at byte 0"),
        (b"\xfb\x10\x08\x01", "it needs a code table"),
        (b"\xfa\x11\x08\x01", "its version is not 1.0 (0x10), at byte 1"),
        (b"\xfa\x10\x17\x01", "there is no act 0x17, at byte 2"),
        (b"\xfa\x10\x08", "at byte 3 something is cut off"),
        (b"\xfa\x10\x08\x01\x01", "something stands behind the message, at byte 4"),
        (b"\xfa\x10\x08\x0e\x01", "there is no parameter 0x0e, at byte 3"),
        (b"\xfa\x10\x08\x00\x10note\0\x10a\0\x01", "'note' is a parameter of its sender's own, without X-"),
        (b"\xfa\x10\x08\x0c\x14a\0\x01", "0x14 stands where a word (0x10) should, at byte 4"),
        (b"\xfa\x10\x08\x0c\x11\x01\x01", "0x11 refers to a code table"),
        (b"\xfa\x10\x08\x0b\x15\x01\x01", "0x15 refers to a code table"),
        (b"\xfa\x10\x08\x0b\x71\x01\x40\x01", "0x11 refers to a code table"),
        (b"\xfa\x10\x08\x0b\x7a\x01\x40\x01", "0x7a is no kind of value that may stand here"),
        (b"\xfa\x10\x08\x04\x10a\0\x01", "0x10 is no kind of value that may stand here, at byte 4"),
        (b"\xfa\x10\x08\x04\x14abc", "the text that follows has no end (0x00), at byte 4"),
        (b"\xfa\x10\x08\x04\x16\x05abc", "at byte 6 something is cut off"),
        (b"\xfa\x10\x08\x04\x19\xff\xff\xff\xffabc", "at byte 9 something is cut off"),
        (b"\xfa\x10\x08\x04\x14\xff\0\x01", "not UTF-8 is the text that ends, at byte 6"),
        (b"\xfa\x10\x08\x05\x12\xb0\x01", "0xb is no digit, at byte 5"),
        (b"\xfa\x10\x08\x06\x23", "0x23 is no kind of date-time, at byte 4"),
        (b"\xfa\x10\x08\x06\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "0x0 is no digit"),
        (b"\xfa\x10\x08\x02\x10a\0", "an agent is missing (0x02), at byte 4"),
        (b"\xfa\x10\x08\x02\x02\x10a\0\x05", "an agent has no slot 0x05, at byte 8"),
        (b"\xfa\x10\x08\x0b" + b"\x60" * 1_000_000, "too many"),
    ],
)  # fmt: skip
def test_malformed(written: bytes, reason: str) -> None:
    """What is no such message is refused with the byte that shows it."""
    with pytest.raises(MalformedEnvelope) as caught:
        read(written)
    assert caught.value.reason.startswith(
        reason if reason == "too many" else f"not FIPA's bytes: {reason}"
    )


@pytest.mark.parametrize(
    ("written", "field", "reason"),
    [
        (b"\x09\x10a\0\x09\x10b\0", "language", "is given twice, again at byte 7"),
        (b"\x00\x10X-a\0\x10b\0\x00\x10X-a\0\x10b\0", "X-a", "is given twice, again at byte 12"),
        (b"\x09\x10\0", "language", "must not be empty"),
        (b"\x06\x20" + NOON_Z.replace(b"\x16", b"\x24"), "reply_by", "is no date: month"),
    ],
)
def test_invalid(written: bytes, field: str, reason: str) -> None:
    """A parameter with a wrong value is named, as it is in JSON."""
    with pytest.raises(InvalidEnvelope) as caught:
        inform(written)
    assert (caught.value.field, caught.value.reason[: len(reason)]) == (field, reason)


def test_depth() -> None:
    """Resolvers of resolvers are counted, and refused at 16."""
    with pytest.raises(MalformedEnvelope) as caught:
        inform(b"\x03" + b"\x02\x10a\0\x03" * 100_000)
    assert (caught.value.reason[:27], caught.value.limit) == ("resolvers nested too deeply", 16)


def test_nothing_takes_long() -> None:
    """A megabyte of agents, numbers or parameters is read once, and refused."""
    for body in (
        b"\x03" + b"\x02\x10a\0\x01" * 250_000,
        b"\x0b\x12" + b"\x11" * 1_000_000,
        b"\x00\x10X-a\0\x10a\0" * 100_000,
        b"".join(b"\x00\x10X-%d\0\x10a\0" % number for number in range(100_000)),
    ):
        with pytest.raises(CaxtonError):
            inform(body)


@settings(max_examples=300)
@given(envelopes(), st.data())
def test_any_bytes(envelope: Envelope, data: st.DataObject) -> None:
    """With any of its bytes replaced it is read or refused; nothing else happens."""
    written = bytearray(bit_writer.write(envelope))
    written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    attempt(lambda: read(bytes(written)))


def test_no_nul() -> None:
    """A text with a NUL has no form, and is refused by name; content keeps JSON's escape."""
    with pytest.raises(InvalidEnvelope) as caught:
        bit_writer.write(Envelope(performative="inform", user_defined={"X-a": "\0"}))
    assert caught.value.field == "X-a"
    escaped = Envelope(performative="inform", content=msgspec.Raw(b'"a\\u0000"'))
    assert content_value(read(bit_writer.write(escaped))) == "a\0"
