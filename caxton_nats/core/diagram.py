"""State diagrams of interaction protocols, in Mermaid's language, drawn from the tables."""

from __future__ import annotations

from caxton_nats.core.interaction import Machine
from caxton_nats.core.protocols import INIT, Role

_WHO = {Role.INITIATOR: "I", Role.PARTICIPANT: "P", Role.PLATFORM: "platform"}


def mermaid(machine: Machine) -> str:
    """Return the protocol's own states; an edge says who (I or P) sends which act.

    What holds in every protocol is not drawn: it would hide the rest.
    """
    edges: dict[tuple[str, str], list[str]] = {}
    for row in machine.protocol.rows:
        which = f" ({row.guard})" if row.guard else ""
        edges.setdefault((row.state, row.next), []).append(f"{_WHO[row.role]} {row.act}{which}")
    for state, to in machine.protocol.silence.items():
        edges.setdefault((state, to), []).append("deadline passed")
    lines = [
        f"    {'[*]' if state == INIT else state} --> {to}: {', '.join(labels)}"
        for (state, to), labels in edges.items()
    ]
    ends = [name for name in machine.states if name in machine.protocol.final]
    return "\n".join(["stateDiagram-v2", *lines, *(f"    {name} --> [*]" for name in ends)])
