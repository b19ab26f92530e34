"""Subscriptions, and what waits to be sent. Every function takes an open transaction and never commits it."""

import base64
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import TooManyRequests, ValidationFailed
from curhat.kit.identity import Identity, Role
from curhat.kit.ids import new_id
from curhat.notifications.errors import NoPushSubscription
from curhat.notifications.port import Address
from curhat.notifications.schemas import PushPayload, PushSubscription
from curhat.notifications.templates import WORDS, Language, PushKind
from curhat.notifications.web_push import base64url

SQL = load_queries(__file__)

# More browsers than anybody uses; with one more, the oldest goes.
MAX_SUBSCRIPTIONS_PER_USER: Final = 10
# How often a mitra may test, and for how long a test is worth anything.
TEST_EVERY_SECONDS: Final = 10.0
TEST_GOOD_FOR_SECONDS: Final = 60.0
# Bounds how long one pruning holds its locks.
PRUNE_LIMIT: Final = 10_000

# A topic says what replaces what: one a request, one a session (that somebody is there, then what they say).
_TOPIC_LETTERS: Final[dict[PushKind, str]] = {
    "request_offered": "r",
    "matched": "s",
    "message": "s",
    "test": "t",
}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A push to everybody in `user_ids` who has a good subscription. See the table for the fields."""

    kind: PushKind
    role: Role
    user_id: UUID
    # The request, session or message that it is about; a later message of a session replaces the one before.
    subject_id: UUID
    topic_id: UUID
    request_id: UUID | None = None
    session_id: UUID | None = None
    reason_at: datetime
    expires_at: datetime


def parsed_address(subscription: PushSubscription) -> Address:
    """A subscription's keys as bytes. Raises ValidationFailed for what no browser makes."""
    p256dh = _bytes_of(subscription.keys.p256dh, "keys.p256dh")
    auth = _bytes_of(subscription.keys.auth, "keys.auth")
    if len(auth) != 16:
        raise _invalid("keys.auth", "must be 16 bytes in base64url")
    if not _is_uncompressed_point(p256dh):
        raise _invalid("keys.p256dh", "must be an uncompressed point of P-256 in base64url")
    return Address(endpoint=subscription.endpoint, p256dh=p256dh, auth=auth)


def refused_endpoint(reason: str) -> ValidationFailed:
    """The refusal of an endpoint that may not be called."""
    return _invalid("endpoint", reason)


async def subscribe(
    tx: Transaction, identity: Identity, token_digest: bytes, address: Address, language: Language
) -> None:
    """nothing, failed, or somebody else's in the same browser → this person's, good. Repeated, nothing changes."""
    await tx.execute(SQL.lock_person, identity.user_id)
    await tx.execute(SQL.lock_endpoint, address.endpoint)
    await tx.execute(SQL.take_over, address.endpoint, address.p256dh, address.auth, token_digest)
    await tx.execute(
        SQL.subscribe,
        identity.role,
        identity.user_id,
        token_digest,
        address.endpoint,
        address.p256dh,
        address.auth,
        language,
    )
    await tx.execute(SQL.keep_newest, identity.role, identity.user_id, MAX_SUBSCRIPTIONS_PER_USER)
    if identity.role == "mitra":
        await tx.execute(SQL.see_mitra, identity.user_id)
    signal_changed(tx, identity.role, identity.user_id)


async def unsubscribe(tx: Transaction, identity: Identity, endpoint: str) -> None:
    """there → gone. One that is not there, or not this person's, is nothing to speak of."""
    await tx.execute(SQL.lock_person, identity.user_id)
    if await tx.fetch(SQL.unsubscribe, identity.role, identity.user_id, endpoint):
        signal_changed(tx, identity.role, identity.user_id)


async def enqueue(tx: Transaction, messages: Sequence[Message]) -> int:
    """nothing → waiting: each message for each good subscription of its person. Repeated, nothing happens.

    Returns for how many subscriptions there is something to send.
    """
    rows: list[tuple[object, ...]] = []
    by_role: dict[Role, list[Message]] = {}
    for message in messages:
        by_role.setdefault(message.role, []).append(message)
    for role, theirs in sorted(by_role.items()):
        subscriptions: dict[UUID, list[tuple[UUID, Language]]] = {}
        people = list({message.user_id for message in theirs})
        for found in await tx.fetch(SQL.good_of_people, role, people):
            subscriptions.setdefault(found["user_id"], []).append((found["id"], found["language"]))
        rows += [
            _row(message, subscription_id, language)
            for message in theirs
            for subscription_id, language in subscriptions.get(message.user_id, ())
        ]
    if rows:
        await tx.execute(SQL.enqueue, *map(list, zip(*rows, strict=True)))
    return len(rows)


async def enqueue_test(tx: Transaction, mitra_id: UUID) -> int:
    """nothing → waiting: a test for each subscription of this mitra. Returns how many.

    Raises NoPushSubscription, TooManyRequests.
    """
    await tx.execute(SQL.lock_person, mitra_id)
    subscriptions = await tx.fetch(SQL.of_mitra, mitra_id)
    if not subscriptions:
        raise NoPushSubscription
    wait_seconds = await tx.fetchval(SQL.last_test, mitra_id, TEST_EVERY_SECONDS)
    if wait_seconds is not None and wait_seconds > 0:
        raise TooManyRequests(retry_after_seconds=math.ceil(wait_seconds))
    row = await tx.fetchrow(
        "SELECT now, now + make_interval(secs => $1) AS until FROM curhat_now() AS now", TEST_GOOD_FOR_SECONDS
    )
    assert row is not None
    test_id = new_id()
    message = Message(
        kind="test",
        role="mitra",
        user_id=mitra_id,
        subject_id=test_id,
        topic_id=test_id,
        reason_at=row["now"],
        expires_at=row["until"],
    )
    rows = [_row(message, each["id"], each["language"]) for each in subscriptions]
    await tx.execute(SQL.enqueue, *map(list, zip(*rows, strict=True)))
    return len(rows)


async def prune(tx: Transaction, limit: int = PRUNE_LIMIT) -> None:
    """Forget messages whose time is over, and subscriptions of sign-ins that are."""
    await tx.execute(SQL.prune_messages, limit)
    for row in await tx.fetch(SQL.prune_subscriptions, limit):
        signal_changed(tx, row["role"], row["user_id"])


def signal_changed(tx: Transaction, role: Role, user_id: UUID) -> None:
    """A mitra's subscriptions are part of whether it may be asked: presence follows after the commit."""
    if role == "mitra":
        tx.signal("mitra_changed", msgspec.json.encode([user_id]))


def _row(message: Message, subscription_id: UUID, language: Language) -> tuple[object, ...]:
    words = WORDS[message.kind][language]
    topic = _TOPIC_LETTERS[message.kind] + base64url(message.topic_id.bytes)
    payload = PushPayload(
        type=message.kind,
        title=words.title,
        body=words.body,
        topic=topic,
        request_id=message.request_id,
        session_id=message.session_id,
        expires_at=message.expires_at,
    )
    return (
        subscription_id,
        message.kind,
        message.subject_id,
        topic,
        msgspec.json.encode(payload).decode(),
        message.reason_at,
        message.expires_at,
    )


def _is_uncompressed_point(encoded: bytes) -> bool:
    if len(encoded) != 65:
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded)
    except ValueError:
        return False
    return True


def _bytes_of(text: str, field: str) -> bytes:
    try:
        plain = text.rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars="-_", validate=True)
    except ValueError:
        raise _invalid(field, "must be base64url") from None


def _invalid(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(errors=[{"field": field, "message": message}])
