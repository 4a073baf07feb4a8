"""What tests need beyond Python: skipped where it is missing, failed where it is demanded.

A developer without Docker still runs the rest. CI names what must be there, so that a broken
installation cannot pass as a green run with skips: CAXTON_TEST_REQUIRE="docker nats-cli chaos faststream".
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from chaos import needs

DEMANDED = "CAXTON_TEST_REQUIRE"
_ROOT = Path(__file__).parents[2]


def require(requirement: str) -> None:
    """Skip the test unless the requirement is there; fail it when the environment demands it."""
    missing = _CHECKS[requirement]()
    if missing:
        give_up(requirement, missing)


def give_up(requirement: str, reason: str) -> NoReturn:
    """Skip the test for want of a requirement, or fail it when the environment demands it."""
    if requirement in demanded(os.environ):
        pytest.fail(f"{reason} [{DEMANDED} demands {requirement}]", pytrace=False)
    pytest.skip(reason)


def demanded(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the requirements that must not be missing; a misspelt one would demand nothing."""
    names = frozenset(environment.get(DEMANDED, "").split())
    if unknown := names - _CHECKS.keys():
        raise pytest.UsageError(
            f"{DEMANDED} names {', '.join(sorted(unknown))}; known: {', '.join(sorted(_CHECKS))}"
        )
    return names


def find_nats_cli() -> str | None:
    """Return the path of the nats command: of this checkout, on PATH, or where Go puts it."""
    go_path = os.environ.get("GOPATH", str(Path.home() / "go"))
    folders = [
        str(_ROOT / ".tools" / "bin"),
        os.environ.get("PATH", ""),
        os.environ.get("GOBIN", ""),
        str(Path(go_path) / "bin"),
    ]
    return shutil.which("nats", path=os.pathsep.join(filter(None, folders)))


def _missing_docker() -> str:
    # The command rather than the Python client, which leaks its socket when nobody answers.
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        return "no docker command found: install Docker Engine"
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer within 10 s: restart it"
    except subprocess.CalledProcessError as error:
        return f"no Docker engine answers ({error.stderr.strip()}): start one"
    return ""


def _missing_nats_cli() -> str:
    if find_nats_cli():
        return ""
    return (
        "no nats command found: go install github.com/nats-io/natscli/nats@latest,"
        " or put it on PATH or into .tools/bin"
    )


def _missing_faststream() -> str:
    return "" if find_spec("faststream") else "no FastStream here: pip install -e '.[bench]'"


_CHECKS: Mapping[str, Callable[[], str]] = {
    "docker": _missing_docker,
    "nats-cli": _missing_nats_cli,
    "chaos": needs.missing,
    "faststream": _missing_faststream,
}


def pytest_configure(config: pytest.Config) -> None:
    demanded(os.environ)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once for each reason how many tests it skipped: hundreds of lines hide what to do."""
    skipped = terminalreporter.getreports("skipped")
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in skipped
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        terminalreporter.section("not tested here")
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"{number:5} tests: {reason}")
