"""resolve: who of a message's receivers takes it, by their states and circuit breakers.

A draining agent takes what belongs to a conversation that it takes part in, so the conversation's
record is looked at, before the message is recorded or delivered anywhere. Participants never
leave a conversation, so what is read here stays true until then.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lifecycle import draining, stopped
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.routing import Route
from caxton_nats.engine.choosing import Addressed
from caxton_nats.engine.dispatch import Accepted
from caxton_nats.engine.trials import Trials
from caxton_nats.ports import ConversationStore

_RUNS = AgentState.RUNNING


class Reception:
    """Sorts out the receivers that do not take a message."""

    def __init__(self, conversations: ConversationStore, trials: Trials) -> None:
        self._conversations = conversations
        self._trials = trials

    async def sort(self, addressed: Addressed, route: Route) -> Accepted:
        """Return the message with those who take it as its found receivers.

        Raises:
            CaxtonError: no receiver takes it, for this reason of the first: AgentDraining or
                CircuitBreakerOpen.
        """
        if not self._trials.any and all(one.state is _RUNS for one in route.found):
            return Accepted(addressed, route)
        drains = _in(AgentState.DRAINING, route.found)
        gone = _in(AgentState.STOPPED, route.found)
        if not drains and not gone and not self._trials.any:
            return Accepted(addressed, route)
        refused: dict[AgentId, CaxtonError] = {one.agent: stopped(one.agent) for one in gone}
        participants = await self._participants(addressed.envelope) if drains else ()
        refused |= {one.agent: draining(one) for one in drains if one.agent not in participants}
        takers = [one for one in route.found if one.agent not in refused]
        refused |= await self._trials.refusals(addressed.envelope, takers)
        if not refused:
            return Accepted(addressed, route)
        found = tuple(one for one in takers if one.agent not in refused)
        if not found and not gone:
            raise next(iter(refused.values()))
        return Accepted(addressed, msgspec.structs.replace(route, found=found), refused, gone)

    async def _participants(self, envelope: Envelope) -> Sequence[AgentId]:
        if not envelope.conversation_id:
            return ()
        stored = await self._conversations.load(envelope.conversation_id, latest=True)
        return stored[0].participants if stored is not None else ()


def _in(state: AgentState, found: Sequence[Registration]) -> tuple[Registration, ...]:
    return tuple(one for one in found if one.state is state)
