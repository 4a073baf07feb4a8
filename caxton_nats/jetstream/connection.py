"""One connection to NATS: opened with checks, kept for ever, drained at the end.

nats-py keeps TCP, TLS, authentication and reconnection. What is added here: the server must be new
enough and have JetStream on, reconnection never gives up, who wants to know of a reconnection is
told, and the JetStream API is spoken in plain JSON (nats-py drops configuration keys that it does
not know, silently).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from nats.errors import Error as NatsError

from caxton_nats.core.connection_state import ConnectionState
from caxton_nats.core.errors import (
    ConfigurationError,
    PermissionDenied,
    PublishUnconfirmed,
    TransportError,
)
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.jetstream.addresses import cannot_connect, without_password
from caxton_nats.jetstream.client import AttentiveClient
from caxton_nats.jetstream.errors import NO_QUORUM, api_error, translate
from caxton_nats.jetstream.reach import Reach
from caxton_nats.jetstream.reconnection import WAIT, Reconnection
from caxton_nats.tasks import end, heeding_cancellation

MINIMUM_SERVER = (2, 14, 3)
ASK_AGAIN = 1.5
"""Seconds that the JetStream API has for an answer before it is asked again, if it may be."""
_REPEATABLE = (
    *("INFO", "STREAM.INFO.", "STREAM.NAMES", "STREAM.MSG.GET.", "STREAM.PURGE."),
    *("CONSUMER.INFO.", "CONSUMER.LIST.", "CONSUMER.CREATE."),
)
"""What does nothing more when it is asked twice."""
PING = 5.0
"""Seconds between two pings; a server that has left two of them unanswered is given up."""
Headers = dict[str, str] | None
log = logging.getLogger("caxton_nats.jetstream")


class Connection:
    """A live connection; make one with `connect`."""

    def __init__(self, client: AttentiveClient, *, timeout: float) -> None:
        self.client = client
        self.timeout = timeout
        self._listeners: list[Callable[[], None]] = []
        self._closing = False
        self._moving: asyncio.Task[None] | None = None
        self.reach = Reach(self._move)
        """Is told what the server confirmed and what it did not."""
        self.reconnection = Reconnection()

    @property
    def max_payload(self) -> int:
        """Bytes of one message, headers included, that the server takes."""
        return int(self.client.max_payload)

    @property
    def server_version(self) -> str:
        """The server's version, ``2.15.1`` for example."""
        version = self.client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    @property
    def is_connected(self) -> bool:
        """Whether there is a live connection now."""
        return bool(self.client.is_connected)

    @property
    def losses(self) -> int:
        """How often the connection was lost."""
        return self.reconnection.losses

    def state(self) -> ConnectionState:
        """Return whether there is a connection, and how it is tried to get it back if not."""
        return self.reconnection.state(self._server)

    @property
    def _server(self) -> str:
        url = self.client.connected_url or self.client.last_url
        return without_password(url.geturl()) if url is not None else ""

    def on_reconnect(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each reconnection; the returned function ends that."""
        self._listeners.append(listener)

        def forget() -> None:
            # Who ends late finds that the closed connection has forgotten everybody.
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    def reconnected(self) -> None:
        """Tell the listeners; nats-py has subscribed again by now."""
        state = self.state()
        log.info(
            "connected again to NATS at %s, after %.1f s and %d attempts",
            self._server,
            state.down_for.total_seconds(),
            state.attempts,
        )
        self.reconnection.found()
        for listener in list(self._listeners):
            listener()

    async def disconnected(self) -> None:
        """Count it; log it, unless it was meant."""
        lost = self.client.last_url
        self.reconnection.lost(lost.netloc if lost is not None else "")
        if not self._closing:
            log.warning("connection to NATS lost; trying again until it is back")

    async def api(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API ``$JS.API.<subject>`` and return its answer.

        Raises:
            TransportError: no answer, or the server could not do it now.
            ConfigurationError: the server refuses the request for good.
        """
        what = f"JetStream {subject}"
        payload = msgspec.json.encode(body) if body is not None else b""
        began = self.reach.now()
        # An answer is no sign of reach: a node that is cut off still says what it has.
        answer = await self._ask_api(subject, payload, what)
        try:
            data = msgspec.json.decode(answer, type=dict[str, Any])
        except UNREADABLE as error:
            raise TransportError(f"{what}: the answer is not readable: {error}") from None
        if "error" in data:
            told = data["error"]
            if told.get("err_code") == NO_QUORUM:
                self.reach.unconfirmed(began)
            raise api_error(told.get("err_code", 0), told.get("description", ""), what)
        return data

    async def request(
        self, subject: str, payload: bytes, *, what: str, longer: float = 0.0, more: Headers = None
    ) -> bytes:
        """Send a request and return the answer's payload, with our own errors.

        Args:
            subject: whom to ask.
            payload: what to ask.
            what: for the error.
            longer: seconds that the answer may take beyond what a request takes.
            more: headers.
        """
        answer = await self._ask(subject, payload, what, self.timeout + longer, more)
        self.reach.confirmed()
        return answer

    async def _ask_api(self, subject: str, payload: bytes, what: str) -> bytes:
        """Ask, and ask again what may be asked twice: a leader that goes leaves it unanswered."""
        ends = self.reach.now() + self.timeout
        while subject.startswith(_REPEATABLE) and ends - self.reach.now() > 2 * ASK_AGAIN:
            with suppress(PublishUnconfirmed):
                return await self._ask(f"$JS.API.{subject}", payload, what, ASK_AGAIN)
        return await self._ask(f"$JS.API.{subject}", payload, what, ends - self.reach.now())

    async def _ask(
        self, subject: str, payload: bytes, what: str, within: float, more: Headers = None
    ) -> bytes:
        began = self.reach.now()
        try:
            with heeding_cancellation():
                answer = await self.client.request(subject, payload, timeout=within, headers=more)
        except (NatsError, TimeoutError) as error:
            self.reach.unconfirmed(began)
            raise translate(error, what) from None
        return bytes(answer.data)

    def _move(self) -> None:
        """Connect to another server, if one is known: through this one nothing gets done."""
        if self.is_connected and len(self.client.servers) > 1:
            through = self.client.connected_url
            where = without_password(through.geturl()) if through else "this server"
            log.warning("nothing is confirmed through %s: trying another server", where)
            self._moving = asyncio.create_task(self.client.force_reconnect())

    async def listening(self, *subjects: str) -> None:
        """Return once the server knows of our subscriptions.

        Raises:
            PermissionDenied: this user may not subscribe to one of these subjects.
            TransportError: no answer.
        """
        try:
            with heeding_cancellation():
                await self.client.flush(timeout=self.timeout)  # type: ignore[arg-type]
        except (NatsError, TimeoutError) as error:
            raise translate(error, "subscribing") from None
        for subject in subjects:
            if subject in self.client.refused:
                raise translate(self.client.refused[subject], "subscribing")

    async def close(self) -> None:
        """Flush what was published, then close."""
        self._listeners.clear()
        self._closing = True
        if self.client.is_connected:
            try:
                await self.client.flush(timeout=2)
            except (NatsError, TimeoutError) as error:
                log.warning("closing without a flush: %s", error)
                self.client.drop()
        await self.abandon()

    async def abandon(self) -> None:
        """Close without a word: there may be nobody at the other end, or never was."""
        self._closing = True
        # nats-py closes what was never opened with an AssertionError, and writes what is left to a
        # server that has died.
        with suppress(OSError, AssertionError):
            try:
                await self.client.close()
            except asyncio.CancelledError:
                # nats-py cancels its reconnecting, and with it, now and then, the end of the
                # transport that it waits for itself. Only what is meant for us goes on.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise


async def connect(url: str, *, name: str, request_timeout: float = 5.0) -> Connection:
    """Connect and check the server.

    Args:
        url: ``nats://host:port``, or several with commas.
        name: shown by the server's monitoring.
        request_timeout: seconds that one request may take.

    Raises:
        NotConnected: nobody listens there.
        ConfigurationError: the server is too old, or JetStream is off.
    """
    connection = Connection(AttentiveClient(), timeout=request_timeout)
    await _open(connection, url, name)
    try:
        await _check_server(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _open(connection: Connection, url: str, name: str) -> None:
    """Connect once; nats-py, told to reconnect for ever, would also try for ever the first time."""
    servers = url.split(",")
    failures: asyncio.Queue[Exception] = asyncio.Queue()
    opened = False

    async def on_error(error: Exception) -> None:
        if opened:
            # While it is being opened again each try fails anew; that it is lost has been said.
            level = logging.WARNING if connection.is_connected else logging.DEBUG
            log.log(level, "NATS: %s", str(error) or type(error).__name__)
            if not connection.is_connected:
                connection.reconnection.reason = str(error) or type(error).__name__
        else:
            failures.put_nowait(error)

    async def on_reconnect() -> None:
        connection.reconnected()

    connecting = asyncio.create_task(
        connection.client.connect(
            servers=servers,
            name=name,
            connect_timeout=int(max(1, connection.timeout)),
            max_reconnect_attempts=-1,
            reconnect_time_wait=WAIT,  # type: ignore[arg-type]  # any number of seconds works
            reconnect_to_server_handler=connection.reconnection.choose,
            ping_interval=PING,  # type: ignore[arg-type]
            max_outstanding_pings=2,
            flusher_queue_size=0,
            error_cb=on_error,
            reconnected_cb=on_reconnect,
            disconnected_cb=connection.disconnected,
        )
    )
    failed = asyncio.create_task(_all_failed(failures, len(servers)))
    try:
        reason = await _outcome(connecting, failed, limit=connection.timeout + 1)
    finally:
        # A task that has ended is left as it is.
        await end([connecting, failed])
    if reason is None:
        opened = True
        return
    await connection.abandon()
    raise cannot_connect(url, reason)


async def _outcome(
    connecting: asyncio.Task[None], failed: asyncio.Task[Exception], *, limit: float
) -> BaseException | None:
    """Return why there is no connection, or None once there is one."""
    done, _ = await asyncio.wait(
        {connecting, failed}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
    )
    if connecting in done:
        return connecting.exception()
    if failed in done:
        return failed.result()
    return TimeoutError("no answer in time")


async def _all_failed(failures: asyncio.Queue[Exception], servers: int) -> Exception:
    for _ in range(servers - 1):
        await failures.get()
    return await failures.get()


async def _check_server(connection: Connection) -> None:
    version = connection.server_version
    if tuple(map(int, version.split("."))) < MINIMUM_SERVER:
        wanted = ".".join(map(str, MINIMUM_SERVER))
        raise ConfigurationError(
            f"nats-server {version} is too old: {wanted} or newer is needed",
            field="nats_url",
            limit=wanted,
            value=version,
            hint="older servers lack features and the security fixes of 2026; upgrade the server",
        )
    try:
        await connection.api("INFO")
    except PermissionDenied:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"JetStream is off on this server, or not allowed for this account ({error})",
            field="nats_url",
            hint="start nats-server with -js, or put `jetstream {}` into its configuration",
        ) from error
