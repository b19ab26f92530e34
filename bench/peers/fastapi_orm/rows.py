"""Creates the peer's tables, and copies our rows into these tables."""

from typing import Final

from sqlalchemy.ext.asyncio import create_async_engine

from bench.harness.testbed import Connection
from bench.peers.fastapi_orm.models import Base

_COPY: Final = """
INSERT INTO peer.customers (id, call_name) SELECT id, call_name FROM customers ON CONFLICT DO NOTHING;
INSERT INTO peer.mitras (id, display_name, max_customers, online, active_sessions)
SELECT id, display_name, max_customers, online, 0 FROM mitras ON CONFLICT DO NOTHING;
INSERT INTO peer.access_tokens (digest, mitra_id, expires_at)
SELECT digest, user_id, expires_at FROM access_tokens WHERE role = 'mitra' ON CONFLICT DO NOTHING;
INSERT INTO peer.payments (id, customer_id, status, duration_minutes, amount_rp, created_at, expires_at)
SELECT id, customer_id, status, duration_minutes, amount_rp, created_at, expires_at FROM payments
WHERE status = 'confirmed' ON CONFLICT DO NOTHING;
INSERT INTO peer.pairings (id, payment_id, status, kind, deadline_at)
SELECT id, payment_id, status, kind, deadline_at FROM pairings WHERE status = 'open' ON CONFLICT DO NOTHING;
INSERT INTO peer.requests (id, pairing_id, mitra_id, status)
SELECT id, pairing_id, mitra_id, status FROM requests WHERE status = 'offered' ON CONFLICT DO NOTHING;
INSERT INTO peer.deadlines (kind, entity_id, due_at)
SELECT kind, entity_id, due_at FROM deadlines WHERE kind = 'pairing_window' ON CONFLICT DO NOTHING;
"""


def sqlalchemy_url(url: str) -> str:
    """Return the address of a database in SQLAlchemy's form."""
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


async def make(connection: Connection, url: str) -> None:
    """Create the peer's tables, and copy the rows of our open journeys into these tables."""
    engine = create_async_engine(sqlalchemy_url(url))
    await connection.execute("CREATE SCHEMA peer")
    async with engine.begin() as made:
        await made.run_sync(Base.metadata.create_all)
    await engine.dispose()
    await connection.execute(_COPY)
