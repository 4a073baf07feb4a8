"""JSON that programs of this process write: what has no JSON form is said to have none.

msgspec writes null for a number that is none, so that a receiver would get what nobody sent.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec

from caxton_nats.core.errors import InvalidEnvelope

_HINT = "send bytes, or a value made of dict, list, str, number, bool and None"


def encoded(value: Any) -> bytes:
    """Return the value as JSON text.

    Raises:
        InvalidEnvelope: it has no JSON form: another type, half of a surrogate pair, NaN or
            infinity, a number of thousands of digits, or nested too deeply.
    """
    try:
        data = msgspec.json.encode(value)
        # Only where there is a null can there have been such a number.
        if b"null" not in data or _is_finite(msgspec.to_builtins(value)):
            return data
        reason = "NaN and Infinity are no JSON numbers"
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    raise InvalidEnvelope(
        f"the content has no JSON form: {reason}", field="content", hint=_HINT
    ) from None


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values())) and all(map(_is_finite, value))
    return not isinstance(value, list | tuple | set) or all(map(_is_finite, value))
