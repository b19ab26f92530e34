"""The answers and tags of ratings, and the limits that hide single ratings. This module does no I/O."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

RatingAnswer = Literal["helpful", "neutral", "uncomfortable"]
RatingTag = Literal["felt_heard", "kind", "useful", "slow", "distracted", "judged", "pushy"]

MAX_TAGS: Final = 5
# The CHECKs of `ratings` and `rating_sums` have the same numbers as these constants.
RATING_DAYS: Final = 7
MIN_RATINGS_PER_SUM: Final = 10
MIN_CUSTOMERS_PER_SUM: Final = 5
# A mitra sees no rating of the last HIDDEN_DAYS. An answer can change for RATING_DAYS after the session, so it cannot
# change any more when its week is added up.
HIDDEN_DAYS: Final = 7

# All sums are of weeks in this time zone.
ZONE: Final = ZoneInfo("Asia/Jakarta")
_WEEK: Final = timedelta(days=7)


class GivenRating(NamedTuple):
    """A rating, with the Monday of its week."""

    monday: date
    customer_id: UUID
    answer: RatingAnswer


class RatingSum(NamedTuple):
    """The ratings of the weeks from `begins_on` to the day before `ends_on`. Both are Mondays."""

    begins_on: date
    ends_on: date
    helpful: int
    neutral: int
    uncomfortable: int
    customers: int


def monday_of(moment: datetime) -> date:
    """Return the Monday of the week that contains this moment."""
    day = moment.astimezone(ZONE).date()
    return day - timedelta(days=day.weekday())


def first_hidden_monday(now: datetime) -> date:
    """Return the first Monday whose week is not added up yet. Each earlier week ended at least HIDDEN_DAYS ago."""
    return monday_of(now - timedelta(days=HIDDEN_DAYS))


def sum_weeks(begins_on: date, ratings: Iterable[GivenRating]) -> Iterator[RatingSum]:
    """Add the ratings up. Each sum has as few weeks as the limits allow.

    `ratings` are in the order of their weeks, none before `begins_on`. The ratings after the last sum are in none.
    """
    counts: dict[RatingAnswer, int] = {"helpful": 0, "neutral": 0, "uncomfortable": 0}
    customers: set[UUID] = set()
    monday = begins_on

    def is_enough() -> bool:
        return sum(counts.values()) >= MIN_RATINGS_PER_SUM and len(customers) >= MIN_CUSTOMERS_PER_SUM

    for rating in ratings:
        if rating.monday > monday:
            if is_enough():
                ends_on = monday + _WEEK
                yield RatingSum(begins_on, ends_on, **counts, customers=len(customers))
                begins_on = ends_on
                counts = dict.fromkeys(counts, 0)
                customers = set()
            monday = rating.monday
        counts[rating.answer] += 1
        customers.add(rating.customer_id)
    if is_enough():
        yield RatingSum(begins_on, monday + _WEEK, **counts, customers=len(customers))
