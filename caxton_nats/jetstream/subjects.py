"""The subject grammar, in both directions. Pure."""

from __future__ import annotations

import hashlib
import zlib

from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.identifiers import AgentId, agent_from_token, agent_token
from caxton_nats.core.registry import Address
from caxton_nats.core.remote import any_agent_token

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
DLQ = "caxton.dlq"
TIMER = "caxton.timer"
"""Timers that run: ``caxton.timer.<kind>.<key>``."""
DUE = "caxton.due"
"""Timers that have come due: ``caxton.due.<kind>``."""
READER = "caxton.reader"
"""Who has a mailbox open listens on ``caxton.reader.<agent>``."""
ROUTER = "caxton.router"
"""Questions to one router: ``caxton.router.<id>.<question>``."""

INGRESS_STREAM = "CAXTON_INGRESS"
DLQ_STREAM = "CAXTON_DLQ"
ADVISORIES_STREAM = "CAXTON_ADVISORIES"
MAILBOX_STREAM = "CAXTON_MAILBOX_"
TIMERS_STREAM = "CAXTON_TIMERS"
AGENTS_BUCKET = "caxton-agents"
LEASES_BUCKET = "caxton-leases"
DECISIONS_BUCKET = "caxton-decisions"
CONVERSATIONS_BUCKET = "caxton-conversations"
ARCHIVE_BUCKET = "caxton-conversations-archive"
ATTEMPTS_BUCKET = "caxton-attempts"
RECEIPTS_BUCKET = "caxton-receipts"
CONTENT_BUCKET = "caxton-content"
ROUTERS_BUCKET = "caxton-routers"
ROUTER_CONSUMER = "router"

# nats-server refuses consumer names of more than 255 bytes; longer tokens are named by digest.
_MAX_CONSUMER = 255


def address(agent: AgentId, shards: int) -> Address:
    """Return where the agent's mail lies when the mailboxes are spread over ``shards`` streams."""
    token = agent_token(agent)
    shard = zlib.crc32(token.encode("ascii")) % shards
    subject = f"{MAILBOX}.{shard}.{token}"
    return Address(
        stream=f"{MAILBOX_STREAM}{shard}", subject=subject, consumer=consumer_of(subject)
    )


def consumer_of(subject: str) -> str:
    """Return the name of the consumer that reads a mailbox's subject."""
    token = subject.rsplit(".", 1)[-1]
    if len(token) <= _MAX_CONSUMER:
        return token
    # No token contains "=h", so a digest never meets the token of another agent.
    return "=h" + hashlib.sha256(token.encode("ascii")).hexdigest()


def agent_of(subject: str, platform: str) -> AgentId:
    """Return the agent that the last token of a subject names.

    Raises:
        InvalidEnvelope: it names none.
    """
    return agent_from_token(subject.rsplit(".", 1)[-1], platform)


def dead_letter_subject(letter: DeadLetter, platform: str) -> str:
    """Return ``caxton.dlq.<reason>.<agent>.<id>``."""
    return f"{DLQ}.{letter.reason}.{any_agent_token(letter.agent, platform)}.{letter.id}"


def parse_ack(reply: str) -> tuple[Origin, int, int]:
    """Return (origin, number of deliveries, time stored in ns) from an ack subject.

    Both forms are read: ``$JS.ACK.<stream>.<consumer>.<n>.<sseq>.<cseq>.<ns>.<pending>`` and the
    longer one with domain and account before the stream.
    """
    tokens = reply.split(".")
    at = 2 if len(tokens) == 9 else 4
    stream, _, delivered, sequence, _, stored = tokens[at : at + 6]
    return Origin(stream, int(sequence)), int(delivered), int(stored)
