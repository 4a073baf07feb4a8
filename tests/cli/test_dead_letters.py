"""`caxton dlq`: look at what died, send it again, drop it."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from caxton_nats import Agent, Context, Reject, started
from caxton_nats.core.selection import Selection
from caxton_nats.jetstream.connection import connect
from caxton_nats.ports import Letter
from tests.cli.conftest import Caxton, Here, Start
from tests.cli.test_output import on_terminal
from tests.plugins.eventually import eventually

EVIL = "boom \x1b[2J [red]\u202e"


async def die(caxton: Caxton, here: Here, *contents: str, agent: str = "bob") -> list[str]:
    """Have the agent reject what waits for it, and a message of each content; return the ids."""
    rejecting = Agent(agent)

    @rejecting.on("*")
    async def reject(ctx: Context) -> None:
        raise Reject(EVIL)

    letters = here.platform.ports.dead_letters
    whose = here.platform.agent_id(agent)
    before = {one.id for one in await letters.list(Selection(agent=whose))}
    expected = len(contents) + (await here.platform.ports.mailboxes.status(whose)).pending
    async with started(here.platform, rejecting):
        for content in contents:
            sent = await caxton("send", "alice", "inform", agent, "--content", content)
            assert sent.code == 0, sent.err

        async def died() -> bool:
            return len(await letters.list(Selection(agent=whose))) == len(before) + expected

        await eventually(died)
    found = [one.id for one in await letters.list(Selection(agent=whose)) if one.id not in before]
    return found[::-1]


async def test_dead_letters_are_listed_newest_first(caxton: Caxton, here: Here) -> None:
    """The table tells the id, whose it was, why, and after how many attempts."""
    assert "no dead letters" in (await caxton("dlq")).out
    first, second = await die(caxton, here, "1", "2")
    title, *rows = (await caxton("dlq")).out.splitlines()
    assert title.split() == ["id", "agent", "reason", "attempts", "redriven", "died", "error"]
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
            return bool(await ports.dead_letters.list(Selection(agent=bob)))

        await eventually(died)
    (dead,) = await ports.dead_letters.list(Selection(agent=bob))
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
    assert redriven.code == 0
    assert redriven.json == {"redriven": [letter], "failed": [], "interrupted": False}
    again = await caxton("dlq", "redrive", letter)
    assert again.code == 1
    assert "DeadLetterNotFound: id: there is no such dead letter" in again.out
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
    "arguments",
    [
        ("redrive",),
        ("redrive", "x", "--all"),
        ("redrive", "x", "--sender", "alice"),
        ("redrive", "--all", "--reason", "Timeout"),
        ("discard", "x", "--all", "--yes"),
        ("discard", "--yes"),
    ],
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
    assert (failed.code, failed.error["code"]) == (1, "DeadLetterNotFound")


async def test_every_filter_narrows(caxton: Caxton, here: Here) -> None:
    """--reason, --sender, --stage, --conversation and the ages choose, alone and together."""
    (letter,) = await die(caxton, here, "1")
    for fits in (
        ("--reason", "invalidmessage"),
        ("--sender", "alice"),
        ("--stage", "deliver", "--agent", "bob"),
        ("--newer-than", "1h"),
        ("--older-than", "0"),
    ):
        (found,) = (await caxton("dlq", "list", *fits, "--json")).json["dead_letters"]
        assert found["id"] == letter
    for other in (
        ("--reason", "Timeout"),
        ("--sender", "carol"),
        ("--stage", "route"),
        ("--conversation", "c"),
        ("--older-than", "2d"),
        ("--newer-than", "0", "--agent", "bob"),
    ):
        assert (await caxton("dlq", "list", *other, "--json")).json == {"dead_letters": []}
        redriven = await caxton("dlq", "redrive", *other, "--json")
        assert redriven.json == {"redriven": [], "failed": [], "interrupted": False}


@pytest.mark.parametrize("time", ["soon", "-1h", "1w", "1e9", "9" * 30, "", "999999999d"])
async def test_a_time_that_is_none(caxton: Caxton, time: str) -> None:
    """A usage error that names the option and the forms it takes, before anything is connected."""
    wrong = await caxton("dlq", "list", f"--older-than={time}")
    assert (wrong.code, "--older-than wants a time as 90s" in wrong.err) == (2, True)


async def test_a_dry_run_changes_nothing(caxton: Caxton, here: Here) -> None:
    """It lists what would go and what would be refused; neither mailbox nor letters change."""
    first, second = await die(caxton, here, "1", "2")
    tried = await caxton("dlq", "redrive", "--agent", "bob", "--dry-run")
    assert tried.code == 0
    assert tried.out.splitlines() == [
        f"{first}  bob@caxton  would be redriven",
        f"{second}  bob@caxton  would be redriven",
        "would be redriven: 2, failed: 0",
    ]
    dropped = await caxton("dlq", "discard", "--all", "--dry-run", "--json")
    assert dropped.json["would_be_discarded"] == [first, second]
    assert await here.platform.ports.mailboxes.pending() == {}
    assert len(await here.platform.ports.dead_letters.list()) == 2


async def test_a_message_that_keeps_dying(caxton: Caxton, here: Here) -> None:
    """Its history is shown; after three redrives it is refused, and --force sends it."""
    (letter,) = await die(caxton, here, "1")
    for _ in range(3):
        assert (await caxton("dlq", "redrive", letter)).code == 0
        (letter,) = await die(caxton, here)
    shown = await caxton("dlq", "show", letter)
    assert shown.out.count("InvalidMessage at deliver after 1 attempts: HandlerRejected: boom") == 3
    assert "\x1b" not in shown.out
    refused = await caxton("dlq", "redrive", letter, "--json")
    assert refused.code == 1
    (failed,) = refused.json["failed"]
    assert (failed["error"]["code"], failed["error"]["limit"]) == ("RedriveRefused", 3)
    assert "--force" in failed["error"]["hint"]
    assert (await caxton("dlq", "redrive", "--all", "--dry-run")).code == 1
    assert (await caxton("dlq", "redrive", letter, "--force")).code == 0


async def test_interrupted_between_two_letters(caxton: Caxton, here: Here, start: Start) -> None:
    """Ctrl-C ends after the letter in hand and says how far it came; again, it goes on."""
    letters = await die(caxton, here, "1", "2", "3")
    program = await start("dlq", "redrive", "--all", "--rate", "0.01")
    await program.said(letters[0])
    program.process.send_signal(signal.SIGINT)
    result = await program.ended()
    assert result.code == 130
    assert result.out.splitlines() == [
        "redriven: 1, failed: 0",
        "interrupted; the same command goes on with the rest",
    ]
    rest = await caxton("dlq", "redrive", "--all", "--json")
    assert rest.json["redriven"] == letters[1:]


async def test_on_a_terminal_it_shows_how_far_it_has_come(
    caxton: Caxton, here: Here, tmp_path: Path
) -> None:
    """A line below the others counts, and goes when all is done; nothing of it is in a pipe."""
    letters = await die(caxton, here, "1", "2", "3")
    arguments = ["dlq", "redrive", "--all", "--rate", "5"]
    variables = {"CAXTON_NATS_URL": here.chosen.nats_url}
    out = (await asyncio.to_thread(on_terminal, arguments, variables, tmp_path)).decode()
    for letter in letters:
        assert f"{letter}  bob@caxton  redriven" in out
    assert "redriven: 2, failed: 0" in out, "on the way"
    assert out.rstrip().endswith("redriven: 3, failed: 0")


@pytest.mark.parametrize("option", ["--agent", "--sender"])
@pytest.mark.parametrize("command", [("list",), ("redrive",), ("discard", "--yes")])
async def test_an_empty_name_is_not_everybody(
    caxton: Caxton, here: Here, command: tuple[str, ...], option: str
) -> None:
    """A variable of a script that was never set must not choose all letters."""
    await die(caxton, here, "1")
    wrong = await caxton("dlq", *command, option, "", "--json")
    assert wrong.code == 1
    assert len(await here.platform.ports.dead_letters.list()) == 1


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e-9"])
async def test_a_rate_that_is_none(caxton: Caxton, here: Here, rate: str) -> None:
    """A usage error, and nothing is touched."""
    wrong = await caxton("dlq", "redrive", "--all", f"--rate={rate}")
    assert (wrong.code, "--rate" in wrong.err) == (2, True)


async def test_a_letter_whose_original_is_gone(caxton: Caxton, here: Here) -> None:
    """All else is shown, and that the original is gone is an error."""
    (letter_id,) = await die(caxton, here, json.dumps("x" * 1_031_700))
    letter = await here.platform.ports.dead_letters.get(letter_id)
    assert letter is not None
    assert letter.body_claim is not None
    await here.platform.ports.contents.remove(letter.body_claim)
    shown = await caxton("dlq", "show", letter_id)
    assert (shown.code, "InvalidMessage" in shown.out) == (1, True)
    assert "no content is stored under this name" in shown.err
    assert (await caxton("dlq", "discard", letter_id)).code == 0


async def test_a_server_that_goes_away(caxton: Caxton, here: Here, url: str) -> None:
    """What was done is told, and then what went wrong; nothing is said of letters never seen."""
    nats = await connect(url, name="test")
    await die(caxton, here, "1")
    await nats.api("STREAM.DELETE.CAXTON_DLQ")
    failed = await caxton("dlq", "redrive", "--all")
    assert (failed.code, failed.out) == (4, "")
    assert "StreamMissing" in failed.err
    await nats.close()
