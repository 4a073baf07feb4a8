"""Every exception of nats-py becomes one of ours, and every error code has its meaning."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import nats.errors as client
import nats.js.errors as js
import pytest

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    NotConnected,
    PublishUnconfirmed,
    QueueFull,
    RevisionConflict,
    ServerExhausted,
    StreamMissing,
    TransportError,
)
from caxton_nats.jetstream import errors
from caxton_nats.jetstream.errors import api_error, translate

WHAT = "publish to caxton.mailbox.3.bob"

MEANING: dict[type[Exception], type[CaxtonError]] = {
    js.NoStreamResponseError: StreamMissing,
    js.ServiceUnavailableError: StreamMissing,
    client.NoRespondersError: StreamMissing,
    client.TimeoutError: PublishUnconfirmed,
    client.FlushTimeoutError: PublishUnconfirmed,
    client.DrainTimeoutError: PublishUnconfirmed,
    js.FetchTimeoutError: PublishUnconfirmed,
    TimeoutError: PublishUnconfirmed,
    client.MaxPayloadError: ConfigurationError,
    client.ConnectionClosedError: NotConnected,
    client.ConnectionReconnectingError: NotConnected,
    client.ConnectionDrainingError: NotConnected,
    client.NoServersError: NotConnected,
    client.StaleConnectionError: NotConnected,
    client.UnexpectedEOF: NotConnected,
    client.OutboundBufferLimitError: NotConnected,
}
"""Every other one is a `TransportError`: tried again, and said with the library's own words."""


NEEDED: dict[type[Exception], tuple[object, ...]] = {
    client.SlowConsumerError: ("subject", "reply", 1, None),
    js.ConsumerSequenceMismatchError: (1, 2, 3),
}


def raised_by_nats_py() -> Iterator[type[Exception]]:
    """Yield every exception class that nats-py defines for its callers."""
    for module in (client, js):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__ == module.__name__:
                yield kind


ALL = sorted(
    {*raised_by_nats_py(), TimeoutError}, key=lambda kind: (kind.__module__, kind.__name__)
)


def make(kind: type[Exception]) -> Exception:
    """Return an exception of the kind, with what it cannot be made or printed without."""
    return kind(*NEEDED.get(kind, ()))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_becomes_one_of_ours(kind: type[Exception]) -> None:
    """A caller meets our errors only, and each says what was being done."""
    error = translate(make(kind), WHAT)
    assert type(error) is MEANING.get(kind, TransportError)
    assert error.reason.startswith(f"{WHAT}: ")
    assert len(error.reason) > len(f"{WHAT}: ")


def test_the_library_is_really_enumerated() -> None:
    """An introspection that finds nothing would make the test above pass for nothing."""
    assert len(ALL) > 40
    assert MEANING.keys() <= set(ALL)


@pytest.mark.parametrize("kind", MEANING, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_what_has_a_meaning_has_a_hint(kind: type[Exception]) -> None:
    """Where we know what it means, we know what to do next."""
    assert translate(make(kind), WHAT).hint


def test_our_own_error_stays_as_it_is() -> None:
    """What has been said already is not said again in other words."""
    error = QueueFull("full")
    assert translate(error, WHAT) is error


def test_an_unknown_exception_is_told_in_full() -> None:
    """Its class and its words are all that anybody has to find the cause."""
    error = translate(OSError("no route to host"), WHAT)
    assert type(error) is TransportError
    assert error.reason == f"{WHAT}: OSError: no route to host"


def test_a_code_says_more_than_a_class() -> None:
    """The server's own code decides, not the HTTP-like number that chose the class."""
    full = js.ServiceUnavailableError(
        code=503, err_code=10077, description="maximum messages per subject exceeded"
    )
    assert type(translate(full, WHAT)) is QueueFull
    silent = js.NotFoundError(code=404, err_code=10059)
    assert type(translate(silent, WHAT)) is StreamMissing


@pytest.mark.parametrize("code", [10071, 10164])
def test_a_wrong_last_sequence_is_a_conflict(code: int) -> None:
    """Somebody else wrote first: read again, decide again."""
    error = api_error(code, "wrong last sequence: 3", WHAT)
    assert type(error) is RevisionConflict
    assert error.reason.startswith(f"{WHAT}: ")


def test_a_full_mailbox_is_told_from_a_full_stream() -> None:
    """One code stands for all limits; only the one per subject is the receiver's queue."""
    full = api_error(10077, "maximum messages per subject exceeded", WHAT)
    assert type(full) is QueueFull
    assert full.reason.startswith(f"{WHAT}: ")
    for other in ("maximum messages exceeded", "maximum bytes exceeded"):
        error = api_error(10077, other, WHAT)
        assert type(error) is TransportError
        assert (error.reason, error.value) == (f"{WHAT}: {other}", 10077)


@pytest.mark.parametrize("code", [10023, 10026, 10028, 10047])
def test_no_room_at_the_server(code: int) -> None:
    """It is tried again, under the seed's word for it, and says what makes room."""
    error = api_error(code, "limit reached", WHAT)
    assert isinstance(error, TransportError)
    assert type(error) is ServerExhausted
    assert error.reason == f"{WHAT}: limit reached"
    assert error.hint


@pytest.mark.parametrize("code", [10014, 10037, 10043, 10059])
def test_what_is_not_there_is_missing(code: int) -> None:
    """A consumer, a message or a stream that is not found."""
    error = api_error(code, "not found", WHAT)
    assert type(error) is StreamMissing
    assert error.reason == f"{WHAT}: not found"
    assert "caxton topology check" in error.hint


def test_deleting_what_is_gone_is_missing_and_any_other_failure_is_not() -> None:
    """10057 is every failure of a deletion; the words tell whether there was nothing to delete."""
    assert type(api_error(10057, "no message found", WHAT)) is StreamMissing
    assert type(api_error(10057, "disk failure", WHAT)) is TransportError


@pytest.mark.parametrize("code", sorted(errors.PERMANENT))
def test_what_the_server_will_never_take_is_not_tried_again(code: int) -> None:
    """Publishing the same bytes again cannot help: the operator has to change something."""
    error = api_error(code, "message size exceeds maximum allowed", WHAT)
    assert type(error) is ConfigurationError
    assert not isinstance(error, TransportError)
    assert error.value == code


def test_messages_that_are_too_large_for_a_stream_are_permanent() -> None:
    """The best known of them, by its number."""
    assert 10054 in errors.PERMANENT


@pytest.mark.parametrize("code", [0, 10008, 10158, 19999])
def test_any_other_code_is_tried_again(code: int) -> None:
    """No leader, a code of a newer server, a first try of the same id under way: it may pass."""
    error = api_error(code, "later", WHAT)
    assert type(error) is TransportError
    assert (error.reason, error.value) == (f"{WHAT}: later", code)


def test_a_full_disk_is_told_with_what_to_do() -> None:
    """Whatever was asked for: the system's words are in the server's description."""
    words = "write /store/msgs/1.blk: no space left on device"
    error = api_error(errors.STORE_FAILED, words, WHAT)
    assert type(error) is ServerExhausted
    assert (error.reason, error.value) == (f"{WHAT}: {words}", errors.STORE_FAILED)
    assert error.hint.startswith("make room on the disk")
    other = api_error(errors.STORE_FAILED, "read-only file system", WHAT)
    assert type(other) is TransportError
