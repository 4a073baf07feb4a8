"""What people and programs are shown: lines on the way, a table at the end, JSON if asked for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from chaos.programme import Result

COLUMNS = (
    ("accepted", "accepted"),
    ("handled", "handled"),
    ("dead", "dead-\nlettered"),
    ("pending", "pending"),
    ("lost", "lost"),
    ("doubled", "effects\ndoubled"),
    ("duplicates", "duplicates\nseen"),
    ("disordered", "out of\norder"),
    ("longest_gap", "longest\ngap, s"),
    ("back_after", "back\nafter, s"),
)


def table(results: Sequence[Result]) -> Table:
    """Return the table of all results."""
    shown = Table(title="The fault programme")
    shown.add_column("scenario", no_wrap=True)
    for _, title in COLUMNS:
        shown.add_column(title, justify="right")
    shown.add_column("verdict")
    for one in results:
        shown.add_row(one.scenario, *_cells(one), _verdict(one))
    return shown


def _cells(result: Result) -> list[str]:
    if result.figures is None:
        return ["-"] * len(COLUMNS)
    values = msgspec.structs.asdict(result.figures)
    return [
        f"{value:.1f}" if isinstance(value := values[name], float) else str(value)
        for name, _ in COLUMNS
    ]


def _verdict(result: Result) -> str:
    if result.skipped:
        return "skipped"
    return "good" if result.good else "FAILED"


def replay(result: Result, length: str) -> str:
    """Return the command that plays the same again."""
    return f"python -m chaos {length} --seed {result.seed} {result.scenario}".replace("  ", " ")


def tell(console: Console, result: Result, length: str) -> None:
    """Print what came of one scenario."""
    if result.skipped:
        console.print(f"{result.scenario}: skipped: {result.skipped}", markup=False)
        return
    console.print(f"{result.scenario}: {_verdict(result)}, {result.took:.1f} s", markup=False)
    for complaint in result.complaints:
        console.print(f"  {complaint}", markup=False)
    if result.complaints:
        console.print(f"  logs: {result.folder}", markup=False)
        console.print(f"  again: {replay(result, length)}", markup=False)


def as_json(results: Sequence[Result]) -> str:
    """Return all results for programs."""
    return msgspec.json.format(msgspec.json.encode(list(results))).decode()
