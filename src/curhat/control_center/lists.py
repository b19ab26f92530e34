"""What all lists share: filters, pages by key, search, and the same list as CSV.

A page is found by the key of the last row before it, along an index of the list's own order: the 500th costs what the
first does. A statement in a `queries.sql` has a place for the conditions of a request; each condition is written here
or by the list's own module, never by a client, whose values are parameters.
"""

import base64
import csv
import io
import struct
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin
from uuid import UUID

import asyncpg
import msgspec
from litestar import Response
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from curhat.accounts.phone import normalise
from curhat.control_center.audit.service import record
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.audit import ListName
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import ValidationFailed
from curhat.kit.page import PAGE_SIZE, Page

Item = TypeVar("Item", bound=msgspec.Struct)

Format = Literal["json", "csv"]
Formatted: TypeAlias = FromQuery[Format]
Cursor: TypeAlias = FromQuery[str | None]
Text: TypeAlias = FromQuery[str | None]
From: TypeAlias = Annotated[datetime | None, QueryParameter(name="from")]
To: TypeAlias = Annotated[datetime | None, QueryParameter(name="to")]

# How many rows of a CSV are read at once: bounds memory, and how long the loop is busy with them.
CSV_PAGE_SIZE: Final = 500
LONGEST_TEXT: Final = 200
HIGHEST_AMOUNT_RP: Final = 2_000_000_000
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


# Filters -----------------------------------------------------------------------------------------------------


class Filters:
    """The conditions of one request on one statement, and their values.

    `statement` has `/* filters */` where conditions belong. `given` is what the audit says of an export.
    """

    def __init__(self, statement: str, *values: object) -> None:
        self._statement = statement
        self._values = list(values)
        self._conditions: list[str] = []
        self.given: list[str] = []

    def add(self, condition: str, *values: object) -> None:
        """A condition whose values are written {0}, {1}, …"""
        first = len(self._values) + 1
        names = [f"${first + number}" for number in range(len(values))]
        self._values += values
        self._conditions.append(condition.format(*names))

    def equal(self, name: str, column: str, value: object | None) -> None:
        """`column` is `value`, when the request names one."""
        if value is not None:
            self.add(f"{column} = {{0}}", value)
            self.given.append(f"{name}={value}")

    def between(self, column: str, since: datetime | None, until: datetime | None) -> None:
        """`column` is at or after `since` and before `until`, as far as the request says."""
        for name, operator, value in (("from", ">=", since), ("to", "<", until)):
            if value is not None:
                self.add(f"{column} {operator} {{0}}", checked_time(name, value))
                self.given.append(f"{name}={value.isoformat()}")

    async def fetch(
        self, tx: Transaction, after: str, key: tuple[object, ...] | None, limit: int
    ) -> list[asyncpg.Record]:
        """The rows after `key`, by the condition `after`; at most one more than `limit`."""
        conditions, values = list(self._conditions), list(self._values)
        if key is not None:
            names = [f"${len(values) + number + 1}" for number in range(len(key))]
            conditions.append(after.format(*names))
            values += key
        values.append(limit + 1)
        statement = self._statement.replace(
            "/* filters */", "".join(f"\n    AND {condition}" for condition in conditions)
        ).replace("/* limit */", f"LIMIT ${len(values)}")
        return await tx.fetch(statement, *values)


def checked_time(name: str, value: datetime) -> datetime:
    """A time of a query. Raises ValidationFailed for one without its zone, or of another age."""
    if value.tzinfo is not None:
        try:
            if _EARLIEST <= value < _LATEST:
                return value
        except OverflowError:  # The year 1 in a zone east of Greenwich.
            pass
    raise _invalid(name, "must be a time with its zone, such as 2026-01-31T12:00:00Z")


def checked_text(name: str, value: str | None) -> str | None:
    """A text of a query, trimmed; None when there is nothing in it. Raises ValidationFailed."""
    if value is None:
        return None
    text = value.strip()
    if len(text) > LONGEST_TEXT or not text.isprintable():
        raise _invalid(name, f"must be at most {LONGEST_TEXT} characters, all of them to be seen")
    return text or None


def checked_amount(name: str, value: int | None) -> int | None:
    """An amount of a query. Raises ValidationFailed."""
    if value is None or 0 <= value <= HIGHEST_AMOUNT_RP:
        return value
    raise _invalid(name, f"must be whole rupiah from 0 to {HIGHEST_AMOUNT_RP}")


