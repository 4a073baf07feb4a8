"""Settings: what there is to choose, what is refused, presets and rules.

Where values come from is in test_sources.py.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import ValidationError

from caxton_nats.app.sources import gather
from caxton_nats.config import PRESETS, RULES, Settings
from caxton_nats.core.errors import ConfigurationError

BOUNDS: dict[str, tuple[float, float]] = {
    "request_timeout": (math.nextafter(0, 1), 300),
    "shards": (1, 1024),
    "queue_size": (1, 100_000),
    "replicas": (1, 5),
    "duplicate_window": (0.1, 86_400),
    "health_interval": (1, 300),
    "ingress_size": (10, 1_000_000),
    "dead_letter_size": (10_000, 10_000_000),
    "max_content": (1, 10_485_760),
    "max_receivers": (1, 10_000),
    "max_participants": (2, 10_000),
    "conversation_timeout": (300, 86_400),
    "conversation_lifetime": (300, 31_536_000),
    "conversation_retention": (3_600, 315_360_000),
    "ack_wait": (0.5, 3600),
    "max_deliver": (12, 1000),
    "max_retries": (1, 10),
    "retry_delay": (0.1, 300),
    "retry_factor": (1.1, 5.0),
    "rate_limit": (0, 100_000),
    "breaker_threshold": (0, 100),
    "breaker_timeout": (5, 300),
    "retry_max_delay": (0.1, 3600),
    "lease": (1, 3600),
    "concurrency": (1, 1000),
    "batch_size": (1, 10_000),
    "workers": (1, 32),
    "publish_window": (10, 1_000_000),
    "reply_timeout": (1, 300),
    "drain": (0, 600),
}
"""The least and the most of every number."""


def beyond(name: str, edge: float, direction: float) -> float:
    """Return the next value of the setting's type on the other side of its edge."""
    whole = Settings.model_fields[name].annotation is int
    return edge + math.copysign(1, direction) if whole else math.nextafter(edge, direction)


PARTNERS: dict[str, dict[str, float]] = {
    "retry_delay": {"retry_max_delay": 3600},
    "retry_max_delay": {"retry_delay": 0.1},
    "ingress_size": {"batch_size": 1},
    "conversation_lifetime": {"conversation_timeout": 300},
    "batch_size": {"ingress_size": 1_000_000},
}
"""What has to be chosen with a setting, so that no rule between the two is in the way."""


def from_environment(environment: dict[str, str], **chosen: Any) -> Settings:
    return gather(environment, **chosen).settings


