"""wire: FIPA's XML encoding (SC00071) read, by a parser that follows nothing.

A document type, and so every entity of one's own, is refused where it begins, and so is whatever
has no place; nothing is ever fetched. Every complaint says line and column, both from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.parsers import expat

from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.parameters import AGENTS, MOST_PARTS, TEXTS, Message, parameter, put

MOST_DEPTH = 16  # elements within each other
_ROOT, _AGENT, _OWN = "fipa-message", "agent-identifier", "user-defined"
_TEXT_ELEMENTS = frozenset({"content", "content-language-encoding", _OWN, *TEXTS})
_AGENT_ELEMENTS = frozenset({"sender", *AGENTS})
_LOOK = '<fipa-message act="inform"><receiver><agent-identifier><name id="bob"/>…'


def read(data: bytes) -> Message:
    """Return the message of a FIPA document; `MessageError` says where it ends to be one."""
    reader = _Reader(data)
    try:
        return reader.message()
    finally:
        # The parser and it know each other, and would keep the message.
        vars(reader).clear()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._act = ""
        self._parameters: dict[str, Any] = {}
        self._way: list[str] = []
        self._own = ""
        self._parts = 0
        self._text: list[str] = []
        self._agents: list[str | None] = []
        self._begins: dict[str, Callable[[str, Mapping[str, str]], None]] = {
            "document": self._begin_document,
            "message": self._begin_message,
            "agents": self._begin_agents,
            "agent": self._begin_agent,
            "text": self._begin_text,
            "anything": lambda _, __: None,
        }
        # Whatever the document says of itself: the bytes are read as UTF-8.
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.buffer_text = True
        self._parser.XmlDeclHandler = self._declared
        self._parser.StartDoctypeDeclHandler = self._document_type
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def message(self) -> Message:
        try:
            self._data.decode("utf-8")
            self._parser.Parse(self._data, True)
        except UnicodeDecodeError as error:
            raise MalformedEnvelope(f"not UTF-8 at byte {error.start}", hint=_LOOK) from None
        except expat.ExpatError as error:
            raise MalformedEnvelope(
                f"not XML: {expat.ErrorString(error.code)} at line {error.lineno},"
                f" column {error.offset + 1}",
                hint=_LOOK,
            ) from None
        return Message(self._act, self._parameters)

    def _declared(self, _: str, encoding: str | None, __: int) -> None:
        if encoding is not None and encoding.upper() not in ("UTF-8", "US-ASCII"):
            raise self._wrong(f"the document says it is in {encoding[:60]!a}, and UTF-8 is taken")

    def _document_type(self, *_: Any) -> None:
        raise self._wrong("a document type is not taken, nor entities that it could define")

    def _begin(self, name: str, attributes: Mapping[str, str]) -> None:
        if len(self._way) == MOST_DEPTH:
            raise self._wrong("elements nested too deeply", limit=MOST_DEPTH)
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self._wrong("too many elements", limit=MOST_PARTS)
        self._begins[self._place()](name, attributes)
        self._way.append(name)
        self._text.clear()

    def _end(self, name: str) -> None:
        self._way.pop()
        place = self._place()
        if place == "message":
            self._take(name)
        elif name == "name" and place == "agent" and self._agents[-1] is None:
            # Some write it as text.
            self._agents[-1] = "".join(self._text).strip() or None
        elif name == _AGENT and place == "agents" and self._agents[-1] is None:
            raise self._wrong("the agent has no name")
        self._text.clear()

    def _take(self, name: str) -> None:
        if name in _AGENT_ELEMENTS:
            agents = tuple(one for one in self._agents if one is not None)
            if not agents or (name == "sender" and len(agents) > 1):
                raise self._wrong(f"{name} has {len(agents)} agents")
            put(self._parameters, name, agents, self._where)
        elif name in _TEXT_ELEMENTS:
            said = self._own if name == _OWN else name.removeprefix("content-language-")
            put(self._parameters, said, "".join(self._text), self._where)

    def _characters(self, text: str) -> None:
        place = self._place()
        if place == "text":
            self._text.append(text)
        elif place != "anything" and text.strip():
            raise self._wrong(f"{text.strip()[:40]!a} stands between elements, and ends")

    def _place(self) -> str:
        """Return where the parser is: which elements may begin here."""
        way = self._way
        if len(way) < 2:
            return ("document", "message")[len(way)]
        if way[1] in _AGENT_ELEMENTS:
            inner = "text" if way[3:] == ["name"] else "anything"
            return ("agents", "agent", inner)[min(len(way) - 2, 2)]
        return "text"

    def _begin_document(self, name: str, attributes: Mapping[str, str]) -> None:
        if name != _ROOT:
            raise self._wrong(f"the root is {name[:60]!a} and not {_ROOT}")
        self._act = attributes.get("act", attributes.get("communicative-act", ""))
        if not self._act:
            raise self._wrong(f"{_ROOT} has no attribute act")
        if "conversation-id" in attributes:
            put(self._parameters, "conversation-id", attributes["conversation-id"], self._where)

    def _begin_message(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "reply-by":
            if "time" not in attributes:
                raise self._wrong("reply-by has no attribute time")
            put(self._parameters, name, attributes["time"], self._where)
        elif name == _OWN:
            self._own = parameter(attributes.get("href", ""), self._where)
            if self._own[:2] not in ("X-", "x-"):
                raise self._wrong(f"{_OWN} has no attribute href that begins with X-")
        elif name in _AGENT_ELEMENTS:
            self._agents = []
        elif name not in _TEXT_ELEMENTS:
            raise InvalidEnvelope(
                f"is not a parameter of an ACL message, at {self._where()}",
                field=ascii(name[:60])[1:-1][:60],
                hint=f'own parameters are <{_OWN} href="X-…">',
            )
        elif "href" in attributes:
            raise self._wrong(f"{name} lies elsewhere (href), and nothing is fetched")

    def _begin_agents(self, name: str, _: Mapping[str, str]) -> None:
        if name != _AGENT:
            raise self._wrong(f"{name[:60]!a} stands where {_AGENT} should")
        self._agents.append(None)

    def _begin_agent(self, name: str, attributes: Mapping[str, str]) -> None:
        if name not in ("name", "addresses", "resolvers", _OWN):
            raise self._wrong(f"an {_AGENT} has no {name[:60]!a}")
        if name == "name":
            if self._agents[-1] is not None:
                raise self._wrong("the agent has two names")
            self._agents[-1] = attributes.get("id", attributes.get("refid"))

    def _begin_text(self, name: str, _: Mapping[str, str]) -> None:
        raise self._wrong(f"the element {name[:60]!a} stands in a text: write &lt; or <![CDATA[")

    def _where(self) -> str:
        line, column = self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber
        return f"line {line}, column {column + 1}"

    def _wrong(self, reason: str, limit: int | None = None) -> MalformedEnvelope:
        reason = f"not FIPA XML: {reason}, at {self._where()}"
        return MalformedEnvelope(reason, limit=limit, hint=_LOOK)
