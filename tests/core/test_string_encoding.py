"""FIPA's string encoding: what is written is read as the same, and what is wrong is shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from caxton_nats.core import string_reader, string_writer
from caxton_nats.core.envelope import Envelope, content_bytes, content_value
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.parameters import envelope_of
from caxton_nats.core.performatives import Performative
from tests.core.acl import NOON, envelopes, full, insist_it_comes_back


def read(text: str | bytes) -> Envelope:
    data = text.encode() if isinstance(text, str) else text
    return envelope_of(string_reader.read(data), NOON)


@settings(max_examples=400)
@given(envelopes())
def test_round_trip(envelope: Envelope) -> None:
    """Every envelope comes back from its string as it was, content byte for byte."""
    insist_it_comes_back(envelope, string_writer.write, read)


def test_golden() -> None:
    """The string has the shape of FIPA's examples: an S-expression, one parameter a line."""
    assert string_writer.write(full()).decode() == (
        "(request\n"
        " :sender (agent-identifier :name alice@here)\n"
        " :receiver (set (agent-identifier :name bob@here) (agent-identifier :name carol@there))\n"
        ' :content "((action (agent-identifier :name bob@here) (open \\"door\\")))"\n'
        " :language fipa-sl\n"
        " :encoding utf-8\n"
        " :ontology doors\n"
        " :protocol fipa-request\n"
        " :conversation-id c-1\n"
        " :reply-with r-1\n"
        ' :in-reply-to "q 7"\n'
        " :reply-to (set (agent-identifier :name dave@here))\n"
        " :reply-by 20360501T120000250Z\n"
        ' :X-Note "by hand")\n'
    )


def test_a_message_in_fipas_shape() -> None:
    """Addresses and resolvers are read over, keywords have any case, a list is its own text."""
    envelope = read(
        """
        (CFP
          :SENDER (agent-identifier :name j@platform.com
                    :addresses (sequence http://platform.com:7778/acc iiop://x/acc)
                    :resolvers (sequence (agent-identifier :name ams@platform.com)) :X-Rack 7)
          :receiver (set (Agent-Identifier :name i) (agent-identifier :name "k l"))
          :content "((action (agent-identifier :name i)
            (sell plum 50)) (any ?x (and (= (price plum) ?x) (< ?x 10))))"
          :ontology (set fruit-market plums)
          :language fipa-sl :reply-with 42 :conversation-id -7
          :reply-by +00000000T000130500)
        """
    )
    assert (envelope.performative, envelope.sender) == ("CFP", "j@platform.com")
    assert envelope.receiver == ("i", "k l")
    assert content_value(envelope).startswith("((action (agent-identifier :name i)\n")
    assert envelope.ontology == "(set fruit-market plums)"
    assert (envelope.reply_with, envelope.conversation_id) == ("42", "-7")
    assert envelope.reply_by is not None
    assert (envelope.reply_by - NOON).total_seconds() == 90.5


@pytest.mark.parametrize("act", Performative)
def test_each_act(act: Performative) -> None:
    """Each of FIPA's acts is written and read by its own name."""
    envelope = read(f"({act} :receiver bob)")
    assert (envelope.performative, envelope.receiver) == (act, ("bob",))
    assert string_writer.write(envelope).startswith(f"({act}\n".encode())


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"a \\"b\\" \\\\ \\n"', 'a "b" \\ \\n'),
        ("word", "word"),
        ('#5"a)"\'("', b"a)\"'("),
        ('#2"\xff"', "ÿ".encode()),
        ('#0""', b""),
        ("(a (b  c))", "(a (b  c))"),
        ('"{\\"n\\": 1}" :language JSON', {"n": 1}),
        ('"7" :X-caxton-content json', 7),
        ('#2"hi" :encoding us-ascii', "hi"),
        ('"aGk=" :encoding base64', b"hi"),
    ],
)
def test_content(written: str, value: object) -> None:
    """Text is text, counted bytes are bytes, and JSON is read where the message says so."""
    assert content_value(read(f"(inform :receiver bob :content {written})")) == value


