"""The plug-in, as the tests of a user's own project have it."""

from __future__ import annotations

import os

import pytest

from tests.plugins.servers import IMAGE

MODULE = """
import asyncio
import pytest
from caxton_nats import Agent, started

@pytest.mark.{mark}
async def test_bob_shouts(caxton, journal):
    alice, bob = Agent("alice"), Agent("bob")

    @bob.on("request")
    async def shout(ctx):
        {pause}
        await ctx.inform(ctx.content.upper())

    async with caxton.connect() as platform, started(platform, alice, bob):
        answer = await alice.request("bob", "hello", timeout=5000)
    assert answer.content == "HELLO"
    journal.expect("alice -> bob: request", "bob -> alice: inform")
"""


def module(mark: str, pause: str = "pass") -> str:
    return MODULE.format(mark=mark, pause=pause)


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


def test_in_virtual_time_without_another_plugin(pytester: pytest.Pytester) -> None:
    """Minutes in a handler takes no time, and nothing else need be installed."""
    source = module("virtual_time", "await asyncio.sleep(1000)")
    run(pytester, source, "-p", "no:asyncio").assert_outcomes(passed=1)


def test_in_virtual_time_beside_another_plugin(pytester: pytest.Pytester) -> None:
    """pytest-asyncio in its automatic mode takes the test for its own, and it is not."""
    source = module("virtual_time", "await asyncio.sleep(1000)")
    run(pytester, source, "--asyncio-mode=auto").assert_outcomes(passed=1)


def test_in_memory_and_on_a_server(pytester: pytest.Pytester) -> None:
    """The same test over all that the option names."""
    result = run(pytester, module("asyncio"), "--caxton=memory,embedded", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_bob_shouts?memory? PASSED*"])
    result.stdout.fnmatch_lines(["*test_bob_shouts?embedded? PASSED*"])


@pytest.mark.container
def test_in_a_container(
    pytester: pytest.Pytester, container_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container of its own, gone with the test; the image is there if another one runs."""
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    image = os.environ.get(IMAGE)
    chosen = [f"--caxton-image={image}"] if image else []
    result = run(pytester, module("asyncio"), "--caxton=container", *chosen)
    result.assert_outcomes(passed=1)


def test_an_unknown_kind(pytester: pytest.Pytester) -> None:
    """It is refused before any test runs, with what there is."""
    result = run(pytester, module("asyncio"), "--caxton=cloud")
    result.stderr.fnmatch_lines(["*--caxton=cloud: it is one of memory, embedded, container*"])


def test_what_is_no_coroutine(pytester: pytest.Pytester) -> None:
    """It cannot run in virtual time."""
    result = run(pytester, "import pytest\n@pytest.mark.virtual_time\ndef test_x():\n    pass\n")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*test_x is marked virtual_time and is no coroutine*"])
