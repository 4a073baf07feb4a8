"""wire: the one-byte codes of FIPA's bit-efficient encoding (SC00069), which both ways share."""

from __future__ import annotations

from typing import Final

from caxton_nats.core.performatives import Performative

NO_TABLE: Final = 0xFA  # 0xFB and 0xFC go with a code table that both sides have built up
VERSION: Final = 0x10  # 1.0, a nibble each
END: Final = 0x01
OWN: Final = 0x00  # an act or parameter of one's own; its name follows as a word

ACTS: Final = {str(act): code for code, act in enumerate(Performative, 1)}
PARAMETERS: Final = {
    name: code
    for code, name in enumerate(
        (
            *("sender", "receiver", "content", "reply-with", "reply-by", "in-reply-to"),
            *("reply-to", "language", "encoding", "ontology", "protocol", "conversation-id"),
        ),
        2,
    )
}
AGENT, ADDRESSES, RESOLVERS, OWN_SLOT = 0x02, 0x02, 0x03, 0x04
WORD, STRING, LENGTH_1, LENGTH_2, LENGTH_4 = 0x10, 0x14, 0x16, 0x17, 0x19
LIST, LIST_END, AS_STRING = 0x60, 0x40, 0xFF
LIST_WITH, LIST_END_WITH = 0x70, 0x50  # and an item in the low nibble
TIME, LATER, EARLIER = 0x20, 0x21, 0x22
DESIGNATED: Final = 0x04  # added to a time that a type designator follows
NIBBLES: Final = dict(zip((*range(1, 11), 0xC, 0xD, 0xE, 0xF), "0123456789+E-.", strict=True))
