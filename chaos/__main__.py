"""The fault programme.

    python -m chaos [--short | --long] [--seed N] [--json FILE] [--list] [SCENARIO …]

Exit code 0: every promise was kept. 1: one was not. 2: it was asked for what there is not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chaos import cluster_faults, disk_faults, process_faults
from chaos.namespace import enter_namespace
from chaos.programme import Result, perform
from chaos.report import as_json, table, tell
from chaos.scenario import SCENARIOS, Scenario

MODULES = (process_faults, disk_faults, cluster_faults)
"""Each adds its scenarios to the programme."""
SECONDS = {"--short": 3.0, "": 10.0, "--long": 120.0}
"""How long the fault of each scenario may go on."""
DEMANDED = "CAXTON_TEST_REQUIRE"
WIDTH = 160
"""Characters of a line that goes to a file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for, print what came of it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_const", const="--short", dest="length")
    length.add_argument("--long", action="store_const", const="--long", dest="length")
    parser.add_argument("--seed", type=int, help="of an earlier run, to play it again")
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    parser.add_argument("--list", action="store_true", help="show the scenarios and what they need")
    parser.add_argument("scenario", nargs="*", help="by default all")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        return _list()
    if unknown := set(chosen.scenario) - SCENARIOS.keys():
        parser.error(f"no scenario of this name: {', '.join(sorted(unknown))}; see --list")
    length_chosen = chosen.length or ""
    names = chosen.scenario or [
        one.name for one in SCENARIOS.values() if one.short or length_chosen != "--short"
    ]
    enter_namespace(sys.argv[1:] if arguments is None else arguments)
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    wanted = [SCENARIOS[name] for name in names]
    results = asyncio.run(_play(wanted, seed, length_chosen, console))
    console.print(table(results))
    if chosen.json:
        chosen.json.write_text(as_json(results))
    return _exit_code(results, console)


async def _play(
    wanted: Sequence[Scenario], seed: int, length: str, console: Console
) -> list[Result]:
    results = []
    for scenario in wanted:
        console.print(f"\n{scenario.name}: {scenario.about} (seed {seed})", markup=False)
        result = await perform(
            scenario, seed, SECONDS[length], lambda line: console.print(f"  {line}", markup=False)
        )
        tell(console, result, length)
        results.append(result)
    return results


def _exit_code(results: Sequence[Result], console: Console) -> int:
    skipped = [one.scenario for one in results if one.skipped]
    if skipped and "chaos" in os.environ.get(DEMANDED, "").split():
        console.print(f"{DEMANDED} demands chaos, and these were skipped: {', '.join(skipped)}")
        return 1
    return 0 if all(one.good or one.skipped for one in results) else 1


def _list() -> int:
    for one in SCENARIOS.values():
        needs = ", ".join(need.name for need in one.needs)
        print(f"{one.name:24} {one.about}{f' [needs {needs}]' if needs else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
