"""Who is to see that somebody types: asked for every keystroke, so the answer is kept for a few seconds."""

import asyncio
from uuid import UUID

from curhat.kit.database import Database, load_queries
from curhat.kit.identity import Identity

SQL = load_queries(__file__)

# How long a typing signal can still get through after the session ended.
KEPT_SECONDS = 3.0
# Bounds memory; beyond it everything is forgotten and asked again.
KEPT_LIMIT = 10_000


class Counterparts:
    """The other side of a running session, as one process knows it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[Identity, UUID], tuple[float, Identity | None]] = {}

    async def of(self, identity: Identity, session_id: UUID) -> Identity | None:
        """The other side; None when this session is not this person's, or is over."""
        now = asyncio.get_running_loop().time()
        kept_until, counterpart = self._known.get((identity, session_id), (0.0, None))
        if now < kept_until:
            return counterpart
        counterpart = await self._look(identity, session_id)
        if len(self._known) >= KEPT_LIMIT:
            self._known.clear()
        self._known[identity, session_id] = (now + KEPT_SECONDS, counterpart)
        return counterpart

    async def _look(self, identity: Identity, session_id: UUID) -> Identity | None:
        row = await self._database.fetchrow(SQL.running_members, session_id)
        if row is None:
            return None
        customer = Identity(role="customer", user_id=row["customer_id"])
        mitra = Identity(role="mitra", user_id=row["mitra_id"])
        if identity == customer:
            return mitra
        return customer if identity == mitra else None
