"""Compares the gateway's books with ours, for a period that has ended (X.12).

`compare` calls the gateway outside any transaction, and changes nothing. `record` takes an open transaction and never
commits it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal, TypeVar
from uuid import UUID

import msgspec

from curhat.kit.database import Database, Transaction
from curhat.payments import queries, service
from curhat.payments.gateway import Gateway, ListedCharge, ListedRefund
from curhat.payments.queries import BookDifference, OurRecord

About = Literal["charge", "refund"]
Listed = TypeVar("Listed", ListedCharge, ListedRefund)

# The gateway's clock and ours can differ by less than this, and a call takes less than this.
CLOCK_MARGIN: Final = timedelta(hours=1)
# Limits how many keys one statement compares.
MAX_KEYS: Final = 1_000

# What each of our statuses allows the gateway to say. An attempt or a refund without an answer allows everything: its
# deadline asks the gateway until there is one.
_AGREES: Final[dict[str, frozenset[str]]] = {
    "started": frozenset({"approved", "declined", "processing"}),
    "approved": frozenset({"approved"}),
    "approved_late": frozenset({"approved"}),
    "declined": frozenset({"declined"}),
    "requested": frozenset({"done", "failed", "processing"}),
    "done": frozenset({"done"}),
    "failed": frozenset({"failed"}),
}
# What the gateway can list without our knowing: nothing was taken or given back.
_HARMLESS: Final = frozenset({"declined", "failed"})


class Difference(msgspec.Struct, frozen=True):
    """A charge or refund about which the gateway and our tables disagree. None: that side does not know it."""

    about: About
    key: UUID
    payment_id: UUID
    our_status: str | None
    our_rp: int | None
    gateway_status: str | None
    gateway_rp: int | None


class Books(msgspec.Struct, frozen=True):
    """What the gateway lists for a period, and the differences from our tables."""

    charges: int
    charged_rp: int
    refunds: int
    refunded_rp: int
    differences: list[Difference]


async def compare(database: Database, gateway: Gateway, begins_at: datetime, ends_at: datetime) -> Books:
    """Compare the charges and refunds from `begins_at` until before `ends_at`. Raises GatewayUnknown.

    An answer can arrive between the two readings. So what differs is compared a second time, and only what differs in
    both comparisons is a difference.
    """
    books = await _compare_once(database, gateway, begins_at, ends_at)
    if not books.differences:
        return books
    again = await _compare_once(database, gateway, begins_at, ends_at)
    first = {difference.key for difference in books.differences}
    lasting = [difference for difference in again.differences if difference.key in first]
    return msgspec.structs.replace(again, differences=lasting)


async def record(tx: Transaction, day: date, difference: Difference) -> bool:
    """Record a difference with its evidence, raise an alert, and open a case if the payment exists.

    A difference that was recorded before changes nothing. Returns whether the difference is new.
    """
    inserted = await queries.insert_book_difference(tx, day=day, **msgspec.structs.asdict(difference))
    if inserted is None:
        return False
    amount_rp = difference.gateway_rp if difference.our_rp is None else difference.our_rp
    await service.open_case_about_books(tx, difference.payment_id)
    await service.raise_alert(
        tx, "gateway_alert:books_differ", difference.key, amount_rp, difference.payment_id
    )
    return True


async def list_differences(tx: Transaction, payment_id: UUID) -> list[BookDifference]:
    """Return the differences that concern a payment, oldest first."""
    return await queries.list_book_differences(tx, payment_id=payment_id)


async def _compare_once(
    database: Database, gateway: Gateway, begins_at: datetime, ends_at: datetime
) -> Books:
    since = begins_at - CLOCK_MARGIN
    charges = await _all(gateway.list_charges(since))
    refunds = await _all(gateway.list_refunds(since))
    charges_of_day = [each for each in charges if begins_at <= each.at < ends_at]
    refunds_of_day = [each for each in refunds if begins_at <= each.at < ends_at]
    taken = await queries.list_charges_taken(database, begins_at=begins_at, ends_at=ends_at)
    done = await queries.list_refunds_done(database, begins_at=begins_at, ends_at=ends_at)
    approved = [each.amount_rp for each in charges_of_day if each.status == "approved"]
    given_back = [each.amount_rp for each in refunds_of_day if each.status == "done"]
    return Books(
        charges=len(approved),
        charged_rp=sum(approved),
        refunds=len(given_back),
        refunded_rp=sum(given_back),
        differences=[
            *_not_listed("charge", taken, charges),
            *await _disagreeing("charge", charges_of_day, _of_keys(database, queries.list_charges_by_key)),
            *_not_listed("refund", done, refunds),
            *await _disagreeing("refund", refunds_of_day, _of_keys(database, queries.list_refunds_by_key)),
        ],
    )


def _not_listed(
    about: About, ours: Iterable[OurRecord], listed: Iterable[ListedCharge | ListedRefund]
) -> list[Difference]:
    """Return our records that the gateway does not list."""
    keys = {each.key for each in listed}
    return [
        Difference(about, each.key, each.payment_id, each.our_status, each.amount_rp, None, None)
        for each in ours
        if each.key not in keys
    ]


async def _disagreeing(
    about: About,
    listed: Sequence[ListedCharge | ListedRefund],
    find_ours: Callable[[list[UUID]], Awaitable[list[OurRecord]]],
) -> list[Difference]:
    """Return what the gateway lists and our tables do not have, or have with another status or amount."""
    differences = []
    for start in range(0, len(listed), MAX_KEYS):
        some = listed[start : start + MAX_KEYS]
        ours = {each.key: each for each in await find_ours([each.key for each in some])}
        for each in some:
            our = ours.get(each.key)
            if our is None and each.status in _HARMLESS:
                continue
            if our is None or each.status not in _AGREES[our.our_status] or each.amount_rp != our.amount_rp:
                differences.append(
                    Difference(
                        about,
                        each.key,
                        each.payment_id if our is None else our.payment_id,
                        None if our is None else our.our_status,
                        None if our is None else our.amount_rp,
                        each.status,
                        each.amount_rp,
                    )
                )
    return differences


def _of_keys(
    database: Database, statement: Callable[..., Awaitable[list[OurRecord]]]
) -> Callable[[list[UUID]], Awaitable[list[OurRecord]]]:
    async def find(keys: list[UUID]) -> list[OurRecord]:
        return await statement(database, keys=keys)

    return find


async def _all(listed: AsyncIterator[Listed]) -> list[Listed]:
    return [each async for each in listed]
