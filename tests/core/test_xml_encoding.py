"""FIPA's XML encoding: what is written is read as the same, and nothing else is followed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from caxton_nats.core import xml_reader, xml_writer
from caxton_nats.core.envelope import Envelope, content_value
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.parameters import envelope_of
from caxton_nats.core.performatives import Performative
from tests.core.acl import NOON, envelopes, full, insist_it_comes_back


def read(text: str | bytes) -> Envelope:
    data = text.encode() if isinstance(text, str) else text
    return envelope_of(xml_reader.read(data), NOON)


def inside(text: str) -> Envelope:
    return read(f'<fipa-message act="inform">{text}</fipa-message>')


@settings(max_examples=400)
@given(envelopes())
def test_round_trip(envelope: Envelope) -> None:
    """Every envelope comes back from its document as it was, content byte for byte."""
    insist_it_comes_back(envelope, xml_writer.write, read)


def test_golden() -> None:
    """The document has the shape of FIPA's document type."""
    assert xml_writer.write(full()).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<fipa-message act="request" conversation-id="c-1">\n'
        '  <sender><agent-identifier><name id="alice@here"/></agent-identifier></sender>\n'
        '  <receiver><agent-identifier><name id="bob@here"/></agent-identifier>'
        '<agent-identifier><name id="carol@there"/></agent-identifier></receiver>\n'
        '  <content>((action (agent-identifier :name bob@here) (open "door")))</content>\n'
        "  <language>fipa-sl</language>\n"
        "  <content-language-encoding>utf-8</content-language-encoding>\n"
        "  <ontology>doors</ontology>\n"
        "  <protocol>fipa-request</protocol>\n"
        "  <reply-with>r-1</reply-with>\n"
        "  <in-reply-to>q 7</in-reply-to>\n"
        '  <reply-to><agent-identifier><name id="dave@here"/></agent-identifier></reply-to>\n'
        '  <reply-by time="20360501T120000250Z"/>\n'
        '  <user-defined href="X-Note">by hand</user-defined>\n'
        "</fipa-message>\n"
    )


def test_a_message_in_fipas_shape() -> None:
    """Addresses and resolvers are read over; other programs' spellings of names are known."""
    envelope = read(
        """<?xml version="1.0"?>
        <!-- as others write it -->
        <fipa-message communicative-act="CFP">
          <sender><agent-identifier><name refid="j@platform.com"/>
            <addresses><url href="http://platform.com:7778/acc"/><url>iiop://x</url></addresses>
            <resolvers><agent-identifier><name id="ams@x"/></agent-identifier></resolvers>
          </agent-identifier></sender>
          <receiver>
            <agent-identifier><resolvers><agent-identifier><name>ams</name></agent-identifier>
              </resolvers><name> i </name></agent-identifier>
            <agent-identifier><name id="k"/></agent-identifier>
          </receiver>
          <content><![CDATA[(< 1 2)]]> &amp; &#x33;</content>
          <encoding>utf-8</encoding>
          <conversation-id>c-7</conversation-id>
          <reply-by time="+00000000T000010000"/>
          <user-defined href="x-caxton-priority">high</user-defined>
        </fipa-message>"""
    )
    assert (envelope.performative, envelope.sender) == ("CFP", "j@platform.com")
    assert envelope.receiver == ("i", "k")
    assert content_value(envelope) == "(< 1 2) & 3"
    assert (envelope.encoding, envelope.conversation_id) == ("utf-8", "c-7")
    assert envelope.priority.name == "HIGH"


