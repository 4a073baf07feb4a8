"""The subject grammar, in both directions. Pure."""

from __future__ import annotations

import hashlib
import zlib

from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import (
    AgentId,
    agent_from_token,
    agent_token,
    platform_part,
    token,
    untoken,
)
from caxton_nats.core.registry import Address
from caxton_nats.core.remote import NodeId, any_agent_from_token, any_agent_token

ROOT = "caxton"
"""Everything of ours begins with it."""
SEND = "caxton.send"
"""Request door: ``caxton.send.<sender>`` answers with a receipt or an error."""
SUBMIT = "caxton.submit"
"""Store-and-forward door: ``caxton.submit.<sender>`` lies in CAXTON_INGRESS."""
REGISTER = "caxton.register"
DEREGISTER = "caxton.deregister"
HEARTBEAT = "caxton.heartbeat"
RELEASE = "caxton.release"
ALIVE = "caxton.alive"
"""Signs of life: ``caxton.alive.<instance>`` is answered while that start of an agent runs."""
RECEIPTS = "caxton.receipts"
"""How far messages of ``caxton.receipts.<sender>`` are."""
STATE = "caxton.state"
"""Changes of agents' states, for operators: ``caxton.state.<agent>``."""
MAILBOX = "caxton.mailbox"
URGENT = "caxton.urgent"
"""Urgent mail: ``caxton.urgent.<shard>.<agent>``, in the stream of the agent's mailbox."""
ANY_MAIL = "caxton.*"
"""Either, where a shard and an agent follow: only mail lies in a mailbox stream."""
DLQ = "caxton.dlq"
TIMER = "caxton.timer"
"""Timers that run: ``caxton.timer.<kind>.<key>``."""
DUE = "caxton.due"
"""Timers that have come due: ``caxton.due.<kind>``."""
READER = "caxton.reader"
"""Who has a mailbox open listens on ``caxton.reader.<agent>``."""
ROUTER = "caxton.router"
"""Questions to one router: ``caxton.router.<id>.<question>``."""

OUTBOUND = "caxton.outbound"
"""Mail for other platforms: ``caxton.outbound.<node>.<receiver>`` lies in CAXTON_OUTBOUND."""
LINK = "caxton.link"
"""All that crosses a link between two servers, and nothing else does.

``caxton.link.mail.<to>.<from>.<sender>`` lies in CAXTON_LINK of the other platform,
``caxton.link.ping.<to>.<from>`` asks whether it is there, and ``caxton.link.reply.<to>.…`` is the
way of its answers.
"""

INGRESS_STREAM = "CAXTON_INGRESS"
OUTBOUND_STREAM = "CAXTON_OUTBOUND"
LINK_STREAM = "CAXTON_LINK"
DLQ_STREAM = "CAXTON_DLQ"
ADVISORIES_STREAM = "CAXTON_ADVISORIES"
MAILBOX_STREAM = "CAXTON_MAILBOX_"
TIMERS_STREAM = "CAXTON_TIMERS"
AGENTS_BUCKET = "caxton-agents"
LEASES_BUCKET = "caxton-leases"
BREAKERS_BUCKET = "caxton-breakers"
DECISIONS_BUCKET = "caxton-decisions"
CONVERSATIONS_BUCKET = "caxton-conversations"
ARCHIVE_BUCKET = "caxton-conversations-archive"
ATTEMPTS_BUCKET = "caxton-attempts"
LEDGERS_BUCKET = "caxton-ledgers"
OUTBOXES_BUCKET = "caxton-outboxes"
RECEIPTS_BUCKET = "caxton-receipts"
CONTENT_BUCKET = "caxton-content"
ROUTERS_BUCKET = "caxton-routers"
ROUTES_BUCKET = "caxton-routes"
ROUTER_CONSUMER = "router"

# nats-server refuses consumer names of more than 255 bytes; longer tokens are named by digest.
_MAX_CONSUMER = 255
_URGENT_CONSUMER = "=urgent"


def address(agent: AgentId, shards: int, *, urgent: bool = False) -> Address:
    """Return where the agent's mail lies when the mailboxes are spread over ``shards`` streams."""
    name = agent_token(agent)
    shard = zlib.crc32(name.encode("ascii")) % shards
    subject = f"{URGENT if urgent else MAILBOX}.{shard}.{name}"
    return Address(
        stream=f"{MAILBOX_STREAM}{shard}", subject=subject, consumer=consumer_of(subject)
    )


def consumer_of(subject: str) -> str:
    """Return the name of the consumer that reads a mailbox's subject: ``bob``, ``bob=urgent``."""
    # No token contains "=u" or "=h", so neither meets the token of another agent.
    mark = _URGENT_CONSUMER if subject.startswith(f"{URGENT}.") else ""
    return short(subject.rsplit(".", 1)[-1], _MAX_CONSUMER - len(mark)) + mark


def short(name: str, most: int) -> str:
    """Return the name, or a digest of it if it has more than ``most`` characters."""
    if len(name) <= most:
        return name
    return "=h" + hashlib.sha256(name.encode("ascii")).hexdigest()


def outbound_address(agent: AgentId, node: NodeId) -> Address:
    """Return where a letter for an agent of another platform waits for its link."""
    name = token(node)
    return Address(
        stream=OUTBOUND_STREAM,
        subject=f"{OUTBOUND}.{name}.{token(agent)}",
        consumer=short(name, _MAX_CONSUMER),
    )


def outbound_receiver(subject: str) -> AgentId:
    """Return whom a letter in CAXTON_OUTBOUND is for.

    Raises:
        InvalidEnvelope: the subject names nobody of another platform.
    """
    return any_agent_from_token(subject.rsplit(".", 1)[-1], "")


def link_sender(subject: str, platform: str) -> AgentId:
    """Return who sent what came over a link: ``caxton.link.mail.<to>.<from>.<sender>``.

    Raises:
        InvalidEnvelope: it names nobody, or an agent of this very platform.
    """
    home, name = subject.split(".")[-2:]
    sender = agent_from_token(name, untoken(home))
    if platform_part(sender) == platform:
        raise InvalidEnvelope(
            "came over a link and says that it is from this platform",
            field="subject",
            value=subject,
        )
    return sender


def agent_of(subject: str, platform: str) -> AgentId:
    """Return the agent that the last token of a subject names.

    Raises:
        InvalidEnvelope: it names none.
    """
    return agent_from_token(subject.rsplit(".", 1)[-1], platform)


def dead_letter_subject(letter: DeadLetter, platform: str) -> str:
    """Return ``caxton.dlq.<reason>.<agent>.<id>``."""
    return f"{DLQ}.{letter.reason}.{any_agent_token(letter.agent, platform)}.{letter.id}"


def may_be_answered(reply: str) -> bool:
    """Return whether an answer may be published on the subject that a request names for it.

    What we have the right to write to, whoever asks may not have: an answer must not become a
    message of somebody else, a record of the registry, or an order to the server.
    """
    return bool(reply) and not reply.startswith(("$", f"{ROOT}."))


def parse_ack(reply: str) -> tuple[Origin, int, int]:
    """Return (origin, number of deliveries, time stored in ns) from an ack subject.

    Both forms are read: ``$JS.ACK.<stream>.<consumer>.<n>.<sseq>.<cseq>.<ns>.<pending>`` and the
    longer one with domain and account before the stream.
    """
    tokens = reply.split(".")
    at = 2 if len(tokens) == 9 else 4
    stream, _, delivered, sequence, _, stored = tokens[at : at + 6]
    return Origin(stream, int(sequence)), int(delivered), int(stored)
