"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.safety.ratings.states import RatingAnswer, RatingTag


class RatingRow(msgspec.Struct, frozen=True):
    session_id: UUID
    answer: RatingAnswer
    tags: list[RatingTag]
    rated_at: datetime


WRITE_RATING: Final = """
WITH moment AS MATERIALIZED (SELECT curhat_now() AS now)
INSERT INTO ratings (session_id, customer_id, mitra_id, session_ended_at, answer, tags, rated_at)
SELECT sessions.id, sessions.customer_id, sessions.mitra_id, sessions.ended_at, $1, $2::text[], moment.now
FROM sessions, moment
WHERE sessions.id = $3 AND sessions.customer_id = $4 AND sessions.status = 'ended'
    AND moment.now < sessions.ended_at + make_interval(days => $5)
    AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'customer')
    AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'mitra')
ON CONFLICT (session_id) DO UPDATE SET answer = excluded.answer, tags = excluded.tags,
    rated_at = CASE WHEN (ratings.answer, ratings.tags) = (excluded.answer, excluded.tags) THEN ratings.rated_at
        ELSE excluded.rated_at END
RETURNING session_id, answer, tags, rated_at
"""


async def write_rating(
    db: Executor,
    /,
    *,
    answer: RatingAnswer,
    tags: Sequence[RatingTag],
    session_id: UUID,
    customer_id: UUID,
    rating_days: int,
) -> RatingRow | None:
    """Insert or replace the customer's rating of an own session. The same answer again changes nothing. Returns no row if the
    session cannot be rated: it is another customer's, it runs, it ended 7 days ago, or one side wrote nothing."""
    row = await db.fetchrow(WRITE_RATING, answer, tags, session_id, customer_id, rating_days)
    if row is None:
        return None
    return RatingRow(*row)


IS_SESSION_OF_CUSTOMER: Final = """
SELECT EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND customer_id = $2) AS is_own
"""


async def is_session_of_customer(db: Executor, /, *, session_id: UUID, customer_id: UUID) -> bool:
    row = await db.fetchrow(IS_SESSION_OF_CUSTOMER, session_id, customer_id)
    if row is None:
        raise NoRow(IS_SESSION_OF_CUSTOMER)
    value: bool = row[0]
    return value


READ_RATING: Final = """
SELECT session_id, answer, tags, rated_at FROM ratings WHERE session_id = $1
"""


async def read_rating(db: Executor, /, *, session_id: UUID) -> RatingRow | None:
    """Read the rating of a session."""
    row = await db.fetchrow(READ_RATING, session_id)
    if row is None:
        return None
    return RatingRow(*row)


class RatingClosing(msgspec.Struct, frozen=True):
    server_now: datetime
    closes_at: datetime | None


READ_CLOSING: Final = """
SELECT moment.now AS server_now, CASE
    WHEN sessions.status = 'ended' AND moment.now < sessions.ended_at + make_interval(days => $1)
        AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'customer')
        AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'mitra')
    THEN sessions.ended_at + make_interval(days => $1)
END AS closes_at
FROM sessions, (SELECT curhat_now() AS now) AS moment
WHERE sessions.id = $2 AND sessions.customer_id = $3
"""


async def read_closing(
    db: Executor, /, *, rating_days: int, session_id: UUID, customer_id: UUID
) -> RatingClosing | None:
    """Read until when this customer can rate the session. `closes_at` is null if the session cannot be rated now. Returns no
    row if the session is not this customer's."""
    row = await db.fetchrow(READ_CLOSING, rating_days, session_id, customer_id)
    if row is None:
        return None
    return RatingClosing(*row)


READ_NEXT_BEGINNING: Final = """
SELECT coalesce(
    (SELECT max(ends_on) FROM rating_sums WHERE mitra_id = $1),
    date_trunc('week', (
        SELECT started_at FROM sessions WHERE mitra_id = $1 ORDER BY id LIMIT 1
    ) AT TIME ZONE $2::text)::date
) AS begins_on
"""


