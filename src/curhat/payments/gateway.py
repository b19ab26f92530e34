"""The interface to the payment gateway.

Today only the mock implements this interface. A later adapter for Xendit needs no change to any caller.

What every gateway guarantees:
    A key identifies one charge or one refund. If we repeat a charge or a refund under the same key, the gateway only
    repeats its answer.
    `find_charge` and `find_refund` return the result of the charge or refund that we sent under a key.
An answer can be missing or late, can arrive twice, and can arrive out of order. Answers about one key can contradict
each other.
Web hooks:
    A gateway reports late answers by an HTTP request, the web hook (`payments/endpoints.py`). The gateway's class
    checks the token of the web hook, and reads only the key of the charge or refund. The result always comes from a
    query to the gateway. So a repeated, reordered or forged web hook changes nothing that the gateway itself does not
    confirm.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

ChargeStatus = Literal["approved", "declined", "processing", "not_found"]
RefundStatus = Literal["done", "failed", "processing", "not_found"]

# A confirmation waits for the gateway for at most ANSWER_TIMEOUT_SECONDS. After ANSWER_TIMEOUT_SECONDS, the server
# answers that the result is not known yet (a ○ rule of 2a).
ANSWER_TIMEOUT_SECONDS = 5.0


class GatewayUnknown(Exception):
    """The gateway did not answer, but the charge or refund has perhaps happened. Query the gateway by the key."""


class WebhookForged(Exception):
    """The web hook does not prove that it comes from the gateway."""


class WebhookMalformed(Exception):
    """The web hook comes from the gateway, but names no charge and no refund."""


class Webhook(msgspec.Struct, frozen=True):
    """The subject of a web hook: our key of a charge or a refund, or None if no charge or refund of Curhat is meant."""

    about: Literal["charge", "refund"]
    key: UUID


class ChargeAnswer(msgspec.Struct, frozen=True):
    """The gateway's answer about a charge. `reason` is set if the gateway declined the charge.

    A callback names the amount. We need the amount if a failover lost our record of the charge.
    """

    status: ChargeStatus
    reason: str | None = None
    amount_rp: int | None = None


class RefundAnswer(msgspec.Struct, frozen=True):
    """The gateway's answer about a refund. `reason` is set if the refund failed."""

    status: RefundStatus
    reason: str | None = None


class ListedCharge(msgspec.Struct, frozen=True):
    """A charge in the gateway's own records. `customer_id` is None if we did not tell the gateway the customer's id."""

    key: UUID
    payment_id: UUID
    customer_id: UUID | None
    amount_rp: int
    status: Literal["approved", "declined", "processing"]
    at: datetime


class ListedRefund(msgspec.Struct, frozen=True):
    """A refund in the gateway's own records."""

    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int
    status: Literal["done", "failed", "processing"]
    at: datetime


# A gateway calls these functions to deliver an answer late or a second time, as a webhook would. The arguments are the
# key and the answer. The gateway's constructor takes the functions.
ChargeCallback = Callable[[UUID, ChargeAnswer], Awaitable[object]]
RefundCallback = Callable[[UUID, RefundAnswer], Awaitable[object]]


@runtime_checkable  # Litestar checks the type of each object that it injects into an endpoint.
class Gateway(Protocol):
    """A payment gateway. Amounts are whole rupiah, always more than 0."""

    async def charge(
        self, key: UUID, payment_id: UUID, amount_rp: int, customer_id: UUID | None = None
    ) -> ChargeAnswer:
        """Take the money. Raises GatewayUnknown.

        The gateway keeps `customer_id`. If a restore loses the payment, `list_charges` still tells whose money it is.
        """

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        """Return the result of the charge with this key. Raises GatewayUnknown.

        After `not_found`, Curhat lets the customer pay again under a new key (decision 0008). So a gateway that is not
        certain returns `processing` or raises GatewayUnknown. After a wrong `not_found`, the customer can be charged
        twice.
        """

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        """Refund one charge. Raises GatewayUnknown."""

    async def find_refund(self, key: UUID) -> RefundAnswer:
        """Return the result of the refund with this key. Raises GatewayUnknown."""

    def list_charges(self, since: datetime) -> AsyncIterator[ListedCharge]:
        """Yield every charge from `since` on, in any order. Raises GatewayUnknown."""

    def list_refunds(self, since: datetime) -> AsyncIterator[ListedRefund]:
        """Yield every refund from `since` on, in any order. Raises GatewayUnknown."""

    async def close(self) -> None:
        """Release the gateway's connections when the process ends."""


@runtime_checkable
class WebhookGateway(Gateway, Protocol):
    """A gateway that reports late answers by web hooks. Every gateway of a server reports by web hooks."""

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook | None:
        """Check the sender of a web hook, and return the subject of the web hook.

        Returns None if the web hook does not concern Curhat.

        The names in `headers` are in small letters. Raises WebhookForged and WebhookMalformed.
        """

    async def follow_webhook(self, webhook: Webhook) -> None:
        """Query the result, and pass a final result to the callback. Raises GatewayUnknown."""
