"""The interface to the payment gateway.

Today only the mock implements this interface. A later adapter for Xendit needs no change to any caller.

What every gateway guarantees
    A key identifies one charge or one refund. If we send a charge or a refund again under the same key, the gateway
    does not carry it out again, and gives the same answer.
    `find_charge` and `find_refund` return the result of the charge or refund that we sent under a key.
What callers must expect
    An answer may be missing or late, may arrive twice, and may arrive out of order. Answers about one key may
    contradict each other.
Web hooks
    A gateway tells late answers by an HTTP request, the web hook (`payments/endpoints.py`). The gateway's class checks
    its token, and reads only which charge or refund it is about. The result always comes from a query. So a web hook
    that is repeated, out of order or forged can change nothing that the gateway itself does not say.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

ChargeStatus = Literal["approved", "declined", "processing", "not_found"]
RefundStatus = Literal["done", "failed", "processing", "not_found"]

# How long a confirmation waits for the gateway. After this time, the server answers that the result is not known yet
# (a ○ rule of 2a).
ANSWER_TIMEOUT_SECONDS = 5.0


class GatewayUnknown(Exception):
    """The gateway did not answer, but the charge or refund may have happened. Query the gateway by the key."""


class WebhookForged(Exception):
    """The web hook does not prove that it comes from the gateway."""


class WebhookMalformed(Exception):
    """The web hook comes from the gateway, but does not say what it is about."""


class Webhook(msgspec.Struct, frozen=True):
    """What a web hook is about: our key of a charge or of a refund. None: about nothing that concerns Curhat."""

    about: Literal["charge", "refund"]
    key: UUID


class ChargeAnswer(msgspec.Struct, frozen=True):
    """The gateway's answer about a charge. `reason` is set if the gateway declined the charge.

    A callback names the amount. We need it if we do not know the charge, because a failover lost our record of it.
    """

    status: ChargeStatus
    reason: str | None = None
    amount_rp: int | None = None


class RefundAnswer(msgspec.Struct, frozen=True):
    """The gateway's answer about a refund. `reason` is set if the refund failed."""

    status: RefundStatus
    reason: str | None = None


class ListedCharge(msgspec.Struct, frozen=True):
    """A charge in the gateway's own records. `customer_id` is None if the gateway was not told it."""

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
        certain returns `processing` or raises GatewayUnknown. A wrong `not_found` may charge the customer twice.
        """

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        """Refund one charge. Raises GatewayUnknown."""

    async def find_refund(self, key: UUID) -> RefundAnswer:
        """Return the result of the refund with this key. Raises GatewayUnknown."""

    def list_charges(self, since: datetime) -> AsyncIterator[ListedCharge]:
        """Yield every charge since this time, in any order. Raises GatewayUnknown."""

    def list_refunds(self, since: datetime) -> AsyncIterator[ListedRefund]:
        """Yield every refund since this time, in any order. Raises GatewayUnknown."""

    async def close(self) -> None:
        """Release the gateway's connections when the process ends."""


@runtime_checkable
class WebhookGateway(Gateway, Protocol):
    """A gateway that tells late answers by web hooks. Every gateway of a server is one."""

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook | None:
        """Check where a web hook comes from, and return what it is about. None: nothing that concerns Curhat.

        The names in `headers` are in small letters. Raises WebhookForged and WebhookMalformed.
        """

    async def follow_webhook(self, webhook: Webhook) -> None:
        """Query the result, and pass it to the callback if it is final. Raises GatewayUnknown."""
