"""What the files of streams and consumers must say, or must not: docs/nats-traps.md has the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "streams"


def read(kind: str) -> list[Any]:
    paths = sorted(FOLDER.glob(f"*.{kind}.json"))
    assert paths
    return [pytest.param(msgspec.json.decode(path.read_bytes()), id=path.stem) for path in paths]


STREAM = pytest.mark.parametrize("stream", read("stream"))


@STREAM
def test_every_stream_says_how_many_consumers(stream: dict[str, Any]) -> None:
    """A server of 2.15 would stop at 1,000 and say so nowhere; -1 does not lift that."""
    assert stream["max_consumers"] > 0


@STREAM
def test_no_stream_drops_what_nobody_reads(stream: dict[str, Any]) -> None:
    """An interest stream acknowledges what it has not stored."""
    assert stream["retention"] in ("workqueue", "limits")


@STREAM
def test_a_bucket_keeps_one_revision(stream: dict[str, Any]) -> None:
    """When the newest of several expires, the one before it would be the record again."""
    if stream["name"].startswith("KV_"):
        assert stream["max_msgs_per_subject"] == 1


@STREAM
def test_timers_are_never_refused(stream: dict[str, Any]) -> None:
    """A server refuses schedules in a stream that refuses what is too much."""
    if stream.get("allow_msg_schedules"):
        assert stream.get("discard", "old") == "old"


@pytest.mark.parametrize("consumer", read("consumer"))
def test_no_consumer_has_a_backoff(consumer: dict[str, Any]) -> None:
    """The delay of a nak would be another one."""
    assert "backoff" not in consumer
