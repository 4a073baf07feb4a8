"""The hauliers: they bid for jobs, and do the work they were given.

python -m examples.market.bidder bruno
"""

from __future__ import annotations

import argparse
import asyncio

from caxton_nats import Agent, Context
from examples.market.cast import CONTRACT_NET, HAULIERS, REQUEST, Haulier, Job, Offer, Reason
from examples.market.process import play

THINKING = 0.3
"""Seconds for a look at the job."""
HOUR = 0.3
"""Seconds that an hour on the road takes here."""


def haulier(me: Haulier, *, reads_new_forms: bool) -> Agent:
    """Return the agent of one haulier.

    Args:
        me: name, prices and so on.
        reads_new_forms: False is the first edition of this program, with its mistake.
    """
    agent = Agent(me.name, capabilities=[f"haul:{goods}" for goods in me.goods])

    @agent.on("cfp", protocol=CONTRACT_NET, content=Job)
    async def bid(ctx: Context, job: Job) -> None:
        await asyncio.sleep(THINKING)
        if job.tons > me.carries:
            await ctx.refuse(Reason(reason=f"my {me.wagon} carries {me.carries} t"))
        else:
            await ctx.propose(Offer(price=me.price * job.tons, hours=me.hours))

    # The job comes along once more with the acceptance, so that this works in a process that never
    # saw the call for proposals: after a crash the message is delivered again, to the next process.
    @agent.on("accept-proposal", protocol=CONTRACT_NET, content=Job)
    async def haul(ctx: Context, job: Job) -> None:
        await asyncio.sleep(me.hours * HOUR)
        if job.goods == me.breaks_under:
            await ctx.failure(Reason(reason=f"my axle broke under the {job.goods}"))
        else:
            await ctx.inform(f"{job}: done")

    @agent.on("inform")
    async def listen(_: Context) -> None:
        await asyncio.sleep(THINKING)  # News of the roads: to be known, not to be answered.

    @agent.on("request", protocol=REQUEST)
    async def pay_toll(ctx: Context) -> None:
        form = ctx.content
        tons = form["kilos"] / 1000 if reads_new_forms else form["weight"]
        await ctx.inform(f"{tons:g} t: {tons * 5:g} coins of toll, paid")

    return agent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One haulier of the market.")
    parser.add_argument("name", choices=HAULIERS)
    parser.add_argument("--reads-new-forms", action="store_true", help="the corrected edition")
    options, _ = parser.parse_known_args()
    one = HAULIERS[options.name]
    # A haulier has one pair of hands: while one message is handled, the others wait.
    play(haulier(one, reads_new_forms=options.reads_new_forms), concurrency=1)
