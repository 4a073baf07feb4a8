"""What a preset promises, kept by a platform that was made with it."""

from __future__ import annotations

from typing import Any

import pytest

from caxton_nats import Agent, Context, Settings, started
from caxton_nats.config import PRESETS
from caxton_nats.core.errors import MessageTooLarge, ProtocolViolation, TooManyParticipants
from caxton_nats.core.identifiers import check_conversation_id
from caxton_nats.testing import memory_platform


def preset(name: str) -> Settings:
    return Settings.model_validate({"preset": name})


@pytest.mark.parametrize("name", PRESETS)
async def test_each_preset_accepts_its_own_content_and_no_more(name: str) -> None:
    """Exactly so many bytes, and not one more; the error says both numbers."""
    most: int = PRESETS[name]["max_content"]
    alice, bob = Agent("alice"), Agent("bob")
    async with memory_platform(preset(name)) as platform, started(platform, alice, bob):
        await alice.send("inform", "bob", b"x" * most)
        with pytest.raises(MessageTooLarge) as refused:
            await alice.send("inform", "bob", b"x" * (most + 1))
    assert (refused.value.field, refused.value.limit, refused.value.value) == (
        "content",
        most,
        most + 1,
    )


@pytest.mark.parametrize("name", PRESETS)
async def test_each_preset_has_room_for_its_participants_and_no_more(name: str) -> None:
    """The sender is one of them; the next one is refused, at once or on a later join."""
    most: int = PRESETS[name]["max_participants"]
    alice = Agent("alice")
    others = [Agent(f"agent-{number}") for number in range(most)]
    within = [other.name for other in others[: most - 1]]
    fields: dict[str, Any] = {"conversation_id": "talk"}
    async with memory_platform(preset(name)) as platform, started(platform, alice, *others):
        await alice.send("inform", within, **fields)
        for receivers in ([others[-1].name], [*within, others[-1].name]):
            with pytest.raises(TooManyParticipants):
                await alice.send("inform", receivers, **fields)


@pytest.mark.parametrize(
    ("chosen", "refused"), [("allow", False), ("warn", False), ("reject", True)]
)
async def test_an_illegal_act_is_refused_if_one_says_so(chosen: str, refused: bool) -> None:  # noqa: FBT001 - a table
    """With `reject` the sender is told, and nobody else; otherwise it goes on and is recorded."""
    alice, bob = Agent("alice"), Agent("bob")
    fields: dict[str, Any] = {"conversation_id": "talk", "protocol": "fipa-request"}
    settings = Settings.model_validate({"illegal_acts": chosen})

    # What nobody handles is answered with not-understood, and that is an end.
    @bob.on("request")
    @alice.on("propose")
    async def nothing(context: Context) -> None: ...

    async with memory_platform(settings) as platform, started(platform, alice, bob):
        await alice.send("request", "bob", **fields)
        if refused:
            with pytest.raises(ProtocolViolation, match="in state REQUESTED of fipa-request"):
                await bob.send("propose", "alice", **fields)
        else:
            await bob.send("propose", "alice", **fields)
        record = await platform.conversations.get(check_conversation_id("talk"))
    assert record is not None
    assert record.interaction is not None
    assert record.message_count == 2 - refused
    assert record.interaction.illegal == 1 - refused
