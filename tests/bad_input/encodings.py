"""Bytes that are no JSON, JSON that is no message, and JSON that means two things."""

from __future__ import annotations

import json

from caxton_nats.core.errors import MessageTooLarge
from tests.bad_input.case import Case, Refused, invalid, malformed, message, with_member

_LEAST = message().decode()
_NOT_JSON = "not a JSON object: "


def _values() -> list[Case]:
    """Content that is JSON, whatever a reader thinks of it: it is carried byte for byte."""
    texts = {
        "null": b"null",
        "minus-zero": b"-0",
        "exponent": b"1E+5",
        "large-exponent": b"1e999",
        "5-000-digits": b"1" * 5_000,
        "900-000-digits": b"1" * 900_000,
        "repeated-keys": b'{"a":1,"a":2}',
        "class": b'{"__class__":"os.system","__proto__":{"x":1}}',
        "nul-escape": b'"a\\u0000b"',
        "pair": b'"\\ud83d\\ude00"',
        "400-levels": b"[" * 400 + b"]" * 400,
        "80-000-keys": json.dumps({f"k{n}": n for n in range(60_000)}).encode(),
        "300-000-lists": b"[" + b",".join([b"[]"] * 300_000) + b"]",
        "1-MB": b'"' + b"x" * 900_000 + b'"',
        "spaces": b" [ 1 , 2 ] ",
    }
    return [
        Case(f"content-{name}", with_member(b'"content":' + text), None)
        for name, text in texts.items()
    ]


