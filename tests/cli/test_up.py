"""`caxton up` and `caxton router`: start, say what is what, work as printed, drain."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from caxton_nats import app, settings
from caxton_nats.config import PRESETS
from caxton_nats.jetstream.connection import connect
from tests.cli.conftest import ROOT, Caxton, Program, Start
from tests.plugins.requirements import find_nats_cli, require

LAST = "Ctrl-C ends it"


def commands(said: list[str], title: str) -> str:
    """Return what stands to be copied under the title."""
    at = next(number for number, line in enumerate(said) if line.startswith(f"# {title}"))
    end = next(
        number
        for number in range(at, len(said))
        if said[number].startswith(("#", LAST)) and number > at
    )
    return "\n".join(said[at + 1 : end]).strip()


async def shell(script: str, folder: Path) -> str:
    """Run a script as a person would paste it, and return what it printed."""
    nats = find_nats_cli()
    path = os.pathsep.join([*([str(Path(nats).parent)] if nats else []), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, f"{script}\n{out.decode()}"
    return out.decode()


async def up(start: Start, *arguments: str) -> tuple[Program, list[str]]:
    program = await start("up", "--port", "0", "--shards", "2", *arguments)
    return program, await program.said(LAST)


async def test_it_says_where_it_listens_and_what_survives(start: Start, tmp_path: Path) -> None:
    """Address, platform, store, and the durability mode with its meaning in one sentence."""
    _, said = await up(start, "--platform", "lab")
    assert said[0].startswith("caxton is up: nats://127.0.0.1:")
    assert "(platform lab, nats-server 2." in said[0]
    assert said[1] == f"store: {tmp_path / '.caxton'}"
    assert said[2].startswith("durability: power: every message is on the disk before")


async def test_streams_in_memory_are_said_to_be_lost_with_the_server(
    start: Start, caxton: Caxton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the server writes to its disk: in so many words, and by whoever looks at it."""
    monkeypatch.setenv("CAXTON_STORAGE", "memory")
    _, said = await up(start, "--durability", "power")
    assert said[2].startswith("durability: memory: the streams are in the server's memory")
    assert "gone, all of it, when the server stops" in said[2]
    url = said[0].split()[3]
    checked = await caxton("topology", "check", "--nats-url", url, "--json")
    assert (checked.code, checked.json["durability"]["mode"]) == (0, "memory")


