"""The demo, run as a newcomer runs it: its story happens, its books are true, it cleans up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 120


class Run(subprocess.Popen[str]):
    """One run of the demo with a folder for temporary files of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        super().__init__(
            [sys.executable, "-m", "examples.market", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self) -> str:
        """Return what it printed when it is over."""
        output, _ = self.communicate(timeout=LONGEST)
        print(output)
        return output

    def leftovers(self) -> list[str]:
        """Return the processes and files that are still there: their paths tell whose they are."""
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "args="], check=True, capture_output=True, text=True
        )
        processes = [line for line in listed.stdout.splitlines() if str(self.folder) in line]
        return processes + [str(path) for path in self.folder.iterdir()]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, str]]:
    with Run(tmp_path_factory.mktemp("story")) as run:
        yield run, run.end()


def comes_before(output: str, *texts: str) -> bool:
    """Return whether the texts are there in this order."""
    return re.search(".*".join(map(re.escape, texts)), output, re.DOTALL) is not None


@pytest.mark.timeout(LONGEST + 30)
def test_the_demo_ends_well_and_leaves_nothing_behind(story: tuple[Run, str]) -> None:
    run, output = story
    assert run.returncode == 0
    assert "Every line adds up" in output
    assert run.leftovers() == []
    assert "ends by itself" not in output, (
        "each agent gives its lease back, no log line in the show"
    )


@pytest.mark.timeout(LONGEST + 30)
def test_the_contract_net_runs_to_its_ends(story: tuple[Run, str]) -> None:
    """Winners inform or fail, losers are rejected, and a failed job is called again."""
    _, output = story
    for act in ("cfp", "propose", "refuse", "accept-proposal", "reject-proposal"):
        assert re.search(rf"^ *\w+  {act} +→ ", output, re.MULTILINE), act
    assert comes_before(
        output, "tuck  failure ", "odile  cfp ", "odile  accept-proposal → wanda", "done by wanda"
    )


@pytest.mark.timeout(LONGEST + 30)
def test_a_killed_bidder_comes_back_and_finishes(story: tuple[Run, str]) -> None:
    _, output = story
    assert comes_before(
        output,
        "accept-proposal → bruno",
        "SIGKILL: bruno's process",
        "inform          → bruno: beware of the geese",
        "messages wait in his mailbox",
        "bruno  ↻ is given the accept-proposal again",
        "bruno  inform          → odile: 3 t of fish",
        "bruno is back as process",
    )


@pytest.mark.timeout(LONGEST + 30)
def test_the_poison_message_dies_and_is_redriven(story: tuple[Run, str]) -> None:
    _, output = story
    assert comes_before(
        output,
        "ines  ✗ fails on the request in attempt 1",
        "ines  † the request goes to the dead letters",
        "attempts  3",
        "last error  KeyError: 'weight'",
        "The dead letter is redriven",
        "ines  inform          → town: 0.84 t",
    )


@pytest.mark.timeout(LONGEST + 30)
def test_the_table_adds_up(story: tuple[Run, str]) -> None:
    """Its numbers do, whatever it says of itself."""
    _, output = story
    lines = re.findall(
        r"^ *(\w+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +adds up", output, re.MULTILINE
    )
    numbers = {name: tuple(map(int, row)) for name, *row in lines}
    assert numbers.keys() == {"bruno", "ines", "odile", "pia", "town", "tuck", "wanda"}
    for accepted, handled, dead, redriven, pending in numbers.values():
        assert accepted == handled + dead + redriven + pending
    assert numbers["bruno"][2] == 1  # the call whose deadline passed while he was dead
    assert numbers["ines"][3] == 1


@pytest.mark.timeout(LONGEST + 30)
def test_a_message_that_vanishes_is_noticed(tmp_path: Path) -> None:
    """The books are no decoration: a lost message makes the exit code 1, and is named."""
    with Run(tmp_path, "--lose-one") as run:
        output = run.end()
    assert run.returncode == 1
    assert re.search(r"^ *bruno .* IS WRONG", output, re.MULTILINE)
    assert re.search(
        r"bruno@market: accepted without an end: 1, pending: 0: .* \(inform from town@market\)",
        output,
    )
    assert "The books do not add up." in output


@pytest.mark.timeout(LONGEST + 30)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_it_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    with Run(tmp_path) as run:
        assert run.stdout is not None
        assert any("cfp" in line for line in run.stdout)
        run.send_signal(number)
        run.end()
    assert run.returncode == 130
    assert run.leftovers() == []


@pytest.mark.timeout(LONGEST + 30)
def test_players_do_not_outlive_a_director_who_is_killed(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        assert run.stdout is not None
        assert any("cfp" in line for line in run.stdout)
        run.kill()
    end = time.monotonic() + 30
    while processes := [one for one in run.leftovers() if not one.startswith(str(tmp_path))]:
        assert time.monotonic() < end, processes
        time.sleep(0.1)
