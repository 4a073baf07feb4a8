"""Names that are none, and names that only look as if they were none.

A name never becomes a subject as it is: it is escaped, reversibly, so that no character of it can
mean anything to a server. What is refused is what people cannot see or tell apart by its spelling.
Letters that merely look alike are different letters: who is who is what a subject says, and what
permissions let somebody write to.
"""

from __future__ import annotations

from caxton_nats.core.errors import AgentNotFound
from tests.bad_input.case import Case, Refused, invalid, malformed, message, with_member

_NO_NAMES = {
    "empty": ("", "the local part of an agent name has 1 to 255 characters", 1, 0),
    "space": ("a b", "an agent name has no white space", None, "'a b'"),
    "tab": ("a\tb", "an agent name has no white space", None, "'a\\tb'"),
    "ideographic-space": ("a\u3000b", "an agent name has no white space", None, "'a\\u3000b'"),
    "protocol-line": ("a\r\nPUB x 3\r\nabc", "an agent name has no white space", None, None),
    "nul": ("a\0b", "contains a control or invisible character", None, "'\\x00'"),
    "escape": ("a\x1b[2J", "contains a control or invisible character", None, "'\\x1b'"),
    "zero-width": ("a\u200bb", "contains a control or invisible character", None, "'\\u200b'"),
    "right-to-left": ("a\u202eb", "contains a control or invisible character", None, "'\\u202e'"),
    "byte-order-mark": ("\ufeffbob", "contains a control or invisible character", None, None),
    "line-separator": ("a\u2028b", "an agent name has no white space", None, None),
    "filler": ("bob\u3164", "contains a control or invisible character", None, "'\\u3164'"),
    "variation": ("bob\ufe0f", "contains a control or invisible character", None, "'\\ufe0f'"),
    "private": ("bob\ue000", "contains a control or invisible character", None, None),
    "decomposed": ("e\u0301", "is not in Unicode's composed form (NFC)", None, "'e\\u0301'"),
    "256": ("x" * 256, "the local part of an agent name has 1 to 255 characters", 255, 256),
    "900-000": ("x" * 900_000, "the local part of an agent name", 255, 900_000),
    "300-000-blank": ("\u3164" * 100_000, "the local part of an agent name", 255, 100_000),
    "at": ("@", "the local part of an agent name has 1 to 255 characters", 1, 0),
    "no-platform": ("bob@", "the platform part of an agent name has 1 to 255 characters", 1, 0),
    "no-local": ("@here", "the local part of an agent name has 1 to 255 characters", 1, 0),
    "two-ats": ("a@b@c", "an agent name has one @ only", None, "'b@c'"),
}

ODD_NAMES = {
    "dot": "a.b",
    "star": "*",
    "rest": ">",
    "tail": "a.>",
    "leading-dot": ".a",
    "trailing-dot": "a.",
    "two-dots": "a..b",
    "dots": "..",
    "slashes": "a/b\\c",
    "system": "$SYS",
    "api": "$JS.API.STREAM.DELETE.CAXTON_DLQ",
    "inbox": "_INBOX.x",
    "bucket": "$KV.caxton-agents.bob",
    "router": "router",
    "operator": "operator",
    "dash": "-",
    "equals": "=2E",
    "upper-case": "BOB",
    "accent": "é",
    "homoglyph": "b\u043eb",
    "full-width": "\uff42ob",
    "emoji": "\U0001f600",
    "quotes": "'\"`;|&$(rm)",
    "markup": "[red]bob[/red]",
    "255": "x" * 255,
    "255-of-two-bytes": "é" * 255,
}
"""Names that an agent may have, each another agent's."""

NAMES = [
    *(
        Case(
            f"receiver-{name}",
            message(receiver=[text], message_id="m-1", reply_with="r-1"),
            invalid("receiver", reason, limit=limit, value=value),
        )
        for name, (text, reason, limit, value) in _NO_NAMES.items()
    ),
    *(
        Case(f"reply-to-{name}", message(reply_to=[text]), invalid("reply_to", reason))
        for name, (text, reason, _, _) in _NO_NAMES.items()
    ),
    *(
        Case(f"sender-{name}", message(sender=text), invalid("sender", reason))
        for name, (text, reason, _, _) in _NO_NAMES.items()
        if text
    ),
    *(
        Case(
            f"unknown-{name}",
            message(receiver=[text]),
            Refused(AgentNotFound, "receiver", "no agent ", hint="caxton agents"),
        )
        for name, text in ODD_NAMES.items()
    ),
    *(
        Case(f"reply-to-odd-{name}", message(reply_to=[text]), None)
        for name, text in ODD_NAMES.items()
    ),
    Case(
        "sender-empty", message(sender=""), invalid("sender", "must not be empty", limit=1, value=0)
    ),
    Case(
        "receiver-half-a-pair",
        with_member(rb'"X-a":"1"').replace(b'"bob"', rb'"\ud800"'),
        malformed("half of a surrogate pair", hint="UTF-8"),
    ),
    Case(
        "sender-other",
        message(sender="alice"),
        invalid("sender", "the body says it is from 'alice'", hint="leave sender out"),
    ),
    Case(
        "sender-other-case",
        message(sender="Mallory"),
        invalid("sender", "the body says it is from 'Mallory'"),
    ),
    Case("sender-own", message(sender="mallory@here"), None),
    Case(
        "receiver-ams",
        message(receiver=["ams"]),
        Refused(AgentNotFound, "receiver", "no agent ams@here"),
    ),
    Case(
        "receiver-elsewhere",
        message(receiver=["bob@plant"]),
        Refused(AgentNotFound, "receiver", "bob@plant cannot be reached: there is no route"),
    ),
    Case(
        "capability-empty",
        message(receiver=["capability:"]),
        invalid("receiver", "a capability is"),
    ),
    Case(
        "capability-of-versions",
        message(receiver=["capability:a:" + ",".join(map(str, range(200_000)))]),
        invalid("receiver", "must have 1 to 1700 characters", limit=1700),
    ),
    Case(
        "capability-long",
        message(receiver=["capability::" + "x" * 900_000]),
        invalid("receiver", "must have 1 to 1700 characters", limit=1700),
    ),
    Case(
        "reply-to-capability",
        message(reply_to="capability:" + "x" * 900_000),
        invalid("reply_to", "is a capability, not a name"),
    ),
]
