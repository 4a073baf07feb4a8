"""wire: words, strings, numbers, lists and times of the bit-efficient encoding (SC00069)."""

from __future__ import annotations

from typing import NoReturn

from caxton_nats.core import bit_codes as code
from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.parameters import MOST_PARTS
from caxton_nats.core.string_writer import quoted, worded

_TIMES = {code.TIME: "", code.LATER: "+", code.EARLIER: "-"}
_LENGTHS = {code.LENGTH_1: 1, code.LENGTH_2: 2, code.LENGTH_4: 4}
# By the low nibble of a list's first or last item: there a byte string of four has the 8.
_ITEMS = {**{low: 0x10 + low for low in range(8)}, 8: code.LENGTH_4, 9: 0x18}
_NUMBERS = (0x12, 0x13)


class Values:
    """Reads one value after the other; each raises `MalformedEnvelope` if it is none."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first byte."""
        self.data = data
        self.at = 0
        self._parts = 0

    def expression(self) -> str:
        """Return an expression as the string encoding would write it."""
        kind = self.byte()
        if kind == code.AS_STRING:
            kind = self.byte()
        if kind & 0xF0 not in (code.LIST, code.LIST_WITH):
            return self._item(kind)
        parts: list[str] = []
        depth = self._part(kind, parts)
        while depth:
            depth += self._part(self.byte(), parts)
        return "".join(parts)

    def _part(self, kind: int, parts: list[str]) -> int:
        """Add one piece of a list; return by how much it leads into another one."""
        high, low = kind & 0xF0, kind & 0x0F
        gap = "" if not parts or parts[-1] == "(" else " "
        if begins := high in (code.LIST, code.LIST_WITH):
            parts += [gap, "("]
            gap = ""
        if high in (code.LIST_WITH, code.LIST_END_WITH):
            kind = _ITEMS.get(low, kind)
        if kind not in (code.LIST, code.LIST_END):
            parts += [gap, self._listed(kind)]
        if ends := high in (code.LIST_END, code.LIST_END_WITH):
            parts.append(")")
        return begins - ends

    def _listed(self, kind: int) -> str:
        text = self._item(kind)
        if kind == code.WORD:
            return worded(text)
        return text if kind in _NUMBERS else quoted(text)

    def _item(self, kind: int) -> str:
        if kind == code.WORD:
            return self._ended()
        if kind in _NUMBERS:
            return self._number()
        value = self.string(kind)
        return value if isinstance(value, str) else self._text(value)

    def word(self) -> str:
        """Read a word."""
        kind = self.byte()
        if kind != code.WORD:
            self._refuse_index(kind)
            self.refuse(f"{kind:#04x} stands where a word (0x10) should")
        return self._ended()

    def string(self, kind: int) -> str | bytes:
        """Read what follows the code of a string: text, or bytes behind their length."""
        if kind == code.STRING:
            return self._ended()
        if kind not in _LENGTHS:
            self._refuse_index(kind)
            self.refuse(f"{kind:#04x} is no kind of value that may stand here")
        return self._taken(int.from_bytes(self._taken(_LENGTHS[kind])))

    def _ended(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            self.refuse("the text that follows has no end (0x00)")
        value = self.data[self.at : end]
        self.at = end + 1
        return self._text(value)

    def _number(self) -> str:
        digits: list[str] = []
        while True:
            byte = self.byte()
            for nibble in (byte >> 4, byte & 0x0F):
                if not nibble:
                    return "".join(digits)
                digits.append(self._digit(nibble))

    def time(self) -> str:
        """Read a date-time, as a token of the string encoding."""
        kind = self.byte()
        sign = _TIMES.get(kind & ~code.DESIGNATED)
        if sign is None:
            self.refuse(f"{kind:#04x} is no kind of date-time")
        nibbles = [nibble for byte in self._taken(9) for nibble in (byte >> 4, byte & 0x0F)]
        digits = "".join(map(self._digit, nibbles[:17]))
        zone = chr(self.byte()) if kind & code.DESIGNATED else ""
        return f"{sign}{digits[:8]}T{digits[8:]}{zone}"

    def _digit(self, nibble: int) -> str:
        if nibble not in code.NIBBLES:
            self.refuse(f"{nibble:#x} is no digit")
        return code.NIBBLES[nibble]

    def _text(self, value: bytes) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("not UTF-8 is the text that ends")

    def peek(self) -> int:
        """Return the next byte, and leave it there."""
        return self.data[self.at] if self.at < len(self.data) else self.byte()

    def byte(self) -> int:
        """Read one byte: a code, or two digits, and only so many of them."""
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise MalformedEnvelope(f"too many values up to byte {self.at}", limit=MOST_PARTS)
        return self._taken(1)[0]

    def _taken(self, size: int) -> bytes:
        value = self.data[self.at : self.at + size]
        if len(value) < size:
            reason = f"not FIPA's bytes: at byte {self.at} something is cut off"
            raise MalformedEnvelope(reason, limit=size, value=len(value))
        self.at += size
        return value

    def _refuse_index(self, kind: int) -> None:
        if kind in (0x11, 0x15, 0x18):
            self.refuse(f"{kind:#04x} refers to a code table; write the word out")

    def refuse(self, reason: str) -> NoReturn:
        """Raise `MalformedEnvelope` with the byte that was read last."""
        raise MalformedEnvelope(f"not FIPA's bytes: {reason}, at byte {max(0, self.at - 1)}")