async def read_next_beginning(db: Executor, /, *, mitra_id: UUID, zone: str) -> date | None:
    """Read where the mitra's next sum begins: at the end of the last sum, or else in the week of the mitra's first session.
    Null: the mitra had no session."""
    row = await db.fetchrow(READ_NEXT_BEGINNING, mitra_id, zone)
    if row is None:
        raise NoRow(READ_NEXT_BEGINNING)
    value: date | None = row[0]
    return value


class RatingToSum(msgspec.Struct, frozen=True):
    monday: date
    customer_id: UUID
    answer: RatingAnswer


LIST_RATINGS_TO_SUM: Final = """
SELECT date_trunc('week', rated_at AT TIME ZONE $1::text)::date AS monday, customer_id, answer
FROM ratings
WHERE mitra_id = $2 AND rated_at >= $3::date::timestamp AT TIME ZONE $1::text
    AND rated_at < $4::date::timestamp AT TIME ZONE $1::text
ORDER BY rated_at LIMIT $5
"""


async def list_ratings_to_sum(
    db: Executor, /, *, zone: str, mitra_id: UUID, begins_on: date, ends_on: date, max_ratings: int
) -> list[RatingToSum]:
    """Read the mitra's ratings of the weeks from @begins_on to the one before @ends_on, in the order of the weeks."""
    return [
        RatingToSum(*row)
        for row in await db.fetch(LIST_RATINGS_TO_SUM, zone, mitra_id, begins_on, ends_on, max_ratings)
    ]


INSERT_SUM: Final = """
INSERT INTO rating_sums (mitra_id, begins_on, ends_on, helpful, neutral, uncomfortable, customers)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (mitra_id, begins_on) DO NOTHING
"""


async def insert_sum(
    db: Executor,
    /,
    *,
    mitra_id: UUID,
    begins_on: date,
    ends_on: date,
    helpful: int,
    neutral: int,
    uncomfortable: int,
    customers: int,
) -> int:
    """Insert a sum. Inserts nothing if a concurrent transaction has inserted a sum with the same beginning."""
    return rows_changed(
        await db.execute(INSERT_SUM, mitra_id, begins_on, ends_on, helpful, neutral, uncomfortable, customers)
    )


class SumRow(msgspec.Struct, frozen=True):
    begins_on: date
    ends_on: date
    helpful: int
    neutral: int
    uncomfortable: int


LIST_SUMS: Final = """
SELECT begins_on, ends_on, helpful, neutral, uncomfortable FROM rating_sums
WHERE mitra_id = $1 ORDER BY begins_on DESC LIMIT $2
"""


async def list_sums(db: Executor, /, *, mitra_id: UUID, max_sums: int) -> list[SumRow]:
    """Read the mitra's newest sums."""
    return [SumRow(*row) for row in await db.fetch(LIST_SUMS, mitra_id, max_sums)]


class RatingCount(msgspec.Struct, frozen=True):
    answer: RatingAnswer
    tags: list[RatingTag]
    ratings: int


COUNT_RATINGS_OF_MITRA: Final = """
SELECT answer, tags, count(*)::integer AS ratings FROM ratings WHERE mitra_id = $1 GROUP BY answer, tags
"""


async def count_ratings_of_mitra(db: Executor, /, *, mitra_id: UUID) -> list[RatingCount]:
    """Count the ratings of the mitra's sessions by their answers and tags."""
    return [RatingCount(*row) for row in await db.fetch(COUNT_RATINGS_OF_MITRA, mitra_id)]


COUNT_RATINGS_BY_CUSTOMER: Final = """
SELECT answer, tags, count(*)::integer AS ratings FROM ratings WHERE customer_id = $1 GROUP BY answer, tags
"""


async def count_ratings_by_customer(db: Executor, /, *, customer_id: UUID) -> list[RatingCount]:
    """Count the ratings that the customer gave by their answers and tags."""
    return [RatingCount(*row) for row in await db.fetch(COUNT_RATINGS_BY_CUSTOMER, customer_id)]
