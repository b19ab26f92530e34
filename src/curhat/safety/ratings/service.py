"""Writes ratings, adds them up for mitras, and counts them for operators. Every function takes an open transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound
from curhat.kit.queries import read_clock
from curhat.safety.ratings import queries
from curhat.safety.ratings.errors import RatingClosed
from curhat.safety.ratings.queries import RatingCount, RatingRow
from curhat.safety.ratings.schemas import (
    NewRating,
    Rating,
    RatingCounts,
    RatingsOfWeeks,
    RatingState,
    RatingSums,
)
from curhat.safety.ratings.states import (
    RATING_DAYS,
    ZONE,
    GivenRating,
    RatingTag,
    first_hidden_monday,
    sum_weeks,
)

# A mitra who was rated more often since the last sum gets the rest at the next call.
MAX_RATINGS_PER_CALL: Final = 5_000
# About a year of weeks.
MAX_SUMS_SHOWN: Final = 52


async def rate(tx: Transaction, customer_id: UUID, session_id: UUID, new: NewRating) -> Rating:
    """Write the customer's answer about an own session. A later answer replaces an earlier one (T.6).

    Raises NotFound if the session is not this customer's. Raises RatingClosed if the session runs, ended RATING_DAYS
    ago, or has no message of one side.
    """
    row = await queries.write_rating(
        tx,
        session_id=session_id,
        customer_id=customer_id,
        answer=new.answer,
        tags=sorted(set(new.tags)),
        rating_days=RATING_DAYS,
    )
    if row is not None:
        return _rating(row)
    if await queries.is_session_of_customer(tx, session_id=session_id, customer_id=customer_id):
        raise RatingClosed
    raise NotFound


async def rating_state(tx: Transaction, customer_id: UUID, session_id: UUID) -> RatingState:
    """Return the customer's rating of an own session, and until when the customer can change it. Raises NotFound."""
    closing = await queries.read_closing(
        tx, session_id=session_id, customer_id=customer_id, rating_days=RATING_DAYS
    )
    if closing is None:
        raise NotFound
    row = await queries.read_rating(tx, session_id=session_id)
    rating = None if row is None else _rating(row)
    return RatingState(rating=rating, closes_at=closing.closes_at, server_now=closing.server_now)


async def sums_of_mitra(tx: Transaction, mitra_id: UUID) -> RatingSums:
    """Return the mitra's sums, newest weeks first. Writes the sums of the weeks that are final since the last call."""
    await _write_new_sums(tx, mitra_id)
    rows = await queries.list_sums(tx, mitra_id=mitra_id, max_sums=MAX_SUMS_SHOWN)
    return RatingSums(
        items=[
            RatingsOfWeeks(
                first_day=row.begins_on,
                last_day=row.ends_on - timedelta(days=1),
                helpful=row.helpful,
                neutral=row.neutral,
                uncomfortable=row.uncomfortable,
            )
            for row in rows
        ]
    )


async def _write_new_sums(tx: Transaction, mitra_id: UUID) -> None:
    begins_on = await queries.read_next_beginning(tx, mitra_id=mitra_id, zone=ZONE.key)
    ends_on = first_hidden_monday(await read_clock(tx))
    if begins_on is None or begins_on >= ends_on:
        return
    rows = await queries.list_ratings_to_sum(
        tx,
        mitra_id=mitra_id,
        begins_on=begins_on,
        ends_on=ends_on,
        zone=ZONE.key,
        max_ratings=MAX_RATINGS_PER_CALL,
    )
    if len(rows) == MAX_RATINGS_PER_CALL and rows[0].monday < rows[-1].monday:
        # The last week is perhaps not complete, so leave it for the next call.
        rows = [row for row in rows if row.monday < rows[-1].monday]
    for each in sum_weeks(begins_on, [GivenRating(row.monday, row.customer_id, row.answer) for row in rows]):
        written = await queries.insert_sum(tx, mitra_id=mitra_id, **each._asdict())
        if written == 0:
            # A concurrent call has written this sum, and goes on with the next ones.
            return


async def counts_of_mitra(tx: Transaction, mitra_id: UUID) -> RatingCounts:
    """Count the ratings of the mitra's sessions."""
    return _counts(await queries.count_ratings_of_mitra(tx, mitra_id=mitra_id))


async def counts_by_customer(tx: Transaction, customer_id: UUID) -> RatingCounts:
    """Count the ratings that the customer gave."""
    return _counts(await queries.count_ratings_by_customer(tx, customer_id=customer_id))


def _counts(rows: Sequence[RatingCount]) -> RatingCounts:
    tags: dict[RatingTag, int] = {}
    for row in rows:
        for tag in row.tags:
            tags[tag] = tags.get(tag, 0) + row.ratings
    return RatingCounts(
        helpful=sum(row.ratings for row in rows if row.answer == "helpful"),
        neutral=sum(row.ratings for row in rows if row.answer == "neutral"),
        uncomfortable=sum(row.ratings for row in rows if row.answer == "uncomfortable"),
        tags=tags,
    )


def _rating(row: RatingRow) -> Rating:
    return Rating(session_id=row.session_id, answer=row.answer, tags=row.tags, rated_at=row.rated_at)
