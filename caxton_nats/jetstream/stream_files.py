"""The files of streams/, as configurations of one deployment. Pure but for reading them.

The files are JetStream's own configuration, taken as they are by ``nats stream add --config``.
They show shard 0; the other shards differ in the number only. What a deployment may choose
(`Options`) is laid over them.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from caxton_nats.core.errors import ConfigurationError
from caxton_nats.core.identifiers import token
from caxton_nats.jetstream.subjects import (
    ARCHIVE_BUCKET,
    DECISIONS_BUCKET,
    DLQ_STREAM,
    INGRESS_STREAM,
    LINK,
    LINK_STREAM,
    MAILBOX_STREAM,
    OUTBOUND_STREAM,
)

MARK = "caxton"
"""Metadata key of every stream that is ours; its value is the version of the topology."""
PLATFORM = "caxton-platform"
SHARDS = "caxton-shards"
PARTICIPANTS = "caxton-max-participants"
TIMEOUT = "caxton-conversation-timeout"
LIFETIME = "caxton-conversation-lifetime"
RATE = "caxton-rate-limit"
QUEUE = "max_msgs_per_subject"
DECISION_SLACK = 60.0
"""Seconds for which a decision outlives the duplicate window: delivery may come later than it."""
_NANOSECONDS = 1_000_000_000
_STREAM_KEYS = frozenset(
    {
        *("name", "description", "subjects", "retention", "storage", "num_replicas", "metadata"),
        *("compression",),
        *("max_consumers", "max_msgs", "max_msgs_per_subject", "max_bytes", "max_age"),
        *("max_msg_size", "discard", "discard_new_per_subject", "duplicate_window", "allow_atomic"),
        *(
            "allow_direct",
            "allow_rollup_hdrs",
            "allow_msg_ttl",
            "allow_msg_schedules",
            "deny_delete",
            "deny_purge",
        ),
    }
)
_CONSUMER_KEYS = frozenset(
    {
        *("durable_name", "description", "filter_subject", "deliver_policy", "ack_policy"),
        *("replay_policy", "ack_wait", "max_deliver", "max_ack_pending", "max_waiting"),
    }
)
Json = dict[str, Any]


class Options(msgspec.Struct, frozen=True):
    """What a deployment may choose."""

    platform: str = "caxton"
    shards: int = 16
    queue_size: int = 1000
    """Messages one agent's mailbox holds at most."""
    replicas: int = 1
    duplicate_window: float = 120.0
    """Seconds in which a repeated message id is recognised at publish."""
    max_participants: int = 1000
    """Agents in one conversation."""
    conversation_timeout: float = 1_800.0
    """Seconds after which a conversation ends in which nobody writes."""
    conversation_lifetime: float = 604_800.0
    """Seconds after which every conversation ends."""
    conversation_retention: float = 2_592_000.0
    """Seconds for which an archived conversation is kept."""
    ingress_size: int = 100_000
    """Submissions that wait for a router at most; the next one is refused."""
    rate_limit: int = 0
    """Messages that one sender may send per second; 0: as many as it likes."""
    dead_letter_size: int = 100_000
    """Dead letters that are kept at most; then the oldest go."""
    compression: Literal["none", "s2"] = "none"
    """How streams lie on the disk."""
    storage: Literal["file", "memory"] = "file"
    """In memory, everything is gone when the server stops."""


def streams(options: Options) -> list[Json]:
    """Return the configuration of every stream of a deployment.

    CAXTON_INGRESS comes last: where it exists as we write it, all the others do.
    """
    found: list[Json] = []
    for path in sorted(_folder().glob("*.stream.json")):
        config = _load(path, _STREAM_KEYS)
        sharded = config["name"] == f"{MAILBOX_STREAM}0"
        found += [
            _configured(_for_shard(config, shard), options)
            for shard in range(options.shards if sharded else 1)
        ]
    return sorted(found, key=lambda config: bool(config["name"] == INGRESS_STREAM))


def is_bounded(stream: str) -> bool:
    """Return whether the stream holds at most `Options.queue_size` messages per receiver."""
    return stream.startswith(MAILBOX_STREAM) or stream == OUTBOUND_STREAM


def consumer(name: str) -> Json:
    """Return the configuration in ``streams/<name>.consumer.json``."""
    return _load(_folder() / f"{name}.consumer.json", _CONSUMER_KEYS)


def _folder() -> Path:
    """Return streams/: beside the package in a checkout, inside it in the wheel."""
    packaged = Path(str(files("caxton_nats"))) / "_streams"
    return packaged if packaged.is_dir() else packaged.parents[1] / "streams"


def _load(path: Path, known: frozenset[str]) -> Json:
    try:
        config: Json = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"cannot be read: {error}", field=path.name) from None
    unknown = sorted(config.keys() - known)
    if unknown:
        raise ConfigurationError(f"unknown keys: {', '.join(unknown)}", field=path.name)
    return config


def _for_shard(config: Json, shard: int) -> Json:
    text = msgspec.json.encode(config).decode()
    text = text.replace(f"{MAILBOX_STREAM}0", f"{MAILBOX_STREAM}{shard}")
    for kind in ("mailbox", "urgent"):
        text = text.replace(f"caxton.{kind}.0.", f"caxton.{kind}.{shard}.")
    numbered: Json = msgspec.json.decode(text)
    return numbered


def _configured(config: Json, options: Options) -> Json:
    config = {**config, "num_replicas": options.replicas, "storage": options.storage}
    config["compression"] = options.compression if options.storage == "file" else "none"
    name = config["name"]
    if is_bounded(name):
        config[QUEUE] = options.queue_size
        config["duplicate_window"] = int(options.duplicate_window * _NANOSECONDS)
    if name.startswith(MAILBOX_STREAM):
        # CAXTON_INGRESS says it, too, but is made last: until then these are all there is.
        config["metadata"] = {**config["metadata"], SHARDS: str(options.shards)}
    if name == f"KV_{DECISIONS_BUCKET}":
        config["max_age"] = int((options.duplicate_window + DECISION_SLACK) * _NANOSECONDS)
    if name == f"KV_{ARCHIVE_BUCKET}":
        config["max_age"] = int(options.conversation_retention * _NANOSECONDS)
    if name == DLQ_STREAM:
        config["max_msgs"] = options.dead_letter_size
    if name == INGRESS_STREAM:
        config["max_msgs"] = options.ingress_size
        own = {
            PLATFORM: options.platform,
            SHARDS: str(options.shards),
            PARTICIPANTS: str(options.max_participants),
            TIMEOUT: str(options.conversation_timeout),
            LIFETIME: str(options.conversation_lifetime),
            RATE: str(options.rate_limit),
        }
        config["metadata"] = {**config["metadata"], **own}
    if name == LINK_STREAM:
        config["subjects"] = [f"{LINK}.mail.{token(options.platform)}.*.*"]
    config["subjects"] = [
        subject.replace(f"{MAILBOX_STREAM}0", f"{MAILBOX_STREAM}{shard}")
        for subject in config["subjects"]
        for shard in range(options.shards if f"{MAILBOX_STREAM}0" in subject else 1)
    ]
    return config
