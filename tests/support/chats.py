"""Makes running chats, and reads the events of their members."""

from typing import Any
from uuid import UUID

import msgspec

from curhat.kit.database import Database
from curhat.kit.identity import Identity
from tests.support.people import Make

OPEN_CHAT = """
WITH paired AS (
    INSERT INTO pairings (payment_id, customer_id, kind, status, deadline_at, decided_at)
    VALUES ($1, $2, 'blast', 'matched', curhat_now(), curhat_now())
    RETURNING id
), started AS (
    INSERT INTO sessions (payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial,
        started_at, ends_at)
    SELECT $1, id, $2, $3, $4, false, now, now + make_interval(mins => $4)
    FROM paired, (SELECT curhat_now() AS now OFFSET 0) AS moment
    RETURNING id, ends_at
), counted_session AS (
    UPDATE mitras SET active_sessions = active_sessions + 1 WHERE id = $3
), armed AS (
    INSERT INTO deadlines (kind, entity_id, due_at) SELECT 'session_end', id, ends_at FROM started
)
SELECT id FROM started
"""


class Chat(msgspec.Struct, frozen=True):
    """A running and paid chat with its two members."""

    id: UUID
    payment_id: UUID
    customer: Identity
    mitra: Identity


async def open_chat(
    database: Database,
    make: Make,
    *,
    minutes: int = 30,
    customer_id: UUID | None = None,
    mitra_id: UUID | None = None,
) -> Chat:
    """Open a running chat, arm the chat's deadline, and count the chat in the mitra's active sessions.

    Makes a new member if the caller gives no member.
    """
    customer_id = customer_id or await make.customer()
    mitra_id = mitra_id or await make.mitra(max_customers=20)
    payment_id = await make.confirmed_payment(customer_id, duration_minutes=minutes)
    session_id = await database.fetchval(OPEN_CHAT, payment_id, customer_id, mitra_id, minutes)
    await database.execute("UPDATE payments SET status = 'served' WHERE id = $1", payment_id)
    return Chat(
        id=session_id,
        payment_id=payment_id,
        customer=Identity(role="customer", user_id=customer_id),
        mitra=Identity(role="mitra", user_id=mitra_id),
    )


async def stream_events(database: Database, identity: Identity) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of this user's stream in order, as (type, data)."""
    rows = await database.fetch(
        "SELECT type, data FROM stream_events WHERE role = $1 AND user_id = $2 ORDER BY seq",
        identity.role,
        identity.user_id,
    )
    return [(row["type"], msgspec.json.decode(row["data"])) for row in rows]
