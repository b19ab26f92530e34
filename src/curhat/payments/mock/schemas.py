"""The structs of the endpoints that control the mock gateway."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Behaviour = Literal["approve", "decline", "slow", "lost", "double", "processing", "pending"]
# `forget` leaves the charges of a payment out of the gateway's list. `invent` adds a charge that nobody asked for.
BookFault = Literal["forget", "invent"]
RecordedChargeStatus = Literal["approved", "declined", "processing"]
RecordedRefundStatus = Literal["done", "failed", "processing"]


class GatewayBehaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mock gateway's behaviour from now on. If `payment_id` is null, the behaviour applies to all payments.

    `forget` and `invent` change the list of charges of a payment now, and not what the gateway does from now on.
    """

    behaviour: Behaviour | BookFault
    payment_id: UUID | None = None


class RecordedCharge(msgspec.Struct, frozen=True):
    """A charge in the gateway's own records."""

    key: UUID
    payment_id: UUID
    amount_rp: int
    status: RecordedChargeStatus
    at: datetime


class RecordedRefund(msgspec.Struct, frozen=True):
    """A refund in the gateway's own records."""

    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int
    status: RecordedRefundStatus
    at: datetime


class GatewayRecords(msgspec.Struct, frozen=True):
    """The charges and refunds that the gateway recorded for one payment, oldest first."""

    charges: list[RecordedCharge]
    refunds: list[RecordedRefund]


class MockWebhook(msgspec.Struct, frozen=True):
    """The body of the mock's web hook. An event other than `charge` and `refund` does not concern Curhat."""

    event: str
    key: UUID
