"""Questions and their answers: all answers come to one subject, and are told apart by its end.

An answer is handed over while it is read, without a queue or a task; see `wire`. Nobody waits for
an answer that cannot come: not when the question was refused, nor when the connection was lost that
it went out on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.errors import ConnectionDrainingError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NoAnswer

from caxton_nats.jetstream.headers import block, parse_block
from caxton_nats.jetstream.wire import Frame, Listener, Post


class Client(Protocol):
    """Who listens and posts; see `client.AttentiveClient`."""

    refused: dict[str, Any]
    """What is not heard, and why, by subject."""

    @property
    def is_draining_pubs(self) -> bool:
        """Whether it takes nothing more to be written."""

    def new_inbox(self) -> str:
        """Return a subject that nobody has."""

    async def listen(self, subject: str, hear: Callable[[list[Frame]], None]) -> Listener:
        """Subscribe."""

    async def post(self, posts: Sequence[Post]) -> None:
        """Write the messages."""


class Questions:
    """What one client has asked and waits for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = ""
        self._listener: Listener | None = None
        self._opening = asyncio.Lock()
        self._waiting: dict[bytes, tuple[str, asyncio.Future[Msg]]] = {}
        """By the end of the subject for its answer."""
        self._asked = 0

    @property
    def answers_to(self) -> str:
        """The subject of all answers; empty before the first question."""
        return f"{self._prefix}*" if self._prefix else ""

    async def ask(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, Any] | None,
        within: float,
    ) -> Msg:
        """Return the first answer.

        Args:
            subject: whom to ask.
            payload: what.
            headers: what else; may be None.
            within: seconds, those included in which the socket takes nothing.

        Raises:
            NatsError: it could not be asked, or there was no answer in time.
        """
        if self._client.is_draining_pubs:
            raise ConnectionDrainingError
        await self._open()
        if self.answers_to in self._client.refused:
            raise self._client.refused[self.answers_to]
        self._asked += 1
        token = b"%d" % self._asked
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[token] = subject, answer
        post = Post(subject, payload, self._prefix + token.decode(), block(headers or {}))
        try:
            async with asyncio.timeout(within):
                await self._client.post([post])
                return await answer
        except TimeoutError:
            raise NoAnswer from None
        finally:
            self._waiting.pop(token, None)

    async def _open(self) -> None:
        async with self._opening:
            if self._listener is None:
                self._prefix = f"{self._client.new_inbox()}."
                self._listener = await self._client.listen(self.answers_to, self._hear)

    def _hear(self, frames: list[Frame]) -> None:
        begins = len(self._prefix)
        for frame in frames:
            _, answer = self._waiting.get(frame.subject[begins:], (None, None))
            if answer is not None and not answer.done():
                answer.set_result(self._message(frame))

    def _message(self, frame: Frame) -> Msg:
        return Msg(
            _client=cast("NatsClient", self._client),
            subject=frame.subject.decode(),
            reply=frame.reply.decode("utf-8", "replace"),
            data=frame.data,
            headers=parse_block(frame.headers) or None,
        )

    def refused(self, error: NatsError, right: str, subject: str) -> None:
        """Let those wait no longer whose question, or any answer to it, the server refuses."""
        deaf = subject == self.answers_to
        for asked, answer in list(self._waiting.values()):
            if (deaf or (right == "publish" and asked == subject)) and not answer.done():
                answer.set_exception(error)

    def give_up(self, unsent: bytes) -> None:
        """Let nobody wait for an answer to what was sent on a connection that is lost.

        Args:
            unsent: what will be sent on the next one, and answered there.
        """
        for token, (_, answer) in list(self._waiting.items()):
            reply = b" %s%s " % (self._prefix.encode(), token)
            if reply not in unsent and not answer.done():
                answer.set_exception(NoAnswer())
