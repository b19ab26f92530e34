"""What a way of pushing is. Web Push is one; FCM fits the same port."""

from typing import Literal, Protocol
from uuid import UUID

import msgspec

Urgency = Literal["very-low", "low", "normal", "high"]


class Address(msgspec.Struct, frozen=True):
    """Where a subscription's messages go, and the keys that only its browser can read them with."""

    endpoint: str
    p256dh: bytes
    auth: bytes

    def __repr__(self) -> str:
        return "Address(…)"  # Whoever reads it in a log could send there.


class Push(msgspec.Struct, frozen=True):
    """A message: what it says, what it replaces, how long it is worth anything, and how urgent it is."""

    payload: bytes
    topic: str
    ttl_seconds: int
    urgency: Urgency


class Delivered(msgspec.Struct, frozen=True):
    """The push service took it."""


class Gone(msgspec.Struct, frozen=True):
    """There is no such subscription any more."""


class Refused(msgspec.Struct, frozen=True):
    """It will not be taken, now or later. `reason` is for the log: a status or a word, nothing secret."""

    reason: str


class Unavailable(msgspec.Struct, frozen=True):
    """It may be taken later. `is_their_limit`: we send too much, and the subscription is not to blame."""

    reason: str
    retry_after_seconds: float | None = None
    is_their_limit: bool = False


Outcome = Delivered | Gone | Refused | Unavailable


class PushChannel(Protocol):
    """A way of pushing. Bounded in time; does not raise for what a push service says or does."""

    async def deliver(self, subscription_id: UUID, address: Address, push: Push) -> Outcome:
        """Send one message."""
