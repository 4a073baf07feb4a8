"""What happens on the market, from the first order to the books.

Each step waits until the journals say that the one before has happened; nothing is timed.
"""

from __future__ import annotations

import asyncio

from caxton_nats import Context, Receipt
from caxton_nats.core.dead_letter import Origin
from caxton_nats.telemetry import Action
from examples.market.books import Books
from examples.market.cast import HAULIERS, MANAGER, REQUEST, ROUTER, Job
from examples.market.director import Director


async def perform(director: Director, *, lose_one: bool) -> Books:
    """Play the whole story and return the books.

    Args:
        director: with everybody at work.
        lose_one: take one waiting message away behind everybody's back; the books must show it.
    """
    await introduce(director)
    await two_orders(director)
    await a_haulier_dies(director, lose_one=lose_one)
    await a_poison_message(director)
    return await the_books(director)


async def order(director: Director, number: int, job: Job) -> Context:
    """Have the town order something of the manager; return how it ended."""
    answer = await director.town.request(
        MANAGER, job, conversation_id=f"order-{number}", protocol=REQUEST, timeout=30
    )
    await director.until(
        f"order {number} to be over",
        lambda: any(
            event.conversation_id == f"order-{number}"
            for event in director.events(Action.HANDLED, MANAGER)
        ),
    )
    return answer


async def introduce(director: Director) -> None:
    """Say who is who."""
    hauliers = ", ".join(f"{one.name} ({one.wagon})" for one in HAULIERS.values())
    await director.tell(
        f"Seven processes: a router, the manager {MANAGER}, and the hauliers {hauliers}."
        " The town is this process.",
    )


async def two_orders(director: Director) -> None:
    """Two negotiations; the second winner fails, and somebody else gets the job."""
    director.chapter("1. Who does it for less? (FIPA contract net)")
    await director.tell(
        f"The town orders. {MANAGER} calls all who can carry it for proposals, takes the cheapest.",
    )
    await order(director, 1, Job(goods="glass", tons=2, to="mill"))
    director.chapter("2. The cheapest is not always the best")
    await order(director, 2, Job(goods="stone", tons=8, to="bridge"))
    await director.tell(f"tuck failed and said so; {MANAGER} called again, and wanda did it.")


async def a_haulier_dies(director: Director, *, lose_one: bool) -> None:
    """Kill a haulier on the road; mail goes on arriving for him; he comes back and goes on."""
    director.chapter("3. Killed on the road")
    fish = asyncio.create_task(order(director, 3, Job(goods="fish", tons=3, to="market hall")))
    await director.until(
        "bruno to be on the road", lambda: director.is_given("bruno", "accept-proposal")
    )
    await news(director, "the ford is flooded")
    pid = await director.kill("bruno")
    await director.tell(
        f"SIGKILL: bruno's process {pid} is gone, with the fish on his cart and news unread."
        " Nobody is told; the others go on, and write to him.",
    )
    await news(director, "the mill road is open again")
    lost = await news(director, "beware of the geese")
    await order(director, 4, Job(goods="glass", tons=1, to="chapel"))
    await director.until("bruno's mail to wait", lambda: director.pending.get("bruno", 0) >= 4)
    if lose_one:
        await lose(director, lost)
    await director.tell(
        f"bruno did not answer that call, so its deadline passed without him."
        f" {director.pending['bruno']} messages wait in his mailbox. He is started again.",
    )
    pid = await director.start("bruno", "bidder", "bruno")
    await fish
    await director.until("bruno's mailbox to be empty", lambda: not director.pending.get("bruno"))
    await director.tell(
        f"bruno is back as process {pid}: he was given the job and his mail again, and the fish"
        " arrived. The call whose deadline had passed is not lost either: it is a dead letter.",
    )


async def news(director: Director, words: str) -> Receipt:
    """Have the town write to bruno; return the receipt, which is good whether or not he lives."""
    return await director.town.send("inform", "bruno", words)


async def lose(director: Director, receipt: Receipt) -> None:
    """Take a stored message out of its mailbox, as no server and no agent ever should."""
    (outcome,) = receipt.outcomes
    await director.platform.ports.mailboxes.discard(Origin(outcome.stream, outcome.sequence))
    await director.look()
    await director.tell("(As you wished, one of his messages has just been made away with.)")


async def a_poison_message(director: Director) -> None:
    """A message that its handler cannot digest dies, and lives again after a correction."""
    director.chapter("4. A poison message")
    await director.tell("The town has a new form for tolls. ines's program knows the old one only.")
    answer = await director.town.request(
        "ines",
        {"toll": "north gate", "kilos": 840},
        conversation_id="toll-1",
        protocol=REQUEST,
        timeout=15,
    )
    letter = await director.only_dead_letter("ines")
    await director.tell(
        f"Her handler raised {letter.attempts} times. The town knows ({answer.performative}),"
        " and the message is kept with all there is to know about it:",
    )
    director.view.dead_letter(letter)
    await director.send_home("ines")
    await director.start("ines", "bidder", "ines", "--reads-new-forms")
    await director.tell("ines runs a corrected program now. The dead letter is redriven.")
    await director.platform.redrive.redrive(letter.id)
    await director.until(
        "ines to handle the redriven message",
        lambda: any(
            event.message_id == letter.message_id
            for event in director.events(Action.HANDLED, "ines")
        ),
    )
    await director.tell("It is handled, and answered.")


async def the_books(director: Director) -> Books:
    """Wait until nobody has anything left to do, send all home, and add everything up."""
    director.chapter("5. The books")
    await director.until("all mailboxes to be empty", lambda: not any(director.pending.values()))
    for name in (MANAGER, *HAULIERS):
        director.states[name] = "away"
    await director.troupe.dismiss(MANAGER, *HAULIERS)
    # Each gives the lease of its name back through the router: that goes last.
    await director.town.stop()
    await director.troupe.dismiss(ROUTER)
    return await director.close_books()
