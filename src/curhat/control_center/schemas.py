"""References to customers, mitras and operators, and functions that build the API's structs from rows."""

from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from curhat.accounts.phone import mask

Item = TypeVar("Item", bound=msgspec.Struct)


CaseStatus = Literal["open", "decided"]


class CustomerReference(msgspec.Struct, frozen=True):
    """A customer's id, call name and masked phone number."""

    id: UUID
    call_name: str
    phone_masked: str


class MitraReference(msgspec.Struct, frozen=True):
    """A mitra's id and the name that customers see."""

    id: UUID
    display_name: str


class OperatorReference(msgspec.Struct, frozen=True):
    """An operator's id and e-mail."""

    id: UUID
    email: str


def from_row(item_type: type[Item], row: msgspec.Struct, **others: object) -> Item:
    """Build a struct of the API. Each field that is not in `others` comes from the row's column of the same name."""
    names = [name for name in item_type.__struct_fields__ if name not in others]
    return item_type(**{name: getattr(row, name) for name in names}, **others)


def customer_reference(customer_id: UUID, call_name: str, phone_number: str) -> CustomerReference:
    """Return a customer, with the phone number masked."""
    return CustomerReference(id=customer_id, call_name=call_name, phone_masked=mask(phone_number))


def mitra_reference(mitra_id: UUID | None, display_name: str | None) -> MitraReference | None:
    """Return the mitra of an outer join, or None if the join found no mitra."""
    if mitra_id is None or display_name is None:
        return None
    return MitraReference(id=mitra_id, display_name=display_name)


def operator_reference(operator_id: UUID | None, email: str | None) -> OperatorReference | None:
    """Return the operator of an outer join, or None if the join found no operator."""
    if operator_id is None or email is None:
        return None
    return OperatorReference(id=operator_id, email=email)
