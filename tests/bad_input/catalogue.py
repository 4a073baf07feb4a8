"""The whole catalogue of what is brought to doors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from caxton_nats.core import codec, representation
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import MessageError
from tests.bad_input.case import NOON, Case
from tests.bad_input.encodings import ENCODINGS
from tests.bad_input.names import NAMES
from tests.bad_input.representations import REPRESENTATIONS
from tests.bad_input.semantics import SEMANTICS


def read(case: Case) -> Envelope:
    """Return the message, whichever encoding it is in; raise `MessageError` if it is none."""
    named = case.headers.get(codec.REPRESENTATION)
    if named is None:
        return codec.read(case.body)
    return representation.decode(case.body, named, max_bytes=2_000_000, now=NOON)


def is_envelope(case: Case) -> bool:
    """Return whether a program could have made it: the fields have the right types."""
    try:
        read(case)
    except MessageError:
        return False
    return True


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Have a test run once for each case."""
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


CATALOGUE: list[Case] = [*NAMES, *ENCODINGS, *REPRESENTATIONS, *SEMANTICS]
REFUSED = [case for case in CATALOGUE if case.refused is not None]
RIGHT = [case for case in CATALOGUE if case.refused is None]

refused = each(REFUSED)
right = each(RIGHT)
envelopes = each([case for case in CATALOGUE if is_envelope(case)])
