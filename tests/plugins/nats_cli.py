"""The real nats command line tool, as somebody without Python uses it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from tests.plugins.requirements import find_nats_cli, require


class NatsCli(Protocol):
    async def __call__(
        self, url: str, *arguments: str, stdin: str = "", within: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run `nats --server URL ARGUMENTS…`; the caller judges the return code.

        Asynchronous, so that a router or an agent in the test's own loop can answer meanwhile.
        """


@pytest.fixture
def nats_cli(tmp_path: Path) -> NatsCli:
    require("nats-cli")
    binary = find_nats_cli()
    assert binary is not None
    # Contexts and settings of the person who runs the tests must neither be used nor changed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NATS")}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    async def run(
        url: str, *arguments: str, stdin: str = "", within: float = 30
    ) -> subprocess.CompletedProcess[str]:
        command = [binary, "--server", url, *arguments]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=tmp_path,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), within)
        except BaseException as error:
            process.kill()
            out, err = await process.communicate()
            if isinstance(error, TimeoutError):
                pytest.fail(f"{command} took over {within} s; it said: {out!r} {err!r}")
            raise
        assert process.returncode is not None
        return subprocess.CompletedProcess(command, process.returncode, out.decode(), err.decode())

    return run
