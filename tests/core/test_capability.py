"""What may be offered, and what may be asked for."""

from __future__ import annotations

import pytest

from caxton_nats.core.capability import (
    MAX_VERSIONS,
    Strategy,
    Wanted,
    as_receiver,
    check_capabilities,
    is_capability,
    names_of,
    near,
    strategy,
    target,
    wanted,
)
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import agent_id


def test_once_each() -> None:
    """What an agent offers keeps its order; a repeated offer counts once."""
    assert check_capabilities(["b", "a:1", "b"]) == ("b", "a:1")
    assert check_capabilities([]) == ()


@pytest.mark.parametrize("length", [1, 100])
def test_length(length: int) -> None:
    """A capability has 1 to 100 characters, its version included."""
    assert check_capabilities(["x" * length])
    beyond = 0 if length == 1 else 101
    with pytest.raises(InvalidEnvelope) as caught:
        check_capabilities(["x" * beyond])
    assert (caught.value.field, caught.value.limit, caught.value.value) == (
        "capabilities",
        length,
        beyond,
    )


@pytest.mark.parametrize("offer", [":v1", "shout:", ":", "shout:v1,v2"])
def test_offer_that_nobody_could_ask_for(offer: str) -> None:
    """An offer has a name, and one version if it has a colon."""
    with pytest.raises(InvalidEnvelope, match="capabilities") as caught:
        check_capabilities([offer])
    assert caught.value.value == ascii(offer)


def test_names_of_an_offer() -> None:
    """An offer with a version is found without it, too; what follows the first colon is version."""
    assert names_of("shout") == ("shout",)
    assert names_of("shout:v2.0") == ("shout", "shout:v2.0")
    assert names_of("shout:v2:beta") == ("shout", "shout:v2:beta")


@pytest.mark.parametrize(
    ("text", "found", "offers"),
    [
        ("shout", Wanted("shout"), ("shout",)),
        ("shout:v2.0", Wanted("shout", ("v2.0",)), ("shout:v2.0",)),
        ("a-b:v2.0,v1.5", Wanted("a-b", ("v2.0", "v1.5")), ("a-b:v2.0", "a-b:v1.5")),
        ("a:1,2,1", Wanted("a", ("1", "2")), ("a:1", "a:2")),
    ],
)
def test_what_is_asked_for(text: str, found: Wanted, offers: tuple[str, ...]) -> None:
    """A name, or a name and its versions, the preferred one first, once each."""
    assert wanted(text) == found
    assert found.offers == offers
    receiver = as_receiver(found)
    assert is_capability(receiver)
    assert target(receiver) == found


@pytest.mark.parametrize("text", ["", ":", ":v1", "shout:", "shout:v1,", "shout:,v1", "sh\tout"])
def test_what_is_no_capability(text: str) -> None:
    """A receiver with an empty name or version is refused, by its field."""
    with pytest.raises(InvalidEnvelope) as caught:
        target(f"capability:{text}")
    assert caught.value.field == "receiver"


def test_too_much_is_asked_for() -> None:
    """Neither more versions than allowed nor longer names than can be offered."""
    versions = [f"v{number}" for number in range(MAX_VERSIONS + 1)]
    assert wanted(f"shout:{','.join(versions[:-1])}").versions == tuple(versions[:-1])
    with pytest.raises(InvalidEnvelope) as caught:
        wanted(f"shout:{','.join(versions)}")
    assert (caught.value.limit, caught.value.value) == (MAX_VERSIONS, MAX_VERSIONS + 1)
    assert wanted("x" * 100).name == "x" * 100
    with pytest.raises(InvalidEnvelope):
        wanted("x" * 101)


def test_no_agent_is_named_like_one() -> None:
    """A name that asks for a capability cannot be an agent's, in any form."""
    for name in ("capability:shout", "capability:shout@here", "capability:"):
        with pytest.raises(InvalidEnvelope, match="is a capability, not a name"):
            agent_id(name, "here")
    assert agent_id("capability", "here") == "capability@here"


def test_strategies() -> None:
    """There are five; none given is `one`, and any other name is refused with the five."""
    assert [*Strategy] == ["one", "all", "round-robin", "least-loaded", "affinity"]
    assert strategy("") is Strategy.ONE
    assert strategy("round-robin") is Strategy.ROUND_ROBIN
    with pytest.raises(InvalidEnvelope, match="one, all, round-robin") as caught:
        strategy("random")
    assert (caught.value.field, caught.value.value) == ("strategy", "'random'")


def test_what_is_near() -> None:
    """Other versions come first, then similar names; names alone stand for their versions."""
    offered = ["shout", "shout:v1", "shoot", "shoot:v1", "sing", "loud-shout", "xyz"]
    assert near(wanted("shout:v2"), offered) == ["shout", "shout:v1", "shoot", "loud-shout"]
    assert near(wanted("shout"), offered) == ["shout:v1", "shoot", "loud-shout"]
    assert near(wanted("q"), offered) == []
