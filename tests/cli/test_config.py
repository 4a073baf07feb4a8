"""`caxton config`, and the file of settings that every command may be given."""

from __future__ import annotations

from pathlib import Path

import pytest

from caxton_nats.config import PRESETS, Settings
from tests.cli.conftest import Caxton, Here, Start


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of settings."""
    path = tmp_path / "caxton.toml"
    path.write_text('preset = "production"\nqueue_size = 7\n')
    return path


async def test_every_setting_is_shown_with_its_source(
    caxton: Caxton, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and source of each, under stable keys; nothing has to run for it."""
    monkeypatch.setenv("CAXTON_SHARDS", "3")
    shown = await caxton("--config", str(file), "config", "show", "--router", "service", "--json")
    assert shown.json["file"] == str(file)
    assert shown.json["settings"].keys() == Settings.model_fields.keys()
    wanted = {
        "router": ("service", "command line", ""),
        "shards": (3, "environment", "CAXTON_SHARDS"),
        "queue_size": (7, "file", str(file)),
        "max_content": (PRESETS["production"]["max_content"], "preset", "production"),
        "replicas": (1, "default", ""),
    }
    for name, (value, source, where) in wanted.items():
        one = shown.json["settings"][name]
        assert (one["value"], one["source"], one["where"]) == (value, source, where)


async def test_a_variable_is_not_called_an_option(
    caxton: Caxton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that has an option beside it, which goes before it."""
    monkeypatch.setenv("CAXTON_NATS_URL", "nats://there:1")
    monkeypatch.setenv("CAXTON_ROUTER", "service")
    found = (await caxton("config", "show", "--json")).json["settings"]
    for name in ("nats_url", "router"):
        assert found[name]["source"] == "environment"
        assert found[name]["where"] == f"CAXTON_{name.upper()}"
    option = await caxton("config", "show", "--nats-url", "nats://here:1", "--json")
    assert option.json["settings"]["nats_url"]["source"] == "command line"
    monkeypatch.setenv("CAXTON_ROUTER", "both")
    wrong = await caxton("config", "show", "--json")
    assert (wrong.code, wrong.error["field"], wrong.error["value"]) == (3, "CAXTON_ROUTER", "both")


async def test_the_settings_are_a_table_for_people(caxton: Caxton) -> None:
    """One line each: setting, value, source."""
    lines = [line.split() for line in (await caxton("config", "show")).out.splitlines()]
    assert lines[0] == ["setting", "value", "from"]
    assert ["shards", "16", "default"] in lines
    assert ["preset", "-", "default"] in lines
    assert len(lines) == len(Settings.model_fields) + 1


@pytest.mark.parametrize("preset", PRESETS)
async def test_a_preset_can_be_looked_at(caxton: Caxton, file: Path, preset: str) -> None:
    """As if it were chosen, whatever the file says."""
    shown = await caxton("--config", str(file), "config", "show", "--preset", preset, "--json")
    found = {name: one["value"] for name, one in shown.json["settings"].items()}
    assert {name: found[name] for name in PRESETS[preset]} == PRESETS[preset]
    assert found["queue_size"] == 7


async def test_a_password_is_not_shown(caxton: Caxton) -> None:
    """The settings are what people paste into a question."""
    url = "nats://ann:secret@host:4222"
    shown = await caxton("config", "show", "--nats-url", url)
    assert "secret" not in shown.out
    assert "nats://***@host:4222" in shown.out


async def test_a_file_of_settings_is_for_every_command(
    caxton: Caxton, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --config before the command, or by CAXTON_CONFIG; an option goes before it."""
    path = tmp_path / "here.toml"
    path.write_text(f'nats_url = "{here.chosen.nats_url}"')
    monkeypatch.delenv("CAXTON_NATS_URL")
    shown = await caxton("--config", str(path), "stats", "--json")
    assert shown.json["platform"] == here.platform.name
    monkeypatch.setenv("CAXTON_CONFIG", str(path))
    assert (await caxton("topology", "check")).code == 0
    assert (await caxton("stats", "--nats-url", "nats://127.0.0.1:1")).code == 4


async def test_a_mistake_in_the_file_stops_every_command(caxton: Caxton, tmp_path: Path) -> None:
    """Named with its file, before anything is connected; exit code 3."""
    path = tmp_path / "wrong.toml"
    path.write_text("que_size = 7")
    for command in (("stats",), ("up",), ("topology", "check"), ("config", "show")):
        wrong = await caxton("--config", str(path), *command, "--json")
        assert wrong.code == 3
        assert wrong.error["field"] == f"{path}: que_size"
        assert "queue_size" in wrong.error["hint"]


async def test_up_uses_the_server_that_the_file_names(start: Start, tmp_path: Path) -> None:
    """As with --nats-url: no server of its own beside the one that is meant."""
    path = tmp_path / "there.toml"
    path.write_text('nats_url = "nats://127.0.0.1:1"')
    assert (await (await start("--config", str(path), "up")).ended()).code == 4
    up = await (await start("--config", str(path), "up", "--port", "0")).ended()
    assert up.code == 2
    assert "the file of settings" in up.err
