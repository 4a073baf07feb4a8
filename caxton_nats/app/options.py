"""What the settings of a process say to each part of it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from caxton_nats.app.sources import Configuration, gather
from caxton_nats.config import Settings
from caxton_nats.core.conversation import Terms
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.validation import Limits
from caxton_nats.engine.receiver import MailboxOptions
from caxton_nats.engine.router import RouterOptions
from caxton_nats.jetstream import topology


def settings(*, config: Any = None, **chosen: object) -> Settings:
    """Return the settings of this process: see `configuration`."""
    return configuration(config=config, **chosen).settings


def configuration(*, config: Any = None, **chosen: object) -> Configuration:
    """Return the settings of this process, and where each comes from.

    What is chosen in code goes first, then ``CAXTON_*`` variables, then the TOML file (``config``,
    or the one that ``CAXTON_CONFIG`` names), then the preset, then defaults.
    """
    return gather(os.environ, config=config, **chosen)


def topology_options(chosen: Settings) -> topology.Options:
    """Return what the settings say of the topology."""
    return topology.Options(
        platform=chosen.platform,
        shards=chosen.shards,
        queue_size=chosen.queue_size,
        replicas=chosen.replicas,
        duplicate_window=chosen.duplicate_window,
        max_participants=chosen.max_participants,
        conversation_timeout=chosen.conversation_timeout,
        conversation_lifetime=chosen.conversation_lifetime,
        conversation_retention=chosen.conversation_retention,
        ingress_size=chosen.ingress_size,
        rate_limit=chosen.rate_limit,
        dead_letter_size=chosen.dead_letter_size,
        compression=chosen.compression,
        storage=chosen.storage,
    )


def retry_policy(chosen: Settings) -> RetryPolicy:
    """Return what the settings say of retries."""
    return RetryPolicy(
        max_retries=chosen.max_retries,
        delay=timedelta(seconds=chosen.retry_delay),
        factor=chosen.retry_factor,
        max_delay=timedelta(seconds=chosen.retry_max_delay),
    )


def conversation_terms(chosen: Settings) -> Terms:
    """Return what the settings say of conversations."""
    return Terms(
        max_participants=chosen.max_participants,
        timeout=timedelta(seconds=chosen.conversation_timeout),
        lifetime=timedelta(seconds=chosen.conversation_lifetime),
    )


def router_options(
    chosen: Settings, platform: str, queue_size: int, terms: Terms, rate_limit: int
) -> RouterOptions:
    """Return what the settings say of routing, on a deployment that has agreed on the others."""
    limits = Limits(max_content=chosen.max_content, max_receivers=chosen.max_receivers)
    return RouterOptions(
        platform=platform,
        limits=limits,
        terms=terms,
        illegal_acts=chosen.illegal_acts,
        queue_size=queue_size,
        rate_limit=rate_limit,
        health_interval=timedelta(seconds=chosen.health_interval),
    )


def mailbox_options(chosen: Settings) -> MailboxOptions:
    """Return what the settings say of taking mail."""
    return MailboxOptions(
        policy=retry_policy(chosen),
        concurrency=chosen.concurrency,
        ack_wait=timedelta(seconds=chosen.ack_wait),
        breaker_threshold=chosen.breaker_threshold,
        breaker_timeout=timedelta(seconds=chosen.breaker_timeout),
        drain=timedelta(seconds=chosen.drain),
        lease=chosen.lease,
        reply_timeout=timedelta(seconds=chosen.reply_timeout),
    )
