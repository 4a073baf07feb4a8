"""The players' processes: started, killed, sent home, and never left behind.

Each process holds the reading end of a pipe from this one and ends when that closes, so that even
a director who is killed leaves nobody behind. They run in sessions of their own: Ctrl-C reaches the
director alone, who then sends them home in order.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 15
GRACE = 8.0
"""Seconds between SIGTERM and SIGKILL."""
HASTE = 0.5


class PlayerLost(Exception):
    """A process has ended that nobody had sent home."""


class Troupe:
    """All processes of one performance but the server's."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.journals = folder / "journals"
        self.journals.mkdir()
        self._said = folder / "stderr"
        self._said.mkdir()
        # Whoever plays here must not be led astray by the settings of another deployment.
        foreign = ("CAXTON_", "NATS_")
        own = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        path = os.pathsep.join(filter(None, (str(ROOT), own.get("PYTHONPATH", ""))))
        self._environment = own | environment | {"PYTHONPATH": path}
        self._players: dict[str, Process] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send everybody home who is still there; in haste if the performance has failed."""
        await self.dismiss(*self._players, grace=GRACE if exc is None else HASTE)

    async def start(self, name: str, module: str, *arguments: str) -> int:
        """Start ``python -m examples.market.MODULE`` under a name; return its process id."""
        with (self._said / name).open("ab") as stderr:
            player = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"examples.market.{module}",
                *arguments,
                "--journal",
                str(self.journals / f"{name}.jsonl"),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=stderr,
                env=self._environment,
                start_new_session=True,
            )
        self._players[name] = player
        return player.pid

    async def kill(self, name: str) -> int:
        """End a process with SIGKILL, as a crash would; return its process id."""
        player = self._players.pop(name)
        player.kill()
        await player.wait()
        _let_go(player)
        return player.pid

    async def dismiss(self, *names: str, grace: float = GRACE) -> None:
        """Ask the processes to end, and see to it that they do."""
        leaving = [self._players.pop(name) for name in names]
        for player in leaving:
            if player.returncode is None:
                player.terminate()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await asyncio.gather(*(player.wait() for player in leaving))
        finally:
            for player in leaving:
                if player.returncode is None:
                    player.kill()
                    await player.wait()
                _let_go(player)

    def roll_call(self) -> None:
        """Find out whether all are there.

        Raises:
            PlayerLost: one is not; with its last words.
        """
        for name, player in self._players.items():
            if player.returncode is not None:
                last = "\n".join(self.last_words(name)) or "(it said nothing)"
                raise PlayerLost(
                    f"the process of {name} has ended by itself with exit code"
                    f" {player.returncode}; its last words:\n{last}"
                )

    def last_words(self, name: str) -> list[str]:
        """Return the end of what the process has written to its stderr."""
        path = self._said / name
        if not path.exists():
            return []
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]


def _let_go(player: Process) -> None:
    if player.stdin is not None:
        player.stdin.close()
