"""Push subscriptions, and the outbox's rows. Every function takes an open transaction and never commits it."""

import base64
import contextlib
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from curhat.kit import queries as kit_queries
from curhat.kit.database import Transaction
from curhat.kit.errors import TooManyRequests, invalid_field
from curhat.kit.identity import Identity, Role
from curhat.notifications import queries
from curhat.notifications.errors import NoPushSubscription
from curhat.notifications.port import Address, AppAddress, BrowserAddress, base64url
from curhat.notifications.queries import Subscription
from curhat.notifications.schemas import PushPayload, PushSubscription, PushSubscriptionEnd
from curhat.notifications.templates import Language, PushCause, PushKind, words_of

# A person uses fewer than MAX_SUBSCRIPTIONS_PER_USER browsers. If a user with MAX_SUBSCRIPTIONS_PER_USER subscriptions
# subscribes one more browser, the server deletes the user's oldest subscription.
MAX_SUBSCRIPTIONS_PER_USER: Final = 10
# The minimum time between two test messages to the same mitra.
SECONDS_PER_TEST: Final = 10.0
# A test message expires TEST_TTL_SECONDS after the mitra requested the message.
TEST_TTL_SECONDS: Final = 60.0
# Limits how long one call of `prune` holds its locks.
MAX_ROWS_PER_PRUNE: Final = 10_000

# A push replaces an earlier push with the same topic. Each request, session and payment has one topic. So the push
# about a chat message replaces the push about the match of the same session, and the push about a refund replaces the
# push about the decision, which replaced the push about the failed search.
_TOPIC_LETTERS: Final[dict[PushKind, str]] = {
    "request_offered": "r",
    "matched": "s",
    "message": "s",
    "customer_message": "s",
    "extension_requested": "x",
    "search_failed": "p",
    "fallback_offered": "p",
    "decided": "p",
    "refunded": "p",
    "break_over": "b",
    "notice": "n",
    "test": "t",
}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A push message to one user.

    The server sends the message to each of the user's subscriptions that has not failed.
    """

    kind: PushKind
    role: Role
    user_id: UUID
    # The request, session, chat message, pairing, payment, case, refund, mitra or notice that the push announces.
    subject_id: UUID
    # This push replaces the earlier push about this request, session or payment.
    topic_id: UUID
    request_id: UUID | None = None
    session_id: UUID | None = None
    payment_id: UUID | None = None
    # For a failure: its cause.
    cause: PushCause | None = None
    # For a request and a failure: whether the payment is a free trial.
    is_free: bool = False
    reason_at: datetime
    expires_at: datetime


def parsed_address(subscription: PushSubscription) -> Address:
    """Return where to push. Raises ValidationFailed for missing fields, and for keys that no browser creates."""
    if subscription.kind == "fcm":
        if subscription.token is None:
            raise invalid_field("token", "is missing: the FCM registration token")
        return AppAddress(subscription.token)
    if subscription.endpoint is None:
        raise invalid_field("endpoint", "is missing")
    if subscription.keys is None:
        raise invalid_field("keys", "is missing")
    p256dh = _bytes_of(subscription.keys.p256dh, "keys.p256dh")
    auth = _bytes_of(subscription.keys.auth, "keys.auth")
    if len(auth) != 16:
        raise invalid_field("keys.auth", "must be 16 bytes in base64url")
    if not _is_uncompressed_point(p256dh):
        raise invalid_field("keys.p256dh", "must be an uncompressed point of P-256 in base64url")
    return BrowserAddress(endpoint=subscription.endpoint, p256dh=p256dh, auth=auth)


def endpoint_of(ended: PushSubscriptionEnd) -> str:
    """Return the stored endpoint of the subscription to end. Raises ValidationFailed if the endpoint is missing."""
    field = "token" if ended.kind == "fcm" else "endpoint"
    endpoint = ended.token if ended.kind == "fcm" else ended.endpoint
    if endpoint is None:
        raise invalid_field(field, "is missing")
    return endpoint


async def subscribe(
    tx: Transaction, identity: Identity, token_digest: bytes, address: Address, language: Language
) -> None:
    """Subscribe this browser or app for this sign-in. If the subscription has failed, make the subscription good again.

    Ends a subscription of another person or of an earlier sign-in in the same browser or app. A repeated call changes
    nothing.
    """
    role, user_id = identity.role, identity.user_id
    # FCM encrypts the message itself, so an app has no keys.
    stored = address if isinstance(address, BrowserAddress) else BrowserAddress(address.token, b"", b"")
    columns = msgspec.structs.asdict(stored)
    await queries.lock_person(tx, user_id=user_id)
    await queries.lock_endpoint(tx, endpoint=stored.endpoint)
    await queries.delete_earlier_owner(tx, **columns, token_digest=token_digest)
    await queries.upsert_subscription(
        tx,
        subscription_kind="web_push" if isinstance(address, BrowserAddress) else "fcm",
        role=role,
        user_id=user_id,
        token_digest=token_digest,
        language=language,
        **columns,
    )
    await queries.delete_oldest_subscriptions(
        tx, role=role, user_id=user_id, max_subscriptions=MAX_SUBSCRIPTIONS_PER_USER
    )
    if role == "mitra":
        await queries.write_mitra_seen(tx, mitra_id=user_id)
    signal_changed(tx, role, user_id)


async def unsubscribe(tx: Transaction, identity: Identity, endpoint: str) -> None:
    """End this person's subscription with this endpoint. If there is no such subscription, do nothing."""
    await queries.lock_person(tx, user_id=identity.user_id)
    role, user_id = identity.role, identity.user_id
    if await queries.delete_subscriptions_at(tx, role=role, user_id=user_id, endpoint=endpoint):
        signal_changed(tx, role, user_id)


