"""Odile, the manager: she takes the town's orders and gives each to the cheapest haulier.

The interaction protocol is FIPA's contract net: she calls for proposals (``cfp``) until a deadline,
accepts the best one, rejects the others, and hears from the winner how it went.

    python -m examples.market.manager
"""

from __future__ import annotations

import asyncio
from typing import Any

from caxton_nats import Agent, CaxtonError, Context
from examples.market.cast import CONTRACT_NET, MANAGER, REQUEST, Job, Offer, Reason
from examples.market.process import play

BIDDING = 2.0
"""Seconds in which a bid is welcome."""
PATIENCE = 30.0
"""Seconds until a haulier who was given the job counts as lost."""

odile = Agent(MANAGER)


@odile.on("request", protocol=REQUEST, content=Job)
async def take_order(ctx: Context, job: Job) -> None:
    """Have the job done by one haulier; if it fails, by another one."""
    await ctx.agree()
    failed: list[str] = []
    for call in (1, 2):
        conversation = f"{ctx.conversation_id}/call-{call}"
        bids = await call_for_proposals(job, conversation, leave_out=failed)
        if not bids:
            break
        best, *others = sorted(bids, key=price)
        for other in others:
            await other.reject_proposal(Reason(reason=f"{name(best)} does it for {price(best)}"))
        outcome = await award(best, job)
        if outcome is not None and outcome.performative == "inform":
            await ctx.inform(f"done by {name(best)} for {price(best)} coins")
            return
        failed.append(best.sender)
    await ctx.failure(Reason(reason=f"nobody could bring {job}"))


@odile.on("propose", protocol=CONTRACT_NET)
async def too_late(ctx: Context) -> None:
    """Answer a bid that comes after the deadline: nobody waits for it any more."""
    await ctx.reject_proposal(Reason(reason="the bids were opened before yours came"))


async def call_for_proposals(job: Job, conversation: str, *, leave_out: list[str]) -> list[Context]:
    """Return the proposals that came until all have answered, or until the deadline."""
    hauliers = [one for one in odile.find(f"haul:{job.goods}") if one not in leave_out]
    terms = {
        "conversation_id": conversation,
        "protocol": CONTRACT_NET,
        "reply_by": odile.deadline(BIDDING),
    }
    answers = await asyncio.gather(
        *(ask(haulier, "cfp", job, timeout=BIDDING, **terms) for haulier in hauliers)
    )
    return [bid for bid in answers if bid is not None and bid.performative == "propose"]


async def award(bid: Context, job: Job) -> Context | None:
    """Accept the bid, and return what the winner says in the end: inform or failure."""
    return await ask(
        bid.sender,
        "accept-proposal",
        job,
        timeout=PATIENCE,
        conversation_id=bid.conversation_id,
        protocol=CONTRACT_NET,
        in_reply_to=bid.envelope.message_id,
    )


async def ask(to: str, act: str, job: Job, *, timeout: float, **terms: Any) -> Context | None:  # noqa: ASYNC109
    """Return the answer, or None if there is none in time or the message cannot be delivered."""
    try:
        return await odile.request(to, job, act=act, timeout=timeout, **terms)
    except CaxtonError:
        return None


def price(bid: Context) -> int:
    """Return what the bidder wants."""
    return bid.content_as(Offer).price


def name(bid: Context) -> str:
    """Return the bidder's name without the platform."""
    return bid.sender.partition("@")[0]


if __name__ == "__main__":
    play(odile)
