"""What crosses the border: subscriptions as a browser describes them, and what a service worker is pushed."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from curhat.notifications.templates import Language, PushKind

Endpoint = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
# In milliseconds since 1970. Not needed: a push service says when a subscription is over.
ExpirationTime = Annotated[int, msgspec.Meta(le=2**53)]


class SubscriptionKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a subscription, in base64url: a point of P-256, uncompressed, and 16 random bytes."""

    p256dh: Annotated[str, msgspec.Meta(max_length=100)]
    auth: Annotated[str, msgspec.Meta(max_length=40)]


class PushSubscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As a browser's `PushSubscription.toJSON()` says it, and the language to push in."""

    endpoint: Endpoint
    keys: SubscriptionKeys
    language: Language = "id"
    expiration_time: ExpirationTime | None = msgspec.field(name="expirationTime", default=None)


class PushSubscriptionEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which subscription ends. The rest of `PushSubscription.toJSON()` may come with it."""

    endpoint: Endpoint
    keys: SubscriptionKeys | None = None
    expiration_time: ExpirationTime | None = msgspec.field(name="expirationTime", default=None)


class PushKey(msgspec.Struct, frozen=True):
    """The `applicationServerKey` to subscribe with, in base64url."""

    public_key: str


class PushTest(msgspec.Struct, frozen=True):
    """How many notifications are on their way."""

    sent_to: int


class PushPayload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a service worker reads. Notifications of one `topic` replace each other; a tap opens what it is about."""

    type: PushKind
    title: str
    body: str
    topic: str
    request_id: UUID | None = None
    session_id: UUID | None = None
    # When it is worth nothing any more.
    expires_at: datetime
