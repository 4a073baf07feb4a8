"""Messages that are JSON and well spelled, and say what FIPA or the deployment does not have."""

from __future__ import annotations

from typing import Any

from caxton_nats.core.errors import Expired
from tests.bad_input.case import NOON, Case, Refused, invalid, message

_MANY = [f"agent-{n}" for n in range(10_000)]
_LONG = "x" * 900_000
_WRONG = "Expected "
_TOKENS = (
    "conversation_id",
    "reply_with",
    "in_reply_to",
    "language",
    "encoding",
    "ontology",
    "protocol",
)


def _typed() -> list[Case]:
    """Return, for each field, values that it does not have."""
    texts: dict[str, Any] = {"number": 5, "null": None, "list": [], "object": {}, "true": True}
    cases = [
        Case(f"{field}-{name}", message(**{field: value}), invalid(field, _WRONG))
        for field in ("performative", "message_id", "strategy", *_TOKENS)
        for name, value in texts.items()
    ]
    for field, value in (
        ("timeout", "5"), ("timeout", True), ("timeout", []), ("max_retries", 1.5),
        ("max_retries", "3"), ("max_retries", True), ("priority", None), ("priority", 5.0),
        ("require_receipt", "yes"), ("require_receipt", 1), ("require_receipt", None),
        ("reply_by", 1), ("created_at", 1e20), ("user_defined", []), ("claim", 7),
    ):  # fmt: skip
        wrong = invalid(field, _WRONG)
        cases.append(Case(f"{field}-{value!r}", message(**{field: value}), wrong))
    return cases


def _tokens() -> list[Case]:
    """Return, for each short text, what hides in it, and too much of it."""
    cases = []
    for field in _TOKENS:
        more = {} if field == "conversation_id" else {"conversation_id": "c-1"}
        limit = {"language": 50, "encoding": 50, "ontology": 100, "protocol": 100}.get(field, 255)
        for name, value, refused in (
            ("newline", "a\nb", invalid(field, "contains a control", value="'\\n'")),
            ("escape", "a\x1b[2J", invalid(field, "contains a control", value="'\\x1b'")),
            ("right-to-left", "a\u202eb", invalid(field, "contains a control")),
            ("blank", "  ", invalid(field, "is blank", value="'  '")),
            ("empty", "", invalid(field, "must not be empty", limit=1, value=0)),
            ("long", _LONG, invalid(field, "must have 1 to", limit=limit, value=900_000)),
        ):
            cases.append(Case(f"{field}-{name}", message(**{field: value}, **more), refused))
        if field not in ("in_reply_to", "encoding"):
            odd = message(**{field: "é世界 */>.$"}, **more)
            cases.append(Case(f"{field}-odd", odd, None))
    return cases


