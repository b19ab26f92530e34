"""Answers a list request with one page as JSON, or with the whole list as CSV."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from litestar import Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery
from litestar.response import Stream

from curhat.control_center.lists.csv_export import csv_header, csv_rows
from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import Cursor, Format, Order
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.schemas import Item
from curhat.kit.audit import ListName, write_audit_entry
from curhat.kit.database import Database, Transaction
from curhat.kit.page import PAGE_SIZE, Page
from curhat.kit.queries import plan_for_parameters

# Reads the page after a cursor, with at most the given number of items.
ReadPage: TypeAlias = Callable[[Transaction, Filters, str | None, int], Awaitable[Page[Item]]]

# How many CSV rows one transaction reads. More rows would need more memory, and would block the event loop for longer.
CSV_PAGE_SIZE: Final = 500


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The dependency `list_request` of a list's endpoint: the operator, the filters, the cursor and the format."""

    database: NamedDependency[Database]
    operator: NamedDependency[SignedInOperator]
    filters: NamedDependency[Filters]
    cursor: Cursor = None
    format: FromQuery[Format] = "json"

    async def answer(self, name: ListName, item_type: type[Item], read_page: ReadPage[Item]) -> Response[Any]:
        """Answer with one page as JSON, or with all rows after `cursor` as CSV. The audit records each CSV export."""
        size = PAGE_SIZE if self.format == "json" else CSV_PAGE_SIZE
        async with planned_for_filters(self.database) as tx:
            first_page = await read_page(tx, self.filters, self.cursor, size)
            if self.format == "json":
                return Response(first_page)
            given = "&".join(self.filters.given) or None
            await write_audit_entry(tx, self.operator.id, "list_exported", name, name, new=given)

        async def lines() -> AsyncIterator[bytes]:
            page = first_page
            yield csv_header(item_type)
            while True:
                yield csv_rows(page.items)
                if page.next_cursor is None:
                    return
                async with planned_for_filters(self.database) as tx:
                    page = await read_page(tx, self.filters, page.next_cursor, CSV_PAGE_SIZE)

        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Stream(lines(), media_type="text/csv", headers=headers)


@dataclass(frozen=True, slots=True)
class SortableListRequest(ListRequest):
    """The dependency `list_request` of a list that a client can also read from the oldest row on."""

    order: FromQuery[Order] = "newest"

    def __post_init__(self) -> None:
        """Let the list's statement sort in the wanted order."""
        self.filters.is_ascending = self.order == "oldest"


@asynccontextmanager
async def planned_for_filters(database: Database) -> AsyncIterator[Transaction]:
    """Open a transaction in which PostgreSQL plans each statement for the values of its parameters (record 0111).

    The best plan of a list depends on its filters and on its LIMIT. The planning takes a few milliseconds, and
    operators do not notice this delay.
    """
    async with database.transaction() as tx:
        await plan_for_parameters(tx)
        yield tx


def filtered_by(filters: Callable[..., Filters], *, is_sortable: bool = False) -> dict[str, Provide]:
    """Return the dependencies of a list's endpoint. The parameters of `filters` are the query parameters."""
    request = SortableListRequest if is_sortable else ListRequest
    return {
        "filters": Provide(filters, sync_to_thread=False),
        "list_request": Provide(request, sync_to_thread=False),
    }


def filters_of(filters: Callable[..., Filters]) -> dict[str, Provide]:
    """Return the dependencies of an endpoint that needs only the filters of a list."""
    return {"filters": Provide(filters, sync_to_thread=False)}
