"""What this process uses of the machine, as the operating system says."""

from __future__ import annotations

import os
import resource
import socket
import sys
from pathlib import Path
from time import monotonic, process_time

_STATM = Path("/proc/self/statm")
_LONG_ENOUGH = 5.0
"""Seconds; over a shorter time the share of a processor says nothing."""


def node() -> str:
    """Return host and process, for people."""
    return f"{socket.gethostname()}/{os.getpid()}"


def memory_bytes() -> int:
    """Return the resident memory; where there is no /proc, the most that it ever was."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts bytes, the others KiB.
        return most if sys.platform == "darwin" else most * 1024
    return pages * resource.getpagesize()


class Processor:
    """How busy the process was lately."""

    def __init__(self) -> None:
        self._before = self._latest = _spent()

    def percent(self) -> float:
        """Return the share of one core in percent, over the last five seconds or somewhat more.

        Several who ask shortly after one another get the same answer.
        """
        now, spent = _spent()
        began, spent_then = self._before
        if now - self._latest[0] >= _LONG_ENOUGH:
            self._before, self._latest = self._latest, (now, spent)
        return 100.0 * (spent - spent_then) / (now - began) if now > began else 0.0


def _spent() -> tuple[float, float]:
    """Return the time, and the seconds of processor time that were spent by then."""
    # Not os.times(), which counts in hundredths of a second.
    return monotonic(), process_time()
