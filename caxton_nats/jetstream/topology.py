"""The topology: streams/*.json against what a server has.

What the files say is read by jetstream/stream_files.py. Comparing is pure; `inspect`, `apply` and
`discover` act.

A running deployment says of itself what every client must agree on (platform name, number of
shards, terms of conversations): it is kept in the metadata of CAXTON_INGRESS, so a client is never
configured with it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

import msgspec

from caxton_nats.core.conversation import Terms
from caxton_nats.core.errors import ConfigurationError, TransportError
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.remaking import any_mailbox, check_shards, config_of, first_sequence
from caxton_nats.jetstream.stream_files import (
    LIFETIME,
    MARK,
    PARTICIPANTS,
    PLATFORM,
    QUEUE,
    RATE,
    SHARDS,
    TIMEOUT,
    Json,
    Options,
    consumer,
    is_bounded,
    streams,
)
from caxton_nats.jetstream.subjects import (
    ARCHIVE_BUCKET,
    DLQ_STREAM,
    INGRESS_STREAM,
)

__all__ = [
    "MARK",
    "Deployment",
    "Difference",
    "Json",
    "Options",
    "agreed",
    "apply",
    "compare",
    "consumer",
    "discover",
    "ensure_consumer",
    "inspect",
    "streams",
]

_FIXED = frozenset({"retention", "storage"})
"""What a server cannot change of a stream that exists."""

_NANOSECONDS = 1_000_000_000
_PASSING = frozenset({10005, 10049})
"""No node for a replica, as yet: the cluster has just started. A store that failed: see below."""
_TRIES, _PAUSE = 5, 0.2


class Deployment(msgspec.Struct, frozen=True):
    """What a running deployment says of itself."""

    platform: str
    shards: int
    queue_size: int
    terms: Terms = Terms()
    """What every router grants to conversations."""
    rate_limit: int = 0
    """What every router grants to senders."""


class Difference(msgspec.Struct, frozen=True):
    """One stream that is not as the files say."""

    stream: str
    kind: Literal["missing", "changed", "foreign"]
    changes: dict[str, tuple[Any, Any]] = {}
    """Key -> (what the server has, what the files say)."""


def compare(wanted: Json, actual: Json | None) -> Difference | None:
    """Return how a stream differs from its file; only keys that the file has are compared."""
    name = wanted["name"]
    if actual is None:
        return Difference(name, "missing")
    if MARK not in (actual.get("metadata") or {}):
        return Difference(name, "foreign")
    changes: dict[str, tuple[Any, Any]] = {}
    for key, value in wanted.items():
        found = actual.get(key)
        if key == "metadata":
            found = {k: v for k, v in (found or {}).items() if not k.startswith("_nats")}
        if found != value and (found or value):
            changes[key] = (found, value)
    return Difference(name, "changed", changes) if changes else None


async def inspect(connection: Connection, options: Options) -> list[Difference]:
    """Return every difference between the files and the server."""
    wanted = streams(options)
    actual = await asyncio.gather(*(config_of(connection, config["name"]) for config in wanted))
    found = (compare(config, was) for config, was in zip(wanted, actual, strict=True))
    return [difference for difference in found if difference is not None]


async def apply(connection: Connection, options: Options) -> list[Difference]:
    """Make the server as the files say, and return what was different.

    Nothing is deleted. Everything is checked before the first change.

    Raises:
        ConfigurationError: a stream of one of our names is not ours, a change is one that a server
            cannot make, the platform or the number of shards is not that of the deployment, or a
            mailbox holds more than it may from now on.
    """
    differences = await inspect(connection, options)
    for difference in differences:
        _check_possible(difference)
    await _check_agreed(connection, options)
    await _check_dead_letters(connection, differences)
    lowered = {one.stream for one in differences if _lowers_queue(one)}
    for stream in sorted(lowered):
        await _check_room(connection, stream, options.queue_size)
    by_name = {config["name"]: config for config in streams(options)}
    missing = {one.stream for one in differences if one.kind == "missing"}
    first = await first_sequence(connection, [one for one in by_name if one not in missing])
    for difference in differences:
        config = by_name[difference.stream]
        if difference.stream in lowered:
            await _lower_queue(connection, config, difference)
        else:
            verb = "CREATE" if difference.kind == "missing" else "UPDATE"
            begins = {"first_seq": first} if verb == "CREATE" and first > 1 else {}
            await _change(connection, verb, {**config, **begins})
    return differences


async def discover(connection: Connection) -> Deployment | None:
    """Return what the deployment on this server says of itself; None if there is none.

    Raises:
        ConfigurationError: the stream CAXTON_INGRESS is not ours.
    """
    config = await config_of(connection, INGRESS_STREAM)
    if config is None:
        return None
    metadata = config.get("metadata") or {}
    if MARK not in metadata:
        raise _foreign(INGRESS_STREAM)
    mailbox = await any_mailbox(connection, int(metadata.get(SHARDS, 0)))
    if mailbox is None:
        # Interrupted, or added by hand: applying the topology completes it.
        return None
    return Deployment(
        platform=metadata.get(PLATFORM, Options().platform),
        shards=int(metadata.get(SHARDS, Options().shards)),
        queue_size=int(mailbox[QUEUE]),
        terms=_terms(metadata),
        rate_limit=int(metadata.get(RATE, Options().rate_limit)),
    )


def _terms(metadata: dict[str, str]) -> Terms:
    default = Options()
    timeout = float(metadata.get(TIMEOUT, default.conversation_timeout))
    lifetime = float(metadata.get(LIFETIME, default.conversation_lifetime))
    return Terms(
        max_participants=int(metadata.get(PARTICIPANTS, default.max_participants)),
        timeout=timedelta(seconds=timeout),
        lifetime=timedelta(seconds=lifetime),
    )


async def agreed(connection: Connection) -> Options | None:
    """Return what the deployment on this server has chosen; None if there is none."""
    deployment = await discover(connection)
    if deployment is None:
        return None
    default = Options()
    mailbox = await any_mailbox(connection, deployment.shards) or {}
    ingress = await config_of(connection, INGRESS_STREAM) or {}
    letters = await config_of(connection, DLQ_STREAM) or {}
    archive = await config_of(connection, f"KV_{ARCHIVE_BUCKET}") or {}
    return Options(
        platform=deployment.platform,
        shards=deployment.shards,
        queue_size=deployment.queue_size,
        replicas=mailbox["num_replicas"],
        duplicate_window=mailbox["duplicate_window"] / _NANOSECONDS,
        max_participants=deployment.terms.max_participants,
        conversation_timeout=deployment.terms.timeout.total_seconds(),
        conversation_lifetime=deployment.terms.lifetime.total_seconds(),
        conversation_retention=archive["max_age"] / _NANOSECONDS
        if archive
        else default.conversation_retention,
        ingress_size=ingress["max_msgs"],
        rate_limit=deployment.rate_limit,
        dead_letter_size=letters.get("max_msgs", default.dead_letter_size),
        compression=ingress.get("compression", default.compression),
        storage=ingress["storage"],
    )


async def ensure_consumer(connection: Connection, stream: str, config: Json) -> None:
    """Create the durable consumer, or bring it to this configuration."""
    subject = f"CONSUMER.CREATE.{stream}.{config['durable_name']}"
    if "filter_subject" in config:
        subject += f".{config['filter_subject']}"
    await connection.api(subject, {"stream_name": stream, "config": config, "action": ""})


async def _change(connection: Connection, verb: str, config: Json) -> None:
    try:
        await _ask_again(connection, f"STREAM.{verb}.{config['name']}", config)
    except ConfigurationError as error:
        raise ConfigurationError(error.reason, field=config["name"], hint=_HINT) from None
    except Exception as error:
        if "overlap" not in str(error):
            raise
        raise ConfigurationError(
            f"another stream has subjects of {config['name']}: {', '.join(config['subjects'])}",
            field=config["name"],
            hint="find it with `nats stream ls --subjects`, and use another server or account",
        ) from None


async def _ask_again(connection: Connection, subject: str, config: Json) -> None:
    """Ask until the server can: it clears a deleted stream's store away behind its own answer."""
    for tried in range(1, _TRIES + 1):
        try:
            await connection.api(subject, config)
        except TransportError as error:
            if error.value not in _PASSING or tried == _TRIES:
                raise
            await asyncio.sleep(_PAUSE * tried)
        else:
            return


