"""wire: an ACL message in FIPA's XML encoding (SC00071), in UTF-8."""

from __future__ import annotations

import re

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.fields import shown
from caxton_nats.core.parameters import Value, parameters_of

_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    # A parser makes line feeds of them, and spaces within an attribute.
    "\r": "&#13;",
    "\n": "&#10;",
    "\t": "&#9;",
}
_IN_TEXT = str.maketrans({one: _ESCAPES[one] for one in "&<>\r"})
_IN_ATTRIBUTE = str.maketrans(_ESCAPES)
_UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def write(envelope: Envelope) -> bytes:
    """Return the message as FIPA's XML; `InvalidEnvelope` names what has no form there."""
    act, parameters = parameters_of(envelope)
    root = f"<fipa-message act={_attribute('performative', act)}"
    if "conversation-id" in parameters:
        root += f" conversation-id={_attribute('conversation-id', parameters['conversation-id'])}"
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"{root}>"]
    lines += [
        f"  {_element(name, value)}"
        for name, value in parameters.items()
        if name != "conversation-id"
    ]
    return "\n".join((*lines, "</fipa-message>\n")).encode()


def _element(name: str, value: Value) -> str:
    if isinstance(value, tuple):
        agents = "".join(
            f"<agent-identifier><name id={_attribute(name, agent)}/></agent-identifier>"
            for agent in value
        )
        return f"<{name}>{agents}</{name}>"
    if name == "reply-by":
        return f"<reply-by time={_attribute(name, value)}/>"
    text = _sayable(name, value).translate(_IN_TEXT)
    if name[:2] in ("X-", "x-"):
        return f"<user-defined href={_attribute(name, name)}>{text}</user-defined>"
    element = "content-language-encoding" if name == "encoding" else name
    return f"<{element}>{text}</{element}>"


def _attribute(name: str, value: Value) -> str:
    return f'"{_sayable(name, value).translate(_IN_ATTRIBUTE)}"'


def _sayable(name: str, value: Value) -> str:
    text = str(value)
    wrong = _UNSAYABLE.search(text)
    if wrong is not None:
        raise InvalidEnvelope(
            "has a character that XML has no form for", field=shown(name), value=ascii(wrong[0])
        )
    return text