async def enqueue(tx: Transaction, messages: Sequence[Message]) -> int:
    """Put each message into the outbox, once for each subscription of its user that has not failed.

    `messages` must have at least one message, and all messages must be for users of the same role. Returns the number
    of pairs (message, subscription). A repeated call does nothing.
    """
    user_ids = list({message.user_id for message in messages})
    subscriptions: dict[UUID, list[Subscription]] = {}
    for each in await queries.list_good_subscriptions(tx, role=messages[0].role, user_ids=user_ids):
        subscriptions.setdefault(each.user_id, []).append(each)
    queued = [(message, each) for message in messages for each in subscriptions.get(message.user_id, ())]
    if queued:
        await _insert(tx, queued)
    return len(queued)


async def enqueue_test(tx: Transaction, mitra_id: UUID) -> int:
    """Put a test message into the outbox for each subscription of this mitra, failed or not.

    Returns the number of messages. Raises NoPushSubscription if the mitra has no subscription. Raises TooManyRequests
    if the last test was less than SECONDS_PER_TEST ago.
    """
    await queries.lock_person(tx, user_id=mitra_id)
    subscriptions = await queries.list_subscriptions_of_mitra(tx, mitra_id=mitra_id)
    if not subscriptions:
        raise NoPushSubscription
    wait_seconds = await queries.seconds_until_test_allowed(
        tx, mitra_id=mitra_id, seconds_per_test=SECONDS_PER_TEST
    )
    if wait_seconds is not None and wait_seconds > 0:
        raise TooManyRequests(retry_after_seconds=math.ceil(wait_seconds))
    now = await kit_queries.read_clock(tx)
    test_id = uuid4()
    message = Message(
        kind="test",
        role="mitra",
        user_id=mitra_id,
        subject_id=test_id,
        topic_id=test_id,
        reason_at=now,
        expires_at=now + timedelta(seconds=TEST_TTL_SECONDS),
    )
    await _insert(tx, [(message, subscription) for subscription in subscriptions])
    return len(subscriptions)


async def prune(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete expired messages, and the subscriptions of sign-ins that have ended.

    Each kind is limited to `max_rows`. Returns the highest number of rows of one kind.
    """
    messages = await queries.prune_messages(tx, max_rows=max_rows)
    subscriptions = await queries.prune_subscriptions(tx, max_rows=max_rows)
    for pruned in subscriptions:
        signal_changed(tx, pruned.role, pruned.user_id)
    return max(messages, len(subscriptions))


def signal_changed(tx: Transaction, role: Role, user_id: UUID) -> None:
    """Make the package `presence` refresh a mitra after the commit. Push affects whether the mitra can be asked."""
    if role == "mitra":
        tx.signal("mitra_changed", msgspec.json.encode([user_id]))


async def _insert(tx: Transaction, queued: Sequence[tuple[Message, Subscription]]) -> None:
    topics = [_TOPIC_LETTERS[message.kind] + base64url(message.topic_id.bytes) for message, _ in queued]
    await queries.enqueue_messages(
        tx,
        subscription_ids=[subscription.id for _, subscription in queued],
        kinds=[message.kind for message, _ in queued],
        subject_ids=[message.subject_id for message, _ in queued],
        topics=topics,
        payloads=[
            _payload(message, topic, subscription.language)
            for (message, subscription), topic in zip(queued, topics, strict=True)
        ],
        reason_at=[message.reason_at for message, _ in queued],
        expires_at=[message.expires_at for message, _ in queued],
    )


def _payload(message: Message, topic: str, language: Language) -> str:
    payload = PushPayload(
        type=message.kind,
        **msgspec.structs.asdict(words_of(message.kind, language, message.cause, is_free=message.is_free)),
        topic=topic,
        request_id=message.request_id,
        session_id=message.session_id,
        payment_id=message.payment_id,
        expires_at=message.expires_at,
    )
    return msgspec.json.encode(payload).decode()


def _is_uncompressed_point(encoded: bytes) -> bool:
    with contextlib.suppress(ValueError):
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded)
        return len(encoded) == 65  # A compressed point has 33 bytes.
    return False


def _bytes_of(text: str, field: str) -> bytes:
    try:
        plain = text.rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars="-_", validate=True)
    except ValueError:
        raise invalid_field(field, "must be base64url") from None


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete the push subscriptions of a deleted account, with their messages. Returns False: nothing is left."""
    await queries.delete_subscriptions_of(tx, user_id=user_id, role=role)
    return False
