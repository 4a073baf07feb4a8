"""Two platforms, joined by a leaf node exactly as docs/remote.md says."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from tests.integration.lab import Lab, open_lab

DOCUMENT = Path(__file__).parents[2] / "docs" / "remote.md"
_PORT = "7422"


class Linked:
    """Office, which accepts the link, and plant, which makes it."""

    def __init__(self, office: Lab, plant: Lab, servers: dict[str, EmbeddedServer]) -> None:
        self.office = office
        self.plant = plant
        self.office_server = servers["office"]
        self.plant_server = servers["plant"]

    async def stored(self, lab: Lab, stream: str) -> int:
        """Return how many messages a stream holds now."""
        connection = await lab.nats()
        info = await connection.api(f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"])

    async def drained(self) -> bool:
        """Return whether nothing is on its way between the platforms."""
        return not any(
            [
                await self.stored(lab, stream)
                for lab in (self.office, self.plant)
                for stream in (subjects.OUTBOUND_STREAM, subjects.LINK_STREAM)
            ]
        )


def configuration(name: str, port: str) -> str:
    """Return the server configuration of one side as the document has it, on a free port."""
    found = re.search(rf"```text\n(# {name}\.conf\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    assert _PORT in found[1]
    return found[1].replace(_PORT, port)


def free_port() -> str:
    """Return a port that nobody listens on: the other side has to be told of it beforehand."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def options(name: str, port: str, folder: Path) -> EmbeddedOptions:
    """Return what one side's server is started with."""
    file = folder / f"{name}.conf"
    file.write_text(configuration(name, port))
    return EmbeddedOptions(domain=name, server_name=name, extra=file)


@asynccontextmanager
async def open_linked(folder: Path) -> AsyncIterator[Linked]:
    """Yield both platforms; at the end the books of each must balance."""
    port = free_port()
    async with (
        EmbeddedServer(options("office", port, folder)) as office,
        EmbeddedServer(options("plant", port, folder)) as plant,
    ):
        folders = {name: folder / name for name in ("office", "plant")}
        for one in folders.values():
            one.mkdir()
        async with (
            open_lab(office.url, folders["office"], platform="office", links="plant") as here,
            open_lab(plant.url, folders["plant"], platform="plant", links="office") as there,
        ):
            yield Linked(here, there, {"office": office, "plant": plant})
