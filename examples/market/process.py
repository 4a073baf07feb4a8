"""How an agent becomes a process: alone, or as one of the director's players.

Alone it is ``caxton_nats.run`` and no more. The director asks for a journal, too, and for a process
that ends with its own.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from caxton_nats import Agent, connect, run, settings, started
from caxton_nats.app import dismissed
from examples.market.journal import Journal, journaled


def journal_file() -> Path | None:
    """Return where the director wants the journal; None if nobody directs this process."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--journal", type=Path)
    file: Path | None = parser.parse_known_args()[0].journal
    return file


def play(agent: Agent, **chosen: object) -> None:
    """Run the agent until SIGTERM or Ctrl-C; settings come from CAXTON_* variables, too."""
    file = journal_file()
    if file is None:
        run(agent, **chosen)
    else:
        asyncio.run(_play(agent, Journal(file), chosen))


async def _play(agent: Agent, journal: Journal, chosen: dict[str, object]) -> None:
    async with (
        connect(settings(**chosen), name=agent.name, observer=journal.happened) as platform,
        started(journaled(platform, journal), agent),
    ):
        journal.started(agent.name)
        await dismissed()
