"""How the Control Center shows people: customers by call name and masked phone number, mitras and operators by name."""

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
    """An operator, as other operators see one."""

    id: UUID
    email: str


def customer_reference(customer_id: UUID, call_name: str, phone_number: str) -> CustomerReference:
    """A customer, with the phone number masked."""
    return CustomerReference(id=customer_id, call_name=call_name, phone_masked=mask(phone_number))


def mitra_reference(mitra_id: UUID | None, display_name: str | None) -> MitraReference | None:
    """The mitra of an outer join; None when it found none."""
    if mitra_id is None or display_name is None:
        return None
    return MitraReference(id=mitra_id, display_name=display_name)


def operator_reference(operator_id: UUID | None, email: str | None) -> OperatorReference | None:
    """The operator of an outer join; None when it found none."""
    if operator_id is None or email is None:
        return None
    return OperatorReference(id=operator_id, email=email)
