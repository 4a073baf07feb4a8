"""Every setting is read by something, and there is a test that shows what it does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from caxton_nats.config import PRESETS, Settings
from tests.docs.test_seed_map import written_in

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"
EFFECTS = {
    "preset": "tests/test_sources.py::test_the_precedence_is_one",
    "nats_url": "tests/cli/test_config.py::test_a_file_of_settings_is_for_every_command",
    "router": "tests/cli/test_request.py::test_an_asker_that_was_not_registered_is_not_afterwards",
    "store": "tests/cli/test_up.py::test_the_store_is_where_the_settings_say",
    "request_timeout": "tests/jetstream/test_connection.py::test_a_server_that_says_nothing_is_given_up",
    "platform": "tests/testing/test_platforms.py::test_settings_apply",
    "shards": "tests/jetstream/test_topology.py::test_there_is_a_mailbox_stream_for_each_shard",
    "queue_size": "tests/testing/test_platforms.py::test_settings_apply",
    "replicas": "tests/jetstream/test_topology.py::test_what_a_deployment_chooses_is_laid_over_the_files",
    "duplicate_window": "tests/conformance/test_publisher.py::test_key_is_free_after_the_window",
    "ingress_size": "tests/jetstream/test_topology_on_server.py::test_a_full_ingress_refuses_and_keeps",
    "rate_limit": "tests/engine/test_rate_limit.py::test_a_batch_counts_its_messages",
    "dead_letter_size": "tests/jetstream/test_topology_on_server.py::test_the_oldest_dead_letters_go_at_the_bound_and_never_by_lowering_it",
    "compression": "tests/jetstream/test_topology_on_server.py::test_compression_changes_on_a_running_deployment",
    "storage": "tests/jetstream/test_topology_on_server.py::test_streams_in_memory_are_gone_with_the_server",
    "max_content": "tests/sdk/test_settings.py::test_each_preset_accepts_its_own_content_and_no_more",
    "max_receivers": "tests/core/test_validation.py::test_receivers_at_the_edges",
    "max_participants": "tests/sdk/test_settings.py::test_each_preset_has_room_for_its_participants_and_no_more",
    "conversation_timeout": "tests/integration/test_conversation_ends.py::test_idle_conversation_ends",
    "conversation_lifetime": "tests/integration/test_conversation_ends.py::test_lifetime",
    "conversation_retention": "tests/jetstream/test_topology.py::test_bounds_compression_and_storage_are_laid_over_the_files",
    "illegal_acts": "tests/sdk/test_settings.py::test_an_illegal_act_is_refused_if_one_says_so",
    "ack_wait": "tests/conformance/test_inbox.py::test_redelivery_after_ack_wait",
    "max_deliver": "tests/conformance/test_inbox.py::test_max_deliver_stops_delivery",
    "max_retries": "tests/testing/test_platforms.py::test_settings_apply",
    "retry_delay": "tests/engine/test_mailbox.py::test_retries_grow_and_are_numbered",
    "retry_factor": "tests/core/test_disposition.py::test_delays_double",
    "retry_max_delay": "tests/core/test_disposition.py::test_any_delay_is_within_bounds",
    "breaker_threshold": "tests/engine/test_breaker.py::test_switched_off",
    "breaker_timeout": "tests/engine/test_breaker.py::test_a_single_trial",
    "lease": "tests/sdk/test_tenure.py::test_the_length_of_a_lease_is_a_setting",
    "concurrency": "tests/engine/test_mailbox_order.py::test_concurrency",
    "batch_size": "tests/engine/test_ingress.py::test_batches_have_a_size",
    "workers": "tests/jetstream/test_doors.py::test_requests_that_come_together",
    "publish_window": "tests/jetstream/test_publisher.py::test_no_more_is_on_its_way_than_the_window",
    "reply_timeout": "tests/sdk/test_agent.py::test_no_time_given",
    "health_interval": "tests/integration/test_health.py::test_it_looks_by_itself",
    "links": "tests/integration/test_remote.py::test_request_and_answer_cross_the_link",
    "drain": "tests/engine/test_mailbox_restarts.py::test_running_handlers_may_finish",
}
"""For each setting, the test that shows its effect."""


def read_by_the_composition_root() -> set[str]:
    """Return every attribute that is read of settings, by the names they go under."""
    found: set[str] = set()
    for path in (ROOT / "caxton_nats").rglob("*.py"):
        if path.name == "config.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                of = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if of in ("chosen", "settings"):
                    found.add(node.attr)
    return found


def test_every_setting_is_read() -> None:
    """A setting that nothing reads is a promise that nobody keeps."""
    assert Settings.model_fields.keys() - read_by_the_composition_root() == {"preset"}


def test_every_setting_has_a_test_of_its_effect() -> None:
    """The table above is whole."""
    assert EFFECTS.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("name", EFFECTS)
def test_the_test_of_an_effect_exists(name: str) -> None:
    """In the file that the table gives."""
    file, _, test = EFFECTS[name].partition("::")
    assert test in written_in(file)


def shown(value: object) -> str:
    """Return a value as the page shows it: whole numbers without a fraction."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def test_every_setting_is_described() -> None:
    """docs/configuration.md has a row for each, with default and presets as they are."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    described = {row[0].strip("`"): row[1:] for row in rows}
    assert described.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        default, _, *presets, what = described[name]
        assert (name, default) == (name, shown(field.default))
        wanted = [PRESETS[one].get(name) for one in ("development", "production", "testing")]
        assert (name, presets) == (name, [shown(value) for value in wanted])
        assert what
