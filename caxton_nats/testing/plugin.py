"""A pytest plug-in: agents under test in memory, on an embedded server, or on one in a container.

    async def test_bob_shouts(caxton, journal):
        async with caxton.connect() as platform, started(platform, alice, bob):
            await alice.request("bob", "hello")
        journal.expect("alice -> bob: request", "bob -> alice: inform")

``pytest --caxton=memory,embedded,container`` runs each test that asks for ``caxton`` over all
three; by default it is memory alone. A coroutine that is marked ``virtual_time`` runs in a loop
whose time leaps (`virtual_time`), in memory only, and needs no other plug-in.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest

from caxton_nats.app import Settings, connect
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.testing.containers import a_container
from caxton_nats.testing.journal import Journal
from caxton_nats.testing.platforms import memory_platform
from caxton_nats.testing.virtual_time import run_in_virtual_time

KINDS = ("memory", "embedded", "container")


class Ground(msgspec.Struct, frozen=True):
    """What agents are tested on."""

    kind: str
    """``memory``, ``embedded`` or ``container``."""
    image: str
    """Of the container."""
    journal: Journal

    @asynccontextmanager
    async def connect(self, chosen: Settings | None = None) -> AsyncIterator[Platform]:
        """Yield a platform that nobody else is on, and that goes with the test.

        Args:
            chosen: settings; the server's URL is put in.
        """
        chosen = chosen or Settings()
        async with AsyncExitStack() as stack:
            if self.kind == "memory":
                yield await stack.enter_async_context(
                    memory_platform(chosen, observer=self.journal)
                )
                return
            if self.kind == "embedded":
                url = (await stack.enter_async_context(EmbeddedServer())).url
            else:
                url = await stack.enter_async_context(a_container(self.image))
            there = chosen.model_copy(update={"nats_url": url})
            yield await stack.enter_async_context(connect(there, observer=self.journal))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("caxton")
    group.addoption(
        "--caxton",
        default="memory",
        help=f"what agents are tested on, separated by commas: {', '.join(KINDS)}",
    )
    group.addoption(
        "--caxton-image", default="nats:2.15", help="of the container (default: %(default)s)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and refuse what agents cannot be tested on."""
    config.addinivalue_line(
        "markers", "virtual_time: run this coroutine in a loop whose time leaps"
    )
    unknown = set(_kinds(config)) - set(KINDS)
    if unknown:
        raise pytest.UsageError(f"--caxton={min(unknown)}: it is one of {', '.join(KINDS)}")


def _kinds(config: pytest.Config) -> list[str]:
    return [kind.strip() for kind in str(config.getoption("--caxton")).split(",")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on everything that was asked for; in virtual time, in memory."""
    if "caxton" in metafunc.fixturenames:
        virtual = metafunc.definition.get_closest_marker("virtual_time") is not None
        kinds = ["memory"] if virtual else _kinds(metafunc.config)
        metafunc.parametrize("caxton", kinds, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run what is marked ``virtual_time``, whatever other plug-ins make of coroutines."""
    test = inspect.unwrap(pyfuncitem.obj)
    if pyfuncitem.get_closest_marker("virtual_time") is None:
        return None
    if not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(f"{pyfuncitem.name} is marked virtual_time and is no coroutine")
    names = inspect.signature(test).parameters
    given = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}
    instance = getattr(pyfuncitem, "instance", None)
    run_in_virtual_time(test(instance, **given) if instance is not None else test(**given))
    return True


@pytest.fixture
def journal() -> Journal:
    """Return the journal of the test."""
    return Journal()


@pytest.fixture
def caxton(request: pytest.FixtureRequest, journal: Journal) -> Ground:
    """Return what the agents of this test live on; its journal is the fixture ``journal``."""
    image = str(request.config.getoption("--caxton-image"))
    return Ground(request.param, image, journal)
