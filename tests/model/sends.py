"""What a sender may be told, by the state of everything while its message was on its way."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from caxton_nats.core.dead_letter import Origin, Stage
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.registry import AgentState
from caxton_nats.ports import Outcome, Receipt
from tests.model.commands import Mail
from tests.model.records import Key
from tests.model.reference import Reference

AMS_ID = "ams@here"
_SLACK = 2.0
"""Seconds between the record of a message and the message in its mailbox, at most."""
TAKES = {AgentState.UNLOADED, AgentState.LOADED, AgentState.RUNNING}


class Asked(msgspec.Struct):
    """A message that was given to a router, or to the submit door."""

    mail: Mail
    sender: str
    receivers: tuple[str, ...]
    message_id: str
    began: float
    process: str
    until: float | None = None
    """Its deadline."""
    ended: float | None = None
    taken: bool | None = None
    """Whether somebody got it; None if that is not known."""


class Sends:
    """Compares what senders are told with what they may be told."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._talk: dict[str, list[Asked]] = defaultdict(list)
        """Everything that was sent in a conversation."""
        self.submitted: list[Asked] = []

    def asked(self, asked: Asked) -> None:
        """Take note of a message that is on its way."""
        if asked.mail.conversation:
            self._talk[asked.mail.conversation].append(asked)

    def answered(self, asked: Asked, result: Receipt | CaxtonError, now: float) -> None:
        """Check what its sender is told."""
        asked.ended = now
        if isinstance(result, CaxtonError):
            asked.taken = None if isinstance(result, TransportError) else False
            self._check_refusal(asked, result)
            return
        asked.taken = any(one.error is None for one in result.outcomes)
        if tuple(one.receiver for one in result.outcomes) != asked.receivers:
            self._complain(asked, f"has outcomes for {[one.receiver for one in result.outcomes]}")
        for outcome in result.outcomes:
            self._check_outcome(asked, outcome)

    def _check_refusal(self, asked: Asked, error: CaxtonError) -> None:
        """All of it was refused: that must be right for each of its receivers."""
        errors = [self._possible(asked, receiver) for receiver in asked.receivers]
        whole = self._of_the_whole(asked)
        if error.code in whole:
            return
        if error.code not in set().union(*errors) or not all(errors):
            self._complain(asked, f"was refused: {error}")
        if whole and "must" in whole:
            self._complain(asked, f"was refused for {error.code}, not for {whole}")

    def _check_outcome(self, asked: Asked, outcome: Outcome) -> None:
        receiver, error = outcome.receiver, outcome.error
        if "must" in self._of_the_whole(asked):
            self._complain(asked, f"was taken and must be refused: {self._of_the_whole(asked)}")
        if error is not None:
            if error.code not in self._possible(asked, receiver):
                self._complain(asked, f"was refused for {receiver}: {error}")
            return
        states = self._states(asked, receiver)
        drains = AgentState.DRAINING in states and self._may_take_part(asked, receiver)
        if not (states & TAKES or drains):
            self._complain(asked, f"was taken for {receiver}, who is {states}")
        copy = self._reference.copies.get(Origin(outcome.stream, outcome.sequence))
        key = Key(receiver, asked.sender, asked.message_id)
        if copy is None or copy.key != key:
            self._complain(asked, f"was taken for {receiver}, and is not stored where it should be")

    def _states(self, asked: Asked, receiver: str) -> set[AgentState | None]:
        end = asked.ended if asked.ended is not None else asked.began
        slack = self._reference.rules.slack
        return self._reference.states.between(receiver, asked.began - slack, end + slack)

    def _possible(self, asked: Asked, receiver: str) -> set[str]:
        """Return the errors that this receiver may be the reason of."""
        states = self._states(asked, receiver)
        found = {"QueueFull"}  # Told by the broker, which the reference has looked at.
        if None in states:
            found.add("AgentNotFound")
        if AgentState.STOPPED in states:
            found.add("AgentStopped")
        if AgentState.DRAINING in states and not self._takes_part(asked, receiver):
            found.add("AgentDraining")
        if self._reference.faulty_since(asked.process, asked.began):
            found |= {"PublishUnconfirmed", "NotConnected"}
        return found

    def _of_the_whole(self, asked: Asked) -> set[str]:
        """Return the errors that concern the whole message, with "must" if it has to get one."""
        found: set[str] = set()
        if asked.sender in asked.receivers:
            return {"InvalidEnvelope", "must"}
        if asked.until is not None and asked.until <= (asked.ended or asked.began):
            found |= {"Expired"}
            if asked.until <= asked.began:
                found |= {"must"}
        if self._reference.faulty_since(asked.process, asked.began):
            found |= {"NotConnected", "PublishUnconfirmed"}
        return found | self._has_ended(asked)

    def _has_ended(self, asked: Asked) -> set[str]:
        """Return whether its conversation may have ended, or must have."""
        rules, talk = self._reference.rules, self._talk[asked.mail.conversation]
        if not asked.mail.conversation:
            return set()
        end = asked.ended if asked.ended is not None else asked.began
        # Each message counts once: sent again, it keeps nothing going.
        first: dict[tuple[str, str], float] = {}
        for one in talk:
            if one.taken and one is not asked and one.began <= end:
                first.setdefault((one.sender, one.message_id), one.began)
        for copy in self._reference.copies.values():
            if copy.conversation == asked.mail.conversation and copy.key.sender != AMS_ID:
                first.setdefault((copy.key.sender, copy.key.message_id), copy.at)
        sure = list(first.values())
        if not sure:
            # Nobody knows whether there is a record at all.
            maybe = [one for one in talk if one is not asked and one.taken is not False]
            return {"ConversationTimeout"} if maybe else set()
        # Its record says that somebody wrote at the latest when the last of these ended.
        idle = any(
            later - earlier >= rules.conversation_timeout - _SLACK
            for earlier, later in zip(sorted(sure), [*sorted(sure)[1:], end], strict=True)
        )
        old = end - min(sure) >= rules.conversation_lifetime
        return {"ConversationTimeout"} if idle or old else set()

    def _takes_part(self, asked: Asked, agent: str) -> bool:
        """Return whether the agent surely took part in the conversation before this began."""
        return (
            not self._has_ended(asked)
            and any(
                one.taken
                and (one.ended or asked.began) < asked.began
                and (agent == one.sender or (agent,) == one.receivers)
                for one in self._talk[asked.mail.conversation]
            )
            and bool(asked.mail.conversation)
        )

    def _may_take_part(self, asked: Asked, agent: str) -> bool:
        if not asked.mail.conversation:
            return False
        talkers = {
            agent
            for copy in self._reference.copies.values()
            if copy.conversation == asked.mail.conversation
            for agent in (copy.key.sender, copy.key.receiver)
        }
        return agent in talkers or any(
            one is not asked and agent in (one.sender, *one.receivers)
            for one in self._talk[asked.mail.conversation]
        )

    def balance(self) -> None:
        """Complain of what was submitted and has come nowhere."""
        letters = self._reference.letters.values()
        refused = {(one.sender, one.message_id) for one in letters if one.stage is Stage.ROUTE}
        kept = {
            (one.agent, one.sender, one.message_id) for one in letters if one.stage is Stage.RESOLVE
        }
        for asked in self.submitted:
            for receiver in asked.receivers:
                key = Key(receiver, asked.sender, asked.message_id)
                known = self._reference.by_key.get(key) or tuple(key) in kept
                if not known and (asked.sender, asked.message_id) not in refused:
                    self._complain(asked, f"was submitted, and nobody has seen it ({receiver})")

    def _complain(self, asked: Asked, text: str) -> None:
        sender = asked.sender.partition("@")[0]
        self._reference.complain(f"{asked.message_id} from {sender} {text}")
