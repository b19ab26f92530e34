"""Lists in pages: `{"items": [...], "next_cursor": str|null}`, by key and never by offset."""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")

PAGE_SIZE = 50


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page. `next_cursor` is opaque: hand it back to get the next page; None ends the list."""

    items: list[Item]
    next_cursor: str | None
