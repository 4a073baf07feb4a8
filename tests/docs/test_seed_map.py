"""docs/seed-map.md: nothing of the seed is left out, and everything named there exists."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "seed-map.md"
METHODS = {
    "MessageRouter": "route_message register_agent deregister_agent update_agent_state get_stats"
    " health_check shutdown",
    "DeliveryEngine": "deliver_local deliver_remote deliver_batch health_check",
    "ConversationManager": "get_or_create_conversation update_conversation get_agent_conversations"
    " cleanup_expired_conversations get_conversation_stats",
    "AgentRegistry": "lookup register_local_agent deregister_local_agent update_remote_route"
    " find_agents_by_capability list_local_agents update_agent_health",
    "MessageStorage": "store_message get_message remove_message list_agent_messages",
    "ConversationStorage": "save load archive list_agent_conversations",
    "AgentStorage": "save_agent_registration load_agent remove_agent save_route load_route"
    " list_agents",
    "FailureHandler": "handle_routing_failure schedule_retry dead_letter get_dead_letter_stats",
    "CircuitBreaker": "record_success record_failure is_open get_state",
    "MetricsCollector": "record_message_routed record_routing_error record_delivery_metrics"
    " record_conversation_created record_agent_registered record_agent_deregistered",
}
"""The ten traits of the seed and their methods."""
TYPES = {
    "Domain types": "AgentId AgentName MessageId ConversationId NodeId CapabilityName"
    " CapabilityDescription ProtocolName ContentLanguage OntologyName MessageContent MessageSize"
    " MessageCount MessageTimestamp ConversationCreatedAt MaxRetries RouteHops RouteInfo"
    " AgentLocation LocalAgent AgentQueueSize AgentState Conversation FailureReason RetryReason"
    " FipaMessage MessageParticipants TraceContext DeliveryOptions MessagePriority Performative"
    " ValidationField ValidationReason",
    "Configuration types": "ChannelCapacity RetryDelayMs RetryBackoffFactor CircuitBreakerThreshold"
    " CircuitBreakerTimeoutMs DeadLetterQueueSize ConversationTimeoutMs MaxConversationParticipants"
    " HealthCheckIntervalMs MessageTimeoutMs WorkerThreadCount MessageBatchSize TraceSamplingRatio"
    " ConnectionPoolSize StorageCleanupIntervalMs RateLimitPerSecond MaxAgents",
    "Router configuration": "inbound_queue_size outbound_queue_size message_timeout_ms message_batch_size"
    " worker_thread_count max_retries retry_delay_ms retry_backoff_factor"
    " dead_letter_queue_size circuit_breaker_threshold circuit_breaker_timeout_ms"
    " conversation_timeout_ms max_conversation_participants health_check_interval_ms"
    " trace_sampling_ratio enable_metrics enable_detailed_logs storage_path"
    " enable_persistence storage_cleanup_interval_ms enable_batching"
    " enable_connection_pooling connection_pool_size enable_compression"
    " enable_message_validation max_message_size_bytes enable_rate_limiting"
    " rate_limit_messages_per_second",
    "Errors and status": "RouterError DeliveryError ConversationError RegistryError HealthStatus"
    " CircuitBreakerState RouterStats ConversationStats DeadLetterStats DetailedHealthStatus",
}
"""Its data types, by the section of the page that has them."""
OPEN = ("none: ", "none yet: ")
"""How the last column of a row without a counterpart begins."""


class Row(NamedTuple):
    section: str
    seed: str
    functions: list[str]
    tests: list[str]
    differs: str


def rows() -> list[Row]:
    found = []
    for part in PAGE.read_text().split("\n## ")[1:]:
        section, _, text = part.partition("\n")
        for line in text.splitlines():
            if not line.startswith("| `"):
                continue
            seed, functions, tests, differs = (cell.strip() for cell in line.strip("|").split("|"))
            found.append(Row(section, seed.strip("`"), names(functions), names(tests), differs))
    return found


def names(cell: str) -> list[str]:
    """Return the names of a cell; a dash is none. Anything else between them is a mistake."""
    if cell == "-":
        return []
    assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cell), cell
    return re.findall(r"`([^`]+)`", cell)


ROWS = rows()
NAMED = {
    "functions": sorted({name for row in ROWS for name in row.functions}),
    "tests": sorted({name for row in ROWS for name in row.tests}),
}


def resolve(path: str) -> object:
    """Return what a dotted path names: a module's function or class, a class's method or field."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            # Fields of some classes are known by their annotation only.
            field = getattr(found, "__annotations__", {}).get(name)
            found = getattr(found, name, None) or field
        return found
    return None


@functools.cache
def written_in(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    tree = ast.walk(ast.parse(path.read_text()))
    functions = (n.name for n in tree if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def test_every_method_and_type_of_the_seed_has_one_row() -> None:
    """In the section of its trait, or of its kind; and no row is of anything else."""
    wanted = [
        (trait, f"{trait}.{method}") for trait, text in METHODS.items() for method in text.split()
    ]
    wanted += [(section, kind) for section, text in TYPES.items() for kind in text.split()]
    assert sorted((row.section, row.seed) for row in ROWS) == sorted(wanted)


@pytest.mark.parametrize("path", NAMED["functions"])
def test_every_function_named_exists(path: str) -> None:
    """Under the path that the page gives."""
    assert path.startswith("caxton_nats.")
    assert resolve(path) is not None


@pytest.mark.parametrize("name", NAMED["tests"])
def test_every_test_named_exists(name: str) -> None:
    """In the file that the page gives."""
    file, _, test = name.partition("::")
    assert test in written_in(file)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.seed)
def test_a_row_has_function_and_tests_or_says_why_not(row: Row) -> None:
    """A counterpart without a proof is a claim; none at all needs its reason."""
    if row.functions:
        assert row.tests
        assert not row.differs.startswith(OPEN)
    else:
        assert not row.tests
        assert row.differs.startswith(OPEN)
