"""Names: what is one, and how it becomes a subject token and back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from caxton_nats.core.errors import CaxtonError, InvalidEnvelope
from caxton_nats.core.identifiers import (
    agent_from_token,
    agent_id,
    agent_token,
    check_conversation_id,
    check_free,
    check_message_id,
    check_text,
    local_part,
    platform_part,
    token,
    untoken,
)
from tests.core.sample import attempt

SUBJECT_TOKEN = re.compile(r"[A-Za-z0-9_=-]*")

names = st.text(st.characters(codec="utf-8"), max_size=40)
agent_names = st.text(min_size=1, max_size=40)


def refused(check: Callable[[], object]) -> InvalidEnvelope:
    with pytest.raises(InvalidEnvelope) as caught:
        check()
    return caught.value


def test_name_without_platform() -> None:
    """A bare name is an agent of this deployment."""
    assert agent_id("bob", "here") == "bob@here"


def test_name_with_platform() -> None:
    """A full name stays as it is."""
    assert agent_id("bob@there", "here") == "bob@there"


def test_parts() -> None:
    """A full name has two parts."""
    bob = agent_id("bob", "here")
    assert (local_part(bob), platform_part(bob)) == ("bob", "here")


@pytest.mark.parametrize(
    "name",
    ["a.b", "*", ">", "a.>", "$SYS", "_INBOX", "-", "..", "a/b", "a\\b", "é", "世界", "a:b", "a=b"],
)
def test_names_that_are_allowed(name: str) -> None:
    """What means something to NATS or to a shell may stand in a name: it is escaped, not trusted."""
    assert agent_id(name, "here") == f"{name}@here"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("", 0, id="empty"),
        pytest.param("@here", 0, id="no-local-part"),
        pytest.param("bob@", 0, id="no-platform-part"),
        pytest.param("a" * 256, 256, id="local-part-too-long"),
        pytest.param("bob@" + "p" * 256, 256, id="platform-part-too-long"),
        pytest.param("x" * 5000, 5000, id="much-too-long"),
        pytest.param("a@b@c", ascii("b@c"), id="two-ats"),
        pytest.param("a b", ascii("a b"), id="space"),
        pytest.param("a\u3000b", ascii("a\u3000b"), id="ideographic-space"),
        pytest.param("a\u00a0b", ascii("a\u00a0b"), id="no-break-space"),
        pytest.param("a\r\nPUB victim.x 3\r\nabc", None, id="line-break"),
        pytest.param("a\tb", None, id="tab"),
        pytest.param("a\x00b", ascii("\x00"), id="nul"),
        pytest.param("a\x1b[31m", ascii("\x1b"), id="escape-sequence"),
        pytest.param("a\u200bb", ascii("\u200b"), id="zero-width"),
        pytest.param("a\u202eb", ascii("\u202e"), id="right-to-left"),
        pytest.param("\ufeffa", ascii("\ufeff"), id="byte-order-mark"),
        pytest.param("\ud800", ascii("\ud800"), id="lone-surrogate"),
        pytest.param("\ue000", ascii("\ue000"), id="private-use"),
        pytest.param("\u0378", ascii("\u0378"), id="unassigned"),
        pytest.param("a\u2028b", None, id="line-separator"),
        pytest.param("e\u0301", ascii("e\u0301"), id="not-composed"),
    ],
)
def test_names_that_are_refused(name: str, value: int | str | None) -> None:
    """What could be confused with another name, or could hide in a log, is no name."""
    error = refused(lambda: agent_id(name, "here", field="receiver"))
    assert error.field == "receiver"
    if value is not None:
        assert error.value == value
    assert str(error.value).isascii()


@pytest.mark.parametrize("name", ["a" * 255, "bob@" + "p" * 255])
def test_longest_name(name: str) -> None:
    """255 characters per part are allowed; 256 name the limit."""
    assert agent_id(name, "here").startswith(name)
    assert refused(lambda: agent_id(name + "x", "here")).limit == 255


def test_case_matters() -> None:
    """Upper and lower case are different agents, with different tokens."""
    assert agent_token(agent_id("Bob", "p")) != agent_token(agent_id("bob", "p"))


def test_lookalikes_are_different() -> None:
    """A Cyrillic a is another agent than a Latin one; its token shows it."""
    assert agent_token(agent_id("\u0430gent", "p")) == "=D0=B0gent"


@given(agent_names)
def test_agent_names_are_checked_or_usable(name: str) -> None:
    """Whatever is accepted as a name has a token and comes back from it."""
    agent = attempt(lambda: agent_id(name, "here"))
    if isinstance(agent, CaxtonError):
        assert str(agent).isascii()
        return
    assert agent_id(agent, "elsewhere") == agent
    assert SUBJECT_TOKEN.fullmatch(agent_token(agent))
    if platform_part(agent) == "here":
        assert agent_from_token(agent_token(agent), "here") == agent


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("", ""),
        ("bob", "bob"),
        ("Bob_2-x", "Bob_2-x"),
        ("a.b", "a=2Eb"),
        ("=", "=3D"),
        ("a=2Eb", "a=3D2Eb"),
        ("*", "=2A"),
        (">", "=3E"),
        (" ", "=20"),
        ("\r\n", "=0D=0A"),
        ("ä", "=C3=A4"),
        ("\U0001f4ec", "=F0=9F=93=AC"),
    ],
)
def test_tokens(name: str, escaped: str) -> None:
    """Letters, digits, - and _ stand for themselves, every other byte is =XX."""
    assert token(name) == escaped
    assert untoken(escaped) == name


@given(names)
@example("a=2Eb")
def test_token_is_reversible(name: str) -> None:
    """Any name comes back from its token, and the token is one safe subject token."""
    escaped = token(name)
    assert SUBJECT_TOKEN.fullmatch(escaped)
    assert untoken(escaped) == name


@given(names, names)
@example("a.b", "a=2Eb")
@example("ä", "=C3=A4")
def test_token_is_injective(one: str, other: str) -> None:
    """Two names never share a token."""
    assume(one != other)
    assert token(one) != token(other)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("=", id="cut-short"),
        pytest.param("a=2", id="one-digit"),
        pytest.param("=2e", id="lower-hex"),
        pytest.param("=GG", id="no-hex"),
        pytest.param("=+1", id="a-number-to-int"),
        pytest.param("= 1", id="another-number-to-int"),
        pytest.param("=41", id="escaped-for-nothing"),
        pytest.param("=C3", id="half-a-character"),
        pytest.param("=FF", id="no-utf-8"),
        pytest.param("=ED=A0=80", id="surrogate"),
        pytest.param("=C0=AE", id="overlong-dot"),
        pytest.param("a.b", id="raw-dot"),
        pytest.param("ä", id="raw-letter"),
        pytest.param("=2A\ud800", id="raw-surrogate"),
        pytest.param("\ud800", id="raw-surrogate-alone"),
        pytest.param("=D=0A", id="short-escape-in-the-middle"),
    ],
)
def test_no_token(text: str) -> None:
    """A text that `token` writes for no name is refused, so that a subject has one reading."""
    error = refused(lambda: untoken(text))
    assert (error.field, error.value) == ("subject", ascii(text))


@given(st.text(st.sampled_from("=2Ee0aA.ä"), max_size=12) | st.text(max_size=12))
def test_untoken_accepts_tokens_only(text: str) -> None:
    """What `untoken` accepts is exactly what `token` writes."""
    name = attempt(lambda: untoken(text))
    assert isinstance(name, CaxtonError) or token(name) == text


@pytest.mark.parametrize(
    "text", ["", "=20", "=00", "=40", "alice=40there", "alice=40here", "=E2=80=8B", "x" * 256]
)
def test_agent_from_token_checks_the_name(text: str) -> None:
    """A token of something that is no local name names no agent: none of other platforms, too."""
    assert refused(lambda: agent_from_token(text, "here")).field == "subject"


def test_agent_from_token() -> None:
    """A token names an agent of the platform."""
    assert agent_from_token("a=2Eb", "here") == "a.b@here"


@pytest.mark.parametrize("text", ["m", "x" * 128, "urn:uuid:1", "!~", "a/b"])
def test_message_ids(text: str) -> None:
    """1 to 128 printable ASCII characters are a message id."""
    assert check_message_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 129])
def test_message_id_length(text: str) -> None:
    """A message id that is too long or empty names the limit and its length."""
    error = refused(lambda: check_message_id(text))
    assert (error.field, error.limit, error.value) == ("message_id", 128 if text else 1, len(text))


@pytest.mark.parametrize("text", ["a b", " ", "a\r\nb", "a\x00", "a\x7f", "ä", "\ud800", "a\u200b"])
def test_message_id_characters(text: str) -> None:
    """A message id travels in a header: nothing may stand in it that could break or hide."""
    error = refused(lambda: check_message_id(text))
    assert (error.field, error.value) == ("message_id", ascii(text))


@pytest.mark.parametrize("text", ["c", "an order", "größe 世界", "a.b.*.>", "x" * 255])
def test_conversation_ids(text: str) -> None:
    """A conversation id is any visible text, spaces included."""
    assert check_conversation_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 256])
def test_conversation_id_length(text: str) -> None:
    """A conversation id has 1 to 255 characters."""
    error = refused(lambda: check_conversation_id(text))
    assert (error.field, error.limit, error.value) == (
        "conversation_id",
        255 if text else 1,
        len(text),
    )


@pytest.mark.parametrize(
    "text", ["a\nb", "a\x00", "\x7f", "a\u200b", "\u202e", "\ud800", "e\u0301"]
)
def test_conversation_id_characters(text: str) -> None:
    """A conversation id has no invisible characters and one spelling."""
    assert refused(lambda: check_conversation_id(text)).field == "conversation_id"


@given(st.text(min_size=1, max_size=20))
def test_check_text(text: str) -> None:
    """Accepted text is composed, visible and encodable; the rest is refused by field."""
    error = attempt(lambda: check_text(text, "language", 20))
    if error is not None:
        assert error.field == "language"
        assert str(error).isascii()
        return
    assert unicodedata.is_normalized("NFC", text)
    assert text.encode("utf-8").decode("utf-8") == text
    assert not any(unicodedata.category(character).startswith("C") for character in text)


@pytest.mark.parametrize("length", [1, 7])
def test_check_text_edges(length: int) -> None:
    """Both edges are allowed, and one beyond each is not."""
    check_text("x" * length, "language", 7)
    beyond = 0 if length == 1 else 8
    error = refused(lambda: check_text("x" * beyond, "language", 7))
    assert (error.field, error.limit, error.value) == ("language", length, beyond)


@pytest.mark.parametrize("name", ["ams", "AMS", "Ams"])
def test_nobody_is_the_ams(name: str) -> None:
    """The platform's own agent cannot be anybody else, in whatever case it is written."""
    error = refused(lambda: check_free(agent_id(name, "home"), field="sender"))
    assert error.field == "sender"
    assert error.value == f"{name}@home"


def test_names_that_only_look_like_the_ams_are_free() -> None:
    """Longer names that begin or end like the AMS's are ordinary names."""
    for name in ("amstel", "teams", "ams-2"):
        check_free(agent_id(name, "home"), field="sender")
