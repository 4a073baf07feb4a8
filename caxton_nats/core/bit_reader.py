"""wire: FIPA's bit-efficient encoding (SC00069) read; each message stands alone.

A message that refers to a code table is refused: the table would have been built up with its
sender, and any router may read the next message. Every complaint says at which byte, from 0.
"""

from __future__ import annotations

from functools import partial

from caxton_nats.core import bit_codes as code
from caxton_nats.core.bit_values import Values
from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.parameters import AGENTS, Message, Value, parameter, put

MOST_DEPTH = 16  # agents among the resolvers of each other
_ACTS = {number: act for act, number in code.ACTS.items()}
_PARAMETERS = {number: name for name, number in code.PARAMETERS.items()}


def read(data: bytes) -> Message:
    """Return the message of FIPA's bytes; `MessageError` says at which byte it ends to be one."""
    return _Reader(data).message()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._values = Values(data)

    def message(self) -> Message:
        kind = self._values.byte()
        if kind in (code.NO_TABLE + 1, code.NO_TABLE + 2):
            self._values.refuse("it needs a code table; begin with 0xFA, and write each word out")
        if kind != code.NO_TABLE:
            self._values.refuse(f"it begins with {kind:#04x}, and such a message begins with 0xfa")
        if self._values.byte() != code.VERSION:
            self._values.refuse("its version is not 1.0 (0x10)")
        act = self._act(self._values.byte())
        parameters: dict[str, Value] = {}
        while (known := self._values.byte()) != code.END:
            where = partial("byte {}".format, self._values.at - 1)
            name = self._name(known)
            put(parameters, parameter(name, where), self._value(name), where)
        if self._values.at < len(self._values.data):
            self._values.byte()
            self._values.refuse("something stands behind the message")
        return Message(act, parameters)

    def _act(self, known: int) -> str:
        if known == code.OWN:
            return self._values.word()
        if known not in _ACTS:
            self._values.refuse(f"there is no act {known:#04x}")
        return _ACTS[known]

    def _name(self, known: int) -> str:
        if known == code.OWN:
            name = self._values.word()
            if name[:2] not in ("X-", "x-"):
                self._values.refuse(f"{name[:60]!a} is a parameter of its sender's own, without X-")
            return name
        if known not in _PARAMETERS:
            self._values.refuse(f"there is no parameter {known:#04x}")
        return _PARAMETERS[known]

    def _value(self, name: str) -> Value:
        if name == "sender":
            return (self._agent(0),)
        if name in AGENTS:
            return tuple(self._agents(0))
        if name == "content":
            return self._values.string(self._values.byte())
        if name == "reply-by":
            return self._values.time()
        return self._values.word() if name == "protocol" else self._values.expression()

    def _agents(self, depth: int) -> list[str]:
        names: list[str] = []
        while self._values.peek() != code.END:
            names.append(self._agent(depth))
        self._values.byte()
        return names

    def _agent(self, depth: int) -> str:
        if depth > MOST_DEPTH:
            reason = f"resolvers nested too deeply at byte {self._values.at}"
            raise MalformedEnvelope(reason, limit=MOST_DEPTH)
        if self._values.byte() != code.AGENT:
            self._values.refuse("an agent is missing (0x02)")
        name = self._values.word()
        while (slot := self._values.byte()) != code.END:
            if slot == code.ADDRESSES:
                while self._values.peek() != code.END:
                    self._values.word()
                self._values.byte()
            elif slot == code.RESOLVERS:
                self._agents(depth + 1)
            elif slot == code.OWN_SLOT:
                self._values.word()
                self._values.expression()
            else:
                self._values.refuse(f"an agent has no slot {slot:#04x}")
        return name
