"""Messages in FIPA's own encodings that are none, mean two things, or are meant to do harm."""

from __future__ import annotations

from caxton_nats.core.errors import MessageTooLarge
from tests.bad_input.case import Case, Refused, invalid, malformed

_STRING, _XML, _BITS = (f"fipa.acl.rep.{one}.std" for one in ("string", "xml", "bitefficient"))
_MANY = b'<agent-identifier><name id="a"/></agent-identifier>'


def _case(named: str, name: str, body: bytes, refused: Refused | None) -> Case:
    short = named.split(".")[3] if named.count(".") == 4 else "named"
    return Case(f"{short}-{name}", body, refused, headers={"ACL-Representation": named})


def _string(name: str, parameters: bytes, refused: Refused | None) -> Case:
    return _case(_STRING, name, b"(inform :receiver bob " + parameters + b")", refused)


def _xml(name: str, inner: bytes, refused: Refused | None) -> Case:
    receiver = b'<receiver><agent-identifier><name id="bob"/></agent-identifier></receiver>'
    body = b'<fipa-message act="inform">' + receiver + inner + b"</fipa-message>"
    return _case(_XML, name, body, refused)


def _bits(name: str, parameters: bytes, refused: Refused | None) -> Case:
    body = b"\xfa\x10\x08\x03\x02\x10bob\0\x01\x01" + parameters + b"\x01"
    return _case(_BITS, name, body, refused)