SEMANTICS = [
    *_typed(),
    *_tokens(),
    Case("performative-missing", b'{"receiver":["bob"]}', invalid("performative", "is missing")),
    *(
        Case(
            f"performative-{name}",
            message(performative=text),
            invalid("performative", "is none of FIPA's 22", value=value, hint="one of: accept-proposal"),
        )
        for name, text, value in (
            ("unknown", "informx", "'informx'"),
            ("empty", "", "''"),
            ("dashes", "--inform", "'--inform'"),
            ("split", "in-form", "'in-form'"),
            ("space-behind", "inform ", "'inform '"),
            ("long", _LONG, f"'{'x' * 60}'"),
            ("escape", "\x1b[2J", "'\\x1b[2J'"),
        )
    ),
    *(
        Case(f"performative-{text}", message(performative=text), None)
        for text in ("INFORM", "Inform", "query-if", "QueryIf", "QUERY_IF", "query if", "CFP")
    ),
    Case("receiver-missing", b'{"performative":"inform"}', invalid("receiver", "is missing or empty", limit=1, value=0)),
    Case("receiver-none", message(receiver=[]), invalid("receiver", "is missing or empty")),
    *(
        Case(f"receiver-{name}", message(receiver=value), invalid("receiver", "must be an agent name"))
        for name, value in (("null", None), ("nulls", [None]), ("number", 1), ("lists", [["bob"]]), ("object", {"nam": "bob"}))
    ),
    Case("receiver-aid", message(receiver={"name": "bob", "addresses": ["http://x"]}), None),
    Case("receiver-10-000", message(receiver=_MANY), invalid("receiver", "names too many agents", limit=1_000, value=10_000)),
    Case("receiver-100-000-times", message(receiver=["bob"] * 100_000), invalid("receiver", "names too many agents", value=100_000)),
    Case("receiver-twice", message(receiver=["bob", "bob@here"]), invalid("receiver", "names an agent twice")),
    Case("receiver-self", message(receiver=["mallory"]), invalid("receiver", "sender and receiver are the same")),
    Case("receiver-self-too", message(receiver=["bob", "mallory"]), invalid("receiver", "sender and receiver are the same")),
    Case("reply-to-10-000", message(reply_to=_MANY), invalid("reply_to", "names too many agents", limit=1_000, value=10_000)),
    Case("reply-to-twice", message(reply_to=["carol", "carol"]), invalid("reply_to", "names an agent twice")),
    Case("reply-to-url", message(reply_to="http://169.254.169.254/x"), None),
    Case("reply-to-file", message(reply_to="file:///etc/passwd"), None),
    Case("reply-to-receiver", message(reply_to="bob"), None),
    *(
        Case(f"{field}-{name}", message(**{field: text}), invalid(field, reason, value=value, hint=hint))
        for field in ("reply_by", "created_at")
        for name, text, reason, value, hint in (
            ("word", "tomorrow", "is not a date", "'tomorrow'", "2030-01-31T12:00:00Z"),
            ("empty", "", "is not a date", "''", "Z"),
            ("leap-second", "2036-06-30T23:59:60Z", "is not a date", None, "leap second"),
            ("no-day", "2036-02-30T00:00:00Z", "is not a date", None, ""),
            ("date-only", "2036-06-01", "is not a date", None, ""),
            ("year-10000", "10000-01-01T00:00:00Z", "is not a date", None, ""),
            ("no-zone", "2036-06-01T00:00:00", "has no time zone", "2036-06-01T00:00:00", "Z for UTC"),
            ("beyond-time", "9999-12-31T23:59:59-23:59", "is before year 1 or after", None, ""),
            ("before-time", "0001-01-01T00:00:00+23:59", "is before year 1 or after", None, ""),
            ("long", _LONG, "is not a date", f"'{'x' * 60}'", ""),
        )
    ),
    Case("reply_by-past", message(reply_by="2020-01-01T00:00:00Z"), Refused(Expired, "reply_by", "reply_by passed", value="2020-01-01T00:00:00+00:00")),
    Case("reply_by-9999", message(reply_by="9999-12-31T23:59:59Z"), None),
    Case("reply_by-nanoseconds", message(reply_by="2036-06-01T00:00:00.123456789+05:30"), None),
    *(
        Case(f"timeout-{value}", message(timeout=value), invalid("timeout", "must be 1 to 300 seconds", limit=limit))
        for value, limit in ((0, "1"), (-1, "1"), (0.5, "1"), (301, "300"), (1e308, "300"))
    ),
    Case("timeout-and-9999", message(timeout=300, reply_by="9999-12-31T23:59:59Z"), None),
    *(
        Case(f"max_retries-{told}", message(max_retries=value), invalid("max_retries", "must be 1 to 10", limit=limit, value=told))
        for value, limit, told in ((0, 1, 0), (-1, 1, -1), (11, 10, 11), (10**30, 10, "a number of 100 bits"), (10**4_000, 10, "a number of 13288 bits"))
    ),
    *(
        Case(f"priority-{name}", message(priority=value), invalid("priority", reason))
        for name, value, reason in (("0", 0, "Invalid enum value 0"), ("7", 7, "Invalid enum value 7"), ("word", "urgent", "must be low, normal"), ("long", _LONG, "must be low, normal"))
    ),
    Case("strategy-unknown", message(strategy=_LONG), invalid("strategy", "must be one, all,", value=f"'{'x' * 40}'")),
    *(
        Case(f"message_id-{name}", message(message_id=text), invalid("message_id", reason, limit=limit))
        for name, text, reason, limit in (
            ("newline", "a\r\nNats-TTL: 1", "a message id has printable ASCII characters only", None),
            ("space", "a b", "a message id has printable ASCII characters only", None),
            ("accent", "é", "a message id has printable ASCII characters only", None),
            ("empty", "", "must not be empty", 1),
            ("129", "x" * 129, "must have 1 to 128", 128),
            ("long", "é" * 200_000, "must have 1 to 128", 128),
        )
    ),
    Case("message_id-odd", message(message_id='../*.>"\\$JS.API'), None),
    Case("message_id-128", message(message_id="*" * 128, reply_by=NOON.isoformat(), require_receipt=True), None),
    Case("protocol-alone", message(protocol="fipa-request"), invalid("conversation_id", "a message of an interaction protocol")),
    Case("protocol-unknown", message(protocol="nobody-knows", conversation_id="c"), None),
    Case("in-reply-to-nothing", message(conversation_id="c-new", in_reply_to="nothing"), invalid("in_reply_to", "")),
    *(
        Case(f"claim-{name}", message(claim=claim, **more), invalid(field, reason))
        for name, claim, more, field, reason in (
            ("other", {"object": "alice.upload.1", "size": 1, "sha256": "0"}, {}, "claim", "names an object whose name does not start"),
            ("missing", {"object": "mallory.upload.1", "size": 1, "sha256": "0"}, {}, "claim", "no content is stored"),
            ("wild", {"object": "mallory.>*\n", "size": 1, "sha256": "0"}, {}, "claim", "no content is stored"),
            ("long", {"object": f"mallory.{_LONG}", "size": 1, "sha256": "0"}, {}, "claim", "no content is stored"),
            ("negative", {"object": "mallory.x", "size": -1, "sha256": "0"}, {}, "claim.size", "Expected int >= 0"),
            ("beside-content", {"object": "mallory.x", "size": 1, "sha256": "0"}, {"content": 1}, "claim", "is given beside content"),
            ("unknown", {"object": "mallory.x", "size": 1, "sha256": "0", "\x1b": 1}, {}, "claim.\\x1b", "is not a field"),
        )
    ),
    # What complains about an answer is never complained about.
    Case("failure-to-nobody", message(performative="failure", receiver=["a b"]), invalid("receiver", "an agent name has no white space"), answered=False),
    Case("not-understood-to-nobody", message(performative="NotUnderstood", receiver=["a b"]), invalid("receiver", ""), answered=False),
    Case("failure-of-junk", message(performative="failure", oops=1), invalid("oops", "is not a field"), answered=False),
]  # fmt: skip
