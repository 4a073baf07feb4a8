"""`caxton topology`: the streams on a server against the files."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats import app
from caxton_nats.core.conversation import Terms
from caxton_nats.jetstream.embedded import EmbeddedOptions
from caxton_nats.jetstream.topology import discover
from tests.cli.conftest import Caxton, Start
from tests.plugins.servers import StartServer


async def change(stream: str, **keys: object) -> None:
    """Change a stream behind the back of the topology."""
    async with app.operate() as (connection, _):
        config = (await connection.api(f"STREAM.INFO.{stream}"))["config"]
        await connection.api(f"STREAM.UPDATE.{stream}", {**config, **keys})


async def create(name: str, subject: str) -> None:
    """Make a stream that is not ours."""
    async with app.operate() as (connection, _):
        await connection.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [subject]})


async def test_apply_makes_what_is_missing_and_says_so(caxton: Caxton, url: str) -> None:
    """The first time it lists what it made; the second time there is nothing to do."""
    made = await caxton("topology", "apply", "--shards", "2", "--json")
    assert made.code == 0, made.err
    assert {"CAXTON_MAILBOX_0", "CAXTON_MAILBOX_1", "CAXTON_DLQ"} <= set(made.json["created"])
    assert "CAXTON_MAILBOX_2" not in made.json["created"]
    assert (await caxton("topology", "apply")).out == "nothing to do\n"


async def test_what_a_deployment_has_chosen_is_no_difference(caxton: Caxton, url: str) -> None:
    """Shards, platform and queue size are the deployment's, unless an option says otherwise."""
    await caxton("topology", "apply", "--shards", "2", "--platform", "lab", "--queue-size", "7")
    checked = await caxton("topology", "check", "--json")
    assert (checked.code, checked.json["ok"], checked.json["differences"]) == (0, True, [])