@pytest.mark.parametrize("preset", PRESETS)
async def test_each_preset_runs(
    start: Start, caxton: Caxton, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    """On whatever machine this is: a message is stored, and the streams are as the preset says."""
    monkeypatch.setenv("CAXTON_PRESET", preset)
    _, said = await up(start)
    monkeypatch.setenv("CAXTON_NATS_URL", said[0].split()[3])
    assert (await caxton("agents", "register", "bob")).code == 0
    assert (await caxton("send", "alice", "inform", "bob", "--text", "hello")).code == 0
    assert (await caxton("topology", "check")).code == 0


async def test_the_store_is_where_the_settings_say(start: Start, tmp_path: Path) -> None:
    """A file or a variable is enough; --store goes before them."""
    for arguments, folder in (((), "kept"), (("--store", "elsewhere"), "elsewhere")):
        program = await start(
            "up", "--port", "0", "--shards", "1", *arguments, CAXTON_STORE=str(tmp_path / "kept")
        )
        said = await program.said(LAST)
        assert said[1] == f"store: {tmp_path / folder}"


@pytest.mark.nats_cli
async def test_the_lines_for_the_nats_tool_work_as_printed(start: Start, tmp_path: Path) -> None:
    """They register bob, send to him, and read his mailbox."""
    require("nats-cli")
    _, said = await up(start)
    out = await shell(commands(said, "with the nats command line tool"), tmp_path)
    assert '"agent":"bob@caxton"' in out
    assert '"receivers":[{"receiver":"bob@caxton"' in out
    assert '"content":"hello"' in out


async def test_the_lines_for_python_work_as_printed(start: Start, tmp_path: Path) -> None:
    """One agent asks, the other answers."""
    _, said = await up(start)
    assert await shell(commands(said, "with Python"), tmp_path) == "HELLO\n"


async def test_the_lines_for_caxton_work_as_printed(start: Start, tmp_path: Path) -> None:
    """They write to bob and show his pending message."""
    _, said = await up(start)
    out = await shell(commands(said, "with caxton"), tmp_path)
    assert "registered bob@caxton" in out
    assert re.search(r"^accepted +1$", out, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_and_ends_it_with_0(
    caxton: Caxton, start: Start, number: signal.Signals
) -> None:
    """It says that it drains and that it has stopped; nobody answers afterwards."""
    program, said = await up(start)
    url = said[0].split()[3]
    assert (await caxton("agents", "--nats-url", url)).code == 0
    program.process.send_signal(number)
    ended = await program.ended()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-2:] == [
        "stopping: requests that are in are being answered, no new ones are taken",
        "stopped",
    ]
    assert (await caxton("agents", "--nats-url", url)).code == 4


async def test_requests_that_are_in_are_answered(start: Start, caxton: Caxton) -> None:
    """Two hundred requests that the server has when the signal comes: each gets its receipt."""
    program, said = await up(start)
    chosen = settings(nats_url=said[0].split()[3])
    await caxton("agents", "register", "bob", "--nats-url", chosen.nats_url)
    message = b'{"performative":"inform","receiver":"bob"}'
    async with app.operate(chosen) as (connection, _):
        requests = [
            asyncio.create_task(connection.request("caxton.send.alice", message, what="send"))
            for _ in range(200)
        ]
        await asyncio.sleep(0)  # Each has written its request, none has its answer.
        await connection.client.flush()
        program.process.send_signal(signal.SIGINT)
        answers = [json.loads(answer) for answer in await asyncio.gather(*requests)]
    assert [one["receivers"][0]["receiver"] for one in answers] == ["bob@caxton"] * 200
    assert (await program.ended()).code == 0


async def test_what_was_stored_is_there_when_it_is_up_again(caxton: Caxton, start: Start) -> None:
    """The store keeps agents and mail; the number of shards need not be given again."""
    program, said = await up(start)
    url = said[0].split()[3]
    await caxton("agents", "register", "bob", "--nats-url", url)
    await caxton("send", "alice", "inform", "bob", "--nats-url", url)
    program.process.send_signal(signal.SIGTERM)
    await program.ended()
    again = await start("up", "--port", "0", "--json")
    about = await document(again)
    found = await caxton("agents", "show", "bob", "--nats-url", about["url"], "--json")
    assert found.json["pending"] == 1


async def test_json_is_one_document_even_at_the_end(start: Start) -> None:
    """A script reads the address, and nothing follows the document."""
    program = await start("up", "--port", "0", "--shards", "1", "--json")
    about = await document(program)
    assert about["url"].startswith("nats://127.0.0.1:")
    assert about["durability"]["mode"] == "power"
    program.process.send_signal(signal.SIGTERM)
    assert await program.ended() == (0, "", "")


async def test_a_running_server_is_used_with_nats_url(start: Start, url: str) -> None:
    """No server of its own, and honest about not knowing the durability of that one."""
    program = await start("up", "--nats-url", url, "--shards", "1")
    said = await program.said(LAST)
    assert said[0].startswith(f"caxton is up: {url} ")
    assert said[1].startswith("durability: unknown: that server decides")
    assert not any(line.startswith("store:") for line in said)
    program.process.send_signal(signal.SIGINT)
    assert (await program.ended()).code == 0


async def test_routers_share_a_server(caxton: Caxton, start: Start, url: str) -> None:
    """`caxton router` serves the doors; when the last one has ended nobody answers there."""
    routers = [await start("router", "--shards", "1") for _ in range(2)]
    for one in routers:
        await one.said(LAST)
    register = ("agents", "register", "--router", "service")
    for one, name in zip(routers, ("ann", "bob"), strict=True):
        assert (await caxton(*register, name)).code == 0
        one.process.send_signal(signal.SIGTERM)
        assert (await one.ended()).code == 0
    refused = await caxton(*register, "carol")
    assert refused.code == 4
    assert "caxton up" in refused.err


async def test_a_server_that_dies_ends_it_with_an_error(start: Start, tmp_path: Path) -> None:
    """Nobody would notice a router without a server: it says so, with the server's last words."""
    program, _ = await up(start)
    (ports,) = (tmp_path / ".caxton").glob("*.ports")
    os.kill(int(ports.stem.rpartition("_")[2]), signal.SIGKILL)
    ended = await program.ended()
    assert ended.code == 4
    assert "the embedded nats-server ended by itself" in ended.err
    assert "Traceback" not in ended.err


async def document(program: Program) -> Any:
    return json.loads("\n".join(await program.said("}")))


async def test_a_password_in_the_address_is_not_printed(
    start: Start, url: str, tmp_path: Path
) -> None:
    """The lines to copy use the variable instead, and work when it is set."""
    secret = url.replace("//", "//someone:secret@")
    program = await start("up", "--nats-url", secret, "--shards", "1")
    said = await program.said(LAST)
    assert "secret" not in "\n".join(said)
    assert "CAXTON_NATS_URL is the address with its password" in "\n".join(said)
    script = f"export CAXTON_NATS_URL={secret}\n{commands(said, 'with Python')}"
    assert await shell(script, tmp_path) == "HELLO\n"
    assert "registered bob@caxton" in await shell(
        f"export CAXTON_NATS_URL={secret}\n{commands(said, 'with caxton')}", tmp_path
    )


def log_of(folder: Path) -> str:
    """Return what the server has logged."""
    return next(folder.rglob("nats-server.log")).read_text()


async def test_its_server_is_configured_for_a_link(start: Start, tmp_path: Path) -> None:
    """The JetStream domain is the server's own, and so is what the file says besides."""
    file = tmp_path / "link.conf"
    file.write_text('leafnodes { listen: "127.0.0.1:-1" }\n')
    _, said = await up(start, "--domain", "office", "--server-config", str(file))
    connection = await connect(said[0].split()[3], name="test")
    try:
        assert (await connection.api("INFO"))["domain"] == "office"
    finally:
        await connection.close()
    assert "Listening for leafnode connections" in log_of(tmp_path)


async def test_a_server_that_runs_already_has_its_configuration(caxton: Caxton) -> None:
    """Neither option can change it, and leaving them unread would hide that."""
    for option in (("--domain", "office"), ("--server-config", "link.conf")):
        refused = await caxton("up", "--nats-url", "nats://127.0.0.1:1", *option)
        assert refused.code == 2
        assert option[0] in refused.err
