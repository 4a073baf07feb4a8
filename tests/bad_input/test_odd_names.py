"""Names that look like subjects, patterns, markup or other names are names: nothing valid is refused."""

from __future__ import annotations

import pytest

from caxton_nats.core import codec
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.identifiers import agent_token
from tests.bad_input.case import RECEIVER, SENDER
from tests.bad_input.names import ODD_NAMES
from tests.bad_input.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
async def test_odd_name(town: Town, name: str) -> None:
    """An agent of any such name is one, and gets its own mail only."""
    agent = town.platform.agent_id(name)
    token = agent_token(agent)
    registered = await town.ask(f"caxton.register.{token}")
    assert (registered["agent"], registered["address"]["subject"]) == (
        agent,
        f"caxton.mailbox.0.{token}",
    )
    sent = await town.ask(
        f"caxton.send.{token}", b'{"performative":"inform","receiver":["mallory"]}'
    )
    assert "error" not in sent, sent
    assert agent in [one.sender for one in await town.mail(SENDER)]
    before = await town.mail(RECEIVER)
    to_it = codec.encode(Envelope(performative="inform", receiver=(agent,)))
    sent = await town.ask("caxton.send.mallory", to_it)
    assert "error" not in sent, sent
    assert (await town.newest(agent)).message_id == sent["message_id"]
    assert await town.mail(RECEIVER) == before, f"{RECEIVER} got mail for {name!a}"
    assert (await town.ask(f"caxton.deregister.{token}"))["deregistered"]
