"""Where settings come from: code, CAXTON_* variables, a TOML file, presets, defaults; and typos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caxton_nats import settings
from caxton_nats.app.sources import Configuration, Source, gather
from caxton_nats.config import Settings
from caxton_nats.core.errors import ConfigurationError
from tests.test_config import BOUNDS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a file of settings, which a test writes."""
    return tmp_path / "caxton.toml"


def from_environment(environment: dict[str, str], **chosen: Any) -> Settings:
    return gather(environment, **chosen).settings


def refused(environment: dict[str, str], **chosen: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        gather(environment, **chosen)
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
        preset="testing",
        store="kept",
        compression="s2",
        storage="memory",
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


def test_the_precedence_is_one(file: Path) -> None:
    """Default, preset, file, environment, code: each wins over those before it."""
    steps: list[tuple[Source, Configuration]] = []
    environment: dict[str, str] = {}

    def chosen(source: Source, **in_code: Any) -> None:
        steps.append((source, gather(environment, config=file, **in_code)))

    file.write_text("")
    chosen(Source("default"))
    file.write_text('preset = "testing"')
    chosen(Source("preset", "testing"))
    file.write_text('preset = "testing"\nmax_retries = 7')
    chosen(Source("file", str(file)))
    environment["CAXTON_MAX_RETRIES"] = "8"
    chosen(Source("environment", "CAXTON_MAX_RETRIES"))
    chosen(Source("code"), max_retries=9)
    assert [one.settings.max_retries for _, one in steps] == [3, 1, 7, 8, 9]
    assert [one.sources["max_retries"] for _, one in steps] == [source for source, _ in steps]


def test_the_preset_itself_follows_the_precedence(file: Path) -> None:
    """The nearer source chooses it; its values stay beneath whatever is chosen one by one."""
    file.write_text('preset = "testing"\nmax_content = 77')
    found = gather({"CAXTON_PRESET": "production"}, config=file)
    assert (found.settings.preset, found.settings.max_participants) == ("production", 20)
    assert found.settings.max_content == 77
    assert found.sources["preset"] == Source("environment", "CAXTON_PRESET")
    assert found.sources["max_participants"] == Source("preset", "production")
    assert gather({}, config=file, preset="development").settings.max_participants == 5


def test_every_setting_has_a_source() -> None:
    """Whatever was chosen, so that none is shown without where it comes from."""
    assert gather({"CAXTON_PRESET": "testing"}, shards=3).sources.keys() == set(
        Settings.model_fields
    )


def test_a_file_is_read_only_if_somebody_names_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In code or by CAXTON_CONFIG; what lies in the folder by chance changes nothing."""
    file.write_text("shards = 5")
    monkeypatch.chdir(file.parent)
    assert gather({}).settings == Settings()
    assert gather({}).file is None
    assert gather({"CAXTON_CONFIG": "caxton.toml"}).settings.shards == 5
    other = file.with_name("other.toml")
    other.write_text("shards = 6")
    assert gather({"CAXTON_CONFIG": "caxton.toml"}, config=other).settings.shards == 6
    monkeypatch.setenv("CAXTON_CONFIG", str(file))
    assert settings().shards == 5


@pytest.mark.parametrize("content", ["shards = ", "[", "shards = 1\nshards = 2", "\udc80"])
def test_a_file_that_is_no_toml_is_named(file: Path, content: str) -> None:
    """With what is wrong with it."""
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    error = refused({}, config=file)
    assert error.field == str(file)
    assert "is not TOML" in error.reason


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    """A named file is needed: without it the process would run on defaults."""
    error = refused({"CAXTON_CONFIG": str(file)})
    assert error.field == str(file)
    assert "CAXTON_CONFIG" in error.hint


def test_a_wrong_value_in_a_file_names_file_and_key(file: Path) -> None:
    """And limit and value."""
    file.write_text("shards = 0")
    error = refused({}, config=file)
    assert (error.field, error.limit, error.value) == (f"{file}: shards", 1, "0")


@pytest.mark.parametrize("line", ["shards = true", "shards = [1]", "[shards]", "platform = 3"])
def test_a_value_of_another_kind_in_a_file_is_refused(file: Path, line: str) -> None:
    """A file has types, and the wrong one is a mistake."""
    file.write_text(line)
    assert refused({}, config=file).field.startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("typed", "near"),
    [("shard", "shards"), ("que_size", "queue_size"), ("retrydelay", "retry_delay")],
)
def test_an_unknown_name_is_refused_with_the_near_miss(file: Path, typed: str, near: str) -> None:
    """In every source, as it was written there: a typo must not leave a default in force."""
    variable = f"CAXTON_{typed.upper()}"
    error = refused({variable: "7"})
    assert (error.field, error.hint) == (variable, f"did you mean CAXTON_{near.upper()}?")
    file.write_text(f"{typed} = 7")
    error = refused({}, config=file)
    assert (error.field, error.hint) == (f"{file}: {typed}", f"did you mean {near}?")
    error = refused({"CAXTON_SHARDS": "7"}, **{typed: 7})
    assert (error.field, error.hint) == (typed, f"did you mean {near}?")


def test_a_file_names_no_other_file(file: Path) -> None:
    """Which one is read is said in one place; elsewhere a typing mistake of it has its hint."""
    file.write_text('config = "other.toml"')
    assert "the settings are" in refused({}, config=file).hint
    assert refused({"CAXTON_CONFG": "x"}).hint == "did you mean CAXTON_CONFIG?"


def test_a_name_that_is_near_to_none_lists_them_all() -> None:
    """Its value is not repeated: under a name that we do not know it may be a secret."""
    error = refused({"CAXTON_XYZZY": "hunter2"})
    assert error.field == "CAXTON_XYZZY"
    assert all(name in error.hint for name in Settings.model_fields)
    assert "hunter2" not in str(error)


def test_a_variable_in_small_letters_is_another_one() -> None:
    """Two variables must not mean one setting."""
    error = refused({"CAXTON_Shards": "7"})
    assert (error.field, error.hint) == ("CAXTON_Shards", "did you mean CAXTON_SHARDS?")


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
