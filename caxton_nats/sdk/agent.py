"""`Agent`: a name, capabilities, and a handler for each kind of message.

    bob = Agent("bob", capabilities=["shout"])

    @bob.on("request")
    async def shout(ctx):
        await ctx.inform(ctx.content.upper())

An agent does nothing until it is started on a platform (`start`, or ``caxton_nats.run``). Its
handlers run at least once per message and in order per conversation; returning settles the
message, raising has it delivered again, by the retry policy, until it becomes a dead letter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from caxton_nats.core.envelope import NO_CONTENT, Envelope, value_content
from caxton_nats.core.errors import (
    AgentAlreadyRegistered,
    AgentNotFound,
    AgentNotResponding,
    CaxtonError,
    InvalidEnvelope,
    NotConnected,
    RegistryError,
)
from caxton_nats.core.fields import build
from caxton_nats.core.identifiers import AgentId, ConversationId, check_message_id
from caxton_nats.core.performatives import Performative
from caxton_nats.core.registry import Registration
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt
from caxton_nats.engine import usage
from caxton_nats.engine.mailbox import Mailbox
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.receipts import wait_for
from caxton_nats.ports import Receipt, Submission
from caxton_nats.sdk.context import Context
from caxton_nats.sdk.dialogue import Dialogue, Handle
from caxton_nats.sdk.tenure import Tenure
from caxton_nats.telemetry import current_trace

log = logging.getLogger("caxton_nats")
H = TypeVar("H", bound=Handle)


class Agent:
    """One agent of a platform (FIPA AID, seed LocalAgent).

    Args:
        name: ``local`` or ``local@platform``.
        capabilities: what others may look for with `find`; 1..100 characters each.
    """

    def __init__(self, name: str, *, capabilities: Sequence[str] = ()) -> None:
        self.name = name
        self.capabilities = tuple(capabilities)
        self._dialogue = Dialogue(lambda envelope, attempt: Context(self, envelope, attempt))
        self._platform: Platform | None = None
        self._mailbox: Mailbox | None = None
        self._tenure: Tenure | None = None
        self._ending: asyncio.Task[None] | None = None
        self._lost: CaxtonError | None = None
        """Why it has stopped, if that was not its own doing."""

    # Handlers

    def on(self, act: str, *, protocol: str = "", content: Any = None) -> Callable[[H], H]:
        """Have the decorated coroutine function handle messages of a performative.

        Args:
            act: a performative in any usual spelling, or ``"*"`` for all without a handler.
            protocol: only messages of this interaction protocol; they go before the general ones.
            content: a pydantic model, msgspec struct or other type. The content is handed over as
                the handler's second argument; if it does not fit, the sender gets not-understood.
        """

        def register(call: H) -> H:
            self._dialogue.add(act, call, protocol=protocol, content=content)
            return call

        return register

    # Life

    @property
    def id(self) -> AgentId:
        """The full identifier; known once the agent is started."""
        return self._on_platform().agent_id(self.name)

    async def start(self, platform: Platform) -> Registration:
        """Register, open the mailbox and begin to take mail.

        Raises:
            AgentAlreadyRegistered: another process is this agent now, or this object is.
            CaxtonError: it was stopped or deregistered while it started.
        """
        agent = platform.agent_id(self.name)
        if self._mailbox is not None:
            raise AgentAlreadyRegistered(f"{agent} is started already", field="agent", value=agent)
        tenure = Tenure(platform, agent, lost=self._stop_because)
        self._lost = None
        registration = await tenure.begin(capabilities=self.capabilities, node=usage.node())
        self._tenure, self._platform = tenure, platform
        mailbox = self._mailbox = platform.mailbox(agent, self._dialogue)
        mailbox.start()
        try:
            await mailbox.attended.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise
        if mailbox.is_draining:
            raise self._stopped_early()
        return registration

    async def stop(self) -> None:
        """Let running handlers finish, give unfinished mail back; the agent stays registered."""
        # Somebody else may be stopping it, too, and may have started it again before this is done.
        mailbox, tenure = self._mailbox, self._tenure
        if mailbox is not None:
            await mailbox.drain()
        if self._mailbox is mailbox:
            self._mailbox = None
            self._dialogue.abandon(
                NotConnected(f"the agent {self.name} was stopped before the answer came")
            )
        if tenure is not None:
            # Last of all: whoever comes now finds the name free, and nobody else at the mailbox.
            await tenure.end()
            if self._tenure is tenure:
                self._tenure = None

    async def leave(self) -> None:
        """Stop, and remove the registration, if it is this agent's still: nobody can send to it."""
        platform, agent = self._on_platform(), self.id
        await self.stop()
        if not isinstance(self._lost, AgentNotFound | RegistryError):
            await platform.registrar.deregister(agent)

    async def report_health(self, *, healthy: bool, reason: str = "") -> None:
        """Tell all routers how the agent is: while it is not healthy, nobody finds it.

        Mail that is sent to it by name comes as before.

        Args:
            healthy: whether others may be sent to it by its capabilities.
            reason: why not, up to 200 characters.
        """
        self._require_mailbox()
        if self._tenure is not None:
            await self._tenure.report(healthy=healthy, reason=reason)

    # Sending

    async def send(
        self,
        act: str,
        to: str | Sequence[str],
        content: Any = None,
        **fields: Any,
    ) -> Receipt:
        """Send a message and return its receipt once it is durable in every mailbox it reached.

        Args:
            act: the performative.
            to: one name or several.
            content: bytes, or a value with a JSON form (pydantic models and msgspec structs too).
            fields: other parameters of `Envelope` by name: ``conversation_id``, ``protocol``,
                ``reply_with``, ``in_reply_to``, ``reply_by``, ``timeout``, ``priority``,
                ``max_retries``, ``require_receipt`` (see `receipts`), ``message_id`` (to send
                again what may have been sent already), ...

        Raises:
            CaxtonError: no receiver got it: AgentNotFound, QueueFull, InvalidEnvelope,
                MessageTooLarge, or a TransportError after which sending again with the same
                ``message_id`` is safe.
        """
        (result,) = await self.send_many([self.message(act, to, content, **fields)])
        if isinstance(result, CaxtonError):
            raise result
        return result

    async def send_many(self, messages: Sequence[Envelope]) -> list[Receipt | CaxtonError]:
        """Send messages as one batch; one receipt or error each, in order.

        Raises:
            NotConnected: the agent is stopped, or was never started.
        """
        sender = self.id
        self._require_mailbox()
        return await self._on_platform().door.send(
            [Submission(sender=sender, envelope=message) for message in messages]
        )

    async def receipts(self, message_id: str) -> list[StagedReceipt]:
        """Return how far a message of this agent is with each receiver, by name.

        Kept for seven days of messages that were sent with ``require_receipt``; [] of any other.
        """
        door = self._on_platform().door
        return await door.receipts(self.id, check_message_id(message_id))

    async def receipts_when(
        self,
        stage: ReceiptStage | str,
        message_id: str,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - the word users expect
    ) -> list[StagedReceipt]:
        """Return the receipts when each receiver has reached the stage, or handled or failed.

        Args:
            stage: ``accepted``, ``offered``, ``handled`` or ``failed``.
            message_id: of a message that was sent with ``require_receipt``.
            timeout: seconds to wait.

        Raises:
            AgentNotResponding: not in time; says which receivers are behind.
        """
        platform = self._on_platform()
        return await wait_for(
            platform.door,
            platform.ports.clock,
            self.id,
            check_message_id(message_id),
            stage=ReceiptStage(stage),
            wait=timedelta(seconds=timeout),
        )

    def message(
        self, act: str, to: str | Sequence[str], content: Any = None, **fields: Any
    ) -> Envelope:
        """Return the message that `send` would send.

        Raises:
            InvalidEnvelope: an unknown field, one of the wrong type, or content without a JSON
                form.
        """
        raw, encoding = _content(content)
        receivers = (to,) if isinstance(to, str) else tuple(to)
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        taken = given.keys() & {"performative", "receiver", "content"}
        if taken:
            raise InvalidEnvelope("is an argument of its own", field=min(taken))
        known = {**current_trace(), **given}
        if encoding:
            known.setdefault("encoding", encoding)
        known.setdefault("message_id", self._on_platform().ports.ids.new_id())
        return build({"performative": act, "receiver": receivers, "content": raw, **known})

    async def request(
        self,
        to: str,
        content: Any = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the word users expect
        act: str = Performative.REQUEST,
        **fields: Any,
    ) -> Context:
        """Send a request and return the answer that ends it: inform, failure, refuse, ...

        ``agree`` is not the end; it goes to its handler if there is one. An answer that comes
        after the time-out goes to its handler like any message.

        Args:
            to: who is asked.
            content: as for `send`.
            timeout: seconds to wait for the answer; by default those of the settings.
            act: another performative that expects an answer, ``query-ref`` for example.
            fields: as for `send`.

        Raises:
            AgentNotResponding: no answer in time.
            NotConnected: the agent is stopped, so that no answer can reach it.
            CaxtonError: as for `send`.
        """
        platform = self._on_platform()
        self._require_mailbox()
        if timeout is None:
            timeout = platform.mailbox_options.reply_timeout.total_seconds()
        token = fields.pop("reply_with", None) or platform.ports.ids.new_id()
        fields.setdefault("conversation_id", ConversationId(platform.ports.ids.new_id()))
        fields.setdefault("protocol", "fipa-request")
        try:
            with self._dialogue.waiting_for(token) as answer:
                await self.send(act, to, content, reply_with=token, **fields)
                async with asyncio.timeout(timeout):
                    return await answer
        except TimeoutError:
            raise AgentNotResponding(
                f"{to} did not answer the {act} within {timeout} s",
                field="receiver",
                limit=f"{timeout} s",
                value=to,
                hint="the request is in its mailbox; a late answer goes to this agent's handlers",
            ) from None

    def find(self, capability: str) -> list[AgentId]:
        """Return the agents that offer a capability, by name.

        This agent is left out, and so are those who are not Running (a draining agent takes nothing
        new), are away, silent, or say that they are ill.

        Args:
            capability: ``shout`` for any version of it, ``shout:v2.0`` for one, or
                ``shout:v2.0,v1.5`` for the first of these that anybody offers.
        """
        return self._on_platform().offering(capability, besides=self.id)

    def deadline(self, seconds: float) -> datetime:
        """Return the moment ``seconds`` from now, for ``reply_by``."""
        return self._on_platform().ports.clock.now() + timedelta(seconds=seconds)

    def _stop_because(self, error: CaxtonError) -> None:
        log.error("%s stops: %s", self.name, error)
        self._lost = error
        self._ending = asyncio.create_task(self.stop(), name=f"stop {self.name}")

    def _stopped_early(self) -> CaxtonError:
        return self._lost or NotConnected(f"{self.id} was stopped while it started")

    def _require_mailbox(self) -> None:
        """Refuse what a stopped agent is asked for: nothing could come back to it."""
        if self._mailbox is None:
            raise NotConnected(f"the agent {self.name} is stopped", hint="start it again")

    def _on_platform(self) -> Platform:
        if self._platform is None:
            raise NotConnected(
                f"the agent {self.name} is not started",
                hint="await agent.start(platform), or caxton_nats.run(agent)",
            )
        return self._platform


def _content(value: Any) -> tuple[msgspec.Raw, str]:
    if value is None:
        return NO_CONTENT, ""
    dump = getattr(value, "model_dump_json", None)
    if dump is not None:
        return msgspec.Raw(dump().encode()), ""
    return value_content(value)
