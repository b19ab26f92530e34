"""Reads pages by key. A cursor is the key of a page's last row: a time and an id.

In some lists, the key begins with a flag or with a small rank.
"""

import base64
import contextlib
import struct
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from curhat.control_center.lists.query_values import MAX_TIME, MIN_TIME
from curhat.control_center.schemas import Item
from curhat.kit.conditions import Conditions
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.page import Page

Row = TypeVar("Row")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def cursor_of(at: datetime, row_id: UUID, flag: int = 0) -> str:
    """Return the cursor of a row in a list that is ordered by time and id, or by flag or rank, time and id."""
    microseconds = (at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(struct.pack(">Bq", flag, microseconds) + row_id.bytes).decode()


def ranked_key_of(cursor: str | None) -> tuple[int, datetime, UUID] | None:
    """Return the rank, time and id from which `cursor_of` made this cursor.

    Raises ValidationFailed if the text is not a cursor.
    """
    if cursor is None:
        return None
    with contextlib.suppress(ValueError, struct.error, OverflowError):
        data = base64.b64decode(cursor, altchars=b"-_", validate=True)
        rank, microseconds = struct.unpack(">Bq", data[:9])
        at = _EPOCH + microseconds * _MICROSECOND
        if MIN_TIME <= at < MAX_TIME:
            return rank, at, UUID(bytes=data[9:])
    raise invalid_field("cursor", "is not one that this list gave")


def flagged_key_of(cursor: str | None) -> tuple[bool, datetime, UUID] | None:
    """Return the flag, time and id from which `cursor_of` made this cursor. Raises ValidationFailed."""
    key = ranked_key_of(cursor)
    return None if key is None else (key[0] > 0, *key[1:])


def key_of(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Return the time and id from which `cursor_of` made this cursor. Raises ValidationFailed."""
    key = ranked_key_of(cursor)
    return None if key is None else key[1:]


def after(conditions: Conditions, condition: str, key: tuple[object, ...] | None) -> Conditions:
    """Return the conditions of one page: the list's conditions and, if there is a key, `condition`.

    `condition` has {0}, {1}, … for the values in the key. The first page has no key. `condition` compares with `<`, for
    a list that descends. In an ascending list, the function compares with `>`.
    """
    page = conditions.copy()
    if key is not None:
        page.add(condition.replace(" < ", " > ") if conditions.is_ascending else condition, *key)
    return page


async def find_row(
    tx: Transaction, statement: Callable[..., Awaitable[list[Row]]], id_column: str, row_id: UUID
) -> Row:
    """Run a list's statement for one id, and return the row. Raises NotFound if there is no such row."""
    rows = await statement(tx, Conditions((f"{id_column} = {{0}}", (row_id,))), limit=1)
    if not rows:
        raise NotFound
    return rows[0]


def page_of(
    rows: Sequence[Row], limit: int, to_item: Callable[[Row], Item], to_cursor: Callable[[Row], str]
) -> Page[Item]:
    """Return a page of at most `limit` items. If the list continues, `rows` has one row more than the page."""
    has_more = len(rows) > limit
    return Page(
        items=[to_item(row) for row in rows[:limit]],
        next_cursor=to_cursor(rows[limit - 1]) if has_more else None,
    )
