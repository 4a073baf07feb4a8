"""What the folder of an embedded server is told to hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from caxton_nats.core.errors import ConfigurationError
from caxton_nats.jetstream.embedded import EmbeddedOptions
from tests.jetstream.test_embedded import read_json
from tests.plugins.servers import StartServer


async def test_the_servers_own_configuration_is_taken_as_it_is(
    embedded_server: StartServer, tmp_path: Path
) -> None:
    """A file in nats-server's own format comes behind ours, comments and all."""
    file = tmp_path / "more.conf"
    file.write_text('# for somebody else\nleafnodes {\n  listen: "127.0.0.1:-1"\n}\n')
    server = await embedded_server(EmbeddedOptions(monitoring_port=0, extra=file))
    page = await asyncio.to_thread(read_json, f"{server.monitoring_url}/varz")
    assert page["leaf"]["host"] == "127.0.0.1"


async def test_a_file_that_is_not_there(embedded_server: StartServer, tmp_path: Path) -> None:
    """It is named, and no server is started without it."""
    missing = tmp_path / "no.conf"
    with pytest.raises(ConfigurationError, match="cannot be read") as refused:
        await embedded_server(EmbeddedOptions(extra=missing))
    assert refused.value.field == str(missing)
