"""What the audience sees: who says what to whom, how it stands with everybody, and the books.

On a terminal the conversation scrolls above a panel that is kept up to date; anywhere else there is
one plain line per message. Colours are left out where NO_COLOR says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from rich import box
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.telemetry import Action, Event
from examples.market.books import Books, Line
from examples.market.cast import HAULIERS, MANAGER, TOWN
from examples.market.journal import Entry, Happened, Said

COLOURS: Final = {
    TOWN: "bold",
    MANAGER: "magenta",
    **dict(
        zip(
            HAULIERS,
            ("yellow", "green", "red", "cyan", "blue"),
            strict=True,
        )
    ),
}
_ACTS: Final = {
    "refuse": "dim",
    "reject-proposal": "dim",
    "failure": "red",
    "accept-proposal": "bold green",
    "inform": "green",
}


class Standing(msgspec.Struct, frozen=True):
    """How it stands with one agent."""

    name: str
    state: str
    pending: int
    handled: int
    dead: int


class View:
    """The screen; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.moving = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False) if self.moving else None
        self._given: set[tuple[str, Origin | None]] = set()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.still()

    def still(self) -> None:
        """Take the panel away: from here on nothing moves."""
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
            self._live = None

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._print(Text(""))
        if self.moving:
            self._console.rule(Text(title, "bold"), align="left", style="dim")
        else:
            self._print(Text(f"== {title} =="))

    def tell(self, words: str) -> None:
        """Say in plain words what is going on."""
        if self.moving:
            self._console.print(
                Text(words, style="bold italic"), width=min(self._console.width, 92)
            )
        else:
            self._print(Text(words))

    def show(self, entries: Sequence[Entry]) -> None:
        """Show what happened; the same words to several receivers are one line."""
        for _, same in groupby(entries, key=_what_is_said):
            line = self._line(list(same))
            if line is not None:
                self._print(line)

    def standings(self, standings: Sequence[Standing]) -> None:
        """Bring the panel up to date."""
        if self._live is not None:
            self._live.update(_panel(standings), refresh=True)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Show a record of CAXTON_DLQ."""
        for name, value in (
            ("id", letter.id),
            ("message", f"{letter.performative} from {letter.sender} to {letter.agent}"),
            ("content", bytes(msgspec.json.decode(letter.original, type=_Content).content)),
            ("reason", letter.reason),
            ("attempts", letter.attempts),
            ("last error", letter.last_error.get("reason", "")),
        ):
            shown = value.decode() if isinstance(value, bytes) else str(value)
            self._print(Text.assemble((f"    {name:>10}  ", "dim"), (shown, "red")))

    def books(self, books: Books) -> None:
        """Show the table, and whether it adds up."""
        self._console.print(_table(books.lines))
        self._console.print(Text(_sources(books), style="dim"), soft_wrap=True)
        for fault in books.faults:
            self._console.print(Text(fault, style="bold red"), soft_wrap=True)
        verdict = (
            Text("The books do not add up.", style="bold red")
            if books.faults
            else Text("Every line adds up: nothing was lost.", style="bold green")
        )
        self._console.print(verdict)

    def _line(self, entries: list[Entry]) -> Text | None:
        first = entries[0]
        if isinstance(first, Said):
            receivers = [
                one for entry in entries if isinstance(entry, Said) for one in entry.receivers
            ]
            words = in_words(msgspec.json.decode(first.content))
            return _message(first.sender, receivers, first.performative, words)
        if isinstance(first, Happened):
            return _incident(first.event, again=self._is_given_again(first.event))
        return None

    def _is_given_again(self, event: Event) -> bool:
        """Return whether a handler gets what one got before, in this process or in a dead one.

        The attempt does not tell: a handler that died with its process has not failed.
        """
        if event.action is not Action.DELIVERED:
            return False
        before = (event.agent, event.origin) in self._given
        self._given.add((event.agent, event.origin))
        return before

    def _print(self, line: Text) -> None:
        if self.moving:
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            self._console.print(line, soft_wrap=True)


class _Content(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw()


def short(agent: str) -> str:
    """Return the name without the platform."""
    return agent.partition("@")[0]


def in_words(content: Any) -> str:
    """Return a message's content as somebody would say it."""
    match content:
        case None:
            return ""
        case str():
            return content
        case {"goods": goods, "tons": tons, "to": to}:
            return f"{tons} t of {goods} to the {to}"
        case {"price": price, "hours": hours}:
            return f"{price} coins, {hours} hours"
        case {"reason": reason}:
            return str(reason)
        case _:
            return msgspec.json.encode(content).decode()


