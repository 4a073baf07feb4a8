"""Processes to be killed and frozen, and never left behind.

Each holds the reading end of a pipe from this one and ends when that closes, so that even a
programme that is killed leaves nobody behind. They run in sessions of their own: Ctrl-C reaches the
programme alone, which then ends them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START = 60.0
"""Seconds that a process may take to be there, on a machine that has much else to do."""
GRACE = 10.0
_LAST_LINES = 12


class DidNotStart(Exception):
    """A process ended, or was not ready in time."""


class Process:
    """One process, from its start to its end."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, said: Path) -> None:
        self.name = name
        self.frozen = False
        self._process = process
        self._said = said

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended, frozen or not."""
        return self._process.returncode is None

    @property
    def memory(self) -> int:
        """Return the bytes that it has in memory."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def ready(self, word: bytes = b"ready") -> str:
        """Return the line with which it says that it is there.

        Raises:
            DidNotStart: it says nothing, or has ended.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START):
                while line := await self._process.stdout.readline():
                    if word in line:
                        return line.decode()
        except TimeoutError:
            pass
        raise DidNotStart(f"{self.name} did not start; its last words:\n{self.last_words()}")

    def freeze(self) -> None:
        """Stop it where it is, connected as it is (SIGSTOP)."""
        self.frozen = True
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self.frozen = False
        if self.running:
            self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self.running:
            self._process.kill()
        await self._gone()

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        if self.running:
            self._process.terminate()
            self.thaw()
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._process.wait()
        await self.kill()

    async def _gone(self) -> None:
        # Closes the pipes, too.
        await self._process.communicate()

    def last_words(self) -> str:
        """Return the end of what it has written to its stderr."""
        lines = self._said.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:]) or "(it said nothing)"


async def launch(
    name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Process:
    """Start a process under a name; what it says goes to ``<name>.log`` in the folder."""
    # What runs here must not be led astray by the settings of another deployment.
    foreign = ("CAXTON_", "NATS_")
    own = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    said = folder / f"{name}.log"
    with said.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            env=own | dict(environment),
            cwd=ROOT,
            start_new_session=True,
        )
    return Process(name, process, said)


def program(*arguments: str) -> list[str]:
    """Return the command of one of chaos/programs.py."""
    return [sys.executable, "-m", "chaos.programs", *arguments]
