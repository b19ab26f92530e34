"""The structs of the API about ratings."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec

from curhat.safety.ratings.states import MAX_TAGS, RatingAnswer, RatingTag

Tags = Annotated[list[RatingTag], msgspec.Meta(max_length=MAX_TAGS)]


class NewRating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A customer's answer about a chat. Operators see it. The mitra sees only sums."""

    answer: RatingAnswer
    tags: Tags = []


class Rating(msgspec.Struct, frozen=True):
    """A customer's rating of a chat."""

    session_id: UUID
    answer: RatingAnswer
    tags: list[RatingTag]
    rated_at: datetime


class RatingState(msgspec.Struct, frozen=True):
    """The customer's rating of a chat, or null. The customer can rate or change the answer until `closes_at`.

    `closes_at` is null if the chat cannot be rated now.
    """

    rating: Rating | None
    closes_at: datetime | None
    server_now: datetime


class RatingsOfWeeks(msgspec.Struct, frozen=True):
    """The ratings of one or several whole weeks. `last_day` is the last day of the last week, a Sunday."""

    first_day: date
    last_day: date
    helpful: int
    neutral: int
    uncomfortable: int


class RatingSums(msgspec.Struct, frozen=True):
    """How customers rated the mitra's chats, newest weeks first. At most 52 items.

    Each item has at least ten ratings by five customers. Weeks with fewer are added to later ones. The ratings of the
    last 7 days are in no item.
    """

    items: list[RatingsOfWeeks]


class RatingCounts(msgspec.Struct, frozen=True):
    """How often each answer and each tag was given, as operators see it."""

    helpful: int
    neutral: int
    uncomfortable: int
    tags: dict[RatingTag, int]