def _what_is_said(entry: Entry) -> tuple[object, ...]:
    if isinstance(entry, Said):
        return entry.sender, entry.performative, bytes(entry.content)
    return (id(entry),)


def _message(sender: str, receivers: Sequence[str], act: str, words: str) -> Text:
    names = Text(", ").join(_name(one) for one in receivers)
    said = Text.assemble(_name(sender, width=6), "  ", (f"{act:<15}", _ACTS.get(act, "bold")))
    return Text.assemble(said, (" → ", "dim"), names, (": " if words else "", "dim"), words)


def _name(agent: str, width: int = 0) -> Text:
    return Text(f"{short(agent):>{width}}", COLOURS.get(short(agent), ""))


def _incident(event: Event, *, again: bool) -> Text | None:
    """Return what is worth a line although no agent has said it."""
    who = short(event.agent)
    match event.action:
        case Action.ROUTED if short(event.sender) == "ams":
            return _message("ams", [event.agent], event.performative, event.detail)
        case Action.DELIVERED if again:
            return _remark(who, f"↻ is given the {event.performative} again", "yellow")
        case Action.RETRIED:
            words = f"✗ fails on the {event.performative} in attempt {event.attempt}"
            return _remark(who, words, "red")
        case Action.DEAD_LETTERED:
            return _remark(who, f"† the {event.performative} goes to the dead letters", "bold red")
        case _:
            return None


def _remark(who: str, words: str, style: str) -> Text:
    return Text.assemble(_name(who, width=6), "  ", (words, style))


def _panel(standings: Sequence[Standing]) -> Panel:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("agent")
    table.add_column("state")
    for heading in ("pending", "handled", "dead letters"):
        table.add_column(heading, justify="right")
    for one in standings:
        gone = one.state != "at work"
        table.add_row(
            _name(one.name),
            Text(one.state, "bold red" if gone else "dim"),
            Text(str(one.pending), "bold yellow" if one.pending else "dim"),
            str(one.handled),
            Text(str(one.dead), "bold red" if one.dead else "dim"),
        )
    return Panel(table, title="mailboxes", border_style="dim", expand=False)


def _table(lines: Sequence[Line]) -> Table:
    table = Table(
        title="accepted = handled + dead + redriven + pending",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("agent")
    for heading in ("accepted", "handled", "dead", "redriven", "pending"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("seen again", justify="right", style="dim")
    for line in lines:
        numbers = (line.accepted, line.handled, line.dead, line.redriven, line.pending)
        verdict = Text("adds up", "green") if line.adds_up else Text("IS WRONG", "bold red")
        table.add_row(_name(line.agent), *map(str, numbers), verdict, str(line.seen_again))
    return table


def _sources(books: Books) -> str:
    own = books.accepted - books.receipts
    return (
        f"accepted  {books.accepted} by the server's acknowledgements: {books.receipts} with a"
        f" receipt for the sender,\n"
        f"          {own} stored by the platform itself (notices to senders, redriven ones);\n"
        f"          {books.stored} by the server's own count of what its mailboxes stored\n"
        "handled   by the agents' own journals; who handles a message twice has one\n"
        "dead      records that lie in the stream CAXTON_DLQ\n"
        "redriven  records that lay there: sent back, a message is accepted a second time\n"
        "pending   by the server's count of each mailbox\n"
        "seen again: reached a handler more than once, after a failure or a crash\n"
    )