def _invalid(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(errors=[{"field": field, "message": message}])


# Search ------------------------------------------------------------------------------------------------------


class Search(msgspec.Struct, frozen=True):
    """What somebody looks for: an id, a phone number in E.164, or the beginning of a name. One of them is set."""

    id: UUID | None = None
    phone_number: str | None = None
    name_pattern: str | None = None


def search_of(q: str | None) -> Search | None:
    """What the text of a search means; None when there is none. Raises ValidationFailed."""
    text = checked_text("q", q)
    if text is None:
        return None
    try:
        return Search(id=UUID(text))
    except ValueError:
        pass
    try:
        return Search(phone_number=normalise(text))
    except ValidationFailed:
        pass
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return Search(name_pattern=f"{escaped}%")


def add_search(filters: Filters, search: Search | None, *, ids: str, person: str, names: str) -> None:
    """Narrow a list by a search. `ids`: a condition on {0}; `person`: the column with the person's id;
    `names`: a statement giving the ids of people whose name is like {0}."""
    if search is None:
        return
    filters.given.append("q=…")
    if search.id is not None:
        filters.add(f"({ids})", search.id)
    elif search.phone_number is not None:
        filters.add(
            f"{person} {_PERSON_WITH_PHONE}",
            search.phone_number,
        )
    else:
        filters.add(f"{person} IN ({names})", search.name_pattern)


_PERSON_WITH_PHONE: Final = "= (SELECT people.id FROM people WHERE people.phone_number = {0})"
CUSTOMERS_NAMED: Final = "SELECT named.id FROM customers AS named WHERE lower(named.call_name) LIKE {0}"
MITRAS_NAMED: Final = "SELECT named.id FROM mitras AS named WHERE lower(named.display_name) LIKE {0}"


# Cursors -----------------------------------------------------------------------------------------------------


def cursor_of(at: datetime, row_id: UUID, flag: bool = False) -> str:
    """The opaque key of a row in a list ordered by time and id (and, before both, by a flag)."""
    microseconds = (at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(struct.pack(">?q", flag, microseconds) + row_id.bytes).decode()


def key_of(cursor: str | None) -> tuple[bool, datetime, UUID] | None:
    """What `cursor_of` was given. Raises ValidationFailed for a cursor that no page gave out."""
    if cursor is None:
        return None
    try:
        data = base64.b64decode(cursor, altchars=b"-_", validate=True)
        flag, microseconds = struct.unpack(">?q", data[:9])
        at = _EPOCH + microseconds * _MICROSECOND
        if _EARLIEST <= at < _LATEST:
            return flag, at, UUID(bytes=data[9:])
    except (ValueError, struct.error, OverflowError):
        pass
    raise _invalid("cursor", "is not one that this list gave")


def page_of(
    rows: list[asyncpg.Record],
    limit: int,
    to_item: Callable[[asyncpg.Record], Item],
    to_cursor: Callable[[asyncpg.Record], str],
) -> Page[Item]:
    """A page of at most `limit` rows, of which one more was read."""
    more = len(rows) > limit
    return Page(
        items=[to_item(row) for row in rows[:limit]],
        next_cursor=to_cursor(rows[limit - 1]) if more else None,
    )


# Answers -----------------------------------------------------------------------------------------------------

FetchPage = Callable[[Transaction, str | None, int], Awaitable[Page[Item]]]


async def answer_list(
    database: Database,
    operator: SignedInOperator,
    name: ListName,
    item_type: type[Item],
    fetch: FetchPage[Item],
    filters: Filters,
    *,
    cursor: str | None,
    wanted: Format,
) -> Response[Any]:
    """One page as JSON, or the whole list from `cursor` on as CSV, which leaves an audit entry."""
    if wanted == "json":
        async with database.transaction() as tx:
            return Response(await fetch(tx, cursor, PAGE_SIZE))
    async with database.transaction() as tx:
        first = await fetch(tx, cursor, CSV_PAGE_SIZE)
        await record(tx, operator.id, "list_exported", name, name, new="&".join(filters.given) or None)

    async def lines() -> AsyncIterator[bytes]:
        page = first
        yield csv_header(item_type)
        while True:
            yield csv_rows(page.items)
            if page.next_cursor is None:
                return
            async with database.transaction() as tx:
                page = await fetch(tx, page.next_cursor, CSV_PAGE_SIZE)

    return Stream(
        lines(),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def csv_header(item_type: type[msgspec.Struct]) -> bytes:
    """The names of the columns: a field of a part is `part_field`."""
    return _csv_line(_columns(item_type))


def csv_rows(items: list[Item]) -> bytes:
    """Items as lines, in the order of `csv_header`."""
    return b"".join(_csv_line(_cells(type(item), msgspec.to_builtins(item))) for item in items)


def _columns(item_type: type[msgspec.Struct], prefix: str = "") -> list[str]:
    names: list[str] = []
    for field in msgspec.structs.fields(item_type):
        part = _part(field.type)
        names += _columns(part, f"{prefix}{field.encode_name}_") if part else [prefix + field.encode_name]
    return names


def _cells(item_type: type[msgspec.Struct], values: Mapping[str, Any] | None) -> list[Any]:
    cells: list[Any] = []
    for field in msgspec.structs.fields(item_type):
        value = None if values is None else values.get(field.encode_name)
        part = _part(field.type)
        cells += _cells(part, value) if part else [value]
    return cells


def _part(field_type: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, or may hold."""
    choices = get_args(field_type) if get_origin(field_type) in (Union, types.UnionType) else (field_type,)
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


# What a spreadsheet takes for a formula, also in the wide forms of East Asian keyboards.
_FORMULA_BEGINNINGS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _csv_line(cells: list[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([_cell(cell) for cell in cells])
    return line.getvalue().encode()


def _cell(value: Any) -> Any:
    """A value as a spreadsheet shows it and never runs it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_BEGINNINGS):
        return f"'{value}"
    return value
