"""Pages by key. A cursor is the key of a page's last row: a time and an id, and in some lists a flag before them."""

import base64
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from curhat.control_center.lists.query_values import MAX_TIME, MIN_TIME, invalid
from curhat.kit.conditions import Conditions
from curhat.kit.errors import NotFound
from curhat.kit.page import Page

Row = TypeVar("Row")
Item = TypeVar("Item", bound=msgspec.Struct)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def cursor_of(at: datetime, row_id: UUID, flag: bool = False) -> str:
    """The cursor of a row in a list ordered by time and id, or by flag, time and id."""
    microseconds = (at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(struct.pack(">?q", flag, microseconds) + row_id.bytes).decode()


def flagged_key_of(cursor: str | None) -> tuple[bool, datetime, UUID] | None:
    """The flag, time and id that `cursor_of` was given. Raises ValidationFailed for text that is no cursor."""
    if cursor is None:
        return None
    try:
        data = base64.b64decode(cursor, altchars=b"-_", validate=True)
        flag, microseconds = struct.unpack(">?q", data[:9])
        at = _EPOCH + microseconds * _MICROSECOND
        if MIN_TIME <= at < MAX_TIME:
            return flag, at, UUID(bytes=data[9:])
    except (ValueError, struct.error, OverflowError):
        pass
    raise invalid("cursor", "is not one that this list gave")


def key_of(cursor: str | None) -> tuple[datetime, UUID] | None:
    """The time and id that `cursor_of` was given. Raises ValidationFailed."""
    key = flagged_key_of(cursor)
    return None if key is None else key[1:]


def after(conditions: Conditions, condition: str, key: tuple[object, ...] | None) -> Conditions:
    """The conditions of a page: those of the list, and, after the first page, `condition` on the key {0}, {1}, …"""
    page = conditions.copy()
    if key is not None:
        page.add(condition, *key)
    return page


def only(rows: Sequence[Row]) -> Row:
    """The first row. Raises NotFound when there is none."""
    if not rows:
        raise NotFound
    return rows[0]


def page_of(
    rows: Sequence[Row], limit: int, to_item: Callable[[Row], Item], to_cursor: Callable[[Row], str]
) -> Page[Item]:
    """A page of at most `limit` items. `rows` are the page's rows, and one more when the list goes on."""
    has_more = len(rows) > limit
    return Page(
        items=[to_item(row) for row in rows[:limit]],
        next_cursor=to_cursor(rows[limit - 1]) if has_more else None,
    )
