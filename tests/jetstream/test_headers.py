"""Headers: what is kept of a client's, and what never is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from nats.js.api import Header

from caxton_nats.jetstream import headers
from caxton_nats.jetstream.headers import block, kept_headers, parse_block, status_of


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_message_without_headers_has_none(nothing: Mapping[str, str] | None) -> None:
    """No headers and empty headers are the same."""
    assert kept_headers(nothing) == {}


def test_a_clients_own_headers_are_kept() -> None:
    """Trace context, content type and whatever else a client sends stay, names and all."""
    own = {"traceparent": "00-ab-cd-01", "Content-Type": "text/plain", "X-Nats-Like": "1", "n": ""}
    assert kept_headers(own) == own


@pytest.mark.parametrize(
    "name",
    [
        headers.MSG_ID,
        headers.EXPECTED_LAST_SUBJECT_SEQUENCE,
        headers.EXPECTED_LAST_SUBJECT,
        headers.ROLLUP,
        headers.SEQUENCE,
        headers.SUBJECT,
        headers.TIME_STAMP,
        "Nats-TTL",
        "Nats-Schedule",
        "nats-rollup",
        "NATS-ROLLUP",
    ],
)
def test_an_order_to_the_server_is_dropped(name: str) -> None:
    """However it is written: copied, it would be carried out on another agent's mailbox."""
    assert kept_headers({name: "sub", "kept": "yes"}) == {"kept": "yes"}


@pytest.mark.parametrize("name", [headers.STATUS, headers.DESCRIPTION])
def test_a_status_is_dropped(name: str) -> None:
    """The words of the server's own status messages are not a client's to pass on."""
    assert kept_headers({name: "503", "kept": "yes"}) == {"kept": "yes"}


def test_the_original_is_left_alone() -> None:
    """The result is a dictionary of its own."""
    own = {"a": "1", "Nats-Msg-Id": "m-1"}
    kept_headers(own)["b"] = "2"
    assert own == {"a": "1", "Nats-Msg-Id": "m-1"}


@pytest.mark.parametrize("name", ["", "a b", "a:b", " ", "é", "a\r\nb", "\x1b", "\0"])
def test_a_name_that_no_header_may_have_is_dropped(name: str) -> None:
    """Nobody could send it again."""
    assert kept_headers({name: "v", "kept": "yes"}) == {"kept": "yes"}


def test_no_more_than_a_dead_letter_has_room_for() -> None:
    """Of many the first are kept, and ours before a stranger's."""
    many = {f"x-{number}": "v" * 100 for number in range(10_000)}
    kept = kept_headers({**many, "Caxton-Redrives": "1"})
    assert "Caxton-Redrives" in kept
    assert 50 < len(kept) < 100
    assert kept_headers({"a": "x" * 1_000_000, "b": "1"}) == {}


def test_a_block_is_read_as_it_was_written() -> None:
    """Names and values come back; what would end a line early is a space, or refused."""
    headers = {"One": "1", "X-two": "zwei: zwölf", "Empty": ""}
    assert parse_block(block(headers)) == headers
    assert (block({}), parse_block(b"")) == (b"", {})
    assert parse_block(block({Header.ROLLUP: "sub"})) == {"Nats-Rollup": "sub"}
    assert parse_block(block({"a": "x\r\ny: z"})) == {"a": "x  y: z"}
    for bad in ({"a b": "x"}, {"a:": "x"}, {"": "x"}, {"ä": "x"}, {"a\n": ""}):
        with pytest.raises(ValueError, match="header"):
            block(bad)


@pytest.mark.parametrize(
    ("raw", "status", "headers"),
    [
        (b"NATS/1.0 503\r\n\r\n", "503", {"Status": "503"}),
        (
            b"NATS/1.0 409 Consumer Deleted\r\nA: b\r\n\r\n",
            "409 Consumer Deleted",
            {"Status": "409", "Description": "Consumer Deleted", "A": "b"},
        ),
        (b"NATS/1.0\r\nA:b\r\n\xff: c\r\nno\r\na b: c\r\n\r\n", "", {"A": "b"}),
        (b"NATS/1.0", "", {}),
        (b"\xff\xff", "", {}),
    ],
)
def test_blocks_of_strangers(raw: bytes, status: str, headers: dict[str, str]) -> None:
    """Whatever the block is, it is read as far as it can be."""
    assert (status_of(raw), parse_block(raw)) == (status, headers)
