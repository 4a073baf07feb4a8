"""The registry, attempts and large content, as the engine wants them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import urlsafe_b64encode
from datetime import datetime

import msgspec
from nats.errors import Error as NatsError
from nats.js.api import ObjectInfo
from nats.js.errors import BadObjectMetaError, DigestMismatchError, NotFoundError
from nats.js.object_store import ObjectStore

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Claim
from caxton_nats.core.errors import InvalidEnvelope, StreamMissing
from caxton_nats.core.identifiers import AgentId, agent_from_token, agent_token, token, untoken
from caxton_nats.core.registry import Registration, Registry
from caxton_nats.core.remote import RouteInfo, Routes
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.tasks import heeding_cancellation

# The name of an object becomes a token of subjects, and a line of more than 4,096 bytes ends the
# connection; longer names, which any client may claim, are known to the store by digest.
_MAX_OBJECT_NAME = 1_024
_CONTENT_STREAM = f"OBJ_{subjects.CONTENT_BUCKET}"
_NUID = re.compile("[A-Za-z0-9_-]{1,64}")


class _RegistryMirror:
    """Carries the bucket's changes, which speak of keys, into the registry."""

    def __init__(self, registry: Registry, platform: str) -> None:
        self._platform = platform
        self.replace = registry.replace
        self.put = registry.put
        self._remove = registry.remove

    def forget(self, key: str) -> None:
        self._remove(agent_from_token(key, self._platform))


class KvRegistryStore:
    """Registrations in the bucket caxton-agents, one key per agent."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, platform: str
    ) -> None:
        self._bucket = Bucket(connection, publisher, subjects.AGENTS_BUCKET, Registration)
        self._platform = platform

    async def save(self, registration: Registration, *, revision: int | None) -> int:
        """Write it if the stored revision is still this."""
        key = agent_token(registration.agent)
        return await self._bucket.save(key, registration, revision=revision)

    async def load(self, agent: AgentId) -> tuple[Registration, int] | None:
        """Return the registration and its revision."""
        return await self._bucket.load(agent_token(agent))

    async def remove(self, agent: AgentId) -> int:
        """Remove the registration; return the revision of that, 0 if there was none."""
        return await self._bucket.remove(agent_token(agent))

    async def has_left(self, agent: AgentId) -> bool:
        """Return whether the agent was registered once: its removal leaves a marker."""
        return await self._bucket.was_removed(agent_token(agent))

    async def follow(self, registry: Registry) -> None:
        """Keep ``registry`` equal to the bucket; returns when the first complete state is in."""

        def reached(revision: int) -> None:
            registry.revision = revision

        await self._bucket.follow(_RegistryMirror(registry, self._platform), reached=reached)

    async def caught_up(self, revision: int = 0) -> int:
        """Return when the registry has this write and misses no change."""
        return await self._bucket.caught_up(revision)

    async def behind(self) -> int:
        """Return how many changes of the bucket the registry has not seen."""
        return await self._bucket.behind()

    async def stop(self) -> None:
        """End the watch."""
        await self._bucket.stop()


class _RoutesMirror:
    """Carries the bucket's changes, which speak of keys, into the routes."""

    def __init__(self, routes: Routes) -> None:
        self.replace = routes.replace
        self.put = routes.put
        self._remove = routes.remove

    def forget(self, key: str) -> None:
        self._remove(AgentId(untoken(key)))


class KvRouteStore:
    """Routes in the bucket caxton-routes, one key per agent or platform."""

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.ROUTES_BUCKET, RouteInfo)

    async def save(self, route: RouteInfo, *, revision: int | None) -> int:
        """Write it if the stored revision is still this."""
        return await self._bucket.save(token(route.agent), route, revision=revision)

    async def load(self, agent: AgentId) -> tuple[RouteInfo, int] | None:
        """Return the route and its revision."""
        return await self._bucket.load(token(agent))

    async def remove(self, agent: AgentId) -> bool:
        """Remove the route; False if there was none."""
        return bool(await self._bucket.remove(token(agent)))

    async def follow(self, routes: Routes) -> None:
        """Keep ``routes`` equal to the bucket; returns when the first complete state is in."""
        await self._bucket.follow(_RoutesMirror(routes))

    async def stop(self) -> None:
        """End the watch."""
        await self._bucket.stop()


class KvAttempts:
    """Attempts on record in the bucket caxton-attempts, for as long as that keeps them."""

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.ATTEMPTS_BUCKET, int)

    async def recorded(self, origin: Origin) -> int:
        """Return the attempts on record; 0 if there is no record."""
        found = await self._bucket.load(origin.key)
        return found[0] if found else 0

    async def record(self, origin: Origin, attempts: int) -> None:
        """Put this number on record."""
        await self._bucket.put(origin.key, attempts)


