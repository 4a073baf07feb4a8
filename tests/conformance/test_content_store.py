"""What every `ContentStore` promises."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256

import msgspec
import pytest

from caxton_nats.core.errors import InvalidEnvelope
from tests.conformance.adapters import Adapter

MIB = 1_048_576


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(range(256)), id="every-byte"),
        pytest.param('"Grüße, 世界 \U0001f4ec"'.encode(), id="unicode"),
        pytest.param(bytes(MIB), id="1-MiB"),
        pytest.param(bytes(range(251)) * (3 * MIB // 251), id="3-MiB"),
    ],
)
async def test_content_comes_back(adapter: Adapter, content: bytes) -> None:
    """Content comes back byte for byte, and its claim says how large it is and its digest."""
    claim = await adapter.contents.put("m-1", content)
    assert (claim.size, claim.sha256) == (len(content), sha256(content).hexdigest())
    assert await adapter.contents.get(claim) == content


@pytest.mark.parametrize(
    "name",
    ["a.b", "a b", "*", ">", "/etc/passwd", "größe", "x" * 128, "x" * 5_000, "ö" * 500_000],
)
async def test_awkward_names(adapter: Adapter, name: str) -> None:
    """Content under any name comes back, beside the content of other names."""
    other = await adapter.contents.put("other", b"other")
    claim = await adapter.contents.put(name, b"mine")
    assert claim.object == name
    assert await adapter.contents.get(claim) == b"mine"
    assert await adapter.contents.get(other) == b"other"
    await adapter.contents.remove(claim)
    with pytest.raises(InvalidEnvelope):
        await adapter.contents.get(claim)


async def test_same_name_twice(adapter: Adapter) -> None:
    """Storing the same content under its name again gives the same claim, and it stays."""
    first = await adapter.contents.put("m-1", b"content")
    assert await adapter.contents.put("m-1", b"content") == first
    assert await adapter.contents.get(first) == b"content"


async def test_concurrent_puts(adapter: Adapter) -> None:
    """A retry that overtakes its first attempt does no harm."""
    content = bytes(range(256)) * 1024
    claims = await asyncio.gather(*(adapter.contents.put("m-1", content) for _ in range(5)))
    assert len(set(claims)) == 1
    assert await adapter.contents.get(claims[0]) == content


async def test_nothing_there(adapter: Adapter) -> None:
    """A claim on content that is not there is an error that names the object."""
    claim = await adapter.contents.put("m-1", b"content")
    await adapter.contents.remove(claim)
    with pytest.raises(InvalidEnvelope, match="m-1"):
        await adapter.contents.get(claim)


async def test_digest_is_checked(adapter: Adapter) -> None:
    """Content that is not what the claim says is not returned."""
    claim = await adapter.contents.put("m-1", b"content")
    forged = msgspec.structs.replace(claim, sha256=sha256(b"other").hexdigest())
    with pytest.raises(InvalidEnvelope):
        await adapter.contents.get(forged)


async def test_size_is_checked(adapter: Adapter) -> None:
    """A claim that makes its content smaller than it is does not get it past a size limit."""
    claim = await adapter.contents.put("m-1", b"content")
    with pytest.raises(InvalidEnvelope):
        await adapter.contents.get(msgspec.structs.replace(claim, size=1))


async def test_replaced_content_is_noticed(adapter: Adapter) -> None:
    """A claim on content that somebody replaced since is an error, not the other content."""
    claim = await adapter.contents.put("m-1", b"content")
    await adapter.contents.put("m-1", b"CONTENT")
    with pytest.raises(InvalidEnvelope):
        await adapter.contents.get(claim)


async def test_remove(adapter: Adapter) -> None:
    """Removing forgets this content only, and may be repeated."""
    claim = await adapter.contents.put("m-1", b"content")
    other = await adapter.contents.put("m-2", b"content")
    await adapter.contents.remove(claim)
    await adapter.contents.remove(claim)
    with pytest.raises(InvalidEnvelope):
        await adapter.contents.get(claim)
    assert await adapter.contents.get(other) == b"content"


async def test_names(adapter: Adapter) -> None:
    """What was stored before a moment is listed by its name; what is gone is not."""
    first = await adapter.contents.put("a.b.m ü.1", b"1")
    second = await adapter.contents.put("a.b.m-2", b"")
    later = adapter.clock.now() + timedelta(minutes=1)
    assert (await adapter.contents.names(before=later)).keys() == {"a.b.m ü.1", "a.b.m-2"}
    assert await adapter.contents.names(before=later - timedelta(minutes=10)) == {}
    await adapter.contents.remove(first)
    assert (await adapter.contents.names(before=later)).keys() == {"a.b.m-2"}
    await adapter.contents.remove(second)


async def test_forget(adapter: Adapter) -> None:
    """Content is forgotten by its revision, once; what is stored again meanwhile stays."""
    later = adapter.clock.now() + timedelta(minutes=1)
    claim = await adapter.contents.put("a.b", bytes(300_000))
    old = (await adapter.contents.names(before=later))["a.b"]
    await adapter.contents.put("a.b", bytes(300_000))
    assert not await adapter.contents.forget("a.b", revision=old)
    assert await adapter.contents.get(claim) == bytes(300_000)
    (new,) = (await adapter.contents.names(before=later)).values()
    assert await adapter.contents.forget("a.b", revision=new)
    assert not await adapter.contents.forget("a.b", revision=new)
    with pytest.raises(InvalidEnvelope):
        await adapter.contents.get(claim)
    assert await adapter.contents.names(before=later) == {}


async def test_forget_while_it_is_stored_again(adapter: Adapter) -> None:
    """Whoever stores it again at this moment has it afterwards, whole."""
    later = adapter.clock.now() + timedelta(minutes=1)
    for _ in range(10):
        claim = await adapter.contents.put("a.b", bytes(300_000))
        revision = (await adapter.contents.names(before=later))["a.b"]
        await asyncio.gather(
            adapter.contents.forget("a.b", revision=revision),
            adapter.contents.put("a.b", bytes(300_000)),
        )
        assert await adapter.contents.get(claim) == bytes(300_000)
