"""What can be wrong with a server or a setting: a clear error that says what to do, no traceback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from caxton_nats import app, settings
from tests.cli.conftest import ROOT, Caxton, Result, Start
from tests.plugins.eventually import eventually
from tests.plugins.unfit_servers import greeting, scripted_server, without_jetstream

COMMANDS = (
    ("agents",),
    ("agents", "show", "bob"),
    ("agents", "register", "bob"),
    ("agents", "deregister", "bob"),
    ("send", "alice", "inform", "bob"),
    ("request", "alice", "bob"),
    ("conversations",),
    ("conversations", "show", "c-1"),
    ("messages", "list", "bob"),
    ("messages", "show", "bob", "x"),
    ("messages", "remove", "bob", "x"),
    ("dlq",),
    ("dlq", "show", "x"),
    ("dlq", "stats"),
    ("dlq", "redrive", "x"),
    ("dlq", "discard", "x"),
    ("topology", "apply"),
    ("topology", "diff"),
    ("topology", "check"),
    ("stats",),
)


def check_form(failed: Result, code: int) -> None:
    """One form: a line that begins with error, then labelled lines, the last says what next."""
    assert (failed.code, failed.out) == (code, "")
    first, *others = failed.err.splitlines()
    assert first.startswith("error: ")
    assert all(
        line.startswith(("  where: ", "  limit: ", "  value: ", "  next: ")) for line in others
    )
    assert others[-1].startswith("  next: ")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_no_server_is_said_by_every_command(caxton: Caxton, command: tuple[str, ...]) -> None:
    """Exit code 4 and what to do next; as JSON with --json."""
    nowhere = ("--nats-url", "nats://127.0.0.1:1")
    failed = await caxton(*command, *nowhere)
    check_form(failed, 4)
    assert "caxton up" in failed.err
    failed = await caxton(*command, *nowhere, "--json")
    assert (failed.code, failed.out, failed.error["code"]) == (4, "", "NotConnected")


@pytest.mark.parametrize("command", [one for one in COMMANDS if one[0] != "topology"], ids=" ".join)
async def test_no_command_makes_a_platform_by_accident(
    caxton: Caxton, url: str, command: tuple[str, ...]
) -> None:
    """On a server without a platform, exit code 3, and the server is as it was."""
    failed = await caxton(*command)
    check_form(failed, 3)
    assert "caxton topology apply" in failed.err
    async with app.operate() as (connection, _):
        assert not (await connection.api("STREAM.NAMES"))["streams"]


async def test_a_server_that_is_too_old_is_refused(caxton: Caxton, start: Start) -> None:
    """The error names the version it has and the one it needs."""
    async with scripted_server(greeting("2.10.0")) as url:
        failed = await caxton("agents", "--nats-url", url)
        check_form(failed, 3)
        assert "nats-server 2.10.0 is too old: 2.14.3 or newer is needed" in failed.err
        ended = await (await start("up", "--nats-url", url)).ended()
        assert (ended.code, "is too old" in ended.err) == (3, True)


async def test_jetstream_that_is_off_is_said(caxton: Caxton, start: Start, tmp_path: Path) -> None:
    """A server without -js is no use; the error says what to put into its configuration."""
    async with without_jetstream(tmp_path) as url:
        failed = await caxton("agents", "--nats-url", url)
        check_form(failed, 3)
        assert "JetStream is off" in failed.err
        assert "-js" in failed.err
        ended = await (await start("up", "--nats-url", url)).ended()
        assert (ended.code, "JetStream is off" in ended.err) == (3, True)


async def test_a_foreign_stream_stops_up_and_nothing_is_touched(
    caxton: Caxton, start: Start, url: str
) -> None:
    """A stream of one of our names that is not ours: named, with what to do."""
    async with app.operate() as (connection, _):
        stream = {"name": "CAXTON_INGRESS", "subjects": ["theirs"]}
        await connection.api("STREAM.CREATE.CAXTON_INGRESS", stream)
        ended = await (await start("up", "--nats-url", url)).ended()
        assert ended.code == 3
        assert "a stream CAXTON_INGRESS exists that caxton did not make" in ended.err
        assert "nats stream rm" in ended.err
        assert (await connection.api("STREAM.NAMES"))["streams"] == ["CAXTON_INGRESS"]


async def test_a_busy_port_is_said_with_who_has_it(
    start: Start, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the server on that port and three ways out."""
    port = url.rpartition(":")[2]
    monkeypatch.delenv("CAXTON_NATS_URL")
    ended = await (await start("up", "--port", port)).ended()
    check_form(ended, 3)
    assert f"port {port} on 127.0.0.1 is taken by nats-server" in ended.err
    assert "--nats-url" in ended.err


