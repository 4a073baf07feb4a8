"""Where a message goes."""

from __future__ import annotations

from caxton_nats.core.registry import Address, Registration, Registry
from caxton_nats.core.routing import Route, agent_not_found, route
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample


def registered(agent: str) -> Registration:
    return Registration(
        agent=sample(sender=agent).sender, address=Address("S", "s", "c"), registered_at=NOON
    )


def test_all_found() -> None:
    """Registered receivers are found, in the message's order."""
    registry = Registry([registered(BOB), registered(CAROL)])
    assert route(sample(receiver=(CAROL, BOB)), registry) == Route(
        (registered(CAROL), registered(BOB)), ()
    )


def test_some_unknown() -> None:
    """Unknown receivers are reported beside the found ones, in order."""
    registry = Registry([registered(BOB)])
    found = route(sample(receiver=(CAROL, BOB, ALICE)), registry)
    assert found == Route((registered(BOB),), (CAROL, ALICE))


def test_all_unknown() -> None:
    """A message to nobody known has no route; that is an answer, not an error."""
    assert route(sample(), Registry()) == Route((), (BOB,))


def test_other_platform_is_unknown() -> None:
    """An agent of the same local name on another platform is another agent."""
    registry = Registry([registered("bob@there")])
    assert route(sample(), registry).unknown == (BOB,)


def test_error_names_the_agent() -> None:
    """The error says which receiver, and where to look for the registered ones."""
    error = agent_not_found(BOB)
    assert (error.code, error.field, error.value) == ("AgentNotFound", "receiver", BOB)
    assert "bob@here" in error.reason
    assert "caxton agents" in error.hint
