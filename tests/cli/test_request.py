"""`caxton request`: the final answer and its exit code, and nobody's mail disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from caxton_nats import Agent, Context, started
from tests.cli.conftest import Caxton, Here


@pytest.fixture
async def oracle(here: Here) -> AsyncIterator[Agent]:
    """Run an agent that answers as it is told."""
    agent = Agent("oracle")

    @agent.on("request")
    async def answer(ctx: Context) -> None:
        if ctx.content == "bytes":
            await ctx.inform(b"\x00\xff")
        elif ctx.content == "promise":
            await ctx.agree()
            await ctx.inform({"kept": True})
        elif ctx.content != "silence":
            await ctx.answer(ctx.content, {"because": "asked to"})

    async with started(here.platform, agent):
        yield agent


@pytest.mark.parametrize(
    ("answer", "code"), [("inform", 0), ("refuse", 10), ("failure", 11), ("not-understood", 12)]
)
async def test_the_answer_is_printed_and_decides_the_exit_code(
    caxton: Caxton, oracle: Agent, answer: str, code: int
) -> None:
    """A script can tell the four ends of a request apart by the exit code alone."""
    asked = await caxton("request", "alice", "oracle", "--text", answer)
    assert asked.code == code, asked.err
    assert asked.out.splitlines() == [f"{answer} from oracle@caxton", '{"because":"asked to"}']


async def test_json_has_the_answer_with_its_content_as_a_value(
    caxton: Caxton, oracle: Agent
) -> None:
    """One document; bytes stay base64, and say so."""
    told = (await caxton("request", "alice", "oracle", "--text", "inform", "--json")).json
    assert (told["performative"], told["content"]) == ("inform", {"because": "asked to"})
    told = (await caxton("request", "alice", "oracle", "--text", "bytes", "--json")).json
    assert (told["content"], told["encoding"]) == ("AP8=", "base64")


async def test_agree_is_not_the_answer(caxton: Caxton, oracle: Agent) -> None:
    """The promise is told on stderr, and the result that follows is the answer."""
    asked = await caxton("request", "alice", "oracle", "--text", "promise")
    assert asked.out.splitlines()[0] == "inform from oracle@caxton"
    assert "oracle@caxton agreed" in asked.err


async def test_no_answer_in_time_has_its_own_exit_code(caxton: Caxton, oracle: Agent) -> None:
    """13, and the error names the time that was waited."""
    asked = await caxton(
        "request", "alice", "oracle", "--text", "silence", "--timeout", "0.3", "--json"
    )
    assert (asked.code, asked.error["limit"]) == (13, "0.3 s")


async def test_without_a_time_the_settings_say_it(
    caxton: Caxton, oracle: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for an agent's own requests."""
    monkeypatch.setenv("CAXTON_REPLY_TIMEOUT", "1")
    asked = await caxton("request", "alice", "oracle", "--text", "silence", "--json")
    assert (asked.code, asked.error["limit"]) == (13, "1 s")


async def test_a_request_that_cannot_be_sent_fails_as_a_message_does(
    caxton: Caxton, here: Here
) -> None:
    """Nobody of that name: exit code 1 at once, not a time-out."""
    asked = await caxton("request", "alice", "nobody", "--json")
    assert (asked.code, asked.error["code"]) == (1, "AgentNotFound")


@pytest.mark.parametrize("router", ["embedded", "service"])
async def test_an_asker_that_was_not_registered_is_not_afterwards(
    caxton: Caxton, here: Here, oracle: Agent, router: str
) -> None:
    """The sender exists for the time of the question only, whatever the answer is."""
    for what in ("inform", "refuse"):
        await caxton("request", "alice", "oracle", "--text", what, "--router", router)
    await caxton("request", "alice", "nobody", "--router", router)
    agents = (await caxton("agents", "--json")).json["agents"]
    assert [one["agent"] for one in agents] == ["oracle@caxton"]


async def test_the_mail_and_the_registration_of_an_agent_are_left_alone(
    caxton: Caxton, here: Here, oracle: Agent
) -> None:
    """Asking in the name of an agent that is away takes nothing out of its mailbox."""
    await caxton("agents", "register", "alice", "--capability", "shop")
    await caxton("send", "oracle", "inform", "alice", "--text", "for alice herself")
    before = (await caxton("agents", "show", "alice", "--json")).json
    asked = await caxton("request", "alice", "oracle", "--text", "inform")
    assert asked.code == 0, asked.err
    assert (await caxton("agents", "show", "alice", "--json")).json == before
    names = [one["agent"] for one in (await caxton("agents", "--json")).json["agents"]]
    assert names == ["alice@caxton", "oracle@caxton"]


async def test_mail_of_an_agent_that_left_stays_for_its_return(
    caxton: Caxton, here: Here, oracle: Agent
) -> None:
    """A name that is free may have mail: the asker does not take it."""
    await caxton("agents", "register", "alice")
    await caxton("send", "oracle", "inform", "alice", "--text", "for alice herself")
    await caxton("agents", "deregister", "alice")
    assert (await caxton("request", "alice", "oracle", "--text", "inform")).code == 0
    await caxton("agents", "register", "alice")
    assert (await caxton("agents", "show", "alice", "--json")).json["pending"] == 1
