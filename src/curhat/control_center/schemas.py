"""How the Control Center names people: customers by call name and masked phone number, mitras and operators by name."""

from typing import Any
from uuid import UUID

import msgspec

from curhat.accounts.phone import mask


class CustomerReference(msgspec.Struct, frozen=True):
    """A customer, as operators see one."""

    id: UUID
    call_name: str
    phone_masked: str


class MitraReference(msgspec.Struct, frozen=True):
    """A mitra, as customers see one."""

    id: UUID
    display_name: str


class OperatorReference(msgspec.Struct, frozen=True):
    """Who of the operators."""

    id: UUID
    email: str


def customer_of(row: Any) -> CustomerReference:
    """From a row with customer_id, call_name and phone_number."""
    return CustomerReference(
        id=row["customer_id"], call_name=row["call_name"], phone_masked=mask(row["phone_number"])
    )


def mitra_of(row: Any) -> MitraReference | None:
    """From a row with mitra_id and mitra_display_name; None: there is no mitra in it."""
    if row["mitra_id"] is None:
        return None
    return MitraReference(id=row["mitra_id"], display_name=row["mitra_display_name"])


def operator_of(operator_id: UUID | None, email: str | None) -> OperatorReference | None:
    """From the two columns of a joined operator; None: there is none."""
    if operator_id is None or email is None:
        return None
    return OperatorReference(id=operator_id, email=email)
