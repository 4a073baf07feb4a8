"""The benchmark suite: all lines, rounds that take turns, ratios, a page and a plot.

    python -m benchmarks [--quick] [--rounds 5] [--only "service 1 to 1"] [--page]

A round of each contestant follows a round of each other, so that what else the machine does meets
all alike; figures are medians over the rounds, ratios are medians of the ratios round by round. A
target that is missed is a result; a message that is not handled exactly once is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from time import monotonic
from typing import Any

from benchmarks import others, report
from benchmarks.contest import Round
from benchmarks.lines import FASTSTREAM, LINES, Line, without


async def play_line(line: Line, rounds: int, share: float) -> dict[str, list[Round]]:
    """Return the rounds of each contestant."""
    found: dict[str, list[Round]] = {name: [] for name in line.contestants}
    for number in range(rounds):
        names = list(line.contestants)
        for name in names if number % 2 else reversed(names):
            messages = int(line.few.get(name, line.messages) * share) // 1_000 * 1_000
            # So many that sixteen senders, or a thousand receivers, have the same number each.
            played = await line.contestants[name](max(messages, 1_000) // 16 * 16)
            found[name].append(played)
            print(f"  {line.name:<24} {name:<14} {played.rate:>9,.0f}/s", flush=True)
    return found


def lines() -> list[Line]:
    """Return the lines of those who can take part."""
    if find_spec("faststream") is not None:
        return LINES
    print(f"no {FASTSTREAM} here, so nothing is compared with it: pip install -e '.[bench]'")
    return [without(line, FASTSTREAM) for line in LINES]


async def play_all(
    chosen: argparse.Namespace, there: Sequence[Line]
) -> dict[str, dict[str, list[Round]]]:
    """Return all rounds, by line."""
    found: dict[str, dict[str, list[Round]]] = {}
    rounds = chosen.rounds or (2 if chosen.quick else 5)
    for line in there:
        if chosen.only and line.name not in chosen.only:
            continue
        if chosen.quick and not line.in_quick and not chosen.only:
            continue
        found[line.name] = await play_line(line, rounds, 0.5 if chosen.quick else 1.0)
    return found


async def measure_all(chosen: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what is measured in other units, by name."""
    found: dict[str, dict[str, Any]] = {}
    for name in others.NAMES:
        if not chosen.only or name in chosen.only:
            one = await others.measure(name, quick=chosen.quick)
            if one is not None:
                found[name] = one
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Play, print the table, and write JSON and plot."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main lines, with fewer messages")
    parser.add_argument("--rounds", type=int, help="of each contestant; 5, or 2 if quick")
    parser.add_argument("--only", action="append", help="a line by its name; may be repeated")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md, too")
    chosen = parser.parse_args(arguments)
    began, there = monotonic(), lines()
    environment = report.environment()
    played = asyncio.run(play_all(chosen, there))
    measured = asyncio.run(measure_all(chosen))
    result = report.result(there, played, environment, measured)
    print()
    print(report.table(result))
    report.write(result, page=chosen.page)
    print(f"\n{monotonic() - began:.0f} s; all of it is in {report.RESULT}", file=sys.stderr)


if __name__ == "__main__":
    main()
