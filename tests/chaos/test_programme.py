"""The harness: without a fault it keeps every promise, and it sees what is lost behind its back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from caxton_nats.app import operate
from chaos import __main__ as programme
from chaos.needs import Need
from chaos.programme import Result, perform
from chaos.scenario import SCENARIOS, Scenario
from chaos.stage import Stage


@pytest.fixture(autouse=True)
def kept_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have logs of scenarios that fail on purpose go away with the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def played(play: object, **chosen: object) -> Scenario:
    return Scenario(name="test", about="", play=play, routers=1, workers=1, **chosen)  # type: ignore[arg-type]


async def performed(scenario: Scenario) -> Result:
    return await perform(scenario, seed=1, seconds=0.3, say=lambda _: None)


async def test_no_fault_at_all() -> None:
    """All three doors, retries, dead letters, answers: nothing to complain of."""
    result = await performed(SCENARIOS["calm"])
    assert result.good, result.complaints
    assert result.figures is not None
    assert result.figures.accepted == result.figures.handled + result.figures.dead > 0
    assert not result.folder, "nothing is kept"


async def test_messages_that_vanish_behind_our_back() -> None:
    """Mail is purged from the streams while nobody reads it: the books name what is lost."""

    async def purge(stage: Stage) -> None:
        frozen = stage.freeze("worker-1")
        await stage.wait(0.5, 0.6)
        async with operate(stage.settings()) as (connection, _):
            for shard in range(4):
                await connection.api(f"STREAM.PURGE.CAXTON_MAILBOX_{shard}")
        stage.thaw(frozen)

    result = await performed(played(purge))
    assert any("lost: accepted, and neither handled" in one for one in result.complaints)
    assert result.folder, "the logs are kept"


async def test_a_scenario_that_breaks_itself() -> None:
    """It has failed, and the programme goes on."""

    async def broken(_: Stage) -> None:
        raise ValueError("a mistake")

    result = await performed(played(broken))
    assert result.complaints == ["the scenario itself broke: ValueError('a mistake')"]


async def test_the_seed_decides_the_load(tmp_path: Path) -> None:
    """Who writes to whom, and what, is the same each time the seed is played."""
    loads = []

    async def remember(stage: Stage) -> None:
        loads.append(stage.load.sent)

    for _ in range(2):
        await performed(played(remember))
    first, second = ({k: (v.receiver, v.task.kind) for k, v in one.items()} for one in loads)
    common = first.keys() & second.keys()
    assert common
    assert all(first[key] == second[key] for key in common)


async def test_what_the_machine_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped, with what is missing."""

    async def never(_: Stage) -> None:
        raise AssertionError

    need = Need("luck", lambda: "needs luck")
    result = await performed(played(never, needs=(need,)))
    assert result.skipped == "needs luck"
    assert not result.good


def test_a_skip_is_a_failure_where_chaos_is_demanded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that CI without loop devices is not green."""

    async def never(_: Stage) -> None:
        raise AssertionError

    need = Need("luck", lambda: "needs luck")
    monkeypatch.setitem(SCENARIOS, "test", played(never, needs=(need,)))
    monkeypatch.setattr(programme, "enter_namespace", lambda _: None)
    monkeypatch.delenv(programme.DEMANDED, raising=False)
    file = tmp_path / "figures.json"
    assert programme.main(["--json", str(file), "--seed", "7", "test"]) == 0
    (written,) = json.loads(file.read_text())
    assert (written["skipped"], written["seed"]) == ("needs luck", 7)
    monkeypatch.setenv(programme.DEMANDED, "docker chaos")
    assert programme.main(["test"]) == 1
    assert "test: skipped: needs luck" in capsys.readouterr().out


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, with where to look."""
    with pytest.raises(SystemExit) as ended:
        programme.main(["router-kil"])
    assert ended.value.code == 2
    assert "no scenario of this name: router-kil; see --list" in capsys.readouterr().err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Each scenario, with what happens in it and what it needs."""
    assert programme.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in SCENARIOS)
    assert "[needs loop devices]" in out
