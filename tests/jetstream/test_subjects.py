"""The subject grammar: one token per agent, readable where it can be, and reversible."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId, MessageId, agent_id
from caxton_nats.jetstream import subjects

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT_LIMIT = "é" * 42 + "abc"
"""A name whose token has 255 bytes: six for each é."""


def named(name: str) -> AgentId:
    return agent_id(name, "here")


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("bob", "bob"),
        ("Bob-7_x", "Bob-7_x"),
        ("bob.smith", "bob=2Esmith"),
        ("*", "=2A"),
        (">", "=3E"),
        ("a=b", "a=3Db"),
        ("müller", "m=C3=BCller"),
    ],
)
def test_a_name_becomes_one_token(name: str, token: str) -> None:
    """Whatever means something in a subject is escaped; the rest stays readable."""
    address = subjects.address(named(name), 1)
    assert address.subject == f"caxton.mailbox.0.{token}"
    assert address.consumer == token
    assert address.stream == "CAXTON_MAILBOX_0"


@pytest.mark.parametrize("name", ["bob", "bob.smith", "a=b", "*.>", "世界", AT_LIMIT, "é" * 255])
def test_a_subject_leads_back_to_its_agent(name: str) -> None:
    """`agent_of` is the inverse of `address`, also where the consumer has another name."""
    assert subjects.agent_of(subjects.address(named(name), 16).subject, "here") == named(name)


@pytest.mark.parametrize("subject", ["caxton.send.a=2eb", "caxton.send.", "caxton.send.a*b"])
def test_a_token_that_is_no_escape_names_nobody(subject: str) -> None:
    """Two tokens for one agent would be two mailboxes: only the canonical form is taken."""
    with pytest.raises(InvalidEnvelope):
        subjects.agent_of(subject, "here")


def test_the_platform_is_not_in_the_subject() -> None:
    """A token names an agent of the platform that reads it."""
    assert subjects.agent_of("caxton.send.bob", "elsewhere") == "bob@elsewhere"


def test_an_agent_keeps_its_shard() -> None:
    """The shard follows from name and number of shards alone: the same in every process, for ever."""
    assert subjects.address(named("bob"), 16) == subjects.address(named("bob"), 16)
    found = [subjects.address(named(name), 16).stream for name in ("alice", "bob", "carol")]
    assert found == ["CAXTON_MAILBOX_7", "CAXTON_MAILBOX_0", "CAXTON_MAILBOX_3"]


def test_agents_spread_over_all_shards() -> None:
    """Stream and subject name the same shard, and no shard stays empty."""
    addresses = [subjects.address(named(f"agent-{number}"), 4) for number in range(100)]
    assert {one.stream for one in addresses} == {f"CAXTON_MAILBOX_{n}" for n in range(4)}
    assert all(one.stream.rpartition("_")[2] == one.subject.split(".")[2] for one in addresses)


def test_a_consumer_name_is_never_too_long_for_the_server() -> None:
    """Up to 255 bytes the consumer has the agent's token; a longer one is named by digest."""
    fits = subjects.address(named(AT_LIMIT), 1)
    assert len(fits.consumer) == 255
    assert fits.subject.endswith(fits.consumer)
    longer = subjects.address(named(f"{AT_LIMIT}d"), 1)
    assert longer.consumer.startswith("=h")
    assert len(longer.consumer) == 66
    longest = subjects.address(named("\U0001f4ec" * 255), 1)
    assert len(longest.consumer) == 66
    assert longest.consumer != longer.consumer


