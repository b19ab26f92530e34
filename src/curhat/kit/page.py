"""Pages of a list: `{"items": [...], "next_cursor": str|null}`. A page begins after a key, not at an offset."""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")

PAGE_SIZE = 50


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page. A client sends `next_cursor` unchanged to get the next page. None ends the list."""

    items: list[Item]
    next_cursor: str | None
