"""Writes the generated part of docs/protocols.md; ``make diagrams`` runs it."""

from __future__ import annotations

from pathlib import Path

from caxton_nats.core.diagram import mermaid
from caxton_nats.core.interaction import MACHINES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"
BEGIN = "<!-- drawn from the tables by `make diagrams` -->\n"
END = "<!-- end of what is drawn -->\n"


def drawn() -> str:
    """Return the part of the page that is made from the tables."""
    sections = [
        f"### {name}\n\n{machine.protocol.specification}.\n\n```mermaid\n{mermaid(machine)}\n```\n"
        for name, machine in MACHINES.items()
    ]
    return "\n".join(["", *sections, ""])


def redrawn(page: str) -> str:
    """Return the page with that part as it is now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{drawn()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text()))
