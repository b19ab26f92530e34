"""Finds the other member of a session, who gets the typing signals.

Typing signals are frequent, so this module caches the answers.
"""

import asyncio
from uuid import UUID

from curhat.kit.database import Database
from curhat.kit.identity import Identity
from curhat.sessions import queries

# Limits how long after the end of a session a typing signal can still be shown.
CACHE_SECONDS = 3.0
# Limits memory. A full cache is cleared.
MAX_CACHED_ANSWERS = 10_000


class Counterparts:
    """The other members of running sessions, cached in one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[tuple[Identity, UUID], tuple[float, Identity | None]] = {}

    async def find(self, identity: Identity, session_id: UUID) -> Identity | None:
        """Return the other member. Return None if the user is not a member, or if the session is over."""
        now = asyncio.get_running_loop().time()
        cached_until, counterpart = self._cached.get((identity, session_id), (0.0, None))
        if now < cached_until:
            return counterpart
        members = await queries.find_running_members(self._database, session_id=session_id)
        counterpart = None
        if members is not None:
            customer = Identity(role="customer", user_id=members.customer_id)
            mitra = Identity(role="mitra", user_id=members.mitra_id)
            counterpart = {customer: mitra, mitra: customer}.get(identity)
        if len(self._cached) >= MAX_CACHED_ANSWERS:
            self._cached.clear()
        self._cached[identity, session_id] = (now + CACHE_SECONDS, counterpart)
        return counterpart
