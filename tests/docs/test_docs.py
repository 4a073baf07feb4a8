"""The documentation is run: every python and sh block of README.md and docs/, page by page."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.plugins.requirements import find_nats_cli, require

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]
LANGUAGES = {"python", "sh", "text", "mermaid"}
_NATS = re.compile(r"(?<!\w)nats ")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_URL = re.compile(r"nats://127\.0\.0\.1:\d+")
_STAYS = "caxton up"
"""The block that does not end by itself: the harness runs it beside the others."""


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall((ROOT / page).read_text())]


@contextmanager
def caxton_up(folder: Path) -> Iterator[str]:
    """Run `caxton up` as the README says, on a free port, and yield its URL."""
    command = [sys.executable, "-m", "caxton_nats", "up", "--port", "0", "--store", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if found := _URL.search(line):
                    yield found[0]
                    break
            else:
                pytest.fail(f"caxton up ended without saying where it listens: {said}")
        finally:
            process.terminate()
            process.communicate(timeout=30)


def environment(url: str) -> dict[str, str]:
    nats = find_nats_cli()
    path = [str(Path(sys.executable).parent), *([str(Path(nats).parent)] if nats else [])]
    return {
        **os.environ,
        "PATH": os.pathsep.join([*path, os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "CAXTON_NATS_URL": url,
        "NATS_URL": url,
    }


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(240)
def test_every_block_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """What a page tells its reader to run works, in the order of the page."""
    runnable = [block for block in blocks(page) if block.language in ("python", "sh")]
    if not runnable:
        assert not [block for block in blocks(page) if block.language not in LANGUAGES]
        return
    if any(block.language == "sh" and _NATS.search(block.text) for block in runnable):
        require("nats-cli")
    with caxton_up(tmp_path / "store") as url:
        for number, block in enumerate(runnable):
            if block.text.strip() == _STAYS:
                continue
            script = tmp_path / f"block{number}.{block.language}"
            script.write_text(block.text)
            interpreter = [sys.executable] if block.language == "python" else ["bash", "-eu"]
            ran = subprocess.run(
                [*interpreter, str(script)],
                env=environment(url),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ran.returncode == 0, f"{page}:\n{block.text}\n{ran.stdout}\n{ran.stderr}"


def test_every_block_has_a_language() -> None:
    """A block is run or says that it is only text: none is passed over by accident."""
    unknown = [
        (page, block.language)
        for page in PAGES
        for block in blocks(page)
        if block.language not in LANGUAGES
    ]
    assert not unknown


def test_the_lifecycle_names_files_and_functions_that_exist() -> None:
    """docs/message-lifecycle.md follows the code by names; a name that is gone fails here."""
    page = (ROOT / "docs/message-lifecycle.md").read_text()
    files = re.findall(r"`((?:core|engine|jetstream|sdk)/\w+\.py)`", page)
    assert len(set(files)) > 15
    assert not [name for name in files if not (ROOT / "caxton_nats" / name).is_file()]
    names = set(re.findall(r"`(?:[A-Z]\w+\.)?([A-Za-z]\w+)`", page))
    modules = [
        importlib.import_module(f"caxton_nats.{name.removesuffix('.py').replace('/', '.')}")
        for name in {*files, "ports.py"}
    ]
    known: set[str] = set()
    for module in modules:
        for thing in vars(module).values():
            known |= set(vars(thing)) if isinstance(thing, type) else set()
        known |= set(vars(module))
    words = {"core", "ports", "max_deliver", "request", "agree", "inform", "base64", "redrive"}
    streams = {name for name in names if name.startswith("CAXTON_")}
    assert sorted(names - known - words - streams) == []


def test_the_relative_links_of_the_documentation_lead_somewhere() -> None:
    """A link to a file of this repository names one that is there."""
    broken = [
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
        if not ((ROOT / page).parent / link).exists()
    ]
    assert not broken


def test_every_decision_has_a_number_of_its_own() -> None:
    """No two have the same: others refer to them by it."""
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [page.name.partition("-")[0] for page in pages]
    assert len(set(numbers)) == len(pages)
