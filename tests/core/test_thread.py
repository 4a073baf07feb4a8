"""What a conversation remembers of its messages."""

from __future__ import annotations

import msgspec
import pytest

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import MessageId
from caxton_nats.core.thread import REMEMBERED, Thread
from tests.core.sample import CAROL, sample


def after(thread: Thread, message_id: str, **fields: str) -> Thread:
    return thread.after(sample(message_id=MessageId(message_id), **fields))


def refuses(thread: Thread, in_reply_to: str) -> bool:
    try:
        thread.check(sample(in_reply_to=in_reply_to))
    except InvalidEnvelope:
        return True
    return False


def test_no_answer() -> None:
    """What names nothing is never refused."""
    assert not refuses(Thread(), "")


def test_tokens_and_ids_are_told_apart_by_nobody() -> None:
    """Both are names of messages; one that is neither is refused."""
    thread = after(Thread(), "m-1", reply_with="token")
    assert [refuses(thread, name) for name in ("token", "m-1", "m-2", "Token")] == [
        False,
        False,
        True,
        True,
    ]


def test_a_token_is_no_message_id() -> None:
    """A message whose id was somebody's token before has not come before."""
    assert not after(Thread(), "m-1", reply_with="token").knows(
        sample(message_id=MessageId("token"))
    )


def test_two_agents_may_choose_the_same_id() -> None:
    """Only the sender's own repetition has come before; an answer may name either message."""
    thread = after(Thread(), "m-1")
    assert thread.knows(sample(message_id=MessageId("m-1")))
    assert not thread.knows(sample(message_id=MessageId("m-1"), sender=CAROL))
    assert not refuses(thread, "m-1")


def test_one_token_for_many() -> None:
    """A token that is used again is remembered once."""
    thread = Thread()
    for number in range(5):
        thread = after(thread, f"m-{number}", reply_with="token")
    assert (len(thread.ids), len(thread.tokens)) == (5, 1)


def test_what_may_have_been_forgotten_is_let_pass() -> None:
    """Up to 1,000 messages each answer is checked; beyond, an unknown name may be an old one."""
    thread = after(Thread(), "first", reply_with="token")
    for number in range(REMEMBERED - 1):
        thread = after(thread, f"m-{number}")
    assert refuses(thread, "nobody's")
    thread = after(thread, "one more")
    assert not any(refuses(thread, name) for name in ("first", "token", "nobody's"))


def test_longest_record_fits_into_a_message() -> None:
    """Whatever texts the agents choose, the memory stays far below a NATS message (1 MiB)."""
    thread = Thread()
    for number in range(REMEMBERED + 5):
        thread = after(thread, f"{number:0>128}", reply_with=f"{number:世>255}")
    assert len(msgspec.json.encode(thread)) < 40_000


@pytest.mark.parametrize("name", ["größe", "世" * 255, "a" * 255, " ", "=", "\u200d"])
def test_any_text_is_a_name(name: str) -> None:
    """Tokens are the agents' own texts."""
    assert not refuses(after(Thread(), "m-1", reply_with=name), name)
