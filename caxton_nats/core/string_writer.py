"""wire: an ACL message in FIPA's string encoding (SC00070), one parameter a line, in UTF-8."""

from __future__ import annotations

import re

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.fields import shown
from caxton_nats.core.parameters import AGENTS, Value, parameters_of

# What every reader takes for a word; whatever else a text is, it stands between quotes.
_WORD = re.compile(r"[A-Za-z_./*+!?&%$=<>~^|][A-Za-z0-9_./*+!?&%$=<>~^|@:-]*")
_KEYWORD = re.compile(r'[^\x00-\x20()"\x7f]+')


def write(envelope: Envelope) -> bytes:
    """Return the message as FIPA's string; `InvalidEnvelope` names what has no form there."""
    act, parameters = parameters_of(envelope)
    lines = [f"({_keyword(act, 'performative')}"]
    lines += [f" :{_keyword(name, name)} {_value(name, one)}" for name, one in parameters.items()]
    return ("\n".join(lines) + ")\n").encode()


def _value(name: str, value: Value) -> str:
    if isinstance(value, tuple):
        agents = [f"(agent-identifier :name {worded(agent)})" for agent in value]
        return f"(set {' '.join(agents)})" if name in AGENTS else agents[0]
    if name == "reply-by":
        return str(value)
    return quoted(str(value)) if name == "content" else worded(str(value))


def worded(text: str) -> str:
    """Return the text as a word if it is one to every reader, else between quotes."""
    return text if _WORD.fullmatch(text) else quoted(text)


def quoted(text: str) -> str:
    """Return the text between quotes, with its quotes and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _keyword(name: str, field: str) -> str:
    if _KEYWORD.fullmatch(name) is None:
        reason = "has no form in a FIPA string: white space, parentheses or quotes in a name"
        raise InvalidEnvelope(reason, field=shown(field), value=ascii(name[:60]))
    return name
