"""`caxton dlq`: look at what died, send it again, drop it."""

from __future__ import annotations

import json

import pytest

from caxton_nats import Agent, Context, Reject, started
from caxton_nats.ports import Letter
from tests.cli.conftest import Caxton, Here, Start
from tests.plugins.eventually import eventually

EVIL = "boom \x1b[2J [red]\u202e"


async def die(caxton: Caxton, here: Here, *contents: str, agent: str = "bob") -> list[str]:
    """Have the agent reject a message of each content; return the ids of the dead letters."""
    rejecting = Agent(agent)

    @rejecting.on("*")
    async def reject(ctx: Context) -> None:
        raise Reject(EVIL)

    letters = here.platform.ports.dead_letters
    whose = here.platform.agent_id(agent)
    before = {one.id for one in await letters.list(agent=whose)}
    async with started(here.platform, rejecting):
        for content in contents:
            sent = await caxton("send", "alice", "inform", agent, "--content", content)
            assert sent.code == 0, sent.err

        async def died() -> bool:
            return len(await letters.list(agent=whose)) == len(before) + len(contents)

        await eventually(died)
    found = [one.id for one in await letters.list(agent=whose) if one.id not in before]
    return found[::-1]


async def test_dead_letters_are_listed_newest_first(caxton: Caxton, here: Here) -> None:
    """The table tells the id, whose it was, why, and after how many attempts."""
    assert "no dead letters" in (await caxton("dlq")).out
    first, second = await die(caxton, here, "1", "2")
    title, *rows = (await caxton("dlq")).out.splitlines()
    assert title.split() == ["id", "agent", "reason", "attempts", "died", "error"]
    assert [row.split()[:4] for row in rows] == [
        [second, "bob@caxton", "InvalidMessage", "1"],
        [first, "bob@caxton", "InvalidMessage", "1"],
    ]


async def test_the_list_can_be_narrowed(caxton: Caxton, here: Here) -> None:
    """--agent and --limit; --json has the same letters."""
    await die(caxton, here, "1", "2")
    (other,) = await die(caxton, here, "3", agent="carol")
    (letter,) = (await caxton("dlq", "list", "--agent", "carol", "--json")).json["dead_letters"]
    assert (letter["id"], letter["last_error"]["code"]) == (other, "HandlerRejected")
    assert len((await caxton("dlq", "--limit", "2", "--json")).json["dead_letters"]) == 2


async def test_show_has_the_original_message_readable(caxton: Caxton, here: Here) -> None:
    """The original bytes are shown as text, and --json has them as a string."""
    (letter,) = await die(caxton, here, '{"order": 17}')
    assert '"content":{"order": 17}' in (await caxton("dlq", "show", letter)).out
    document = (await caxton("dlq", "show", letter, "--json")).json
    assert json.loads(document["original"])["content"] == {"order": 17}
    assert document["original_encoding"] == "utf-8"


async def test_bytes_that_are_no_text_can_be_got_out_exactly(
    caxton: Caxton, here: Here, start: Start
) -> None:
    """What never was JSON is base64 in --json, escaped for people, and exact with --raw."""
    ports = here.platform.ports
    await caxton("agents", "register", "bob")
    bob = here.platform.agent_id("bob")
    data = b"\xff\xfe no JSON"
    await ports.publisher.publish([Letter(bob, ports.mailboxes.address(bob), "key", data)])
    async with started(here.platform, Agent("bob")):

        async def died() -> bool:
            return bool(await ports.dead_letters.list(agent=bob))

        await eventually(died)
    (dead,) = await ports.dead_letters.list(agent=bob)
    document = (await caxton("dlq", "show", dead.id, "--json")).json
    assert (document["original"], document["original_encoding"]) == ("//4gbm8gSlNPTg==", "base64")
    assert "\\xff\\xfe no JSON" in (await caxton("dlq", "show", dead.id)).out
    program = await start("dlq", "show", dead.id, "--raw")
    assert (await program.process.communicate())[0] == data


