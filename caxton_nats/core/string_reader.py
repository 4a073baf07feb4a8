"""wire: FIPA's string encoding (SC00070) read, strict in shape and generous in spelling.

Where FIPA wants an agent-identifier, a name alone is taken, too, and where it wants a set, one
agent is. Lists are walked over, however deep. Every complaint says line and column, both from 1.
"""

from __future__ import annotations

from functools import partial

from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.parameters import AGENTS, Message, Value, parameter, put
from caxton_nats.core.string_tokens import Token, Tokens

_SETS = frozenset({"set", "sequence"})
_AGENT = "agent-identifier"
_LOOK = '(inform :receiver (set (agent-identifier :name bob)) :content "hello")'


def read(data: bytes) -> Message:
    """Return the message of a FIPA string; `MessageError` says where it ends to be one."""
    return _Reader(data).message()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._tokens = Tokens(data)

    def message(self) -> Message:
        self._expect("(", "a message begins with (")
        act = self._tokens.text(self._expect("word", "the performative is missing"))
        parameters: dict[str, Value] = {}
        while (token := self._tokens.next()).kind != ")":
            # Said only if it is needed: it counts lines.
            where = partial(self._tokens.where, token.at)
            name = parameter(self._keyword(token), where)
            put(parameters, name, self._value(name), where)
        behind = self._tokens.next()
        if behind.kind:
            raise self._wrong("something stands behind the message", behind)
        return Message(act, parameters)

    def _value(self, name: str) -> Value:
        if name == "sender":
            return (self._agent(self._tokens.next()),)
        if name in AGENTS:
            return self._agents()
        token = self._tokens.next()
        if name == "content" and token.kind == "bytes":
            return token.value
        return self._expression(token)

    def _agents(self) -> tuple[str, ...]:
        began, first = self._tokens.at, self._tokens.next()
        if first.kind == "(":
            head = self._tokens.next()
            if head.kind == "word" and self._tokens.text(head).lower() in _SETS:
                names: list[str] = []
                while (token := self._tokens.next()).kind != ")":
                    names.append(self._agent(token))
                return tuple(names)
        self._tokens.at = began
        return (self._agent(self._tokens.next()),)

    def _agent(self, token: Token) -> str:
        if token.kind in ("word", "string"):
            return self._plain(token)
        if token.kind != "(":
            raise self._wrong("an agent is missing", token)
        head = self._tokens.next()
        if head.kind != "word" or self._tokens.text(head).lower() != _AGENT:
            raise self._wrong("an agent begins with (agent-identifier", head)
        name = None
        while (key := self._tokens.next()).kind != ")":
            slot = self._keyword(key).lower()
            if slot not in ("name", "addresses", "resolvers") and not slot.startswith("x-"):
                raise self._wrong(f"an agent-identifier has no {slot[:60]!a}", key)
            value = self._expression(self._tokens.next())
            if slot == "name":
                if name is not None:
                    raise self._wrong("the agent has two names", key)
                name = value
        if name is None:
            raise self._wrong("the agent has no :name", token)
        return name

    def _expression(self, token: Token) -> str:
        """Return an expression as text; a list as it is written."""
        if token.kind != "(":
            return self._plain(token)
        depth = 1
        while depth:
            inner = self._tokens.next()
            if not inner.kind:
                where = self._tokens.where(token.at)
                raise self._wrong(f"the list that begins at {where} does not end", inner)
            depth += (inner.kind == "(") - (inner.kind == ")")
        return self._tokens.written(token)

    def _plain(self, token: Token) -> str:
        is_value = token.kind in ("word", "string", "bytes")
        if not is_value or (token.kind == "word" and token.value.startswith((b":", b"#"))):
            raise self._wrong("a value is missing", token)
        return self._tokens.text(token)

    def _keyword(self, token: Token) -> str:
        if token.kind != "word" or not token.value.startswith(b":"):
            raise self._wrong("a parameter as :content, or ), is missing", token)
        return self._tokens.text(token)[1:]

    def _expect(self, kind: str, otherwise: str) -> Token:
        token = self._tokens.next()
        if token.kind != kind:
            raise self._wrong(otherwise, token)
        return token

    def _wrong(self, reason: str, token: Token) -> MalformedEnvelope:
        found = ascii(token.value[:40].decode("utf-8", "replace")) if token.kind else "the end"
        reason = f"not a FIPA string: {reason}, but at {self._tokens.where(token.at)} is {found}"
        return MalformedEnvelope(reason, hint=_LOOK)
