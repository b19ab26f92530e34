"""The port to the payment gateway. The mock implements it today, Xendit later, without a change in the callers.

What every gateway behind this port guarantees
    A key names one charge (or refund) for ever. Sent again under its key, it is not carried out again, and the gateway
    gives the same answer. `find_charge` and `find_refund` return the result of the charge or refund that was sent
    under a key.
What callers must expect
    No answer, a late one, the same one twice, and answers out of order. `GatewayUnknown` says only that the result
    is not known.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

ChargeStatus = Literal["approved", "declined", "processing", "not_found"]
RefundStatus = Literal["done", "failed", "processing", "not_found"]

# How long a confirmation waits for the gateway before it answers "not known yet" (a ○ rule of section 2a).
ANSWER_TIMEOUT_SECONDS = 5.0


class GatewayUnknown(Exception):
    """No answer came. The charge or refund may have happened or not: ask by key."""


class ChargeAnswer(msgspec.Struct, frozen=True):
    """What the gateway says of a charge. `reason` is set when it declined."""

    status: ChargeStatus
    reason: str | None = None


class RefundAnswer(msgspec.Struct, frozen=True):
    """What the gateway says of a refund. `reason` is set when it failed."""

    status: RefundStatus
    reason: str | None = None


# A gateway calls this with the key and the answer when an answer comes late or again, as a webhook would. The gateway's
# constructor takes it.
ChargeCallback = Callable[[UUID, ChargeAnswer], Awaitable[object]]


@runtime_checkable  # Litestar checks the type of what it injects into an endpoint.
class Gateway(Protocol):
    """A payment gateway. Amounts are whole rupiah, always more than 0."""

    async def charge(self, key: UUID, payment_id: UUID, amount_rp: int) -> ChargeAnswer:
        """Take the money. Raises GatewayUnknown."""

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        """What became of the charge with this key. Raises GatewayUnknown."""

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        """Refund one charge. Raises GatewayUnknown."""

    async def find_refund(self, key: UUID) -> RefundAnswer:
        """What became of the refund with this key. Raises GatewayUnknown."""
