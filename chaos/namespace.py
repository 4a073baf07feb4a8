"""A world of its own: whatever the programme starts or mounts ends with it, however it ends.

It begins itself anew in a process and a mount namespace of its own. When the first process of a
process namespace dies, the kernel kills all others, frozen ones included, which no signal but
SIGKILL reaches; and a mount namespace goes with its last process. That takes root; without it, a
programme that is killed while something is frozen leaves that behind.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.disk import IMAGE
from chaos.needs import environment

FOLDER = "caxton-chaos-"
"""Begins the name of a folder of a scenario; the process id of its programme follows."""
_OWNER = "CHAOS_OWNER"
_OWN = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


def enter_namespace(arguments: Sequence[str]) -> None:
    """Begin this program anew in namespaces of its own, unless it is in them or cannot be."""
    if _OWNER in os.environ or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    _sweep(Path(tempfile.gettempdir()))
    command = ["unshare", *_OWN, "--", sys.executable, "-m", "chaos", *arguments]
    os.execvpe("unshare", command, {**environment(), _OWNER: str(os.getpid())})


def owner() -> str:
    """Return the process id of the programme, as everybody else sees it."""
    return os.environ.get(_OWNER, str(os.getpid()))


def _sweep(parent: Path) -> None:
    """Remove the disks of programmes that were killed; their logs stay."""
    for image in parent.glob(f"{FOLDER}*/{IMAGE}"):
        pid = image.parent.name.removeprefix(FOLDER).partition("-")[0]
        if not Path("/proc", pid).exists():
            image.unlink(missing_ok=True)