def _check_possible(difference: Difference) -> None:
    if difference.kind == "foreign":
        raise _foreign(difference.stream)
    fixed = _FIXED & difference.changes.keys()
    if fixed:
        key = min(fixed)
        had, wanted = difference.changes[key]
        raise ConfigurationError(
            f"{key} is {had} and should be {wanted}; a server cannot change it",
            field=difference.stream,
            hint=f"keep the {key}, or remove the stream with `nats stream rm` once it is empty",
        )


async def _check_agreed(connection: Connection, options: Options) -> None:
    await check_shards(connection, options.shards)
    deployment = await discover(connection)
    if deployment is None:
        return
    if deployment.platform != options.platform:
        raise ConfigurationError(
            "this deployment has another name, and its agents and their mail carry it",
            field="platform",
            limit=deployment.platform,
            value=options.platform,
            hint="keep the name, or start on an empty server",
        )


async def _check_dead_letters(connection: Connection, differences: list[Difference]) -> None:
    """Refuse a bound below what is kept: the server would drop the oldest letters."""
    changes = {one.stream: one.changes for one in differences}.get(DLQ_STREAM, {})
    _, wanted = changes.get("max_msgs", (0, 0))
    if not wanted:
        return
    kept = (await connection.api(f"STREAM.INFO.{DLQ_STREAM}"))["state"]["messages"]
    if kept > wanted:
        raise ConfigurationError(
            f"{kept} dead letters are kept, and the server would drop what is above the bound",
            field="dead_letter_size",
            limit=kept,
            value=wanted,
            hint="redrive or discard some with `caxton dlq`, or choose a larger bound",
        )


