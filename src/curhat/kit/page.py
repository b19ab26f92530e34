"""Pages of a list: `{"items": [...], "next_cursor": str|null}`. A page begins after a key, never at an offset."""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")

PAGE_SIZE = 50


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page. `next_cursor` is opaque: send it to get the next page. None ends the list."""

    items: list[Item]
    next_cursor: str | None