def test_urgent_mail_has_a_subject_and_a_consumer_of_its_own() -> None:
    """In the same stream; no agent can be called so that its consumer is another's for urgent mail."""
    ordinary, urgent = (
        subjects.address(named("bob"), 16, urgent=urgent) for urgent in (False, True)
    )
    assert (urgent.stream, urgent.subject, urgent.consumer) == (
        ordinary.stream,
        "caxton.urgent.0.bob",
        "bob=urgent",
    )
    with pytest.raises(InvalidEnvelope):
        subjects.agent_of("caxton.mailbox.0.bob=urgent", "here")
    for name in (AT_LIMIT, "é" * 255):
        address = subjects.address(named(name), 1, urgent=True)
        assert len(address.consumer) <= 255
        assert address.consumer.endswith("=urgent")


def test_a_digest_is_nobodys_token() -> None:
    """No agent can be called so that its consumer is the digest of another."""
    digest = subjects.address(named("é" * 255), 1).consumer
    with pytest.raises(InvalidEnvelope):
        subjects.agent_of(f"caxton.mailbox.0.{digest}", "here")


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.CAXTON_MAILBOX_3.bob.2.17.40.1700000000123456789.5",
        "$JS.ACK.hub.ACCHASH.CAXTON_MAILBOX_3.bob.2.17.40.1700000000123456789.5",
        "$JS.ACK.hub.ACCHASH.CAXTON_MAILBOX_3.bob.2.17.40.1700000000123456789.5.random",
    ],
    ids=["plain", "with-domain-and-account", "with-a-random-token"],
)
def test_an_ack_subject_says_what_was_delivered(reply: str) -> None:
    """Origin, number of deliveries and time stored come out of every form a server sends."""
    assert subjects.parse_ack(reply) == (
        Origin("CAXTON_MAILBOX_3", 17),
        2,
        1_700_000_000_123_456_789,
    )


def test_a_dead_letter_is_found_by_reason_agent_or_id() -> None:
    """Each of the three is a token of its own, so that a subscription can choose by it."""
    letter = DeadLetter(
        id="CAXTON_MAILBOX_0-17",
        reason=FailureReason.AGENT_NOT_RESPONDING,
        stage=Stage.DELIVER,
        agent=named("bob.smith"),
        message_id=MessageId("m-1"),
        attempts=4,
        first_at=NOON,
        last_at=NOON,
        last_error={},
        origin=Origin("CAXTON_MAILBOX_0", 17),
        subject="caxton.mailbox.0.bob=2Esmith",
    )
    subject = subjects.dead_letter_subject(letter, "here")
    assert subject == "caxton.dlq.AgentNotResponding.bob=2Esmith.CAXTON_MAILBOX_0-17"
    there = subjects.dead_letter_subject(letter, "there")
    assert there == "caxton.dlq.AgentNotResponding.bob=2Esmith=40here.CAXTON_MAILBOX_0-17"


def test_the_names_are_those_of_the_files() -> None:
    """What the code calls a stream or a door is what streams/ makes."""
    folder = Path(__file__).resolve().parents[2] / "streams"
    files = [msgspec.json.decode(path.read_bytes()) for path in folder.glob("*.stream.json")]
    by_name = {one["name"]: one["subjects"] for one in files}
    assert by_name[subjects.INGRESS_STREAM] == [f"{subjects.SUBMIT}.*"]
    assert by_name[subjects.DLQ_STREAM] == [f"{subjects.DLQ}.*.*.*"]
    assert by_name[f"{subjects.MAILBOX_STREAM}0"] == [
        f"{subjects.MAILBOX}.0.*",
        f"{subjects.URGENT}.0.*",
    ]
    assert subjects.ADVISORIES_STREAM in by_name
    buckets = (
        subjects.AGENTS_BUCKET,
        subjects.LEASES_BUCKET,
        subjects.BREAKERS_BUCKET,
        subjects.DECISIONS_BUCKET,
        subjects.CONVERSATIONS_BUCKET,
    )
    for bucket in (*buckets, subjects.ATTEMPTS_BUCKET):
        assert by_name[f"KV_{bucket}"] == [f"$KV.{bucket}.>"]
    assert f"OBJ_{subjects.CONTENT_BUCKET}" in by_name
