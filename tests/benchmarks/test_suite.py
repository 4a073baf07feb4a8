"""The suite counts what it measures; how fast anything is, is nobody's test."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import nats
import pytest

from benchmarks import report
from benchmarks.__main__ import play_line
from benchmarks.contest import Job, Participant, Round, a_server, play_round
from benchmarks.lines import (
    FASTSTREAM,
    LINES,
    Contestant,
    Line,
    Ratio,
    lean,
    lean_streams,
    ours,
    stored,
    without,
)
from tests.plugins.requirements import require

FEW = 320
DOORS = ("embedded", "service", "submit")
BOTH = ["bob", "carol"]


@pytest.mark.parametrize("door", DOORS)
async def test_the_ceiling_handles_all_once(door: str) -> None:
    """The lean path handles every message, and says what it cost each process."""
    played = await lean(FEW, door=door, receivers=BOTH)
    routed = {"router"} if door != "embedded" else set()
    assert played.cpu.keys() == {"producer", "agent", "server"} | routed
    assert played.said["agent"]["handled"] == FEW


@pytest.mark.parametrize("door", DOORS)
async def test_our_agents_handle_all_once(door: str) -> None:
    """Every message that is sent through a door is handled by an agent, and settled."""
    played = await ours(FEW, door=door, receivers=BOTH, senders=["alice", "ann"])
    assert played.said["receiver"]["handled"] == FEW
    assert played.sending > 0
    assert played.rate > 0


async def test_plain_nats_py_does_the_same_job() -> None:
    """The router on nats-py routes all; its publisher stores all."""
    await lean(FEW, door="service", router="benchmarks.nats_py_router")
    await stored(FEW, module="benchmarks.nats_py_router", role="publisher")


async def test_faststream_does_the_same_job() -> None:
    """The router on FastStream routes all."""
    require("faststream")
    await lean(FEW, door="service", router="benchmarks.faststream_router")


async def test_a_missing_message_is_no_measurement() -> None:
    """A round in which fewer messages were handled than were sent is an error."""
    async with a_server() as server:
        await lean_streams(server.url, BOTH)
        # Half of the messages are for carol, whose mail nobody takes.
        producer = Job(url=server.url, messages=2, door="embedded", receivers=BOTH)
        agent = Job(url=server.url, messages=1, receivers=["bob"])
        participants = [
            Participant("producer", "benchmarks.lean", "producer", producer),
            Participant("agent", "benchmarks.lean", "agent", agent),
        ]
        with pytest.raises(RuntimeError, match="1 of 2 messages were handled"):
            await play_round(server, participants)


async def test_a_message_that_comes_twice_is_no_measurement() -> None:
    """A receiver that is given one message twice ends the round."""
    async with a_server() as server:
        await lean_streams(server.url, ["bob"])
        client = await nats.connect(server.url)
        body = msgspec.json.encode({"receiver": "bob", "message_id": "m-0", "content": ""})
        for _ in range(2):
            await client.jetstream().publish("mail.bob", body)
        await client.close()
        # One is left to send: with the two that are there, two ids.
        producer = Job(url=server.url, messages=1, name="n", door="embedded")
        agent = Job(url=server.url, messages=2)
        participants = [
            Participant("producer", "benchmarks.lean", "producer", producer),
            Participant("agent", "benchmarks.lean", "agent", agent),
        ]
        with pytest.raises(RuntimeError, match="said nothing"):
            await play_round(server, participants)


async def test_rounds_take_turns_in_alternating_order() -> None:
    """Who begins changes from round to round; a ratio is the median of the rounds' ratios."""
    began: list[str] = []
    line = Line(
        "a line",
        "nothing at all",
        {"fast": _pretends(began, "fast", [8, 8, 8]), "slow": _pretends(began, "slow", [1, 2, 4])},
        messages=1_000,
        ratios=(
            Ratio("fast_vs_slow", "fast", "slow", 5),
            Ratio("cost", "fast", "slow", 1.5, figure="cost"),
        ),
    )
    played = await play_line(line, 3, 1.0)
    assert began in (
        ["slow", "fast", "fast", "slow", "slow", "fast"],
        ["fast", "slow", "slow", "fast", "fast", "slow"],
    )
    found = report.result([line], {"a line": played}, report.environment())
    assert found["ratios"]["fast_vs_slow"] == {
        "value": 4,
        "least": 2,
        "most": 8,
        "target": 5,
        "sense": "at least",
        "met": False,
    }
    assert found["ratios"]["cost"]["met"] is True
    assert "missed" in report.table(found)
    assert found["environment"].keys() >= {"cores", "python", "nats_server", "load_before"}
    assert report.markdown(found).count("\n| a line |") == 2
    assert ET.fromstring(report.plot(found)).tag.endswith("svg")  # noqa: S314 - we wrote it


def test_the_page_has_the_shape_that_the_command_writes() -> None:
    """docs/performance.md has one generated part, with both tables or nothing yet."""
    text = (report.ROOT / report.PAGE).read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1
    part = text.partition(report.BEGIN)[2].partition(report.END)[0]
    headings = [line for line in report.markdown(_nothing()).splitlines() if line.startswith("| ")]
    assert not part.strip() or all(heading in part for heading in headings)


def test_whoever_is_not_there_is_left_out() -> None:
    """Without FastStream the rest is measured, and no ratio to it is claimed."""
    lines = [without(line, FASTSTREAM) for line in LINES]
    assert not [line.name for line in lines if FASTSTREAM in line.contestants]
    names = {ratio.name for line in lines for ratio in line.ratios}
    assert {"routed_vs_ceiling", "routed_vs_nats_py"} <= names
    assert "routed_vs_faststream" not in names


def test_every_ratio_has_its_contestants() -> None:
    """No ratio names a contestant that its line does not have, and no two have one name."""
    ratios = [(ratio, line) for line in LINES for ratio in line.ratios]
    assert not [r.name for r, line in ratios if not {r.of, r.to} <= line.contestants.keys()]
    assert len({ratio.name for ratio, _ in ratios}) == len(ratios)


def _pretends(began: list[str], name: str, rates: list[int]) -> Contestant:
    async def run(messages: int) -> Round:
        rate = rates[began.count(name)]
        began.append(name)
        return Round(messages, messages / rate, {"sender": 1.0, "server": 2.0}, {})

    return run


def _nothing() -> dict[str, Any]:
    return report.result([], {}, report.environment())


def test_what_has_other_units_is_judged_and_shown_too() -> None:
    """Latency and the like come with their ratios, targets and tables."""
    lines = {"embedded": {"p50": 0.5, "p99": 2.0}, "nats-py": {"p50": 0.4}}
    measured = {
        "latency": {"unit": "ms", "lines": lines, "ratios": {"one_way_p99_vs_nats_py": [1, 2, 1.2]}}
    }
    found = report.result([], {}, report.environment(), measured)
    ratio = found["ratios"]["one_way_p99_vs_nats_py"]
    assert (ratio["value"], ratio["sense"], ratio["met"]) == (1.2, "at most", True)
    assert "| nats-py | 0.4 |  |" in report.markdown(found)
