"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.transcripts.schemas import FoundGround
from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role

FIND_SESSION: Final = """
SELECT id FROM sessions WHERE id = $1
"""


async def find_session(db: Executor, /, *, session_id: UUID) -> UUID | None:
    """Returns no row if there is no such session."""
    row = await db.fetchrow(FIND_SESSION, session_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class ReadMessagesRow(msgspec.Struct, frozen=True):
    id: UUID
    sender: Role
    text: str
    sent_at: datetime
    read_at: datetime | None


READ_MESSAGES: Final = """
SELECT id, sender, text, sent_at, read_at FROM messages WHERE session_id = $1 ORDER BY id LIMIT $2
"""


async def read_messages(db: Executor, /, *, session_id: UUID, max_messages: int) -> list[ReadMessagesRow]:
    """Read the oldest messages of a session, at most @max_messages, oldest first."""
    return [ReadMessagesRow(*row) for row in await db.fetch(READ_MESSAGES, session_id, max_messages)]


class Ground(msgspec.Struct, frozen=True):
    kind: FoundGround
    id: UUID


LIST_GROUNDS: Final = """
SELECT kind, id FROM (
    SELECT reports.kind, reports.id FROM reports WHERE reports.session_id = $1
    UNION ALL
    SELECT 'case', review_cases.id FROM review_cases WHERE review_cases.payment_id IN (
        SELECT sessions.payment_id FROM sessions WHERE sessions.id = $1
        UNION ALL
        SELECT extensions.payment_id FROM extensions WHERE extensions.session_id = $1
    )
) AS found
ORDER BY kind DESC, id DESC
"""


async def list_grounds(db: Executor, /, *, session_id: UUID) -> list[Ground]:
    """Read the reports, concerns and review cases of the session, the newest of each kind first. A case belongs to the
    session's payment or to the payment of one of its extensions."""
    return [Ground(*row) for row in await db.fetch(LIST_GROUNDS, session_id)]


FIND_APPROVED_REQUEST: Final = """
SELECT id FROM transcript_requests
WHERE requested_by = $1 AND session_id = $2
    AND approved_at > curhat_now() - make_interval(secs => $3)
ORDER BY approved_at DESC LIMIT 1
"""


async def find_approved_request(
    db: Executor, /, *, operator_id: UUID, session_id: UUID, valid_seconds: float
) -> UUID | None:
    """Find the operator's request to read this chat that another operator approved within the last @valid_seconds."""
    row = await db.fetchrow(FIND_APPROVED_REQUEST, operator_id, session_id, valid_seconds)
    if row is None:
        return None
    value: UUID = row[0]
    return value


INSERT_TRANSCRIPT_REQUEST: Final = """
INSERT INTO transcript_requests (session_id, requested_by, reason) VALUES ($1, $2, $3)
ON CONFLICT (session_id, requested_by) WHERE approved_by IS NULL
DO UPDATE SET reason = excluded.reason, requested_at = excluded.requested_at
RETURNING id
"""


async def insert_transcript_request(
    db: Executor, /, *, session_id: UUID, operator_id: UUID, reason: str
) -> UUID:
    """Ask for an approval. A request of the same operator that waits already gets the new reason and time."""
    row = await db.fetchrow(INSERT_TRANSCRIPT_REQUEST, session_id, operator_id, reason)
    if row is None:
        raise NoRow(INSERT_TRANSCRIPT_REQUEST)
    value: UUID = row[0]
    return value


class LockedTranscriptRequest(msgspec.Struct, frozen=True):
    session_id: UUID
    requested_by: UUID
    approved_by: UUID | None


LOCK_TRANSCRIPT_REQUEST: Final = """
SELECT session_id, requested_by, approved_by FROM transcript_requests
WHERE id = $1
    AND (approved_by IS NOT NULL OR requested_at > curhat_now() - make_interval(secs => $2))
FOR NO KEY UPDATE
"""


async def lock_transcript_request(
    db: Executor, /, *, request_id: UUID, waits_seconds: float
) -> LockedTranscriptRequest | None:
    """Lock the request. Returns no row if it does not exist, or waited longer than @waits_seconds without an approval."""
    row = await db.fetchrow(LOCK_TRANSCRIPT_REQUEST, request_id, waits_seconds)
    if row is None:
        return None
    return LockedTranscriptRequest(*row)


APPROVE_TRANSCRIPT_REQUEST: Final = """
UPDATE transcript_requests SET approved_by = $1, approved_at = curhat_now()
WHERE id = $2 AND approved_by IS NULL
"""


async def approve_transcript_request(db: Executor, /, *, operator_id: UUID, request_id: UUID) -> int:
    """Approve the request (waiting → approved)."""
    return rows_changed(await db.execute(APPROVE_TRANSCRIPT_REQUEST, operator_id, request_id))


class TranscriptRequestRow(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID
    reason: str
    requested_by: UUID
    requested_by_email: str
    requested_at: datetime
    approved_by: UUID | None
    approved_by_email: str | None
    approved_at: datetime | None


LIST_TRANSCRIPT_REQUESTS: Final = """
SELECT requests.id, requests.session_id, requests.reason, requests.requested_by, requester.email AS requested_by_email,
    requests.requested_at, requests.approved_by, approver.email AS approved_by_email, requests.approved_at
FROM transcript_requests AS requests
JOIN operators AS requester ON requester.id = requests.requested_by
LEFT JOIN operators AS approver ON approver.id = requests.approved_by
WHERE requests.id = ANY ($1::uuid[])
    OR $1 IS NULL AND (
        requests.approved_by IS NULL AND requests.requested_at > curhat_now() - make_interval(secs => $2)
        OR requests.approved_at > curhat_now() - make_interval(secs => $3)
    )
ORDER BY requests.requested_at DESC, requests.id DESC
LIMIT $4
"""


async def list_transcript_requests(
    db: Executor,
    /,
    *,
    ids: Sequence[UUID] | None,
    waits_seconds: float,
    valid_seconds: float,
    max_requests: int,
) -> list[TranscriptRequestRow]:
    """Read the requests, newest first: those that wait, and those approved within the last @valid_seconds."""
    return [
        TranscriptRequestRow(*row)
        for row in await db.fetch(LIST_TRANSCRIPT_REQUESTS, ids, waits_seconds, valid_seconds, max_requests)
    ]
