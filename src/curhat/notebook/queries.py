"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow

LOCK_TEXTS_OF: Final = """
SELECT FROM pg_advisory_xact_lock(hashtextextended('texts of ' || $1::text, 0))
"""


async def lock_texts_of(db: Executor, /, *, owner: str) -> None:
    """Take the advisory lock of this list or note for this transaction. A list without rows has no row to lock."""
    await db.execute(LOCK_TEXTS_OF, owner)


LIST_CANNED_ANSWERS: Final = """
SELECT text FROM canned_answers WHERE mitra_id = $1 ORDER BY position
"""


async def list_canned_answers(db: Executor, /, *, mitra_id: UUID) -> list[str]:
    """Read the mitra's canned answers in the mitra's order."""
    return [row[0] for row in await db.fetch(LIST_CANNED_ANSWERS, mitra_id)]


DELETE_CANNED_ANSWERS: Final = """
DELETE FROM canned_answers WHERE mitra_id = $1
"""


async def delete_canned_answers(db: Executor, /, *, mitra_id: UUID) -> None:
    await db.execute(DELETE_CANNED_ANSWERS, mitra_id)


INSERT_CANNED_ANSWERS: Final = """
INSERT INTO canned_answers (mitra_id, position, text)
SELECT $1, given.position, given.text FROM unnest($2::text[]) WITH ORDINALITY AS given (text, position)
"""


async def insert_canned_answers(db: Executor, /, *, mitra_id: UUID, texts: Sequence[str]) -> None:
    """Insert the texts in this order. The mitra has no canned answers any more."""
    await db.execute(INSERT_CANNED_ANSWERS, mitra_id, texts)


FIND_CUSTOMER_OF_SESSION: Final = """
SELECT sessions.customer_id
FROM sessions JOIN customers ON customers.id = sessions.customer_id
WHERE sessions.id = $1 AND sessions.mitra_id = $2 AND customers.deleted_at IS NULL
"""


async def find_customer_of_session(db: Executor, /, *, session_id: UUID, mitra_id: UUID) -> UUID | None:
    """Read the customer of this mitra's session. Returns no row if the session belongs to another mitra, or if the
    customer's account is deleted."""
    row = await db.fetchrow(FIND_CUSTOMER_OF_SESSION, session_id, mitra_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class NoteRow(msgspec.Struct, frozen=True):
    text: str
    updated_at: datetime


READ_NOTE: Final = """
SELECT text, updated_at FROM customer_notes WHERE customer_id = $1 AND mitra_id = $2
"""


async def read_note(db: Executor, /, *, customer_id: UUID, mitra_id: UUID) -> NoteRow | None:
    """Read the mitra's note about this customer. Returns no row if there is no note."""
    row = await db.fetchrow(READ_NOTE, customer_id, mitra_id)
    if row is None:
        return None
    return NoteRow(*row)


WRITE_NOTE: Final = """
INSERT INTO customer_notes (customer_id, mitra_id, text) VALUES ($1, $2, $3)
ON CONFLICT (customer_id, mitra_id) DO UPDATE SET text = excluded.text, updated_at = curhat_now()
RETURNING updated_at
"""


async def write_note(db: Executor, /, *, customer_id: UUID, mitra_id: UUID, text: str) -> datetime:
    """Insert or replace the mitra's note about this customer. Returns the time of the change."""
    row = await db.fetchrow(WRITE_NOTE, customer_id, mitra_id, text)
    if row is None:
        raise NoRow(WRITE_NOTE)
    value: datetime = row[0]
    return value


DELETE_NOTE: Final = """
DELETE FROM customer_notes WHERE customer_id = $1 AND mitra_id = $2
"""


async def delete_note(db: Executor, /, *, customer_id: UUID, mitra_id: UUID) -> None:
    await db.execute(DELETE_NOTE, customer_id, mitra_id)


DELETE_NOTES_OF: Final = """
DELETE FROM customer_notes WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
"""


async def delete_notes_of(db: Executor, /, *, user_id: UUID, role: str) -> None:
    """Delete the notes about a deleted customer, or those of a deleted mitra."""
    await db.execute(DELETE_NOTES_OF, user_id, role)
