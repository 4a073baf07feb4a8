"""The folder of one embedded nats-server: its configuration, lock, log and streams.

    nats-server.conf    written anew at every start
    nats-server.log     the server's log (it rotates the file itself)
    nats-server.stderr  what it says before it has a log, and its panics
    *.ports             which ports it has opened, by process id
    lock                held for as long as a server runs on this folder
    jetstream/          streams and consumers

nats-server itself does not notice a second server on the same streams, and both would damage them;
the lock is what prevents it. It is inherited by the server, so it is let go when the server dies,
and not when its parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from caxton_nats.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_POLL = 0.01
_LOG_LIMIT = 16 * 1024 * 1024
_LOG_FILES = 3


class ServerFolder:
    """Where one server keeps its things; a temporary folder when none is given."""

    def __init__(self, path: Path | None) -> None:
        self._temporary = path is None
        try:
            if path is None:
                path = Path(tempfile.mkdtemp(prefix="caxton-nats-"))
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot use the folder {path}: {error.strerror}",
                field="store",
                hint="choose a folder this user may write to",
            ) from error
        # Absolute: the server reads it from a file, and need not share our working directory.
        self.path = path.resolve()

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.path / "nats-server.log"

    @property
    def _stderr(self) -> Path:
        return self.path / "nats-server.stderr"

    async def lock(self, patience: float) -> int:
        """Return a descriptor that holds the folder's lock; close it to let go.

        Args:
            patience: Seconds to wait for the server of an owner that was killed: it is about to
                end.

        Raises:
            ConfigurationError: A server runs on this folder.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(patience):
                while not _try_lock(descriptor):  # noqa: ASYNC110 - a lock tells nobody it is free
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            os.close(descriptor)
            raise ConfigurationError(
                f"another nats-server is running on the folder {self.path}",
                field="store",
                hint="stop it first, or choose another folder",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def write_config(self, settings: Mapping[str, Any], extra: Path | None = None) -> Path:
        """Write the server's configuration, with the places that this folder decides.

        Args:
            settings: the configuration, as JSON has it.
            extra: a file in the server's own format, which comes last.

        Raises:
            ConfigurationError: that file cannot be read.
        """
        for stale in self.path.glob("*.ports"):
            stale.unlink()
        places = {
            "ports_file_dir": str(self.path),
            "log_file": str(self.log),
            "logfile_size_limit": _LOG_LIMIT,
            "logfile_max_num": _LOG_FILES,
        }
        jetstream = {"store_dir": str(self.path), **settings.get("jetstream", {})}
        config = self.path / "nats-server.conf"
        # The server's format takes JSON as it is, and JSON quotes paths safely, except that the
        # server knows no \u escapes.
        whole = {**settings, **places, "jetstream": jetstream}
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in whole.items()]
        # Pasted: the server takes the path of an `include` for a relative one, always.
        lines.append("" if extra is None else _read(extra))
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return config

    def open_stderr(self) -> IO[bytes]:
        """Open the file for what the server says outside its log; each start begins a new one."""
        return self._stderr.open("wb")

    def ports(self, pid: int) -> Mapping[str, list[str]] | None:
        """Return the URLs this process listens on, by kind; None until it does.

        Asking by process id is what keeps a stranger on the same port from being taken for ours.
        """
        for file in self.path.glob(f"*_{pid}.ports"):
            # The server may be in the middle of writing it.
            with contextlib.suppress(json.JSONDecodeError):
                found: Mapping[str, list[str]] = json.loads(file.read_bytes())
                return found
        return None

    def log_tail(self, lines: int) -> str:
        """Return the last lines of the log, and of what was said outside it."""
        said: list[str] = []
        for file in (self.log, self._stderr):
            with contextlib.suppress(FileNotFoundError):
                said += file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        return "\n".join(said[-lines:])

    def remove(self) -> None:
        """Delete a temporary folder; leave a given one alone."""
        if self._temporary:
            shutil.rmtree(self.path, ignore_errors=True)


def _read(extra: Path) -> str:
    try:
        return extra.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the server's further configuration cannot be read: {error}",
            field=str(extra),
            hint="name a file in nats-server's own format",
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