def _lowers_queue(difference: Difference) -> bool:
    had, wanted = difference.changes.get(QUEUE, (0, 0))
    return is_bounded(difference.stream) and wanted > 0 and (had <= 0 or wanted < had)


async def _lower_queue(connection: Connection, config: Json, difference: Difference) -> None:
    """Lower the bound while nothing comes in: the server drops the oldest of what is above it."""
    had, wanted = difference.changes[QUEUE]
    before = {**config, QUEUE: had}
    await _change(connection, "UPDATE", {**before, "max_msgs": 1})
    try:
        await _check_room(connection, difference.stream, wanted)
    except BaseException:
        await _change(connection, "UPDATE", before)
        raise
    await _change(connection, "UPDATE", config)


async def _check_room(connection: Connection, stream: str, size: int) -> None:
    info = await connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
    held: dict[str, int] = info["state"].get("subjects") or {}
    fullest = max(held, key=held.__getitem__, default="")
    if fullest and held[fullest] > size:
        raise ConfigurationError(
            f"the mailbox {fullest} holds {held[fullest]} messages, and the server would drop"
            " what is above the bound",
            field="queue_size",
            limit=held[fullest],
            value=size,
            hint="let the agent work it off, or choose a larger bound",
        )


def _foreign(stream: str) -> ConfigurationError:
    return ConfigurationError(
        f"a stream {stream} exists that caxton did not make (no {MARK!r} in its metadata)",
        field=stream,
        hint="use another server or account, or remove it with `nats stream rm`",
    )


_HINT = "see `caxton topology diff`"
