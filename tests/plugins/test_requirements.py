"""A requirement that is missing skips a test, and fails it where it is demanded."""

from __future__ import annotations

import pytest

from tests.plugins import requirements
from tests.plugins.requirements import DEMANDED, demanded, require


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the Docker client to where no engine listens."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


def test_what_is_missing_skips(monkeypatch: pytest.MonkeyPatch, no_docker: None) -> None:
    monkeypatch.delenv(DEMANDED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Docker engine answers"):
        require("docker")


def test_what_is_missing_and_demanded_fails(
    monkeypatch: pytest.MonkeyPatch, no_docker: None
) -> None:
    """This is what keeps a CI without Docker from being green."""
    monkeypatch.setenv(DEMANDED, "nats-cli docker")
    with pytest.raises(pytest.fail.Exception, match="demands docker"):
        require("docker")


def test_a_missing_nats_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEMANDED, raising=False)
    monkeypatch.setattr(requirements, "find_nats_cli", lambda: None)
    with pytest.raises(pytest.skip.Exception, match="go install"):
        require("nats-cli")


def test_a_misspelt_demand_is_an_error() -> None:
    """Otherwise it would demand nothing, silently."""
    with pytest.raises(pytest.UsageError, match="dokcer"):
        demanded({DEMANDED: "dokcer"})
