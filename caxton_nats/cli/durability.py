"""What an acknowledged message survives, in words; and how much a foreign server tells of it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any, Literal

from caxton_nats.core.errors import NotConnected
from caxton_nats.jetstream.connection import Connection

Mode = Literal["power", "process"]
MEANING: dict[str, str] = {
    "power": "every message is on the disk before it is acknowledged; what is acknowledged survives"
    " a killed process and a power cut",
    "process": "a message is acknowledged once the operating system has it; what is acknowledged"
    " survives a killed process, but not a power cut",
    "memory": "the streams are in the server's memory; what is acknowledged survives a killed agent"
    " or router, but is gone, all of it, when the server stops for whatever reason",
    "unknown": "that server decides (its sync_interval), and it does not tell its clients; by"
    " default a power cut can take what was acknowledged in the last minutes, or the stream",
}
_NAME = "caxton-"
_PATIENCE = 5.0


def server_name(mode: Mode) -> str:
    """Return the name of an embedded server: the one thing a client learns of it."""
    return f"{_NAME}{mode}"


async def describe(connection: Connection, monitoring_url: str | None = None) -> dict[str, Any]:
    """Return what can be found out of a server's durability.

    Args:
        connection: to the server, with our streams on it.
        monitoring_url: its HTTP monitoring, ``http://127.0.0.1:8222`` for example.

    Raises:
        NotConnected: nobody answers at ``monitoring_url``.
    """
    info = await connection.api("STREAM.INFO.CAXTON_INGRESS")
    cluster = info.get("cluster") or {}
    leader = str(cluster.get("leader", ""))
    mode, source = "unknown", ""
    if info["config"].get("storage") == "memory":
        mode, source = "memory", "streams"
    elif monitoring_url:
        mode, source = await asyncio.to_thread(_ask_monitoring, monitoring_url), "monitoring"
    elif leader in (server_name("power"), server_name("process")):
        mode, source = leader.removeprefix(_NAME), "server name"
    return {
        "mode": mode,
        "meaning": MEANING[mode],
        "source": source,
        "server": leader,
        "replicas": info["config"].get("num_replicas", 1),
    }


def sentence(found: dict[str, Any]) -> str:
    """Return `describe`'s answer as one sentence."""
    told = {"monitoring": " (its monitoring says so)", "server name": " (its name says so)"}
    copies = ""
    if found["replicas"] > 1:
        copies = f"; each stream has {found['replicas']} replicas, and survives the loss of one"
    return f"{found['mode']}{told.get(found['source'], '')}: {found['meaning']}{copies}"


def _ask_monitoring(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        url = f"http://{url}"
    address = f"{url.rstrip('/')}/varz"
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:  # noqa: S310 - http only
            page = json.load(answer)
        config = page["jetstream"]["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotConnected(
            f"no nats-server monitoring with JetStream answers at {address}: {error}",
            field="monitoring_url",
            hint="start nats-server with -m 8222, or leave --monitoring-url out",
        ) from None
    return "power" if config.get("sync_always") else "process"
