"""The interface of every push channel: Web Push now, FCM later."""

from typing import Protocol
from uuid import UUID

import msgspec


class Address(msgspec.Struct, frozen=True):
    """The endpoint of a subscription, and the keys that encrypt a message for the subscription's browser."""

    endpoint: str
    p256dh: bytes
    auth: bytes

    def __repr__(self) -> str:
        return "Address(…)"  # Anyone who reads an address in a log could send pushes to it.


class Push(msgspec.Struct, frozen=True):
    """One message, which expires after `ttl_seconds`. A later message with the same topic replaces this message."""

    payload: bytes
    topic: str
    ttl_seconds: int


class Delivered(msgspec.Struct, frozen=True):
    """The push service accepted the message."""


class Gone(msgspec.Struct, frozen=True):
    """The subscription no longer exists."""


class Refused(msgspec.Struct, frozen=True):
    """The push service will never accept this message. `reason` is for the log, so it contains no secret."""

    reason: str


class Unavailable(msgspec.Struct, frozen=True):
    """The push service may accept the message later.

    `is_their_limit`: whether the reason is that we sent too many messages.
    """

    reason: str
    retry_after_seconds: float | None = None
    is_their_limit: bool = False


TIMED_OUT = Unavailable("timeout")

Outcome = Delivered | Gone | Refused | Unavailable


class PushChannel(Protocol):
    """A way to send pushes."""

    async def deliver(self, subscription_id: UUID, address: Address, push: Push) -> Outcome:
        """Send one message. Ends within a limited time. Raises no error, whatever the push service does."""
