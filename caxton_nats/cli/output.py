"""Printing: tables for people, one JSON document for programs, errors in one form on stderr.

Names, content and reasons come from strangers. None of it reaches a terminal raw: what is
invisible or could steer a terminal is written as an escape, and rich never reads markup in it.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from caxton_nats.core.errors import CaxtonError

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_UNLIMITED = 100_000
"""Columns of something that is no terminal: a pipe must get whole lines."""

Json = dict[str, Any]


class NotFound(CaxtonError):
    """What was asked for by its id is not there."""


def visible(text: str, *, keep: str = "") -> str:
    """Return the text with everything that is invisible, or steers a terminal, as an escape."""
    if text.isprintable():
        return text
    return "".join(
        one
        if one in keep or unicodedata.category(one) not in _HIDDEN
        else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def moment(value: datetime) -> str:
    """Return a moment as people read it, the same everywhere; JSON has it in full."""
    return value.strftime("%Y-%m-%d %H:%M:%SZ")


def cell(value: object) -> Text:
    """Return a value as one cell of a table; it is never read as markup."""
    if isinstance(value, datetime):
        return Text(moment(value))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list | tuple):
        return Text(visible(", ".join(map(str, value))), overflow="fold")
    return Text(visible(str(value)), overflow="fold")


def table(
    *columns: str, rows: Sequence[Sequence[object]], right: Sequence[str] = (), empty: str = ""
) -> Table | Text:
    """Return a table, or ``empty`` if it has no rows; ``right`` names the columns of numbers."""
    if not rows and empty:
        return Text(empty)
    plain = not sys.stdout.isatty()
    made = Table(
        box=None if plain else box.SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=plain
        )
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def facts(pairs: Mapping[str, object]) -> Table:
    """Return names and values, one pair a line, without the empty ones."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        if value not in ("", None, [], ()):
            made.add_row(Text(name), cell(value))
    return made


def say(*lines: Table | Text | str) -> None:
    """Print for people, on stdout."""
    _print(sys.stdout, lines)


def warn(*lines: Table | Text | str) -> None:
    """Print for people, on stderr."""
    _print(sys.stderr, lines)


def show(document: Json, *lines: Table | Text | str, as_json: bool) -> None:
    """Print the document for programs, or the lines for people."""
    if as_json:
        sys.stdout.write(json_text(document) + "\n")
        sys.stdout.flush()
    else:
        say(*lines)


def json_text(document: Json) -> str:
    """Return indented JSON in which everything invisible is escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    # What is not ASCII stands inside strings only, where JSON allows its own escapes.
    return "".join(
        one
        if one == "\n" or unicodedata.category(one) not in _HIDDEN
        else json.dumps(one, ensure_ascii=True)[1:-1]
        for one in text
    )


def report(error: CaxtonError, *, as_json: bool) -> None:
    """Print an error on stderr: what, where, limit and value, what next."""
    if as_json:
        sys.stderr.write(json_text({"error": error.to_dict()}) + "\n")
        sys.stderr.flush()
        return
    headline = Text()
    headline.append("error: ", style="bold red")
    headline.append(visible(f"{error.reason} [{error.code}]", keep="\n"))
    parts = (
        ("where", error.field),
        ("limit", error.limit),
        ("value", error.value),
        ("next", error.hint),
    )
    lines = [
        Text(f"  {name}: {visible(str(value), keep=chr(10))}")
        for name, value in parts
        if value not in ("", None)
    ]
    warn(headline, *lines)


def as_text(content: bytes) -> str:
    """Return bytes as text for a person to look at."""
    return visible(content.decode("utf-8", "backslashreplace"), keep="\n\t")


def _print(file: TextIO, lines: Iterable[Table | Text | str]) -> None:
    console = Console(
        file=file,
        width=None if file.isatty() else _UNLIMITED,
        markup=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as captured:
        for line in lines:
            # A line too long for the terminal is the terminal's to wrap: copied, it is whole.
            console.print(line, soft_wrap=not isinstance(line, Table))
    # Cells are padded, the last one, too.
    file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    file.flush()
