"""wire: the words, strings and brackets of FIPA's string encoding (SC00070), and where they are."""

from __future__ import annotations

import re
from typing import NamedTuple

from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.parameters import MOST_PARTS

_GAP = re.compile(rb"[ \t\r\n]*+")
# Possessive: a long run of escapes must not be remembered step by step.
_STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_BYTES = re.compile(rb'#([0-9]{1,9})"')
_WORD = re.compile(rb'[^ \t\r\n()"]++')
_ESCAPED = re.compile(rb'\\(["\\])')


class Token(NamedTuple):
    """One piece of a message, and the byte at which it begins."""

    kind: str  # ( ) string bytes word, or "" at the end
    value: bytes
    at: int


class Tokens:
    """Reads one token after the other; `MalformedEnvelope` if there is none, or too many."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first byte."""
        self._data = data
        self._parts = 0
        self.at = 0  # where it is read on; it may be set back

    def next(self) -> Token:
        """Read the next token."""
        self._parts += 1
        if self._parts > MOST_PARTS:
            where = self.where(self.at)
            raise MalformedEnvelope(f"too many words and brackets up to {where}", limit=MOST_PARTS)
        gap = _GAP.match(self._data, self.at)
        at = self.at = gap.end() if gap else self.at
        first = self._data[at : at + 1]
        if first in (b"(", b")", b""):
            self.at += len(first)
            return Token(first.decode(), first, at)
        if first == b'"':
            return self._string(at)
        counted = _BYTES.match(self._data, at)
        if counted is not None:
            return self._counted(counted, at)
        word = _WORD.match(self._data, at)
        self.at = word.end() if word else at
        return Token("word", word[0] if word else b"", at)

    def _string(self, at: int) -> Token:
        found = _STRING.match(self._data, at)
        if found is None:
            raise MalformedEnvelope(f'the string that begins at {self.where(at)} has no closing "')
        self.at = found.end()
        return Token("string", _ESCAPED.sub(rb"\1", found[1]), at)

    def _counted(self, counted: re.Match[bytes], at: int) -> Token:
        size, begins = int(counted[1]), counted.end()
        value = self._data[begins : begins + size]
        self.at = begins + size + 1
        if self._data[self.at - 1 : self.at] != b'"':
            raise MalformedEnvelope(
                f'the {size} bytes that begin at {self.where(at)} are not followed by "',
                limit=size,
                value=len(self._data) - begins,
            )
        return Token("bytes", value, at)

    def text(self, token: Token) -> str:
        """Return what a token says."""
        return self._decoded(token.value, token.at)

    def written(self, token: Token) -> str:
        """Return everything from a token to where is read on, as it is written."""
        return self._decoded(self._data[token.at : self.at], token.at)

    def _decoded(self, value: bytes, at: int) -> str:
        if value.isascii():
            return value.decode()
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedEnvelope(f"not UTF-8: what begins at {self.where(at)}") from None

    def where(self, at: int) -> str:
        """Say a place by line and column, both from 1."""
        begins = self._data.rfind(b"\n", 0, at) + 1
        column = len(self._data[begins:at].decode("utf-8", "replace")) + 1
        line = self._data.count(b"\n", 0, at) + 1
        return f"line {line}, column {column}"
