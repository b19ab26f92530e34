"""Searches people and ids. Takes an open transaction and never commits it."""

import contextlib
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Final
from uuid import UUID

from curhat.accounts.phone import mask, normalise
from curhat.control_center.lists.query_values import checked_text
from curhat.control_center.search import queries
from curhat.control_center.search.queries import FoundId, FoundPayment, FoundPerson
from curhat.control_center.search.schemas import Found, SearchResults
from curhat.kit.database import Transaction
from curhat.kit.errors import ValidationFailed
from curhat.payments.reference import REFERENCE_CHARACTERS, payment_reference

MAX_RESULTS: Final = 20
# A name can match many people. The rest of the results is for what matches more exactly.
MAX_RESULTS_PER_NAME: Final = 8
# The payments of a customer who is found by phone number or id.
MAX_PAYMENTS_OF_CUSTOMER: Final = 5
_SHORT_ID: Final = re.compile(rf"[0-9a-f]{{{REFERENCE_CHARACTERS}}}")
_SEPARATORS: Final = re.compile(r"[\s\-#.:]+")
_JAKARTA: Final = timezone(timedelta(hours=7), "WIB")


async def search(tx: Transaction, q: str) -> SearchResults:
    """Find what an operator means by `q`: an id, the end of an id, a reference, a phone number, or a name.

    The most exact matches come first. For a customer who is found by phone number or id, the newest payments follow.
    Raises ValidationFailed.
    """
    text = checked_text("q", q)
    if text is None:
        return SearchResults([])
    found: list[FoundId] = []
    with contextlib.suppress(ValueError):
        found += await queries.find_by_id(tx, id=UUID(text))
    short_id = _SEPARATORS.sub("", text).lower()
    if _SHORT_ID.fullmatch(short_id):
        found += await queries.find_by_short_id(tx, short_id=short_id, max_results=MAX_RESULTS_PER_NAME)
    with contextlib.suppress(ValidationFailed):
        found += await queries.find_by_phone(tx, phone_number=normalise(text, None))
    for customer in [each for each in found if each.kind == "customer"]:
        found += [
            FoundId("payment", payment_id, payment_id)
            for payment_id in await queries.list_newest_payments(
                tx, customer_id=customer.id, max_results=MAX_PAYMENTS_OF_CUSTOMER
            )
        ]
    if not found:
        escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found = await queries.find_by_name(tx, pattern=f"{escaped}%", max_results=MAX_RESULTS_PER_NAME)
    distinct = list({(each.kind, each.id): each for each in found}.values())[:MAX_RESULTS]
    return SearchResults(await _described(tx, distinct))


async def _described(tx: Transaction, found: Iterable[FoundId]) -> list[Found]:
    found = list(found)
    people_ids = [each.id for each in found if each.payment_id is None]
    payment_ids = [each.payment_id for each in found if each.payment_id is not None]
    people = {each.id: each for each in await queries.describe_people(tx, ids=people_ids)}
    payments = {each.id: each for each in await queries.describe_payments(tx, ids=payment_ids)}
    return [
        _found_person(each, people[each.id])
        if each.payment_id is None
        else _found_under_payment(each, payments[each.payment_id])
        for each in found
    ]


def _found_person(found: FoundId, person: FoundPerson) -> Found:
    name = person.call_name if found.kind == "customer" else person.display_name
    return Found(
        kind=found.kind, id=found.id, label=name or "", detail=mask(person.phone_number), payment_id=None
    )


def _found_under_payment(found: FoundId, payment: FoundPayment) -> Found:
    is_payment = found.kind == "payment"
    reference = payment_reference(payment.id)
    amount = f"Rp{payment.amount_rp:,}".replace(",", ".")
    return Found(
        kind=found.kind,
        id=found.id,
        label=reference if is_payment else str(found.id)[-REFERENCE_CHARACTERS:],
        detail=" · ".join(
            (
                *(() if is_payment else (reference,)),
                payment.call_name,
                mask(payment.phone_number),
                amount,
                _in_jakarta(payment.created_at),
            )
        ),
        payment_id=found.payment_id,
    )


def _in_jakarta(at: datetime) -> str:
    return at.astimezone(_JAKARTA).strftime("%Y-%m-%d %H:%M WIB")
