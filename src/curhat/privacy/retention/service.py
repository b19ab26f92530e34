"""Deletes the reports, notices and ratings that are over their time, and reads what is late. Functions never commit."""

from typing import Final

from curhat.accounts.service import KNOWN_DEVICE_SECONDS
from curhat.kit.database import Executor, Transaction
from curhat.privacy.retention import queries
from curhat.privacy.retention.classes import TIMED_CLASSES, TimedClass
from curhat.sessions import service as sessions

# How long reports, notices and ratings are kept (P.7).
REPORTS_KEPT_MONTHS: Final = 24
# An operator must take the last step of a report within this time.
MAX_DUE_DAYS: Final = 7
MAX_ROWS_PER_PRUNE: Final = 10_000


async def prune_notices(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete notices that are older than REPORTS_KEPT_MONTHS. Returns the number of deleted notices."""
    return await queries.prune_notices(tx, months=REPORTS_KEPT_MONTHS, max_rows=max_rows)


async def prune_reports(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete reports whose last step was done REPORTS_KEPT_MONTHS ago. Returns the number of deleted reports."""
    return await queries.prune_reports(
        tx, months=REPORTS_KEPT_MONTHS, max_due_days=MAX_DUE_DAYS, max_rows=max_rows
    )


async def prune_ratings(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete ratings that are older than REPORTS_KEPT_MONTHS. Returns the number of deleted ratings."""
    return await queries.prune_ratings(tx, months=REPORTS_KEPT_MONTHS, max_rows=max_rows)


async def read_overdue(db: Executor) -> dict[TimedClass, float]:
    """Return by how many seconds the oldest row of each class is over its time, or 0 if no row is over its time."""
    rows = await queries.list_overdue(
        db, months=REPORTS_KEPT_MONTHS, known_device_seconds=KNOWN_DEVICE_SECONDS
    )
    found = {row.data_class: row.overdue_seconds for row in rows}
    found["chat text"] = await sessions.read_overdue_text(db)
    return {name: max(0.0, found.get(name) or 0.0) for name in TIMED_CLASSES}
