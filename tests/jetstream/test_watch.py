"""When a mirror believes that it is complete."""

from __future__ import annotations

import asyncio

from caxton_nats.jetstream.watch import Watch


class Records(dict[str, str]):
    """A mirror that keeps `key=value` records under their keys."""

    def replace(self, records: list[str]) -> None:
        self.clear()
        for record in records:
            self.put(record)

    def put(self, record: str) -> None:
        key, _, value = record.partition("=")
        self[key] = value

    def forget(self, key: str) -> None:
        self.pop(key, None)


async def watching(mirror: Records) -> Watch[str]:
    reached: list[int] = []
    return Watch(mirror, reached.append, asyncio.get_running_loop().create_future())  # type: ignore[arg-type]


async def test_a_state_whose_records_have_not_come_is_not_complete() -> None:
    """What a broken connection has swallowed is not gone: the mirror stays as it was."""
    mirror = Records(bob="old", carol="old")
    watch = await watching(mirror)
    watch.begin(1)
    watch.complete(7)
    assert (mirror, watch.is_complete(), watch.ready.done()) == (
        {"bob": "old", "carol": "old"},
        False,
        False,
    )
    watch.take("bob", "bob=new", 5)
    assert not watch.is_complete()
    watch.take("dora", None, 7)
    assert (mirror, watch.revision) == ({"bob": "new"}, 7)
    assert watch.ready.done()


async def test_an_empty_bucket_is_complete() -> None:
    """Nothing has to come where nothing is."""
    mirror = Records(bob="old")
    watch = await watching(mirror)
    watch.begin(1)
    watch.complete(0)
    assert (mirror, watch.is_complete()) == ({}, True)


async def test_a_change_after_the_state() -> None:
    """It is carried into the mirror at once; to be told again that all has come does no harm."""
    mirror = Records()
    watch = await watching(mirror)
    watch.begin(1)
    watch.take("bob", "bob=1", 3)
    watch.complete(3)
    watch.take("bob", "bob=2", 4)
    watch.complete(9)
    assert (mirror, watch.revision) == ({"bob": "2"}, 4)