_LEAST = b"(inform :receiver bob)"
REPRESENTATIONS = [
    Case("string-unnamed", _LEAST, malformed("not a JSON object", hint="ACL-Representation")),
    Case("xml-unnamed", b"<fipa-message/>", malformed("not a JSON object", hint="ACL-Representation")),
    Case("bits-unnamed", b"\xfa\x10\x08\x01", malformed("not UTF-8", hint="ACL-Representation")),
    _case("fipa.acl.rep.sl.std", "unknown", _LEAST, invalid("ACL-Representation", "is no representation", value="'fipa.acl.rep.sl.std'", hint=_STRING)),
    _case("\x1b[2J" + "x" * 900, "junk", _LEAST, invalid("ACL-Representation", "is no representation")),
    _case("String", "short", _LEAST, None),
    _case(_STRING, "json", b'{"performative":"inform"}', malformed("not a FIPA string: a message begins with (, but at line 1, column 1")),
    _case(_XML, "json", b'{"performative":"inform"}', malformed("not XML: not well-formed (invalid token) at line 1, column 1")),
    _case(_BITS, "json", b'{"performative":"inform"}', malformed("not FIPA's bytes: it begins with 0x7b")),
    *(
        _case(named, "too-large", b"(" * 2_000_000, Refused(MessageTooLarge, "content", "the message is larger", 1_463_637, 2_000_000))
        for named in (_STRING, _XML, _BITS)
    ),
    _case(_STRING, "empty", b"", malformed("not a FIPA string: a message begins with (, but at line 1, column 1 is the end", hint="(inform")),
    _case(_STRING, "no-receiver", b"(inform)", invalid("receiver", "is missing or empty", limit=1, value=0)),
    _case(_STRING, "no-act", b"(tell :receiver bob)", invalid("performative", "is none of FIPA's", value="'tell'")),
    _case(_STRING, "deep", b"(inform :content " + b"(" * 900_000, malformed("too many words and brackets up to line 1, column 1000", limit=100_000)),
    _case(_STRING, "not-closed", b'(inform\n :content "a', malformed('the string that begins at line 2, column 11 has no closing "')),
    _string("not-utf-8", b':content "\xe9"', malformed("not UTF-8: what begins at line 1, column 32")),
    _string("count-too-large", b':content #999999999"a"', malformed("the 999999999 bytes that begin at line 1, column 32", limit=999_999_999)),
    _string("twice", b":content a :content b", invalid("content", "is given twice, again at line 1, column 34")),
    _string("unknown", b":reciever bob", invalid("reciever", "is not a parameter of an ACL message, at line 1, column 23", hint="X-")),
    _string("unknown-escape", b":\x1b[2J bob", invalid("\\x1b[2J", "is not a parameter")),
    _string("parameters-2-000", b" ".join(b":X-%d a" % n for n in range(2_000)), invalid("user_defined", "too many X- parameters", limit=32, value=2_000)),
    _string("parameters-33", b" ".join(b":X-%d a" % n for n in range(33)), invalid("user_defined", "too many X- parameters", limit=32, value=33)),
    _string("sender", b":sender alice", invalid("sender", "the body says it is from 'alice'")),
    _string("reply-by", b":reply-by 20361301T000000000Z", invalid("reply_by", "is no date: month", hint="20300131")),
    _string("reply-by-local", b":reply-by 20361201T000000000", invalid("reply_by", "has no time zone")),
    _string("protocol", b":protocol fipa-request", invalid("conversation_id", "a message of an interaction protocol")),
    _string("json-that-is-none", b':content "{" :language json', invalid("content", "is said to be JSON and is not")),
    _string("json-too-deep", b':language json :content "' + b"[" * 400_000 + b"]" * 400_000 + b'"', Refused(malformed("").kind, "content", "JSON nested too deeply", 500)),
    _string("claim", b':X-Caxton-Claim "{\\"object\\":\\"bob.x\\",\\"size\\":1,\\"sha256\\":\\"\\"}"', invalid("claim", "names an object whose name does not start with")),
    _string("claim-of-junk", b":X-Caxton-Claim x", invalid("X-Caxton-Claim", "has a wrong value", value="'x'")),
    _string("receivers-20-000", b":reply-to (set " + b"a " * 20_000 + b")", invalid("reply_to", "names too many agents", limit=1_000, value=20_000)),
    _string("lists", b':content (a (b "c)" (d))) :X-a (set b)', None),
    _string("addresses", b":reply-to (agent-identifier :name carol :addresses (sequence http://x/) :resolvers (sequence (agent-identifier :name ams)))", None),
    _string("large", b':content "' + b"x" * 900_000 + b'"', None),
    _xml("least", b"", None),
    _case(_XML, "bomb", b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><fipa-message act="&b;"/>', malformed("not FIPA XML: a document type is not taken", hint="<fipa-message")),
    _case(_XML, "external", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><fipa-message act="inform"/>', malformed("not FIPA XML: a document type is not taken")),
    _case(_XML, "utf-16", '<fipa-message act="inform"/>'.encode("utf-16"), malformed("not UTF-8 at byte 0")),
    _xml("entity", b"<content>&x;</content>", malformed("not XML: undefined entity at line 1, column 111")),
    _xml("href", b'<content href="http://x/"/>', malformed("not FIPA XML: content lies elsewhere (href), and nothing is fetched, at line 1, column 102")),
    _xml("deep", b"<reply-to><agent-identifier>" + b"<resolvers><agent-identifier>" * 9_000, malformed("not FIPA XML: elements nested too deeply, at line 1", limit=16)),
    _xml("addresses-100-000", b"<reply-to><agent-identifier><addresses>" + b"<url/>" * 100_000, malformed("not FIPA XML: too many elements, at line 1", limit=100_000)),
    _xml("control", b"<content>&#1;</content>", malformed("not XML: reference to invalid character number")),
    _xml("nul", b"<content>\0</content>", malformed("not XML: not well-formed (invalid token)")),
    _xml("twice", b"<content/><content/>", invalid("content", "is given twice, again at line 1, column ")),
    _xml("unknown", b"<reciever/>", invalid("reciever", "is not a parameter of an ACL message, at line 1, column 102")),
    _xml("namespace", b'<x:content xmlns:x="y"/>', invalid("x:content", "is not a parameter")),
    _xml("receivers-20-000", b"<reply-to>" + _MANY * 20_000 + b"</reply-to>", invalid("reply_to", "names too many agents", limit=1_000, value=20_000)),
    _xml("character-data", b"<content><![CDATA[</content>]]></content><!-- x --><?y z?>", None),
    _case(_BITS, "table", b"\xfb\x10\x08\x01", malformed("not FIPA's bytes: it needs a code table")),
    _bits("cut", b"\x04\x16\xff", malformed("not FIPA's bytes: at byte 15 something is cut off", limit=255, value=1)),
    _bits("count-too-large", b"\x04\x19\xff\xff\xff\xff", malformed("not FIPA's bytes: at byte 18 something is cut off", limit=4_294_967_295)),
    _bits("not-utf-8", b"\x04\x14\xff\0", malformed("not FIPA's bytes: not UTF-8 is the text that ends, at byte ")),
    _bits("twice", b"\x04\x14a\0\x04\x14a\0", invalid("content", "is given twice, again at byte 16")),
    _bits("deep", b"\x08" + b"\x02\x10a\0\x03" * 9_000, malformed("resolvers nested too deeply at byte ", limit=16)),
    _bits("lists-1-000-000", b"\x0b" + b"\x60" * 1_000_000, malformed("too many values up to byte 10000", limit=100_000)),
    _bits("behind", b"\x01", malformed("not FIPA's bytes: something stands behind the message")),
    _bits("any-bytes", b"\x04\x16\x03\x00\xff\x01", None),
]  # fmt: skip