def test_counted_bytes_are_any_bytes() -> None:
    """Between the quotes of counted bytes nothing is looked at."""
    envelope = read(b'(inform :receiver bob :content #4"\xff"\x00)" :X-a b)')
    assert content_bytes(envelope) == b'\xff"\x00)'
    assert envelope.user_defined == {"X-a": "b"}


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "not a FIPA string: a message begins with (, but at line 1, column 1 is the end"),
        ("inform", "not a FIPA string: a message begins with (, but at line 1, column 1 is 'inform'"),
        ("()", "not a FIPA string: the performative is missing, but at line 1, column 2 is ')'"),
        ("(inform", "not a FIPA string: a parameter as :content, or ), is missing, but at line 1, column 8 is the end"),
        ("(inform\n  bob)", "not a FIPA string: a parameter as :content, or ), is missing, but at line 2, column 3 is 'bob'"),
        ("(inform :content)", "not a FIPA string: a value is missing, but at line 1, column 17 is ')'"),
        ("(inform :content :language x)", "not a FIPA string: a value is missing, but at line 1, column 18 is ':language'"),
        ("(inform) (inform)", "not a FIPA string: something stands behind the message, but at line 1, column 10 is '('"),
        ('(inform :content "é\n', 'the string that begins at line 1, column 18 has no closing "'),
        ('(inform :content "é" "', 'the string that begins at line 1, column 22 has no closing "'),
        ('(inform :content #9"abc")', 'the 9 bytes that begin at line 1, column 18 are not followed by "'),
        ("(inform :content (a (b)", "not a FIPA string: the list that begins at line 1, column 18 does not end, but at line 1, column 24 is the end"),
        ("(inform :receiver (set (agent-identifier)))", "not a FIPA string: the agent has no :name, but at line 1, column 24 is '('"),
        ("(inform :receiver (set (agent :name x)))", "not a FIPA string: an agent begins with (agent-identifier, but at line 1, column 25 is 'agent'"),
        ("(inform :sender (agent-identifier :name a :name b))", "not a FIPA string: the agent has two names, but at line 1, column 43 is ':name'"),
        ("(inform :sender (agent-identifier :nom a))", "not a FIPA string: an agent-identifier has no 'nom', but at line 1, column 35 is ':nom'"),
        ("(inform :sender (set a b))", "not a FIPA string: an agent begins with (agent-identifier, but at line 1, column 18 is 'set'"),
        (b'(inform :content "\xff")', "not UTF-8: what begins at line 1, column 18"),
        ('(inform :content #2"\xff" :encoding utf-8)'.encode("latin-1"), "the 2 bytes that begin"),
        (b'(inform :content #1"\xff" :encoding utf-8)', "not UTF-8 at its byte 0"),
    ],
)  # fmt: skip
def test_malformed(written: str | bytes, reason: str) -> None:
    """What is no FIPA string is refused with the place where it ends to be one."""
    with pytest.raises(MalformedEnvelope) as caught:
        read(written)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("written", "field", "reason"),
    [
        (":content a :CONTENT b", "content", "is given twice, again at line 1, column 32"),
        (":X-a a :X-a b", "X-a", "is given twice, again at line 1, column 28"),
        (":reciever a", "reciever", "is not a parameter of an ACL message, at line 1, column 21"),
        (':language ""', "language", "must not be empty"),
        (":reply-by soon", "reply_by", "is not a FIPA date-time"),
        (":reply-by 20360230T120000000Z", "reply_by", "is no date: "),
        (":reply-by 20360201T120000000A", "reply_by", "has the type designator A"),
        (":reply-by +00010000T000000000", "reply_by", "counts years or months"),
        (':content "{" :language json', "content", "is said to be JSON and is not: "),
        (':content "{" :X-Caxton-Content xml', "X-Caxton-Content", "must be json"),
        (":X-Caxton-Priority urgent", "priority", "must be low, normal, high or critical"),
        (":X-Caxton-Max-Retries many", "X-Caxton-Max-Retries", "has a wrong value: "),
        (":X-Caxton-Created-At never", "created_at", "is not a date with time and zone"),
    ],
)
def test_invalid(written: str, field: str, reason: str) -> None:
    """A parameter with a wrong value is named, as it is in JSON."""
    with pytest.raises(InvalidEnvelope) as caught:
        read(f"(inform :receiver b {written})")
    assert caught.value.field == field
    assert caught.value.reason.startswith(reason)


def test_nothing_takes_long() -> None:
    """A megabyte of brackets, quotes or names is walked over once, and refused."""
    for body in (b"(" * 1_400_000, b"(inform :content " + b"(" * 1_400_000, b"(inform :content " + b"()" * 700_000, b'(inform :content "' + b"\\" * 1_400_000, b"(inform :receiver (set " + b"a " * 700_000):  # fmt: skip
        with pytest.raises(CaxtonError):
            read(body)


def test_names_that_no_string_can_have() -> None:
    """A parameter's name with white space in it is refused, and named."""
    with pytest.raises(InvalidEnvelope) as caught:
        string_writer.write(Envelope(performative="inform", user_defined={"X-a b": "c"}))
    assert caught.value.field == "X-a b"
    with pytest.raises(InvalidEnvelope) as caught:
        string_writer.write(Envelope(performative="inform", user_defined={"x-caxton-claim": "c"}))
    assert caught.value.field == "x-caxton-claim"
