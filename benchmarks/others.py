"""What is measured in other units than messages a second, with the targets of its ratios."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks import dialogue, growth, latency, registry


class Target(NamedTuple):
    """What a ratio should be."""

    sense: str
    value: float


TARGETS = {
    "request_protocol_vs_faststream": Target("at least", 5.0),
    "one_way_p99_vs_nats_py": Target("at most", 1.5),
    "cost_1000_agents_vs_10": Target("at most", 1.5),
    "look_up_us_10000": Target("at most", 2.0),
}
NAMES = ("latency", "conversations", "growth", "registry")


async def measure(
    name: str, *, quick: bool, tell: Callable[[str], None] = print
) -> dict[str, Any] | None:
    """Return what is found, or None if there is nobody to compare with."""
    if name == "latency":
        return await latency.measure(quick=quick, tell=tell)
    if name == "growth":
        return await growth.measure(quick=quick, tell=tell)
    if name == "conversations":
        there = find_spec("faststream") is not None
        return await dialogue.measure(quick=quick, tell=tell) if there else None
    tell("registry")
    sizes = registry.Sizes((10, 1_000, 10_000), 5, 500 if quick else 2_000)
    found = registry.lookups(sizes)
    mirror = await registry.mirror(10_000)
    return {
        "unit": "ns, s",
        "lines": {**found, "10,000 agents": mirror},
        "ratios": {"look_up_us_10000": [found["find by name"]["10000"] / 1_000]},
    }


def tables(found: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Return what is found as tables: figures by name, by row."""
    return {
        name: rows
        for name, rows in found.items()
        if name not in ("unit", "ratios")
        and isinstance(rows, dict)
        and all(isinstance(row, dict) for row in rows.values())
    }
