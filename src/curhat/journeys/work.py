"""What a mitra has done: sums of a day, a week and a month, and the past requests (M.1)."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from curhat.journeys import queries
from curhat.journeys.queries import PastRequestRow, RequestCount, SessionCount
from curhat.journeys.schemas import PastRequest, RequestsOfPeriod, WorkOfPeriod, WorkSummary
from curhat.kit.database import Transaction
from curhat.kit.errors import invalid_field
from curhat.kit.page import PAGE_SIZE, Page
from curhat.kit.queries import read_clock
from curhat.pairing.states import decided_outcome

DEFAULT_ZONE: Final = "Asia/Jakarta"
MAX_ZONE_CHARACTERS: Final = 64
# Ids get their time from the clock of the machine, and the columns from curhat_now(). The two can differ.
_CLOCK_SLACK: Final = timedelta(days=1)
_AFTER_EVERY_ID: Final = UUID(int=2**128 - 1)


async def summary(tx: Transaction, mitra_id: UUID, zone_name: str | None) -> WorkSummary:
    """Return the mitra's work of today, this week and this month. Raises ValidationFailed for an unknown time zone."""
    zone_name = DEFAULT_ZONE if zone_name is None else zone_name
    zone = zone_of(zone_name)
    now = await read_clock(tx)
    since = period_starts(now, zone)
    first_id = first_id_at(min(since) - _CLOCK_SLACK)
    sessions = await queries.count_sessions_of_mitra(tx, mitra_id=mitra_id, first_id=first_id, since=since)
    requests = await queries.count_requests_of_mitra(tx, mitra_id=mitra_id, first_id=first_id, since=since)
    today, week, month = map(_work_of, since, sessions, requests)
    return WorkSummary(zone=zone_name, today=today, week=week, month=month, server_now=now)


async def past_requests(tx: Transaction, mitra_id: UUID, cursor: str | None) -> Page[PastRequest]:
    """Return a page of the mitra's past requests, newest first. Raises ValidationFailed for a malformed cursor."""
    rows = await queries.list_past_requests(
        tx, mitra_id=mitra_id, before_id=_id_of(cursor), max_requests=PAGE_SIZE + 1
    )
    next_cursor = None
    if len(rows) > PAGE_SIZE:
        next_cursor = base64.urlsafe_b64encode(rows[PAGE_SIZE - 1].id.bytes).decode().rstrip("=")
    return Page(items=[_past_request_from(row) for row in rows[:PAGE_SIZE]], next_cursor=next_cursor)


def period_starts(now: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """Return when today, this week and this month began in the zone. A week begins on Monday."""
    # An aware datetime keeps its wall clock in arithmetic. So a change of the clocks in between moves no midnight.
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    starts = (today, today - timedelta(days=today.weekday()), today.replace(day=1))
    return [start.astimezone(UTC) for start in starts]


def first_id_at(moment: datetime) -> UUID:
    """Return the smallest id (UUIDv7) of this millisecond."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises ValidationFailed."""
    try:
        if len(name) <= MAX_ZONE_CHARACTERS:
            return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        pass
    raise invalid_field("zone", "must be an IANA time zone, such as Asia/Makassar")


def _work_of(since: datetime, sessions: SessionCount, requests: RequestCount) -> WorkOfPeriod:
    return WorkOfPeriod(
        since=since,
        sessions=sessions.paid_sessions + sessions.trial_sessions,
        minutes=sessions.minutes,
        paid_sessions=sessions.paid_sessions,
        trial_sessions=sessions.trial_sessions,
        requests=RequestsOfPeriod(
            asked=requests.asked,
            accepted=requests.accepted,
            taken_by_another=requests.taken_by_another,
            not_answered=requests.not_answered,
            rejected=requests.rejected,
            withdrawn=requests.withdrawn,
        ),
    )


def _past_request_from(row: PastRequestRow) -> PastRequest:
    # The window of an undecided pairing is over, or the statement would have left its request out.
    outcome = decided_outcome(row.request_status, row.close_reason, row.pairing_status, row.failure_tag)
    return PastRequest(
        id=row.id,
        kind=row.kind,
        call_name=row.call_name,
        is_returning=row.is_returning,
        duration_minutes=row.duration_minutes,
        is_trial=row.is_trial,
        offered_at=row.offered_at,
        answered_at=row.answered_at,
        outcome=outcome or "timed_out",
        session_id=row.session_id,
    )


def _id_of(cursor: str | None) -> UUID:
    if cursor is None:
        return _AFTER_EVERY_ID
    try:
        return UUID(bytes=base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise invalid_field("cursor", "must be the next_cursor of a page") from None
