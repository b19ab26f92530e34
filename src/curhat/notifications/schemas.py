"""The bodies of the push endpoints, and the payload that a service worker receives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from curhat.notifications.port import SubscriptionKind
from curhat.notifications.templates import Language, PushKind

Endpoint = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
# FCM does not document the form of its tokens. Today's tokens have about 150 characters.
FcmToken = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,1000}$")]
# The time at which a subscription expires, in milliseconds since 1970. The server ignores this time, because the push
# service says when a subscription has ended.
ExpirationTime = Annotated[int, msgspec.Meta(le=2**53)]


class SubscriptionKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a subscription, in base64url: an uncompressed point of P-256, and 16 random bytes."""

    p256dh: Annotated[str, msgspec.Meta(max_length=100)]
    auth: Annotated[str, msgspec.Meta(max_length=40)]


class PushSubscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send pushes, and their language.

    `kind` is `web_push` for a browser, with `endpoint` and `keys` of its `PushSubscription.toJSON()`. `kind` is `fcm`
    for a native app, with the FCM registration `token`.
    """

    kind: SubscriptionKind = "web_push"
    endpoint: Endpoint | None = None
    keys: SubscriptionKeys | None = None
    token: FcmToken | None = None
    language: Language = "id"
    expiration_time: ExpirationTime | None = msgspec.field(name="expirationTime", default=None)


class PushSubscriptionEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The subscription to end: a browser's `endpoint`, or an app's `token`.

    The server ignores the other fields of `PushSubscription.toJSON()`.
    """

    kind: SubscriptionKind = "web_push"
    endpoint: Endpoint | None = None
    token: FcmToken | None = None
    keys: SubscriptionKeys | None = None
    expiration_time: ExpirationTime | None = msgspec.field(name="expirationTime", default=None)


class PushKey(msgspec.Struct, frozen=True):
    """The `applicationServerKey` to subscribe with, in base64url."""

    public_key: str


class PushTest(msgspec.Struct, frozen=True):
    """How many notifications the server is sending."""

    sent_to: int


class PushPayload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload that a service worker reads. FCM gives a native app the same fields, without `title` and `body`.

    A notification replaces an earlier notification with the same `topic`.
    """

    type: PushKind
    title: str
    body: str
    topic: str
    request_id: UUID | None = None
    session_id: UUID | None = None
    payment_id: UUID | None = None
    # After this time, the service worker ignores the payload.
    expires_at: datetime
