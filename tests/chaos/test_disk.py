"""Disks of one's own leave nothing behind, however the programme ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.plugins.eventually import eventually
from tests.plugins.requirements import require

_ROOT = Path(__file__).parents[2]


async def test_a_programme_that_is_killed_leaves_no_mount_and_no_process() -> None:
    """SIGKILL in the middle of a power cut: mounts, loop devices and children go with it."""
    require("chaos")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "chaos", "--seed", "1", "power-cut"),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = b""
    while b"cut the power" not in said:
        line = await process.stdout.readline()
        said += line
        assert line, said.decode()
    marker = f"caxton-chaos-{process.pid}-"
    assert marker in loops()
    process.kill()
    await process.communicate()
    await eventually(lambda: marker not in loops(), what="the loop device is free")
    await eventually(lambda: marker not in command_lines(), what="no process is left")


def loops() -> str:
    return subprocess.run(
        ["losetup", "--list", "--output", "BACK-FILE"], capture_output=True, text=True, check=True
    ).stdout


def command_lines() -> str:
    lines = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            lines.append(file.read_bytes() + file.with_name("cmdline").read_bytes())
        except OSError:
            continue
    return b"\n".join(lines).decode(errors="replace")
