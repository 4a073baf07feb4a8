"""A disk of its own for one server: it can lose its power, and be full.

It is a file with ext4 in it, mounted through a loop device. `Disk.cut` shuts the file system down
without writing its journal out (EXT4_IOC_SHUTDOWN): what was not synced is gone, as in a power cut.
A mount ends with its namespace (chaos/namespace.py), and the loop device, which mount has made,
with the mount: nothing of it outlives the programme.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from chaos.needs import environment

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
IMAGE = "disk.img"
_BALLAST = "ballast"
_MEGABYTE = 1024 * 1024


class DiskError(Exception):
    """A command that makes or mounts a disk has failed."""


class Disk:
    """One file system on a loop device. Made by `disk`."""

    def __init__(self, image: Path, path: Path) -> None:
        self.path = path
        self._image = image

    async def mount(self) -> None:
        """Mount it; a journal that was left behind is replayed."""
        await _run("mount", "-o", "loop", str(self._image), str(self.path))

    async def unmount(self) -> None:
        """Unmount it, which frees the loop device."""
        await _run("umount", str(self.path))

    def cut(self) -> None:
        """Take its power: from now on nothing is written, not even what was on its way."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def fill(self) -> None:
        """Leave no room on it, as somebody else's files would."""
        with (self.path / _BALLAST).open("wb", buffering=0) as ballast:
            for size in (_MEGABYTE, 4096):
                with suppress(OSError):
                    while True:
                        ballast.write(b"\0" * size)

    def free(self) -> None:
        """Make room again."""
        (self.path / _BALLAST).unlink()


@asynccontextmanager
async def disk(folder: Path, megabytes: int) -> AsyncIterator[Disk]:
    """Make a disk of this size in the folder, and mount it there."""
    image, place = folder / IMAGE, folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes * _MEGABYTE)
    # No blocks are kept for root, who is the only one to write here.
    await _run("mkfs.ext4", "-q", "-m", "0", str(image))
    made = Disk(image, place)
    await made.mount()
    try:
        yield made
    finally:
        if place.is_mount():
            await made.unmount()
        image.unlink()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise DiskError(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")
