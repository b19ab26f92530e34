"""Answering a list request: one page as JSON, or the whole list as CSV."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from litestar import Response
from litestar.response import Stream

from curhat.control_center.audit.service import write_audit_entry
from curhat.control_center.lists.csv_export import csv_header, csv_rows
from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import Format
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.audit import ListName
from curhat.kit.database import Database, Transaction
from curhat.kit.page import PAGE_SIZE, Page

Item = TypeVar("Item", bound=msgspec.Struct)

# Reads the page after a cursor, with at most the given number of items.
ReadPage: TypeAlias = Callable[[Transaction, Filters, str | None, int], Awaitable[Page[Item]]]

# How many rows of a CSV one transaction reads. Limits the memory, and how long these rows occupy the event loop.
CSV_PAGE_SIZE: Final = 500


async def answer_list(
    database: Database,
    operator: SignedInOperator,
    name: ListName,
    item_type: type[Item],
    read_page: ReadPage[Item],
    filters: Filters,
    cursor: str | None,
    wanted: Format,
) -> Response[Any]:
    """Answer with one page as JSON, or with everything after `cursor` as CSV. The audit records each CSV export."""
    if wanted == "json":
        async with database.transaction() as tx:
            return Response(await read_page(tx, filters, cursor, PAGE_SIZE))
    async with database.transaction() as tx:
        first_page = await read_page(tx, filters, cursor, CSV_PAGE_SIZE)
        given = "&".join(filters.given) or None
        await write_audit_entry(tx, operator.id, "list_exported", name, name, new=given)

    async def lines() -> AsyncIterator[bytes]:
        page = first_page
        yield csv_header(item_type)
        while True:
            yield csv_rows(page.items)
            if page.next_cursor is None:
                return
            async with database.transaction() as tx:
                page = await read_page(tx, filters, page.next_cursor, CSV_PAGE_SIZE)

    return Stream(
        lines(),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