async def test_what_a_stranger_wrote_cannot_steer_the_terminal(caxton: Caxton, here: Here) -> None:
    """Control characters, markup and text direction are shown as escapes, in tables and JSON."""
    (letter,) = await die(caxton, here, json.dumps(EVIL))
    for command in (("dlq",), ("dlq", "show", letter), ("dlq", "show", letter, "--json")):
        shown = (await caxton(*command)).out
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[red]" in shown
    assert "\\x1b[2J" in (await caxton("dlq")).out


async def test_a_redriven_message_reaches_its_handler_once(caxton: Caxton, here: Here) -> None:
    """Redrive puts it back, a second redrive finds nothing, the handler sees one message."""
    (letter,) = await die(caxton, here, '"again"')
    redriven = await caxton("dlq", "redrive", letter, "--json")
    assert (redriven.code, redriven.json) == (0, {"redriven": [letter], "failed": []})
    again = await caxton("dlq", "redrive", letter)
    assert again.code == 1
    assert "NotFound: there is no such dead letter" in again.out
    seen: list[object] = []
    healed = Agent("bob")

    @healed.on("inform")
    async def take(ctx: Context) -> None:
        seen.append(ctx.content)

    async with started(here.platform, healed):
        await eventually(lambda: bool(seen))
    assert seen == ["again"]


async def test_redriving_goes_on_after_a_failure(caxton: Caxton, here: Here) -> None:
    """One wrong id does not keep the others: exit code 5, and both are listed."""
    (letter,) = await die(caxton, here, "1")
    both = await caxton("dlq", "redrive", "nonsense", letter, "--json")
    assert both.code == 5
    assert both.json["redriven"] == [letter]
    assert both.json["failed"][0]["id"] == "nonsense"


async def test_all_letters_of_an_agent_are_redriven_in_their_order(
    caxton: Caxton, here: Here
) -> None:
    """--agent takes that agent's letters, the oldest first, and leaves the others."""
    letters = await die(caxton, here, "1", "2")
    (other,) = await die(caxton, here, "3", agent="carol")
    redriven = await caxton("dlq", "redrive", "--agent", "bob", "--json")
    assert redriven.json["redriven"] == letters
    assert (await caxton("dlq", "redrive", "--all", "--json")).json["redriven"] == [other]
    assert (await caxton("dlq", "redrive", "--all")).out == "no dead letters\n"


async def test_discarding_everything_needs_a_yes(caxton: Caxton, here: Here) -> None:
    """Without --yes nothing is removed; with it everything is."""
    first, second = await die(caxton, here, "1", "2")
    assert (await caxton("dlq", "discard", first)).code == 0
    refused = await caxton("dlq", "discard", "--all")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert len((await caxton("dlq", "--json")).json["dead_letters"]) == 1
    gone = await caxton("dlq", "discard", "--all", "--yes", "--json")
    assert gone.json["discarded"] == [second]
    assert (await caxton("dlq", "--json")).json == {"dead_letters": []}


@pytest.mark.parametrize(
    "arguments", [("redrive",), ("redrive", "x", "--all"), ("discard", "x", "--all", "--yes")]
)
async def test_which_letters_must_be_said_in_one_way(
    caxton: Caxton, arguments: tuple[str, ...]
) -> None:
    """Neither nothing nor two contradicting choices: a usage error, and nothing is touched."""
    wrong = await caxton("dlq", *arguments)
    assert (wrong.code, "say which" in wrong.err) == (2, True)


async def test_an_unknown_letter_cannot_be_shown(caxton: Caxton, here: Here) -> None:
    """Exit code 1, and where to look."""
    failed = await caxton("dlq", "show", "CAXTON_MAILBOX_0-99", "--json")
    assert (failed.code, failed.error["code"]) == (1, "NotFound")
