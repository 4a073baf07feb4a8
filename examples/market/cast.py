"""Who takes part, and what they say to each other."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

CONTRACT_NET: Final = "fipa-contract-net"
REQUEST: Final = "fipa-request"

TOWN: Final = "town"
MANAGER: Final = "odile"
ROUTER: Final = "router"


class Job(BaseModel):
    """Goods that want to be somewhere else."""

    goods: str
    tons: int
    to: str

    def __str__(self) -> str:
        return f"{self.tons} t of {self.goods} to the {self.to}"


class Offer(BaseModel):
    """What a haulier wants for a job."""

    price: int
    hours: int


class Reason(BaseModel):
    """Why not."""

    reason: str


class Haulier(BaseModel):
    """One bidder's character."""

    model_config = ConfigDict(frozen=True)

    name: str
    wagon: str
    goods: tuple[str, ...]
    carries: int
    """Tons."""
    price: int
    """Per ton."""
    hours: int
    breaks_under: str = ""
    """Goods that are too much for the wagon, as turns out on the way."""


HAULIERS: Final = {
    one.name: one
    for one in (
        Haulier(
            name="bruno",
            wagon="ox cart",
            goods=("glass", "stone", "fish"),
            carries=6,
            price=4,
            hours=9,
        ),
        Haulier(
            name="ines", wagon="fast van", goods=("glass", "fish"), carries=2, price=7, hours=2
        ),
        Haulier(
            name="tuck",
            wagon="old lorry",
            goods=("glass", "stone"),
            carries=12,
            price=3,
            hours=4,
            breaks_under="stone",
        ),
        Haulier(name="wanda", wagon="barge", goods=("stone", "fish"), carries=20, price=6, hours=5),
        Haulier(name="pia", wagon="bicycle", goods=("glass", "fish"), carries=1, price=2, hours=3),
    )
}
