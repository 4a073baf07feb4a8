"""What a scenario needs of the machine, and what to do where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Need:
    """Something that a machine may not have."""

    name: str
    missing: Callable[[], str]
    """Returns what is missing and how to get it; empty if it is there."""


@cache
def _no_loop_devices() -> str:
    if os.geteuid() != 0:
        return "needs root, to mount a file system of its own"
    tools = {"mkfs.ext4": "e2fsprogs", "losetup": "mount", "unshare": "util-linux"}
    for tool, package in tools.items():
        if shutil.which(tool, path=_PATH) is None:
            return f"needs the command {tool} (package {package})"
    probe = subprocess.run(
        ["losetup", "--find"], capture_output=True, text=True, check=False, env=environment()
    )
    if probe.returncode:
        return f"needs loop devices, which this machine does not give: {probe.stderr.strip()}"
    return ""


_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def environment() -> dict[str, str]:
    """Return the environment with the folders where administrators' commands lie."""
    return {**os.environ, "PATH": _PATH}


LOOP = Need("loop devices", _no_loop_devices)
NEEDS = (LOOP,)
"""All that a machine needs for the whole programme."""


def missing() -> str:
    """Return what this machine lacks for the whole programme."""
    return "; ".join(filter(None, (need.missing() for need in NEEDS)))
