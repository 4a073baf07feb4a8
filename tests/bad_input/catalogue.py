"""The whole catalogue of what is brought to doors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from caxton_nats.core import codec
from caxton_nats.core.errors import MessageError
from tests.bad_input.case import Case
from tests.bad_input.encodings import ENCODINGS
from tests.bad_input.names import NAMES
from tests.bad_input.semantics import SEMANTICS


def is_envelope(case: Case) -> bool:
    """Return whether a program could have made it: the fields have the right types."""
    try:
        codec.read(case.body)
    except MessageError:
        return False
    return True


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Have a test run once for each case."""
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


CATALOGUE: list[Case] = [*NAMES, *ENCODINGS, *SEMANTICS]
REFUSED = [case for case in CATALOGUE if case.refused is not None]
RIGHT = [case for case in CATALOGUE if case.refused is None]

refused = each(REFUSED)
right = each(RIGHT)
envelopes = each([case for case in CATALOGUE if is_envelope(case)])
