"""Latency, conversations, growth and soak run and count; how fast it is, is nobody's test."""

from __future__ import annotations

import pytest

from benchmarks import dialogue, growth, latency, registry, soak
from benchmarks.contest import a_server
from benchmarks.growth import Sizes
from benchmarks.routed import prepare


@pytest.mark.parametrize("way", [way for way in latency.ways(quick=False) if way.rate != 10_000])
async def test_latency(way: latency.Way) -> None:
    """Each contestant has its quantiles, at a rate and saturated, one way and there and back."""
    async with a_server() as server:
        await prepare(server.url)
        played = await latency.one_round(server, way, 0.05)
    said = next(one for one in played.said.values() if "p50" in one)
    assert 0 < said["p50"] <= said["p99"] <= said["p99.9"]


async def test_conversations() -> None:
    """The request protocol is held, each conversation once, and its record has three messages."""
    async with a_server() as server:
        await prepare(server.url)
        assert (await dialogue.one_round(server, "ours", 20)).rate > 0


async def test_conversations_of_faststream() -> None:
    """What it is compared with holds them, too."""
    pytest.importorskip("faststream")
    async with a_server() as server:
        assert (await dialogue.one_round(server, "FastStream", 20)).rate > 0


async def test_growth() -> None:
    """Each size has its figures, and the ratio is there."""
    found = await growth.measure(sizes=Sizes((1, 3), (2, 4), (0, 3), 200, 1, 1))
    assert set(found["registered"]) == {"1", "3"}
    assert found["conversations"]["3"]["conversations"] > 0
    assert found["bytes"].keys() >= {"idle agent (client)", "open conversation (server)"}
    assert found["ratios"]["cost_1000_agents_vs_10"][0] > 0


async def test_registry() -> None:
    """The suite gets the time of a look-up among the most agents."""
    found = await registry.measure(sizes=registry.Sizes((2, 5), 1, 10))
    assert isinstance(found["ratios"], dict)
    assert found["ratios"]["look_up_us_5"][0] > 0


async def test_soak() -> None:
    """The memory of all three processes is known at each mark."""
    found = await soak.measure(1_000)
    assert set(found["mib"]) == {"sender", "router", "receiver"}
    assert all(set(one) == {"10", "50", "100"} for one in found["mib"].values())