class ObjectContentStore:
    """Large content in the object store caxton-content."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._store: ObjectStore | None = None

    async def put(self, name: str, content: bytes) -> Claim:
        """Store the content under the name."""
        try:
            with heeding_cancellation():
                await (await self._open()).put(_object_name(name), content)
        except (NatsError, TimeoutError) as error:
            raise translate(error, f"storing content {name}") from None
        return Claim(name, len(content), hashlib.sha256(content).hexdigest())

    async def get(self, claim: Claim) -> bytes:
        """Return the content, checked against the claim's size and digest.

        Anybody may have made the object: one that is not whole would be waited for for ever, a
        large one read before it turns out not to be what the claim says.
        """
        name = _object_name(claim.object)
        try:
            with heeding_cancellation():
                store = await self._open()
                info = await store.get_info(name)
                if not _as_claimed(info, claim) or not await self._is_whole(info):
                    raise _mismatch(claim)
                async with asyncio.timeout(self._connection.timeout):
                    found = await store.get(name)
        except NotFoundError:
            raise InvalidEnvelope(
                "no content is stored under this name",
                field="claim",
                value=ascii(claim.object[:60]),
            ) from None
        except (BadObjectMetaError, DigestMismatchError):
            raise _mismatch(claim) from None
        except (NatsError, TimeoutError) as error:
            raise translate(error, f"reading content {claim.object[:60]!a}") from None
        content = bytes(found.data or b"")
        if hashlib.sha256(content).hexdigest() != claim.sha256:
            raise _mismatch(claim)
        return content

    async def _is_whole(self, info: ObjectInfo) -> bool:
        subject = f"$O.{subjects.CONTENT_BUCKET}.C.{info.nuid}"
        answer = await self._connection.api(
            f"STREAM.INFO.{_CONTENT_STREAM}", {"subjects_filter": subject}
        )
        stored = (answer["state"].get("subjects") or {}).get(subject, 0)
        return bool(stored == (info.chunks or 0))

    async def remove(self, claim: Claim) -> None:
        """Forget the content; nothing happens if it is gone."""
        stored_as = _object_name(claim.object)
        try:
            with heeding_cancellation():
                await (await self._open()).delete(stored_as)
        except NotFoundError:
            return
        except (NatsError, TimeoutError) as error:
            raise translate(error, f"removing content {claim.object}") from None
        # What is left is a note that there was an object of this name: one for each, for ever.
        await self._connection.api(
            f"STREAM.PURGE.{_CONTENT_STREAM}",
            {"filter": f"$O.{subjects.CONTENT_BUCKET}.M.{_encoded(stored_as)}"},
        )

    async def names(self, *, before: datetime) -> dict[str, int]:
        """Return what was last stored before this moment; foreign objects are left out."""
        found: dict[str, int] = {}
        subject = f"$O.{subjects.CONTENT_BUCKET}.M.*"
        async for page in direct.pages(self._connection, _CONTENT_STREAM, subject, 1):
            for record in page:
                info = _object_info(record)
                is_idle = info is not None and record.stored_at < before
                if is_idle and info is not None and not info.name.startswith("=h"):
                    found[info.name] = record.sequence
        return found

    async def forget(self, name: str, *, revision: int) -> bool:
        """Forget the content unless something was stored under its name since.

        The note about the object goes by its place in the stream, and a later one has another:
        whoever stores the same again at this moment keeps what he has stored.
        """
        subject = f"$O.{subjects.CONTENT_BUCKET}.M.{_encoded(name)}"
        record = await direct.last_of_leader(self._connection, _CONTENT_STREAM, subject)
        info = None if record is None else _object_info(record)
        if record is None or info is None or record.sequence != revision:
            return False
        try:
            await self._connection.api(
                f"STREAM.MSG.DELETE.{_CONTENT_STREAM}", {"seq": revision, "no_erase": True}
            )
        except StreamMissing:
            return False
        await self._connection.api(
            f"STREAM.PURGE.{_CONTENT_STREAM}",
            {"filter": f"$O.{subjects.CONTENT_BUCKET}.C.{info.nuid}"},
        )
        return True

    async def _open(self) -> ObjectStore:
        if self._store is None:
            js = self._connection.client.jetstream(timeout=self._connection.timeout)
            self._store = await js.object_store(subjects.CONTENT_BUCKET)
        return self._store


def _as_claimed(info: ObjectInfo, claim: Claim) -> bool:
    """Return whether the object is what the claim says, and no link to another one."""
    algorithm, _, digest = str(info.digest).partition("=")
    try:
        claimed = urlsafe_b64encode(bytes.fromhex(claim.sha256)).decode("ascii")
    except ValueError:
        return False
    return (
        info.size == claim.size
        and not info.is_link()
        and _NUID.fullmatch(str(info.nuid)) is not None
        and (algorithm.upper(), digest) == ("SHA-256", claimed)
    )


def _mismatch(claim: Claim) -> InvalidEnvelope:
    return InvalidEnvelope(
        "the stored content is not what the claim says",
        field="claim",
        value=ascii(claim.object[:60]),
        hint="upload it again, and then send the message",
    )


class _Object(msgspec.Struct):
    name: str
    nuid: str
    deleted: bool = False


def _object_info(record: direct.Record) -> _Object | None:
    try:
        info = msgspec.json.decode(record.body, type=_Object)
    except msgspec.MsgspecError:
        return None
    is_ours = not info.deleted and _NUID.fullmatch(info.nuid) is not None
    return info if is_ours and record.subject.endswith(f".{_encoded(info.name)}") else None


def _encoded(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode("ascii")


def _object_name(name: str) -> str:
    raw = name.encode()
    return name if len(raw) <= _MAX_OBJECT_NAME else "=h" + hashlib.sha256(raw).hexdigest()