async def test_conversations_are_a_deployments_choice(
    caxton: Caxton, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was chosen for them stays, also for who has other settings; applying changes it."""
    chosen = {"MAX_PARTICIPANTS": "7", "CONVERSATION_TIMEOUT": "600", "SHARDS": "1"}
    kept = {"CONVERSATION_LIFETIME": "3600", "CONVERSATION_RETENTION": "7200"}
    with monkeypatch.context() as environment:
        for name, value in (chosen | kept).items():
            environment.setenv(f"CAXTON_{name}", value)
        await caxton("topology", "apply")
    assert (await caxton("topology", "check")).code == 0
    monkeypatch.setenv("CAXTON_CONVERSATION_TIMEOUT", "900")
    changed = (await caxton("topology", "apply", "--json")).json["changed"]
    assert [one["stream"] for one in changed] == ["CAXTON_INGRESS"]
    async with app.operate() as (connection, _):
        deployment = await discover(connection)
        assert deployment is not None
        assert deployment.terms == Terms(
            max_participants=7, timeout=timedelta(minutes=15), lifetime=timedelta(hours=1)
        )


async def test_diff_shows_each_key_and_changes_nothing(caxton: Caxton, url: str) -> None:
    """Stream, key, what the server has and what the files say; the exit code stays 0."""
    await caxton("topology", "apply", "--shards", "1")
    await change("CAXTON_ADVISORIES", max_msgs=5, description="mine")
    for _ in range(2):
        differing = await caxton("topology", "diff", "--json")
        assert differing.code == 0
        (one,) = differing.json["differences"]
        assert (one["stream"], one["kind"]) == ("CAXTON_ADVISORIES", "changed")
        assert one["changes"]["max_msgs"] == {"server": 5, "files": 100_000}
        assert one["changes"]["description"]["server"] == "mine"
    rows = (await caxton("topology", "diff")).out.splitlines()
    assert ["CAXTON_ADVISORIES", "changed", "max_msgs", "5", "100000"] in [
        row.split() for row in rows
    ]


async def test_check_fails_until_apply_has_repaired(caxton: Caxton, url: str) -> None:
    """A changed and a lost stream make the exit code 6; apply brings both back."""
    await caxton("topology", "apply", "--shards", "1")
    await change("CAXTON_TIMERS", max_msgs=5)
    async with app.operate() as (connection, _):
        await connection.api("STREAM.DELETE.CAXTON_ADVISORIES")
    checked = await caxton("topology", "check", "--json")
    assert (checked.code, checked.json["ok"]) == (6, False)
    kinds = {one["stream"]: one["kind"] for one in checked.json["differences"]}
    assert kinds == {"CAXTON_TIMERS": "changed", "CAXTON_ADVISORIES": "missing"}
    applied = (await caxton("topology", "apply")).out
    assert "CAXTON_ADVISORIES" in applied
    assert "max_msgs" in applied
    assert (await caxton("topology", "check")).code == 0


async def test_an_empty_server_lacks_everything(caxton: Caxton, url: str) -> None:
    """Nothing is created by looking."""
    for _ in range(2):
        checked = await caxton("topology", "check", "--json")
        assert checked.code == 6
        assert {one["kind"] for one in checked.json["differences"]} == {"missing"}


async def test_a_foreign_stream_is_named_and_never_touched(caxton: Caxton, url: str) -> None:
    """A stream of one of our names that is not ours stops apply, before anything is made."""
    await create("CAXTON_DLQ", "theirs")
    refused = await caxton("topology", "apply", "--json")
    assert (refused.code, refused.error["field"]) == (3, "CAXTON_DLQ")
    assert "remove it" in refused.error["hint"]
    async with app.operate() as (connection, _):
        assert (await connection.api("STREAM.NAMES"))["streams"] == ["CAXTON_DLQ"]


async def test_another_stream_with_our_subjects_is_a_clear_error(caxton: Caxton, url: str) -> None:
    """The server's refusal of overlapping subjects is told with the stream that wanted them."""
    await create("THEIRS", "caxton.dlq.>")
    refused = await caxton("topology", "apply", "--shards", "1", "--json")
    assert (refused.code, refused.error["field"]) == (3, "CAXTON_DLQ")
    assert "subjects" in refused.error["reason"]


async def test_the_number_of_shards_is_for_good(caxton: Caxton, url: str) -> None:
    """With another number mail would be looked for elsewhere: it is refused."""
    await caxton("topology", "apply", "--shards", "2")
    refused = await caxton("topology", "apply", "--shards", "3", "--json")
    assert (refused.code, refused.error["limit"], refused.error["value"]) == (3, 2, 3)


@pytest.mark.parametrize("mode", ["power", "process"])
async def test_check_learns_the_durability_from_monitoring(
    caxton: Caxton, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A server does not tell its clients when it syncs, but its monitoring does."""
    server = await embedded_server(
        EmbeddedOptions(monitoring_port=0, durability="power" if mode == "power" else "process")
    )
    monkeypatch.setenv("CAXTON_NATS_URL", server.url)
    await caxton("topology", "apply", "--shards", "1")
    unknown = (await caxton("topology", "check", "--json")).json["durability"]
    assert unknown["mode"] == "unknown"
    assert server.monitoring_url is not None
    known = await caxton("topology", "check", "--monitoring-url", server.monitoring_url, "--json")
    assert (known.json["durability"]["mode"], known.json["durability"]["source"]) == (
        mode,
        "monitoring",
    )


async def test_monitoring_that_does_not_answer_is_an_error(caxton: Caxton, url: str) -> None:
    """Asked for and not to be had: exit code 4 rather than a guess."""
    await caxton("topology", "apply", "--shards", "1")
    failed = await caxton("topology", "check", "--monitoring-url", "127.0.0.1:1", "--json")
    assert (failed.code, failed.error["field"]) == (4, "monitoring_url")


async def test_a_server_of_caxton_up_is_recognised(caxton: Caxton, start: Start) -> None:
    """The mode it was started with is known to anybody who checks it."""
    program = await start("up", "--port", "0", "--shards", "1", "--durability", "process")
    said = await program.said("Ctrl-C")
    url = said[0].split()[3]
    checked = await caxton("topology", "check", "--nats-url", url, "--json")
    assert checked.json["durability"]["mode"] == "process"
    assert "not a power cut" in (await caxton("topology", "check", "--nats-url", url)).out


async def test_what_settings_say_of_the_topology_is_shown_as_a_difference(
    caxton: Caxton, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what a preset says, for somebody has chosen it; a default says nothing."""
    monkeypatch.setenv("CAXTON_INGRESS_SIZE", "5000")
    await caxton("topology", "apply", "--shards", "1")
    monkeypatch.delenv("CAXTON_INGRESS_SIZE")
    assert (await caxton("topology", "check")).code == 0
    monkeypatch.setenv("CAXTON_PRESET", "production")
    differences = (await caxton("topology", "diff", "--json")).json["differences"]
    changes = {one["stream"]: one["changes"] for one in differences}
    assert changes["CAXTON_INGRESS"]["max_msgs"] == {"server": 5000, "files": 100_000}
    assert changes["CAXTON_DLQ"]["max_msgs"]["files"] == 1_000_000
    assert changes["CAXTON_TIMERS"]["compression"] == {"server": "none", "files": "s2"}