async def test_a_store_in_use_is_said(start: Start) -> None:
    """Two servers on one folder would damage it: the second is refused."""
    first = await start("up", "--port", "0", "--shards", "1")
    await first.said("Ctrl-C")
    ended = await (await start("up", "--port", "0")).ended()
    check_form(ended, 3)
    assert "another nats-server is running on the folder" in ended.err


async def test_a_deployment_keeps_its_shards_and_platform(start: Start, url: str) -> None:
    """`up` with another value is refused instead of ignored."""
    first = await start("up", "--nats-url", url, "--shards", "2", "--platform", "lab")
    await first.said("Ctrl-C")
    for option, value in (("shards", "3"), ("platform", "home")):
        ended = await (await start("up", "--nats-url", url, f"--{option}", value)).ended()
        check_form(ended, 3)
        assert f"where: {option}" in ended.err


async def test_a_stream_that_is_missing_is_made_again(start: Start, url: str) -> None:
    """A store of an older version gets a new stream; it is said, for it may have been lost."""
    first = await start("up", "--nats-url", url, "--shards", "1")
    await first.said("Ctrl-C")
    first.process.send_signal(signal.SIGTERM)
    await first.ended()
    async with app.operate(settings(nats_url=url)) as (connection, _):
        await connection.api("STREAM.DELETE.CAXTON_DLQ")
        again = await start("up", "--nats-url", url)
        await again.said("Ctrl-C")
        assert "CAXTON_DLQ" in (await connection.api("STREAM.NAMES"))["streams"]
    again.process.send_signal(signal.SIGTERM)
    assert "CAXTON_DLQ" in (await again.ended()).err


async def test_options_of_an_own_server_contradict_a_running_one(caxton: Caxton, url: str) -> None:
    """A port for a server that is not started would be ignored: a usage error."""
    wrong = await caxton("up", "--nats-url", url, "--port", "4333")
    assert (wrong.code, "--nats-url" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CAXTON_SHARDS", "many"), ("CAXTON_QUEUE_SIZE", "0"), ("CAXTON_QUEUE", "5")],
)
async def test_a_wrong_setting_names_its_variable(
    caxton: Caxton, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A value out of bounds and an unknown name are configuration errors."""
    monkeypatch.setenv(name, value)
    failed = await caxton("agents", "--json")
    assert (failed.code, failed.error["field"]) == (3, name)


async def test_an_address_that_is_none_is_a_configuration_error(caxton: Caxton) -> None:
    """Not a failed connection, and no exception of a library."""
    failed = await caxton("agents", "--nats-url", "nats://host:port", "--json")
    assert (failed.code, failed.error["field"]) == (3, "nats_url")


async def test_ctrl_c_ends_a_waiting_command_without_a_traceback(start: Start, url: str) -> None:
    """130, as shells expect it, and nothing of Python's to read."""
    router = await start("router", "--shards", "1")
    await router.said("Ctrl-C")
    register = await start("agents", "register", "bob")
    assert (await register.ended()).code == 0
    waiting = await start("request", "alice", "bob", "--timeout", "60")
    chosen = settings(nats_url=url)
    async with app.connect(chosen) as platform:
        bob = platform.agent_id("bob")

        async def asked() -> bool:
            return bool((await platform.ports.mailboxes.status(bob)).pending)

        await eventually(asked)
    waiting.process.send_signal(signal.SIGINT)
    ended = await waiting.ended()
    assert (ended.code, ended.err) == (130, "")


async def test_a_reader_that_has_gone_is_no_traceback(tmp_path: Path) -> None:
    """`caxton … | head -0` ends quietly: with an exit code, not with a page of Python."""
    script = f'"{sys.executable}" -m caxton_nats --help | true; echo "${{PIPESTATUS[0]}}"'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert await process.communicate() == (b"1\n", b"")
