"""validate: what a conversation remembers of its messages, and which answers belong to it.

A message that names another one (``in_reply_to``) must name it by its ``reply_with`` token or its
message id, and both must be of the same conversation. What it does not decide: whether the act
is one that the protocol allows as an answer.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import InvalidEnvelope

REMEMBERED = 1000
"""Messages that a conversation remembers, the last ones; as many tokens."""
_MARK_BYTES = 9
_SENDER_CHARACTERS = 4


class Thread(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last messages of a conversation, each as a mark of 12 characters and 4 of its sender.

    Ids and tokens are the agents' own texts, of up to 255 characters of any script: kept as they
    are, a thousand of them would not fit into one message of a bucket.
    """

    ids: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    forgot: bool = False
    """There were more messages than are remembered."""

    def knows(self, envelope: Envelope) -> bool:
        """Return whether a message of this id, from the same sender, is remembered.

        Two agents may have chosen the same id; each message counts, and brings its sender in.
        """
        return _identity(envelope) in self.ids

    def check(self, envelope: Envelope) -> None:
        """Refuse an answer to what is no message of this conversation.

        Once something has been forgotten, it may be that: nothing is refused any more.

        Raises:
            InvalidEnvelope: ``in_reply_to`` names nothing, or something of another conversation.
        """
        if not envelope.in_reply_to or self.forgot:
            return
        mark = _mark(envelope.in_reply_to)
        if mark not in self.tokens and not any(one.startswith(mark) for one in self.ids):
            raise InvalidEnvelope(
                f"no message of conversation {envelope.conversation_id!a} has this as its"
                " reply_with token or as its message id",
                field="in_reply_to",
                value=ascii(envelope.in_reply_to),
                hint="answer in the conversation of the message that you answer, or leave it out",
            )

    def after(self, envelope: Envelope) -> Thread:
        """Return the thread with one more message."""
        ids = (*self.ids, _identity(envelope))
        tokens = self.tokens
        if envelope.reply_with and (token := _mark(envelope.reply_with)) not in tokens:
            tokens = (*tokens, token)
        return Thread(ids[-REMEMBERED:], tokens[-REMEMBERED:], self.forgot or len(ids) > REMEMBERED)


def _identity(envelope: Envelope) -> str:
    return _mark(envelope.message_id) + _mark(envelope.sender)[:_SENDER_CHARACTERS]


def _mark(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()[:_MARK_BYTES]).decode("ascii")