ENCODINGS = [
    Case("empty", b"", malformed("the message is empty", hint="UTF-8")),
    Case("blank", b" \r\n", malformed("the message is empty")),
    Case("text", b"hello", malformed(_NOT_JSON)),
    *(
        Case(f"top-{name}", body, malformed("the top level of a message is a JSON object"))
        for name, body in (("null", b"null"), ("list", b"[]"), ("number", b"1"), ("string", b'"x"'))
    ),
    Case("object-of-nothing", b"{}", invalid("performative", "is missing")),
    *(
        Case(f"not-json-{name}", body, malformed(_NOT_JSON))
        for name, body in (
            ("cut", _LEAST[:-1].encode()),
            ("two", f"{_LEAST} {{}}".encode()),
            ("nul-behind", f"{_LEAST}\0".encode()),
            ("comment", f"/* */{_LEAST}".encode()),
            ("single-quotes", _LEAST.replace('"', "'").encode()),
            ("trailing-comma", f"{_LEAST[:-1]},}}".encode()),
            ("nan", with_member(b'"content":NaN')),
            ("infinity", with_member(b'"content":-Infinity')),
            ("leading-zero", with_member(b'"content":01')),
            ("hex", with_member(b'"content":0x10')),
            ("control", with_member(b'"content":"a\x01b"')),
            ("escape", with_member(b'"content":"\\x41"')),
        )
    ),
    Case("newline-behind", f"{_LEAST}\r\n".encode(), None),
    Case("mark", b"\xef\xbb\xbf" + _LEAST.encode(), malformed("the text begins with a byte order mark")),
    Case("utf-16", _LEAST.encode("utf-16"), malformed("the text begins with a byte order mark")),
    Case("utf-16-le", _LEAST.encode("utf-16-le"), malformed("the text is UTF-16, not UTF-8")),
    Case("utf-16-be", _LEAST.encode("utf-16-be"), malformed("the text is UTF-16, not UTF-8")),
    Case("utf-32", _LEAST.encode("utf-32"), malformed("the text begins with a byte order mark")),
    *(
        Case(f"not-utf-8-{name}", with_member(body), malformed("not UTF-8 at byte "))
        for name, body in (
            ("latin-1", b'"content":"\xe9"'),
            ("latin-1-name", b'"\xe9":1'),
            ("overlong", b'"content":"\xc0\xaf"'),
            ("surrogate", b'"content":"\xed\xa0\x80"'),
            ("says-utf-8", b'"encoding":"utf-8","content":"\xe9"'),
            ("cut", b'"content":"\xf0\x9f\x98"'),
        )
    ),
    *(
        Case(f"half-a-pair-{name}", with_member(body), malformed("half of a surrogate pair"))
        for name, body in (
            ("content", rb'"content":"\ud800"'),
            ("low", rb'"content":"\ude00\ud83d"'),
            ("name", rb'"\ud800":1'),
            ("parameter", rb'"X-a":"\udfff"'),
        )
    ),
    *(
        Case(f"twice-{name}", body, invalid(field, "is given twice"))
        for name, field, body in (
            ("sender", "sender", with_member(b'"sender":"alice","sender":"mallory"')),
            ("sender-same", "sender", with_member(b'"sender":"mallory","sender":"mallory"')),
            ("receiver", "receiver", with_member(b'"receiver":["carol"]')),
            ("alias", "receiver", with_member(b'"to":"carol"')),
            ("escaped", "sender", with_member(b'"s\\u0065nder":"alice","sender":"mallory"')),
            ("content", "content", with_member(b'"content":1,"content":2')),
            ("parameter", "X-a", with_member(b'"X-a":"1","X-a":"2"')),
            ("spaced", "content", with_member(b' "content" : 12 , "content" : 1 ')),
        )
    ),
    *(
        Case(f"deep-{name}", body, Refused(malformed("").kind, "content", "JSON nested too deeply", 500))
        for name, body in (
            ("900", with_member(b'"content":' + b"[" * 900 + b"]" * 900)),
            ("400-000", with_member(b'"content":' + b"[" * 400_000 + b"]" * 400_000)),
            ("objects", with_member(b'"content":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
            ("receivers", b'{"performative":"inform","receiver":' + b"[" * 9_000 + b"]" * 9_000 + b"}"),
        )
    ),
    Case("deep-unclosed", b"[" * 900_000, malformed("the top level of a message is a JSON object")),
    Case("unknown", message(reciever="bob"), invalid("reciever", "is not a field", hint="X-")),
    Case("unknown-escape", message(**{"\x1b[2J": 1}), invalid("\\x1b[2J", "is not a field")),
    Case("unknown-long", message(**{"z" * 900_000: 1}), invalid("z" * 60, "is not a field")),
    Case("unknown-class", message(__class__="x"), invalid("__class__", "is not a field")),
    Case(
        "80-000-unknown",
        json.dumps({f"k{n}": 1 for n in range(80_000)}).encode(),
        invalid("k0", "is not a field"),
    ),
    Case(
        "parameters-60-000",
        message(**{f"X-{n}": "" for n in range(60_000)}),
        invalid("user_defined", "too many X- parameters", limit=1_000, value=60_000),
    ),
    Case(
        "parameters-33",
        message(**{f"X-{n}": "" for n in range(33)}),
        invalid("user_defined", "too many X- parameters", limit=32, value=33),
    ),
    Case("parameter-number", message(**{"X-a": 1}), invalid("X-a", "must be a text", value="1")),
    Case("parameter-long", message(**{"X-a": "x" * 4_097}), invalid("X-a", "must have 1 to 4096", limit=4096, value=4097)),
    Case("parameter-control", message(**{"X-a": "a\nb"}), invalid("X-a", "contains a control", value="'\\n'")),
    Case("parameter-odd", message(**{"X-a": "", "x-b": " ", "X-ü": "é世界"}), None),
    Case(
        "too-large",
        message(content="x" * 1_048_576),
        Refused(MessageTooLarge, "content", "the content is larger", 1_048_576, 1_048_578, "send less"),
    ),
    Case(
        "too-large-to-read",
        b"x" * 2_000_000,
        Refused(MessageTooLarge, "content", "the message is larger", 1_463_637, 2_000_000),
    ),
    *(
        Case(f"base64-{name}", message(encoding="base64", content=content), invalid("content", "encoding is base64"))
        for name, content in (("junk", "###"), ("object", {}), ("url", "_-8="), ("bare", "YQ"), ("null", None), ("spaced", "YQ==\n"))
    ),
    Case("base64-bomb", message(encoding="base64", content="H4sIAAAAAAACA+3BMQEAAADCoPVPbQ0PoAAAAA=="), None),
    Case("encoding-unknown", message(encoding="gzip", content="x"), None),
    *_values(),
]  # fmt: skip
