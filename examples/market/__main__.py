"""The demo: watch agents negotiate, one of them die and come back, and nothing get lost.

    python -m examples.market

Exit code 0: the books add up. 1: they do not, or something went wrong on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from caxton_nats import CaxtonError
from examples.market.books import Books
from examples.market.director import Stuck, opened
from examples.market.story import perform
from examples.market.troupe import PlayerLost
from examples.market.view import View

LIMIT = 90.0
"""Seconds for everything; it takes about thirty."""


def main() -> int:
    """Play, show the books, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.market", description=__doc__)
    parser.add_argument(
        "--lose-one",
        action="store_true",
        help="make one waiting message vanish: the books must notice, and the exit code be 1",
    )
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # A terminal without → must not end the demo.
    console = Console(highlight=False)
    try:
        books = asyncio.run(demo(console, lose_one=options.lose_one))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped. No process and no file is left behind.")
        return 130
    except ExceptionGroup as group:
        return _give_up(_causes(group))
    except (CaxtonError, PlayerLost, Stuck) as error:
        return _give_up([error])
    return 1 if books.faults else 0


async def demo(console: Console, *, lose_one: bool) -> Books:
    """Play, and return the books.

    Raises:
        Stuck: it took longer than it may.
    """
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="caxton-market-") as folder, View(console) as view:
        async with limited(LIMIT), opened(Path(folder), view) as director:
            books = await perform(director, lose_one=lose_one)
        view.still()
        view.books(books)
    return books


@asynccontextmanager
async def limited(seconds: float) -> AsyncIterator[None]:
    """End the body after so many seconds, with an error that says so."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Stuck(f"the demo was not over after {seconds:g} s") from None


def _causes(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the errors inside, without the nesting."""
    return [
        cause
        for error in group.exceptions
        for cause in (_causes(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _give_up(causes: list[BaseException]) -> int:
    for cause in causes:
        if not isinstance(cause, CaxtonError | PlayerLost | Stuck):
            raise cause  # A mistake of this program: its traceback helps.
        print(f"The demo has failed: {cause}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
