"""The reference of a payment: eight characters that a customer can read out to an operator."""

from uuid import UUID

REFERENCE_CHARACTERS = 8


def payment_reference(payment_id: UUID) -> str:
    """Return the last eight hexadecimal digits of the payment's id, in capitals.

    These digits of a UUIDv7 are random. The first digits are the time, so payments of one minute share them.
    """
    return payment_id.hex[-REFERENCE_CHARACTERS:].upper()