@pytest.mark.parametrize("act", Performative)
def test_each_act(act: Performative) -> None:
    """Each of FIPA's acts is written and read by its own name."""
    envelope = read(f"<fipa-message act='{act}'/>")
    assert envelope.performative == act
    assert f'<fipa-message act="{act}">'.encode() in xml_writer.write(envelope)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "not XML: no element found at line 1, column 1"),
        ("(inform)", "not XML: syntax error at line 1, column 1"),
        ("<fipa-message act='x'>\n text</fipa-message>", "not FIPA XML: 'text' stands between elements"),
        ("<fipa-message act='x'>\n <content></b>", "not XML: mismatched tag at line 2, column 13"),
        ("<fipa-message act='x'/><b/>", "not XML: junk after document element at line 1, column 24"),
        ("<fipa-message/>", "not FIPA XML: fipa-message has no attribute act, at line 1, column 1"),
        ("<message/>", "not FIPA XML: the root is 'message' and not fipa-message, at line 1, column 1"),
        ("<fipa-message act='a' act='b'/>", "not XML: duplicate attribute at line 1"),
        ("<fipa-message act='&e;'/>", "not XML: undefined entity at line 1"),
        ("<?xml version='1.0' encoding='latin-1'?><fipa-message act='x'/>", "not FIPA XML: the document says it is in 'latin-1'"),
        ("<!DOCTYPE fipa-message><fipa-message act='x'/>", "not FIPA XML: a document type is not taken, nor entities that it could define, at line 1"),
        ("\n<!DOCTYPE x [<!ENTITY a 'b'><!ENTITY c '&a;&a;'>]><fipa-message act='&c;'/>", "not FIPA XML: a document type is not taken"),
        ("<!DOCTYPE x SYSTEM 'file:///etc/passwd'><fipa-message act='x'/>", "not FIPA XML: a document type is not taken"),
        (b"<fipa-message act='\xff'/>", "not UTF-8 at byte 19"),
        ("<fipa-message act='x'/>".encode("utf-16"), "not UTF-8 at byte 0"),
    ],
)  # fmt: skip
def test_malformed(written: str | bytes, reason: str) -> None:
    """What is no such document is refused with the place where it ends to be one."""
    with pytest.raises(MalformedEnvelope) as caught:
        read(written)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("hello", "'hello' stands between elements, and ends, at line 1, column 33"),
        ("<content>a<b/></content>", "the element 'b' stands in a text: write &lt; or <![CDATA[, at line 1, column 38"),
        ("<content href='http://x/'/>", "content lies elsewhere (href), and nothing is fetched"),
        ("<reply-by/>", "reply-by has no attribute time"),
        ("<receiver/>", "receiver has 0 agents"),
        ("<receiver>bob</receiver>", "'bob' stands between elements"),
        ("<receiver><bob/></receiver>", "'bob' stands where agent-identifier should"),
        ("<receiver><agent-identifier/></receiver>", "the agent has no name"),
        ("<receiver><agent-identifier><name/></agent-identifier></receiver>", "the agent has no name"),
        ("<receiver><agent-identifier><nom/></agent-identifier></receiver>", "an agent-identifier has no 'nom'"),
        ("<receiver><agent-identifier><name id='a'/><name id='b'/></agent-identifier></receiver>", "the agent has two names"),
        ("<sender><agent-identifier><name id='a'/></agent-identifier><agent-identifier><name id='b'/></agent-identifier></sender>", "sender has 2 agents"),
        ("<user-defined href='content'>x</user-defined>", "user-defined has no attribute href that begins with X-"),
    ],
)  # fmt: skip
def test_misplaced(written: str, reason: str) -> None:
    """Everything has its place, and what stands elsewhere is refused where it begins."""
    with pytest.raises(MalformedEnvelope) as caught:
        inside(written)
    assert caught.value.reason.startswith(f"not FIPA XML: {reason}")
    assert ", at line 1, column " in caught.value.reason


@pytest.mark.parametrize(
    ("written", "field", "reason"),
    [
        ("<content/><content/>", "content", "is given twice, again at line 1, column 48"),
        ("<encoding>a</encoding><content-language-encoding>a</content-language-encoding>", "encoding", "is given twice"),
        ("<user-defined href='X-a'/><user-defined href='X-a'/>", "X-a", "is given twice"),
        ("<reciever/>", "reciever", "is not a parameter of an ACL message, at line 1, column 28"),
        ("<language/>", "language", "must not be empty"),
        ("<reply-by time='soon'/>", "reply_by", "is not a FIPA date-time"),
    ],
)  # fmt: skip
def test_invalid(written: str, field: str, reason: str) -> None:
    """A parameter with a wrong value is named, as it is in JSON."""
    with pytest.raises(InvalidEnvelope) as caught:
        inside(written)
    assert (caught.value.field, caught.value.reason[: len(reason)]) == (field, reason)


def test_depth() -> None:
    """Elements within each other are counted, and a hundred thousand of them are refused at 16."""
    deep = "<receiver><agent-identifier>" + "<resolvers><agent-identifier>" * 50_000
    with pytest.raises(MalformedEnvelope) as caught:
        inside(deep)
    assert "elements nested too deeply, at line 1" in caught.value.reason
    assert caught.value.limit == 16


def test_nothing_takes_long() -> None:
    """A megabyte of tags, attributes or names is read once, and refused."""
    agent = b'<agent-identifier><name id="a"/></agent-identifier>'
    for body in (
        b"<a>" * 400_000,
        b'<fipa-message act="inform" ' + b" ".join(b'a%d=""' % n for n in range(100_000)),
        b'<fipa-message act="inform"><receiver>' + agent * 25_000,
        b'<fipa-message act="inform"><content>' + b"&amp;" * 250_000,
    ):
        with pytest.raises(CaxtonError):
            read(body)


def test_what_xml_cannot_say() -> None:
    """A control character keeps JSON's escape; what has none is refused, and shown."""
    escaped = Envelope(performative="inform", content=b'"a\\u0000"')  # type: ignore[arg-type] # Raw
    assert content_value(read(xml_writer.write(escaped))) == "a\0"
    for wrong in (
        Envelope(performative="inform", content='["\ufffe"]'.encode()),  # type: ignore[arg-type] # Raw
        Envelope(performative="inform\x00"),
    ):
        with pytest.raises(InvalidEnvelope, match="XML has no form"):
            xml_writer.write(wrong)
