"""Who is shown that a user types. The answer is cached for a few seconds, since clients signal typing often."""

import asyncio
from uuid import UUID

from curhat.kit.database import Database
from curhat.kit.identity import Identity
from curhat.sessions import queries

# Bounds how long a typing signal can still get through after the session ended.
CACHE_SECONDS = 3.0
# Bounds memory. Beyond it, the cache is cleared.
MAX_CACHED_ANSWERS = 10_000


class Counterparts:
    """The other members of running sessions, cached in one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[tuple[Identity, UUID], tuple[float, Identity | None]] = {}

    async def find(self, identity: Identity, session_id: UUID) -> Identity | None:
        """The other member of a running session. None: this user is not a member, or the session is over."""
        now = asyncio.get_running_loop().time()
        cached_until, counterpart = self._cached.get((identity, session_id), (0.0, None))
        if now < cached_until:
            return counterpart
        counterpart = await self._read(identity, session_id)
        if len(self._cached) >= MAX_CACHED_ANSWERS:
            self._cached.clear()
        self._cached[identity, session_id] = (now + CACHE_SECONDS, counterpart)
        return counterpart

    async def _read(self, identity: Identity, session_id: UUID) -> Identity | None:
        members = await queries.find_running_members(self._database, session_id=session_id)
        if members is None:
            return None
        customer = Identity(role="customer", user_id=members.customer_id)
        mitra = Identity(role="mitra", user_id=members.mitra_id)
        if identity == customer:
            return mitra
        return customer if identity == mitra else None
