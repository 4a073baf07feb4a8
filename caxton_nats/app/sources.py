"""Where the settings of a process come from: one precedence, and the source of every value.

A default gives way to the preset, that to the TOML file, that to a ``CAXTON_*`` variable, and that
to what is chosen in code (for a command: its options). No file is read unless somebody names it:
the same program does the same in every folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from caxton_nats.config import PRESETS, Settings
from caxton_nats.core.errors import ConfigurationError

PREFIX = "CAXTON_"
FILE_VARIABLE = f"{PREFIX}CONFIG"
_NOT_SETTINGS = (f"{PREFIX}TEST_",)
_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


class Source(msgspec.Struct, frozen=True):
    """Where a value comes from."""

    kind: Literal["default", "preset", "file", "environment", "code"]
    where: str = ""
    """Name of the preset, path of the file, name of the variable."""


class Configuration(msgspec.Struct, frozen=True):
    """Settings, and where each of them comes from."""

    settings: Settings
    sources: dict[str, Source]
    """By setting; every one is in it."""
    file: Path | None


class _Layer(msgspec.Struct, frozen=True):
    """What one source chooses."""

    values: Mapping[str, Any]
    sources: Mapping[str, Source]


def gather(
    environment: Mapping[str, str], *, config: str | Path | None = None, **chosen: Any
) -> Configuration:
    """Return the settings that all sources together make.

    Args:
        environment: has the ``CAXTON_*`` variables.
        config: a TOML file; without it, the one that ``CAXTON_CONFIG`` names, if it does.
        chosen: in code, by name; None is not chosen.

    Raises:
        ConfigurationError: an unknown name, a value out of its bounds, or two that contradict each
            other; names the variable or the file.
    """
    named = config or environment.get(FILE_VARIABLE)
    file = Path(named) if named else None
    in_code = {name: value for name, value in chosen.items() if value is not None}
    layers = [
        _from_file(file) if file else _Layer({}, {}),
        _from_environment(environment),
        _Layer(in_code, dict.fromkeys(in_code, Source("code"))),
    ]
    wanted: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for layer in layers:
        for name in layer.values:
            if name not in Settings.model_fields:
                raise _unknown(name, layer.sources[name])
        wanted |= layer.values
        sources |= layer.sources
    sources = {**_beneath(wanted.get("preset")), **sources}
    try:
        return Configuration(Settings.model_validate(wanted), sources, file)
    except ValidationError as error:
        raise _explained(error.errors()[0], wanted, sources) from None


def _beneath(preset: object) -> dict[str, Source]:
    """Return the sources of what nobody has chosen."""
    laid = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
    return {
        name: Source("preset", str(preset)) if name in laid else Source("default")
        for name in Settings.model_fields
    }


def _from_file(path: Path) -> _Layer:
    try:
        values = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read: {error.strerror}",
            field=str(path),
            hint=f"it was named by --config, {FILE_VARIABLE}, or in code",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"is not TOML: {error}", field=str(path)) from None
    return _Layer(values, dict.fromkeys(values, Source("file", str(path))))


def _from_environment(environment: Mapping[str, str]) -> _Layer:
    values: dict[str, str] = {}
    sources: dict[str, Source] = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(_NOT_SETTINGS):
            continue
        if variable == FILE_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX)
        # In other letters it is another variable, and two must not mean one setting.
        name = name.lower() if name.isupper() else name
        values[name] = value
        sources[name] = Source("environment", variable)
    return _Layer(values, sources)


def _blamed(name: str, source: Source) -> str:
    """Return the name of a setting as whoever chose it has written it."""
    if source.kind == "environment":
        return source.where
    return f"{source.where}: {name}" if source.kind == "file" else name


def _unknown(name: str, source: Source) -> ConfigurationError:
    # The value is not repeated: under a name that we do not know it may be a secret.
    names = [*Settings.model_fields, *(() if source.kind == "file" else ("config",))]
    near = get_close_matches(name.lower(), names, n=1)
    known = ", ".join(sorted(Settings.model_fields))
    like = PREFIX + near[0].upper() if near and source.kind == "environment" else "".join(near)
    return ConfigurationError(
        "there is no such setting",
        field=_blamed(name, source),
        hint=f"did you mean {like}?" if near else f"the settings are: {known}",
    )


def _explained(
    error: ErrorDetails, wanted: Mapping[str, Any], sources: Mapping[str, Source]
) -> ConfigurationError:
    context = error.get("ctx", {})
    if error["type"] == "rule":
        return _contradiction(context, sources)
    name = str(error["loc"][0])
    limits = [context[bound] for bound in ("ge", "gt", "le", "lt") if bound in context]
    lengths = [context[length] for length in ("min_length", "max_length") if length in context]
    limit = next(iter([*limits, *lengths]), None)
    return ConfigurationError(
        error["msg"].removeprefix("Value error, "),
        field=_blamed(name, sources[name]),
        limit=limit if limit is None or isinstance(limit, int) else f"{limit:g}",
        value=str(wanted[name])[:_SHOWN],
    )


def _contradiction(context: Mapping[str, Any], sources: Mapping[str, Source]) -> ConfigurationError:
    """Name both settings, with their values and where these come from."""
    names = context["field"], context["other"]
    values = context["value"], context["limit"]
    both = " and ".join(
        f"{name} is {value} ({' '.join(filter(None, (sources[name].kind, sources[name].where)))})"
        for name, value in zip(names, values, strict=True)
    )
    return ConfigurationError(
        f"{context['reason']}: {both}",
        field=names[0],
        limit=str(values[1]),
        value=str(values[0]),
        hint=f"change {names[0]} or {names[1]}",
    )
