"""Checks the query parameters that several lists have."""

import contextlib
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeAlias

from litestar.params import FromQuery, QueryParameter

from curhat.kit.errors import invalid_field
from curhat.kit.visible_text import DIRECTION_MARKS, clean_text

Format = Literal["json", "csv"]
Order = Literal["newest", "oldest"]
Cursor: TypeAlias = FromQuery[str | None]
Text: TypeAlias = FromQuery[str | None]
From: TypeAlias = Annotated[datetime | None, QueryParameter(name="from")]
To: TypeAlias = Annotated[datetime | None, QueryParameter(name="to")]

MAX_TEXT_CHARACTERS: Final = 200
# MAX_AMOUNT_RP is below the maximum of PostgreSQL's type integer.
MAX_AMOUNT_RP: Final = 2_000_000_000
# Python and PostgreSQL can hold MIN_TIME and MAX_TIME in every zone.
MIN_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
MAX_TIME: Final = datetime(2200, 1, 1, tzinfo=UTC)


def checked_time(name: str, value: datetime) -> datetime:
    """Return `value`. Raises ValidationFailed if `value` has no zone, or is not between MIN_TIME and MAX_TIME."""
    with contextlib.suppress(OverflowError):  # raised for a time in year 1 in a zone east of Greenwich
        if value.tzinfo is not None and MIN_TIME <= value < MAX_TIME:
            return value
    raise invalid_field(name, "must be a time with its zone, such as 2026-01-31T12:00:00Z")


def checked_text(name: str, value: str | None) -> str | None:
    """Return the text without invisible characters and surplus space, or None if nothing is left.

    Names are stored in the form that this function returns, so a search finds a pasted name. Raises ValidationFailed.
    """
    if value is None:
        return None
    if len(value) > MAX_TEXT_CHARACTERS or "\x00" in value:
        raise invalid_field(name, f"must be at most {MAX_TEXT_CHARACTERS} characters, and none of them NUL")
    seen = "".join(character for character in clean_text(value) if character not in DIRECTION_MARKS)
    return " ".join(seen.split()) or None


def checked_amount(name: str, value: int | None) -> int | None:
    """Return the amount in rupiah unchanged. Raises ValidationFailed if `value` is negative or above MAX_AMOUNT_RP."""
    if value is None or 0 <= value <= MAX_AMOUNT_RP:
        return value
    raise invalid_field(name, f"must be whole rupiah from 0 to {MAX_AMOUNT_RP}")