def refused(environment: dict[str, str], **chosen: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        from_environment(environment, **chosen)
    return error.value


def test_the_table_of_bounds_is_whole() -> None:
    """Every number has two bounds, and each is in the table above: a new one cannot be left out."""
    found: dict[str, tuple[float, float]] = {}
    for name, field in Settings.model_fields.items():
        if field.annotation not in (int, float):
            continue
        low = [one.ge for one in field.metadata if isinstance(one, Ge)]
        low += [math.nextafter(one.gt, 1) for one in field.metadata if isinstance(one, Gt)]  # type: ignore[arg-type]
        high = [one.le for one in field.metadata if isinstance(one, Le)]
        assert (len(low), len(high)) == (1, 1), name
        found[name] = (low[0], high[0])  # type: ignore[assignment]
    assert found == BOUNDS


@pytest.mark.parametrize("name", BOUNDS)
def test_both_edges_are_taken_and_nothing_beyond(name: str) -> None:
    """In code and from the environment; the error names field, limit and value."""
    least, most = BOUNDS[name]
    variable, partners = f"CAXTON_{name.upper()}", PARTNERS.get(name, {})
    for edge, outside in ((least, -math.inf), (most, math.inf)):
        assert getattr(from_environment({}, **{name: edge}, **partners), name) == edge
        chosen = from_environment({variable: str(edge)}, **partners)
        assert getattr(chosen, name) == edge
        too_far = beyond(name, edge, outside)
        assert refused({}, **{name: too_far}).field == name
        error = refused({variable: str(too_far)})
        assert (error.field, error.value) == (variable, str(too_far))
        assert float(str(error.limit)) == pytest.approx(edge)


@pytest.mark.parametrize(
    "name", [n for n, f in Settings.model_fields.items() if f.annotation is float]
)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_time_is_a_number(name: str, value: str) -> None:
    """Neither infinity nor what is no number slips through a bound."""
    assert refused({f"CAXTON_{name.upper()}": value}).field == f"CAXTON_{name.upper()}"


def test_a_platform_has_a_name_of_1_to_255_characters() -> None:
    """Like each part of an agent's name."""
    metadata = Settings.model_fields["platform"].metadata
    assert {type(one) for one in metadata} == {MinLen, MaxLen}
    for name in ("a", "a" * 255):
        assert from_environment({"CAXTON_PLATFORM": name}).platform == name
    for name in ("", "a" * 256):
        assert refused({"CAXTON_PLATFORM": name}).field == "CAXTON_PLATFORM"


@pytest.mark.parametrize("name", ["two words", "a@b", "a\u200bb", "e\u0301"])
def test_a_platform_has_a_name_that_an_agent_can_bear(name: str) -> None:
    """What no agent's name may have in its platform part is refused before any agent starts."""
    assert refused({"CAXTON_PLATFORM": name}).field == "CAXTON_PLATFORM"


def test_an_address_is_not_empty() -> None:
    """An empty variable is a mistake of a script, not the wish for a default."""
    error = refused({"CAXTON_NATS_URL": ""})
    assert (error.field, error.limit, error.value) == ("CAXTON_NATS_URL", 1, "")


def test_a_router_is_one_of_two() -> None:
    """Any other word is refused, and the two are named."""
    assert get_args(Settings.model_fields["router"].annotation) == ("embedded", "service")
    error = refused({"CAXTON_ROUTER": "remote"})
    assert error.field == "CAXTON_ROUTER"
    assert "embedded" in error.reason
    assert "service" in error.reason


def test_settings_do_not_change() -> None:
    """What one part of a process has read is what all others read."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().shards = 3


def test_there_are_three_presets() -> None:
    """The seed's; without one, the defaults are in force."""
    assert set(PRESETS) == {"development", "production", "testing"}
    assert Settings().preset is None


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_and_laid_under_what_is_chosen(name: str) -> None:
    """On this machine as on any; in the model itself, so that code cannot pass it by."""
    chosen = Settings.model_validate({"preset": name})
    assert {key: getattr(chosen, key) for key in PRESETS[name]} == PRESETS[name]
    assert Settings.model_validate({"preset": name, "max_retries": 9}).max_retries == 9
    others = Settings.model_fields.keys() - PRESETS[name].keys() - {"preset"}
    assert all(getattr(chosen, key) == getattr(Settings(), key) for key in others)


def test_presets_order_what_they_choose() -> None:
    """Production holds more than development, and that more than testing."""
    production, development, testing = (
        PRESETS[name] for name in ("production", "development", "testing")
    )
    assert production.keys() == development.keys() == testing.keys()
    for key in ("batch_size", "workers", "dead_letter_size", "reply_timeout"):
        assert production[key] > development[key] >= testing[key]
    assert production["ingress_size"] > development["ingress_size"]
    for key in ("max_content", "max_participants", "max_retries", "retry_delay", "retry_factor"):
        assert production[key] >= development[key] >= testing[key]


@pytest.mark.parametrize("preset", ["prod", "Production", "", "None"])
def test_an_unknown_preset_is_refused_with_the_three(preset: str) -> None:
    """A misspelt one must not leave the defaults in force."""
    error = refused({"CAXTON_PRESET": preset})
    assert (error.field, error.value) == ("CAXTON_PRESET", preset)
    assert all(name in error.reason for name in PRESETS)


BROKEN: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("conversation_timeout", "conversation_lifetime"): (
        {"conversation_timeout": 600.0, "conversation_lifetime": 600.0},
        {"conversation_timeout": 600.0, "conversation_lifetime": 599.0},
    ),
    ("batch_size", "ingress_size"): (
        {"batch_size": 50, "ingress_size": 500},
        {"batch_size": 50, "ingress_size": 499},
    ),
    ("retry_delay", "retry_max_delay"): (
        {"retry_delay": 2.0, "retry_max_delay": 2.0},
        {"retry_delay": 2.5, "retry_max_delay": 2.0},
    ),
}
"""For each rule, two values that just agree, and two that do not."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.field}-{rule.other}")
def test_what_contradicts_each_other_is_refused_by_both_names(rule: Any) -> None:
    """With both values, and where each comes from."""
    right, wrong = BROKEN[rule.field, rule.other]
    assert Settings(**right).model_fields_set == right.keys()
    with pytest.raises(ValidationError):
        Settings(**wrong)
    variable = f"CAXTON_{rule.other.upper()}"
    environment = {variable: str(wrong[rule.other])}
    error = refused(environment, **{rule.field: wrong[rule.field]})
    assert f"{rule.field} is {wrong[rule.field]} (code)" in error.reason
    assert f"{rule.other} is {wrong[rule.other]} (environment {variable})" in error.reason
    assert rule.field in error.hint
    assert rule.other in error.hint


def test_a_contradiction_with_a_default_says_so() -> None:
    """Nobody has written the other value, so nobody would look for it."""
    assert "retry_max_delay is 60.0 (default)" in refused({}, retry_delay=90).reason
    assert "retry_delay is 1.0 (preset production)" in (
        refused({}, preset="production", retry_max_delay=0.5).reason
    )


@pytest.mark.parametrize("name", ["shards", "retry_delay", "platform", "router"])
def test_a_truth_value_is_no_number_and_no_name(name: str) -> None:
    """Python takes true for 1; whoever writes `shards = true` means something else."""
    error = refused({}, **{name: True})
    assert (error.field, error.value) == (name, "True")


@pytest.mark.parametrize("links", ["a b", "plant,a@b", "x" * 256])
def test_a_link_is_called_as_a_platform_may_be(links: str) -> None:
    """A node's name is part of subjects, and of the error."""
    error = refused({"CAXTON_LINKS": links})
    assert (error.field, error.value) == ("CAXTON_LINKS", links[:60])


@pytest.mark.parametrize("links", ["", "plant", "plant,mine", "größe"])
def test_links(links: str) -> None:
    """None, one or several, with commas; a space behind a comma is nobody's name."""
    assert from_environment({"CAXTON_LINKS": links}).links == links
    assert from_environment({"CAXTON_LINKS": links.replace(",", ", ")}).links == links
