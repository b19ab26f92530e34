"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role
from curhat.privacy.export.schemas import OpeningReason
from curhat.safety.ratings.states import RatingAnswer, RatingTag
from curhat.safety.reports.states import OwnReportStatus, ReportReason

LOCK_EXPORTS_OF: Final = """
SELECT FROM pg_advisory_xact_lock(hashtextextended('exports of ' || $1::text || ' ' || $2::uuid, 0))
"""


async def lock_exports_of(db: Executor, /, *, role: Role, user_id: UUID) -> None:
    """Take the advisory lock of this person's exports for this transaction, so that the count of the day is exact."""
    await db.execute(LOCK_EXPORTS_OF, role, user_id)


FIND_EXPORT_WAIT: Final = """
SELECT extract(epoch FROM newest.begun_at + interval '24 hours' - curhat_now())::float8 AS wait_seconds
FROM (
    SELECT begun_at FROM exports
    WHERE user_id = $1 AND role = $2 AND begun_at > curhat_now() - interval '24 hours'
    ORDER BY begun_at DESC OFFSET $3::integer - 1 LIMIT 1
) AS newest
"""


async def find_export_wait(db: Executor, /, *, user_id: UUID, role: Role, max_exports: int) -> float | None:
    """Read the seconds until this person can begin another export. Returns no row if the person can begin one now."""
    row = await db.fetchrow(FIND_EXPORT_WAIT, user_id, role, max_exports)
    if row is None:
        return None
    value: float = row[0]
    return value


INSERT_EXPORT: Final = """
INSERT INTO exports (role, user_id) VALUES ($1, $2) RETURNING begun_at
"""


async def insert_export(db: Executor, /, *, role: Role, user_id: UUID) -> datetime:
    """Count an export. Returns the time."""
    row = await db.fetchrow(INSERT_EXPORT, role, user_id)
    if row is None:
        raise NoRow(INSERT_EXPORT)
    value: datetime = row[0]
    return value


PRUNE_EXPORTS: Final = """
DELETE FROM exports WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM exports WHERE begun_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY begun_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_exports(db: Executor, /, *, max_rows: int) -> int:
    """Delete at most @max_rows exports that began more than a day ago, oldest first."""
    return rows_changed(await db.execute(PRUNE_EXPORTS, max_rows))


IS_SIGNED_IN: Final = """
SELECT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE digest = $1 AND role = $2 AND user_id = $3
        AND revoked_at IS NULL AND expires_at > curhat_now()
) AS is_signed_in
"""


async def is_signed_in(db: Executor, /, *, digest: bytes, role: Role, user_id: UUID) -> bool:
    """Return whether this token of this person is still valid."""
    row = await db.fetchrow(IS_SIGNED_IN, digest, role, user_id)
    if row is None:
        raise NoRow(IS_SIGNED_IN)
    value: bool = row[0]
    return value


class ProfileRow(msgspec.Struct, frozen=True):
    phone_number: str
    name: str
    member_since: datetime


FIND_PROFILE: Final = """
SELECT people.phone_number, coalesce(customers.call_name, mitras.display_name) AS name,
    coalesce(customers.created_at, mitras.created_at) AS member_since
FROM people
LEFT JOIN customers ON customers.id = people.id AND $1::text = 'customer'
LEFT JOIN mitras ON mitras.id = people.id AND $1 = 'mitra'
WHERE people.id = $2
"""


async def find_profile(db: Executor, /, *, role: Role, user_id: UUID) -> ProfileRow:
    """Read this person's account in one role."""
    row = await db.fetchrow(FIND_PROFILE, role, user_id)
    if row is None:
        raise NoRow(FIND_PROFILE)
    return ProfileRow(*row)


class OwnReportRow(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID
    reason: ReportReason
    note: str | None
    created_at: datetime
    report_status: OwnReportStatus


LIST_OWN_REPORTS: Final = """
SELECT id, session_id, reason, note, created_at, CASE
    WHEN status IN ('open', 'awaiting_approval') THEN 'received'
    WHEN decision = 'no_action' OR appeal_decision = 'overturned' THEN 'no_violation'
    ELSE 'acted'
END AS report_status
FROM reports
WHERE CASE $1::text WHEN 'customer' THEN customer_id ELSE mitra_id END = $2
    AND reporter = $1 AND kind = 'report' AND id > $3
ORDER BY id LIMIT $4
"""


async def list_own_reports(
    db: Executor, /, *, role: Role, user_id: UUID, after_id: UUID, max_reports: int
) -> list[OwnReportRow]:
    """Read the oldest reports that this person has made, after the report @after_id."""
    return [
        OwnReportRow(*row) for row in await db.fetch(LIST_OWN_REPORTS, role, user_id, after_id, max_reports)
    ]


class RatingRow(msgspec.Struct, frozen=True):
    session_id: UUID
    answer: RatingAnswer
    tags: list[RatingTag]
    rated_at: datetime


LIST_RATINGS: Final = """
SELECT session_id, answer, tags, rated_at FROM ratings
WHERE session_id = ANY ($1::uuid[]) AND customer_id = $2
"""


async def list_ratings(db: Executor, /, *, session_ids: Sequence[UUID], customer_id: UUID) -> list[RatingRow]:
    """Read this customer's ratings of these sessions."""
    return [RatingRow(*row) for row in await db.fetch(LIST_RATINGS, session_ids, customer_id)]


class OpeningRow(msgspec.Struct, frozen=True):
    session_id: UUID
    opened_at: datetime
    why: OpeningReason


LIST_OPENINGS: Final = """
WITH concerned AS MATERIALIZED (
    SELECT sessions.id FROM sessions
    WHERE sessions.id = ANY ($1::uuid[])
        AND NOT EXISTS (SELECT 1 FROM reports WHERE reports.session_id = sessions.id AND reports.status <> 'decided')
        AND NOT EXISTS (
            SELECT 1 FROM review_cases
            WHERE review_cases.payment_id IN (
                SELECT sessions.payment_id
                UNION ALL
                SELECT extensions.payment_id FROM extensions WHERE extensions.session_id = sessions.id
            ) AND (review_cases.status = 'open' OR review_cases.needs_approval AND review_cases.approved_by IS NULL)
        )
)
SELECT opened.session_id, opened.opened_at, opened.why
FROM (
    SELECT concerned.id AS session_id, audit_entries.occurred_at AS opened_at,
        CASE substring(audit_entries.new_value FROM '^[a-z_]+')
            WHEN 'report' THEN 'safety' WHEN 'concern' THEN 'safety' WHEN 'case' THEN 'payment' ELSE 'other'
        END AS why
    FROM concerned JOIN audit_entries ON audit_entries.subject_id = concerned.id::text
    WHERE audit_entries.subject = 'session' AND audit_entries.action = 'transcript_revealed'
    UNION ALL
    SELECT concerned.id, audit_entries.occurred_at, 'safety'
    FROM concerned
    JOIN reports ON reports.session_id = concerned.id
    JOIN audit_entries ON audit_entries.subject_id = reports.id::text
    WHERE audit_entries.subject = 'report' AND audit_entries.action = 'report_opened'
) AS opened
ORDER BY opened.opened_at
"""


async def list_openings(db: Executor, /, *, session_ids: Sequence[UUID]) -> list[OpeningRow]:
    """Read when and why operators read the chats of these sessions, whole or in a report. While a report about the session
    or a case of its payments waits for a decision, its openings are left out. `why` never says who reported what:
    `safety` stands for reports and concerns of both sides. An audit entry of a whole chat begins with its ground."""
    return [OpeningRow(*row) for row in await db.fetch(LIST_OPENINGS, session_ids)]
