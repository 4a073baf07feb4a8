"""How the handling of a delivery ended."""

from __future__ import annotations

import msgspec

from caxton_nats.core.disposition import Disposition
from caxton_nats.core.errors import CaxtonError
from caxton_nats.engine.lanes import Held


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery whose handler has returned, or that needed none, and what follows."""

    held: Held
    """With the number of the attempt."""
    disposition: Disposition
    error: CaxtonError | None = None
    repeated: bool = False
    """It was handled before and must only be settled."""
    counts: bool = True
    """Whether it was an attempt; none is one at which NATS failed, and not the handler."""

    @property
    def asks_for_receipt(self) -> bool:
        """Whether its sender wants to know how far it is."""
        return self.held.envelope is not None and self.held.envelope.require_receipt
