"""The port to the payment gateway. The mock fits it today, Xendit later, without touching the callers.

What every gateway behind this port must keep
    A key names one charge (or refund) for ever: sent again, it is not carried out again, and the same answer comes
    back. `find_charge` and `find_refund` tell what became of a key.
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
    """No answer came: the charge or refund may or may not have happened. Ask by key."""


class ChargeAnswer(msgspec.Struct, frozen=True):
    """What the gateway says of a charge. `reason` is set when it declined."""

    status: ChargeStatus
    reason: str | None = None


class RefundAnswer(msgspec.Struct, frozen=True):
    """What the gateway says of a refund. `reason` is set when it failed."""

    status: RefundStatus
    reason: str | None = None


# The gateway calls back on its own when an answer comes late (a webhook): key and answer.
ChargeCallback = Callable[[UUID, ChargeAnswer], Awaitable[None]]


@runtime_checkable  # Litestar checks what it hands to an endpoint.
class Gateway(Protocol):
    """A payment gateway. Amounts are whole rupiah, always more than 0."""

    def on_charge_answer(self, callback: ChargeCallback) -> None:
        """Have late and repeated answers delivered to `callback`."""

    async def charge(self, key: UUID, payment_id: UUID, amount_rp: int) -> ChargeAnswer:
        """Take the money. Raises GatewayUnknown."""

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        """What became of the charge with this key. Raises GatewayUnknown."""

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        """Give the money of one charge back. Raises GatewayUnknown."""

    async def find_refund(self, key: UUID) -> RefundAnswer:
        """What became of the refund with this key. Raises GatewayUnknown."""
