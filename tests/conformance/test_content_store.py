"""What every `ContentStore` promises."""

from __future__ import annotations

import asyncio
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
