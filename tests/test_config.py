"""Settings: where a value comes from, and what is refused."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import ValidationError

from caxton_nats.config import Settings, from_environment
from caxton_nats.core.errors import ConfigurationError

BOUNDS: dict[str, tuple[float, float]] = {
    "request_timeout": (math.nextafter(0, 1), 300),
    "shards": (1, 1024),
    "queue_size": (1, 100_000),
    "replicas": (1, 5),
    "duplicate_window": (0.1, 86_400),
    "max_content": (1, 10_485_760),
    "max_receivers": (1, 10_000),
    "max_participants": (2, 10_000),
    "ack_wait": (0.5, 3600),
    "max_deliver": (12, 1000),
    "max_retries": (1, 10),
    "retry_delay": (0.1, 300),
    "retry_factor": (1.1, 5.0),
    "retry_max_delay": (0.1, 3600),
    "concurrency": (1, 1000),
    "drain": (0, 600),
}
"""The least and the most of every number."""


def beyond(name: str, edge: float, direction: float) -> float:
    """Return the next value of the setting's type on the other side of its edge."""
    whole = Settings.model_fields[name].annotation is int
    return edge + math.copysign(1, direction) if whole else math.nextafter(edge, direction)


def refused(environment: dict[str, str], **chosen: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        from_environment(environment, **chosen)
    return error.value


def test_code_wins_over_the_environment_and_that_over_the_default() -> None:
    """None in code means: not chosen here."""
    default = Settings().shards
    assert from_environment({}).shards == default == 16
    environment = {"CAXTON_SHARDS": "7"}
    assert from_environment(environment).shards == 7
    assert from_environment(environment, shards=None).shards == 7
    assert from_environment(environment, shards=3).shards == 3
    assert from_environment({}, shards=None).shards == default


def test_every_setting_can_come_from_the_environment() -> None:
    """As text, under its own name in capitals."""
    wanted = Settings(
        nats_url="nats://elsewhere:4222",
        router="service",
        platform="lab",
        **{name: most for name, (_, most) in BOUNDS.items()},  # type: ignore[arg-type]
    )
    environment = {
        f"CAXTON_{name.upper()}": str(value) for name, value in wanted.model_dump().items()
    }
    assert environment.keys() == {f"CAXTON_{name.upper()}" for name in Settings.model_fields}
    assert from_environment(environment) == wanted


def test_other_variables_are_none_of_ours() -> None:
    """Nor are those that the tests themselves are told by."""
    environment = {"PATH": "/bin", "caxton_shards": "x", "XCAXTON_SHARDS": "x", "CAXTON": "x"}
    assert from_environment({**environment, "CAXTON_TEST_REQUIRE": "docker"}) == Settings()


def test_an_unknown_variable_is_refused() -> None:
    """A misspelt name would silently leave the default in force; the hint lists the names."""
    error = refused({"CAXTON_SHARD": "7"})
    assert (error.field, error.value) == ("CAXTON_SHARD", "7")
    assert "shards" in error.hint
    assert "queue_size" in error.hint


def test_an_unknown_name_in_code_is_refused() -> None:
    """It is named as it was written, for no variable is to blame."""
    error = refused({"CAXTON_SHARDS": "7"}, shard=7)
    assert error.field == "shard"
    assert error.hint


def test_a_value_in_code_is_not_blamed_on_a_variable() -> None:
    """The variable of the same name would be taken for the culprit otherwise."""
    assert refused({"CAXTON_SHARDS": "7"}, shards=0).field == "shards"


@pytest.mark.parametrize("value", ["many", "", "1.5", "0x10", "nan"])
def test_a_text_that_is_no_number_names_its_variable(value: str) -> None:
    """With the value as it was given."""
    error = refused({"CAXTON_SHARDS": value})
    assert (error.field, error.value) == ("CAXTON_SHARDS", value)


def test_a_long_value_is_cut() -> None:
    """An error stays one that can be read."""
    assert refused({"CAXTON_SHARDS": "9" * 1000 + "x"}).value == "9" * 60


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
    """In code and from the environment, which is named."""
    least, most = BOUNDS[name]
    variable = f"CAXTON_{name.upper()}"
    for edge, outside in ((least, -math.inf), (most, math.inf)):
        assert getattr(from_environment({}, **{name: edge}), name) == edge
        assert getattr(from_environment({variable: str(edge)}), name) == edge
        too_far = beyond(name, edge, outside)
        assert refused({}, **{name: too_far}).field == name
        error = refused({variable: str(too_far)})
        assert (error.field, error.value) == (variable, str(too_far))


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
