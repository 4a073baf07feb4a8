"""The router service of the market: `caxton router`, with a journal.

Agents ask it to route their messages and need no rights on the streams; any number may run.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from caxton_nats import serve, settings
from caxton_nats.app import dismissed
from examples.market.cast import ROUTER
from examples.market.journal import Journal
from examples.market.process import journal_file


async def main() -> None:
    """Route until told to stop."""
    journal = Journal(journal_file() or Path(os.devnull))
    async with serve(settings(), observer=journal.happened):
        journal.started(ROUTER)
        await dismissed()


if __name__ == "__main__":
    asyncio.run(main())
