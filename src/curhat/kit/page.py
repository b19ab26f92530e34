"""Pages of a list: `{"items": [...], "next_cursor": str|null}`.

A page begins after the last key of the previous page, not at an offset.
"""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")

PAGE_SIZE = 50


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page. To read the next page, a client sends `next_cursor` back. On the last page, `next_cursor` is null."""

    items: list[Item]
    next_cursor: str | None
