"""Whatever strangers have written into names, ids, nodes and content, no command lets it steer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.breaker import Breaker, CircuitBreakerState
from caxton_nats.core.conversation import Conversation
from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.lease import Lease
from caxton_nats.core.registry import Registration
from caxton_nats.core.remote import NodeId, RouteInfo
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt
from caxton_nats.jetstream.connection import connect
from caxton_nats.ports import Letter
from tests.cli.conftest import Caxton, Here

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\b\x7f\u202e\u2066\u200b\u2028\ufeff[red]x[/red]"
NOW = datetime(2036, 5, 1, 12, tzinfo=UTC)
NAME = AgentId(f"evil{EVIL}@caxton")
HIDDEN = {*EVIL} - {*"[2J]0;owned31mrx/"}


def steers(text: str) -> set[str]:
    """Return what of a text a terminal would obey, or nobody would see."""
    return {one for one in text if one in HIDDEN or (ord(one) < 32 and one != "\n")}


@pytest.fixture
async def haunted(here: Here) -> Here:
    """Fill each store with what somebody with the right to may write past the doors."""
    ports = here.platform.ports
    bob = here.platform.agent_id("bob")
    registered = await here.platform.registrar.register(bob)
    await ports.registry_store.save(
        Registration(
            agent=NAME,
            capabilities=(EVIL,),
            address=registered.address,
            node=EVIL,
            registered_at=NOW,
        ),
        revision=None,
    )
    await ports.leases.save(
        Lease(
            agent=bob, instance=EVIL, node=EVIL, last_heartbeat=NOW, expires_at=NOW,
            healthy=False, reason=EVIL,
        ),
        revision=None,
    )  # fmt: skip
    message: dict[str, Any] = {
        "message_id": f"m{EVIL}", "performative": EVIL, "sender": NAME, "receiver": [NAME],
        "conversation_id": EVIL, "content": EVIL, "language": EVIL,
    }  # fmt: skip
    for key, body in (("1", msgspec.json.encode(message)), ("2", EVIL.encode())):
        letter = Letter(bob, ports.mailboxes.address(bob), key, body, {"X-Evil": EVIL})
        await ports.publisher.publish([letter])
    record = Conversation(
        conversation_id=ConversationId(EVIL), participants=(NAME,), protocol=EVIL,
        created_at=NOW, last_activity=NOW, timeout=timedelta(days=1), ends_at=NOW,
        last_performative=EVIL, last_message=MessageId(EVIL),
    )  # fmt: skip
    await ports.conversations.save(record, revision=None)
    await ports.archive.add(
        msgspec.structs.replace(record, conversation_id=ConversationId(f"old{EVIL}"), ended_at=NOW)
    )
    await ports.dead_letters.write(
        DeadLetter(
            id="X-1", reason=FailureReason.TIMEOUT, stage=Stage.DELIVER, agent=bob, sender=NAME,
            message_id=MessageId(EVIL), performative=EVIL, conversation_id=EVIL, attempts=1,
            first_at=NOW, last_at=NOW, last_error={"code": EVIL, "reason": EVIL, "field": EVIL},
            origin=Origin(EVIL, 1), subject=EVIL, headers={EVIL: EVIL},
            body=msgspec.Raw(msgspec.json.encode(message)),
        )
    )  # fmt: skip
    await ports.routes.save(
        RouteInfo(
            agent=AgentId(f"x{EVIL}@plant"), node=NodeId(EVIL), hops=1, updated_at=NOW,
            expires_at=NOW,
        ),
        revision=None,
    )  # fmt: skip
    await ports.breakers.save(
        Breaker(
            agent=bob, state=CircuitBreakerState.OPEN, failures=9, opened_at=NOW, until=NOW,
            timeout=60.0, last_error={"code": EVIL, "reason": EVIL},
        ),
        revision=None,
    )  # fmt: skip
    await ports.receipts.save(
        StagedReceipt(
            message_id=MessageId("m-1"), sender=bob, receiver=NAME, stage=ReceiptStage.FAILED,
            times={ReceiptStage.FAILED: NOW}, error={"code": EVIL, "reason": EVIL},
            dead_letter=EVIL, origin=Origin(EVIL, 1),
        ),
        revision=None,
    )  # fmt: skip
    connection = await connect(here.chosen.nats_url, name="stranger")
    presence = msgspec.json.encode({"router": EVIL, "node": EVIL})
    await connection.request("$KV.caxton-routers.ghost", presence, what="haunting")
    await connection.close()
    return here


LISTINGS = [
    ["agents"],
    ["agents", "list", "--capability", EVIL],
    ["agents", "show", "bob"],
    ["conversations"],
    ["conversations", "show", EVIL],
    ["conversations", "show", f"old{EVIL}"],
    ["conversations", "stats"],
    ["messages", "list", "bob"],
    ["messages", "show", "bob", f"m{EVIL}"],
    ["messages", "show", "bob", "CAXTON_MAILBOX_0-2"],
    ["messages", "show", "bob", "CAXTON_MAILBOX_1-2"],
    ["dlq"],
    ["dlq", "show", "X-1"],
    ["dlq", "stats"],
    ["breakers"],
    ["routes"],
    ["receipts", "bob", "m-1"],
    ["stats"],
    ["health"],
]
ARGUMENTS = [
    ["agents", "show", EVIL],
    ["agents", "register", EVIL],
    ["agents", "state", EVIL, "Draining"],
    ["agents", "deregister", EVIL],
    ["send", EVIL, "inform", "bob"],
    ["send", "alice", EVIL, "bob"],
    ["send", "alice", "inform", EVIL, "--content", "1"],
    ["send", "alice", "inform", "bob", "--conversation", EVIL],
    ["send", "alice", "inform", "bob", "--reply-by", EVIL],
    ["send", "alice", "inform", "bob", "--file", EVIL],
    ["request", "alice", EVIL],
    ["messages", "list", EVIL],
    ["messages", "show", "bob", EVIL],
    ["dlq", "show", EVIL],
    ["dlq", "redrive", EVIL],
    ["dlq", "discard", EVIL],
    ["conversations", "show", f"no{EVIL}"],
    ["routes", "remove", EVIL],
    ["receipts", "bob", EVIL],
    ["--config", EVIL, "agents"],
    ["agents", "--nats-url", EVIL],
    ["agents", EVIL],
    [EVIL],
]


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
async def test_no_listing_steers_a_terminal(caxton: Caxton, haunted: Here, form: list[str]) -> None:
    """Every command that shows what others wrote shows escapes in place of what is hidden."""
    shown = 0
    for command in LISTINGS:
        result = await caxton(*command, *form)
        assert not steers(result.out + result.err), (command, result)
        assert "Traceback" not in result.out + result.err, (command, result)
        shown += "[red]" in result.out
    assert shown >= 8, "the listings do not show what they should hide"


async def test_no_argument_steers_a_terminal(caxton: Caxton, haunted: Here) -> None:
    """Nor does an error, which says what was wrong with what was typed or pasted."""
    for command in ARGUMENTS:
        result = await caxton(*command)
        assert result.code != 0, command
        assert not steers(result.out + result.err), (command, result)
        assert "Traceback" not in result.err, (command, result)
