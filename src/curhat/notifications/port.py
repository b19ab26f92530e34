"""The interface of every push channel: Web Push now, FCM later."""

from typing import Literal, Protocol
from uuid import UUID

import msgspec

Urgency = Literal["very-low", "low", "normal", "high"]


class Address(msgspec.Struct, frozen=True):
    """The destination of a subscription's messages, and the keys with which only its browser can read them."""

    endpoint: str
    p256dh: bytes
    auth: bytes

    def __repr__(self) -> str:
        return "Address(…)"  # A reader of a log could send to the address.


class Push(msgspec.Struct, frozen=True):
    """One message. A later message of the same topic replaces it. It expires after `ttl_seconds`."""

    payload: bytes
    topic: str
    ttl_seconds: int
    urgency: Urgency


class Delivered(msgspec.Struct, frozen=True):
    """The push service accepted the message."""


class Gone(msgspec.Struct, frozen=True):
    """The subscription no longer exists."""


class Refused(msgspec.Struct, frozen=True):
    """The push service will never accept this message.

    `reason` is for the log: a status or a word without secrets.
    """

    reason: str


class Unavailable(msgspec.Struct, frozen=True):
    """The push service may accept the message later.

    `is_their_limit`: we sent too much, and the subscription is valid.
    """

    reason: str
    retry_after_seconds: float | None = None
    is_their_limit: bool = False


Outcome = Delivered | Gone | Refused | Unavailable


class PushChannel(Protocol):
    """A way to send pushes.

    It ends within a limited time, and raises no error because of a push service's behaviour.
    """

    async def deliver(self, subscription_id: UUID, address: Address, push: Push) -> Outcome:
        """Send one message."""
