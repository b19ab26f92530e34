"""Test that the sums of a mitra never show a single rating (T.6)."""

import itertools
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from curhat.safety.ratings.states import (
    HIDDEN_DAYS,
    MIN_CUSTOMERS_PER_SUM,
    MIN_RATINGS_PER_SUM,
    RATING_DAYS,
    GivenRating,
    RatingAnswer,
    RatingSum,
    first_hidden_monday,
    sum_weeks,
)

FIRST_MONDAY = date(2026, 1, 5)
ANSWERS: list[RatingAnswer] = ["helpful", "neutral", "uncomfortable"]


def some_ratings(seed: int) -> list[GivenRating]:
    """Make up to two years of ratings: weeks with none, with a few, and with many, by few or many customers."""
    chosen = random.Random(seed)
    customers = [UUID(int=each) for each in range(chosen.randint(1, 12))]
    ratings = []
    for week in range(chosen.randint(1, 104)):
        for _ in range(chosen.choice([0, 0, 1, 3, 9, 10, 25])):
            monday = FIRST_MONDAY + timedelta(weeks=week)
            ratings.append(GivenRating(monday, chosen.choice(customers), chosen.choice(ANSWERS)))
    return ratings


def until(monday: date, ratings: list[GivenRating]) -> list[GivenRating]:
    """Return the ratings of the weeks before `monday`."""
    return [rating for rating in ratings if rating.monday < monday]


@pytest.mark.rule("T.6")
@pytest.mark.parametrize("seed", range(200))
def test_each_sum_has_ten_ratings_by_five_customers_and_counts_each_rating_once(seed: int) -> None:
    ratings = some_ratings(seed)
    sums = list(sum_weeks(FIRST_MONDAY, ratings))
    for before, after in itertools.pairwise(sums):
        assert before.ends_on == after.begins_on
    for each in sums:
        inside = [rating for rating in ratings if each.begins_on <= rating.monday < each.ends_on]
        counted = Counter(rating.answer for rating in inside)
        assert (each.helpful, each.neutral, each.uncomfortable) == tuple(
            counted[answer] for answer in ANSWERS
        )
        assert len(inside) >= MIN_RATINGS_PER_SUM
        assert each.customers == len({rating.customer_id for rating in inside}) >= MIN_CUSTOMERS_PER_SUM


@pytest.mark.rule("T.6")
@pytest.mark.parametrize("seed", range(200))
def test_two_views_at_any_two_times_differ_by_whole_sums_only(seed: int) -> None:
    """A mitra who looks every week and subtracts sees only new sums. Each has ten ratings by five customers."""
    ratings = some_ratings(seed)
    weeks = sorted({rating.monday + timedelta(weeks=1) for rating in ratings})
    views = [list(sum_weeks(FIRST_MONDAY, until(monday, ratings))) for monday in weeks]
    for earlier, later in itertools.pairwise(views):
        assert later[: len(earlier)] == earlier


@pytest.mark.rule("T.6")
@pytest.mark.parametrize("seed", range(50))
def test_sums_that_are_written_bit_by_bit_are_the_sums_of_all_ratings(seed: int) -> None:
    """The service writes the new sums at each view. It begins each time where the last written sum ended."""
    ratings = some_ratings(seed)
    written: list[RatingSum] = []
    for monday in sorted({rating.monday + timedelta(weeks=1) for rating in ratings}):
        begins_on = written[-1].ends_on if written else FIRST_MONDAY
        new = [rating for rating in until(monday, ratings) if rating.monday >= begins_on]
        written += sum_weeks(begins_on, new)
    assert written == list(sum_weeks(FIRST_MONDAY, ratings))


@pytest.mark.rule("T.6")
@pytest.mark.parametrize("hours", range(0, 24 * 15, 5))
def test_the_ratings_of_the_last_seven_days_are_in_no_sum(hours: int) -> None:
    now = datetime(2026, 3, 2, 0, 30, tzinfo=UTC) + timedelta(hours=hours)
    # Monday 00:00 in Jakarta is Sunday 17:00 UTC.
    end_of_last_week = datetime.combine(first_hidden_monday(now), datetime.min.time(), UTC) - timedelta(
        hours=7
    )
    assert now - end_of_last_week >= timedelta(days=HIDDEN_DAYS)
    assert now - end_of_last_week < timedelta(days=HIDDEN_DAYS + 7)
    # An answer can change only for RATING_DAYS after the chat, so no answer of a summed week can change any more.
    assert HIDDEN_DAYS >= RATING_DAYS
