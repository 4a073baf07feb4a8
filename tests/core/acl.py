"""Messages in FIPA's own encodings, and every envelope that they can carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from caxton_nats.core.envelope import NO_CONTENT, Claim, Envelope, Priority, value_content
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.performatives import Performative

NOON = datetime(2036, 5, 1, 12, tzinfo=UTC)
_SAYABLE = st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"])
_VISIBLE = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
texts = st.text(_VISIBLE, min_size=1, max_size=20) | st.sampled_from(
    [
        "123",
        "-1",
        "#5",
        ":x",
        "(a b)",
        "a b",
        '"',
        "\\",
        '\\"',
        "@x",
        "20360501T120000000Z",
        "<&>",
        "]]>",
    ]
)
agents = texts.map(lambda text: AgentId(text.replace("@", "") + "@here"))
sets = st.lists(agents, max_size=3, unique=True).map(tuple)
moments = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)  # noqa: DTZ001 - see timezones
)  # fmt: skip
words = st.text("abcXYZ019-_.üß世", min_size=1, max_size=9)

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(_SAYABLE, max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_SAYABLE, max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_sayable_xml = _values.map(lambda value: json.dumps(value).encode()) | _values.filter(
    lambda value: not {"\ufffe", "\uffff"} & set(json.dumps(value, ensure_ascii=False))
).map(msgspec.json.encode)
_bodies = st.one_of(
    st.just((NO_CONTENT, "")),
    st.binary(max_size=40).map(value_content),
    st.tuples(_sayable_xml.map(msgspec.Raw), st.sampled_from(["", "utf-8"])),
    st.tuples(texts.map(msgspec.json.encode).map(msgspec.Raw), st.just("BASE64")),
)
_optional: dict[str, Any] = {
    "message_id": st.text("abc123!", min_size=1, max_size=9),
    "sender": agents,
    "receiver": sets,
    "strategy": st.sampled_from(["one", "all"]),
    "language": texts | st.sampled_from(["json", "JSON", "fipa-sl"]),
    "ontology": texts,
    "protocol": texts,
    "conversation_id": texts,
    "reply_to": sets,
    "reply_with": texts,
    "in_reply_to": texts,
    "reply_by": moments,
    "created_at": moments,
    "priority": st.sampled_from(Priority),
    "timeout": st.floats(1, 300),
    "require_receipt": st.booleans(),
    "max_retries": st.integers(1, 10),
    "user_defined": st.dictionaries(
        words.map("X-{}".format) | words.map("x-{}".format),
        st.text(_VISIBLE, max_size=20) | st.just("  "),
        max_size=3,
    ),
    "traceparent": texts,
    "tracestate": texts,
    "claim": st.builds(Claim, object=words, size=st.integers(0, 10**9), sha256=words),
}


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    """Return an envelope with any of its fields, as a router would store it."""
    fields: dict[str, Any] = draw(st.fixed_dictionaries({"performative": st.sampled_from(Performative).map(str)}, optional=_optional))  # fmt: skip
    if "claim" not in fields:
        content, encoding = draw(_bodies)
        fields |= {"content": content} | ({"encoding": encoding} if encoding else {})
    return Envelope(**fields)


def insist_it_comes_back(
    envelope: Envelope, write: Callable[[Envelope], bytes], read: Callable[[bytes], Envelope]
) -> None:
    """Insist that what is written is read as the same, and written the same again."""
    written = write(envelope)
    assert read(written) == envelope
    assert write(read(written)) == written


def full() -> Envelope:
    """Return a message that uses every field of FIPA's, two receivers and an own parameter."""
    return Envelope(
        performative="request",
        sender=AgentId("alice@here"),
        receiver=(AgentId("bob@here"), AgentId("carol@there")),
        content=value_content('((action (agent-identifier :name bob@here) (open "door")))')[0],
        language="fipa-sl",
        encoding="utf-8",
        ontology="doors",
        protocol="fipa-request",
        conversation_id="c-1",  # type: ignore[arg-type] # as a reader makes it
        reply_to=(AgentId("dave@here"),),
        reply_with="r-1",
        in_reply_to="q 7",
        reply_by=NOON + timedelta(milliseconds=250),
        user_defined={"X-Note": "by hand"},
    )  # fmt: skip
