"""The interface of every push channel: Web Push for browsers, FCM for native apps."""

import base64
from typing import Literal, Protocol, TypeVar
from uuid import UUID

import msgspec

SubscriptionKind = Literal["web_push", "fcm"]


class BrowserAddress(msgspec.Struct, frozen=True):
    """The endpoint of a browser's subscription, and the keys that encrypt a message for this browser."""

    endpoint: str
    p256dh: bytes
    auth: bytes

    def __repr__(self) -> str:
        return "BrowserAddress(…)"  # Anyone who reads an address in a log could send pushes to it.


class AppAddress(msgspec.Struct, frozen=True):
    """The FCM registration token of a native app on one device."""

    token: str

    def __repr__(self) -> str:
        return "AppAddress(…)"  # See BrowserAddress.


Address = BrowserAddress | AppAddress
Place_contra = TypeVar("Place_contra", contravariant=True)


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
    """The push service can accept the message later.

    `is_their_limit` is true if the push service says that we sent too many messages.
    """

    reason: str
    retry_after_seconds: float | None = None
    is_their_limit: bool = False


TIMED_OUT = Unavailable("timeout")

Outcome = Delivered | Gone | Refused | Unavailable


class PushChannel(Protocol[Place_contra]):
    """A way to send pushes to one kind of address."""

    async def deliver(self, subscription_id: UUID, address: Place_contra, push: Push) -> Outcome:
        """Send one message. Ends within a limited time. Raises no error, even if the push service fails."""


class Channels:
    """The PushChannel for every kind of address. `fcm` is None if this service pushes to no native apps."""

    def __init__(self, web_push: PushChannel[BrowserAddress], fcm: PushChannel[AppAddress] | None) -> None:
        self.web_push = web_push
        self.fcm = fcm

    async def deliver(self, subscription_id: UUID, address: Address, push: Push) -> Outcome:
        """See PushChannel."""
        if isinstance(address, BrowserAddress):
            return await self.web_push.deliver(subscription_id, address, push)
        if self.fcm is None:
            return Refused("fcm_not_configured")
        return await self.fcm.deliver(subscription_id, address, push)


def base64url(value: bytes) -> str:
    """Encode as base64url without padding. Web Push and JSON Web Tokens use this form."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
