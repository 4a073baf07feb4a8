"""wire: FIPA's string encoding (SC00070) read, strict in shape and generous in spelling.

One S-expression, keywords in any case. Where FIPA wants an agent-identifier, a name alone is
taken, too, and where it wants a set, one agent is. Nothing is built of what is not kept: lists are
walked over, however deep. Every complaint says line and column, both from 1.
"""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple

from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.parameters import AGENTS, Message, Value, parameter, put

MOST_AGENTS = 10_000
"""Names in one set: the most that any deployment allows."""
_GAP = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_BYTES = re.compile(rb'#([0-9]{1,9})"')
_WORD = re.compile(rb'[^ \t\r\n()"]++')
_ESCAPED = re.compile(rb'\\(["\\])')
_SETS = frozenset({"set", "sequence"})
_AGENT = "agent-identifier"
_LOOK = '(inform :receiver (set (agent-identifier :name bob)) :content "hello")'


class _Token(NamedTuple):
    kind: str
    """``(``, ``)``, ``string``, ``bytes``, ``word``, or "" at the end."""
    value: bytes
    at: int


def read(data: bytes) -> Message:
    """Return the message of a FIPA string.

    Raises:
        MalformedEnvelope: it is no S-expression of this shape, or not UTF-8.
        InvalidEnvelope: an unknown parameter, or one that is given twice.
    """
    return _Reader(data).message()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def message(self) -> Message:
        self._expect("(", "a message begins with (")
        act = self._text(self._expect("word", "the performative is missing"))
        parameters: dict[str, Value] = {}
        while (token := self._next()).kind != ")":
            # Said only if it is needed: it counts lines.
            where = partial(self._where, token.at)
            name = parameter(self._keyword(token), where)
            put(parameters, name, self._value(name), where)
        behind = self._next()
        if behind.kind:
            raise self._wrong("something stands behind the message", behind)
        return Message(act, parameters)

    def _value(self, name: str) -> Value:
        if name == "sender":
            return (self._agent(self._next()),)
        if name in AGENTS:
            return self._agents()
        token = self._next()
        if name == "content" and token.kind == "bytes":
            return token.value
        return self._expression(token)

    def _agents(self) -> tuple[str, ...]:
        began, first = self._at, self._next()
        if first.kind == "(":
            head = self._next()
            if head.kind == "word" and self._text(head).lower() in _SETS:
                names: list[str] = []
                while (token := self._next()).kind != ")":
                    names.append(self._agent(token))
                    if len(names) > MOST_AGENTS:
                        raise InvalidEnvelope(
                            "names too many agents", field="receiver", limit=MOST_AGENTS
                        )
                return tuple(names)
        self._at = began
        return (self._agent(self._next()),)

    def _agent(self, token: _Token) -> str:
        if token.kind in ("word", "string"):
            return self._plain(token)
        if token.kind != "(":
            raise self._wrong("an agent is missing", token)
        head = self._next()
        if head.kind != "word" or self._text(head).lower() != _AGENT:
            raise self._wrong("an agent begins with (agent-identifier", head)
        name = None
        while (key := self._next()).kind != ")":
            slot = self._keyword(key).lower()
            if slot not in ("name", "addresses", "resolvers") and not slot.startswith("x-"):
                raise self._wrong(f"an agent-identifier has no {slot[:60]!a}", key)
            value = self._expression(self._next())
            if slot == "name":
                if name is not None:
                    raise self._wrong("the agent has two names", key)
                name = value
        if name is None:
            raise self._wrong("the agent has no :name", token)
        return name

    def _expression(self, token: _Token) -> str:
        """Return an expression as text; a list as it is written."""
        if token.kind != "(":
            return self._plain(token)
        depth = 1
        while depth:
            inner = self._next()
            if not inner.kind:
                where = self._where(token.at)
                raise self._wrong(f"the list that begins at {where} does not end", inner)
            depth += (inner.kind == "(") - (inner.kind == ")")
        return self._decoded(self._data[token.at : self._at], token.at)

    def _plain(self, token: _Token) -> str:
        is_value = token.kind in ("word", "string", "bytes")
        if not is_value or (token.kind == "word" and token.value.startswith((b":", b"#"))):
            raise self._wrong("a value is missing", token)
        return self._text(token)

    def _keyword(self, token: _Token) -> str:
        if token.kind != "word" or not token.value.startswith(b":"):
            raise self._wrong("a parameter as :content, or ), is missing", token)
        return self._text(token)[1:]

    def _expect(self, kind: str, otherwise: str) -> _Token:
        token = self._next()
        if token.kind != kind:
            raise self._wrong(otherwise, token)
        return token

    def _next(self) -> _Token:
        gap = _GAP.match(self._data, self._at)
        at = self._at = gap.end() if gap else self._at
        first = self._data[at : at + 1]
        if first in (b"(", b")", b""):
            self._at += len(first)
            return _Token(first.decode(), first, at)
        if first == b'"':
            return self._string(at)
        counted = _BYTES.match(self._data, at)
        if counted is not None:
            return self._counted(counted, at)
        word = _WORD.match(self._data, at)
        self._at = word.end() if word else at
        return _Token("word", word[0] if word else b"", at)

    def _string(self, at: int) -> _Token:
        found = _STRING.match(self._data, at)
        if found is None:
            raise MalformedEnvelope(f'the string that begins at {self._where(at)} has no closing "')
        self._at = found.end()
        return _Token("string", _ESCAPED.sub(rb"\1", found[1]), at)

    def _counted(self, counted: re.Match[bytes], at: int) -> _Token:
        size, begins = int(counted[1]), counted.end()
        value = self._data[begins : begins + size]
        self._at = begins + size + 1
        if self._data[self._at - 1 : self._at] != b'"':
            raise MalformedEnvelope(
                f'the {size} bytes that begin at {self._where(at)} are not followed by "',
                limit=size,
                value=len(self._data) - begins,
            )
        return _Token("bytes", value, at)

    def _text(self, token: _Token) -> str:
        return self._decoded(token.value, token.at)

    def _decoded(self, value: bytes, at: int) -> str:
        if value.isascii():
            return value.decode()
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedEnvelope(f"not UTF-8: what begins at {self._where(at)}") from None

    def _where(self, at: int) -> str:
        begins = self._data.rfind(b"\n", 0, at) + 1
        column = len(self._data[begins:at].decode("utf-8", "replace")) + 1
        line = self._data.count(b"\n", 0, at) + 1
        return f"line {line}, column {column}"

    def _wrong(self, reason: str, token: _Token) -> MalformedEnvelope:
        found = ascii(token.value[:40].decode("utf-8", "replace")) if token.kind else "the end"
        return MalformedEnvelope(
            f"not a FIPA string: {reason}, but at {self._where(token.at)} is {found}", hint=_LOOK
        )
