"""The help pages, the exit codes that they promise, and wrong command lines."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from caxton_nats.cli.exits import MEANINGS, Exit
from tests.cli.conftest import ROOT, Caxton

PAGES = [
    *("up", "router", "send", "request", "receipts", "stats", "health"),
    *("agents list", "agents show", "agents register", "agents state", "agents deregister"),
    *("conversations list", "conversations show"),
    *("conversations archive", "conversations stats"),
    *("messages list", "messages show", "messages remove"),
    *("dlq list", "dlq show", "dlq redrive", "dlq discard", "dlq stats"),
    *("breakers list", "breakers close"),
    *("routes list", "routes set", "routes remove"),
    *("topology apply", "topology diff", "topology check"),
    "config show",
]


@pytest.mark.parametrize("page", PAGES)
async def test_each_command_helps_with_an_example(caxton: Caxton, page: str) -> None:
    """--help has one example of that very command, and every command takes --nats-url."""
    helped = await caxton(*page.split(), "--help")
    assert helped.code == 0
    (example,) = re.findall(r"Example: (caxton .*)", helped.out)
    noun = page.removesuffix(" list")
    assert example.startswith((f"caxton {page}", f"caxton {noun}"))
    assert "--nats-url" in helped.out
    assert "--json" in helped.out


async def test_help_and_the_page_list_the_same_exit_codes(caxton: Caxton) -> None:
    """`caxton --help` and docs/cli.md say of each code what the code says of it."""
    helped = " ".join((await caxton("--help")).out.split())
    page = (ROOT / "docs" / "cli.md").read_text()
    assert MEANINGS.keys() == set(Exit)
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} {meaning}" in helped
        assert f"| {int(code)} | {meaning} |" in page


async def test_no_arguments_show_the_help(caxton: Caxton) -> None:
    """For people who only type the name; the exit code says that nothing was done."""
    bare = await caxton()
    assert (bare.code, "Usage: caxton" in bare.out) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said", "page"),
    [
        (("agnets",), "No such command 'agnets'", "caxton --help"),
        (("agents", "shw"), "No such command 'shw'", "caxton agents --help"),
        (("send", "alice"), "Missing argument 'PERFORMATIVE'", "caxton send --help"),
        (("stats", "--jso"), "No such option: --jso", "caxton stats --help"),
        (("agents", "--most", "3"), "No such option: --most", "caxton agents list --help"),
        (("dlq", "--limit", "0"), "'--limit'", "caxton dlq list --help"),
    ],
)
async def test_a_wrong_command_line_says_where_to_read(
    caxton: Caxton, arguments: tuple[str, ...], said: str, page: str
) -> None:
    """Exit code 2, the error in the form of all errors, and the page that helps."""
    wrong = await caxton(*arguments)
    assert (wrong.code, wrong.out) == (2, "")
    first, last = wrong.err.splitlines()
    assert first.startswith("error: ")
    assert said in first
    assert last == f"  next: see `{page}`"
    wrong = await caxton(*arguments, "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "UsageError")


async def test_the_help_loads_no_more_than_it_needs() -> None:
    """Somebody waits for it: what only a running platform needs is not imported for it."""
    heavy = ("opentelemetry.sdk", "testcontainers", "pytest")
    program = (
        f"import sys, caxton_nats.cli; print([name for name in {heavy} if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"[]\n")
