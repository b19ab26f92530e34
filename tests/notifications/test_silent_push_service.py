"""Test that push services that do not answer use only some of a worker's concurrent calls."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit
from uuid import UUID

import prometheus_client
import pytest

from curhat.kit.database import Database
from curhat.kit.identity import Role
from curhat.notifications import port
from curhat.notifications.addresses import KNOWN_ENDPOINT
from curhat.notifications.outbox import MAX_SENDS_RUNNING, Outbox
from tests.support.people import Make

# Adds $2 messages for one person. Each message has its own subscription at the push service $3. If the statement runs
# again, the new messages are due later than the earlier messages.
ENQUEUE = """
WITH token AS (
    INSERT INTO access_tokens (digest, role, user_id, transport, expires_at)
    SELECT convert_to($3 || number, 'UTF8'), 'mitra', $1::uuid, 'bearer', curhat_now() + interval '1 hour'
    FROM generate_series(1, $2) AS number
    RETURNING digest
), subscription AS (
    INSERT INTO push_subscriptions (role, user_id, token_digest, endpoint, p256dh, auth, language)
    SELECT 'mitra', $1, digest, 'https://' || $3 || '/' || encode(digest, 'hex'), decode(repeat('04', 65), 'hex'),
        decode(repeat('00', 16), 'hex'), 'id'
    FROM token
    RETURNING id
)
INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
SELECT id, 'test', gen_random_uuid(), 't', '{}', curhat_now(), curhat_now() + interval '1 hour' FROM subscription
"""


class Channel:
    """Sends a message to a good service immediately.

    A silent service gives no answer. `give_up` lets all calls to silent services time out.
    """

    def __init__(self) -> None:
        self.give_up = asyncio.Event()
        self.delivered: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def deliver(self, _subscription_id: UUID, address: port.Address, _push: port.Push) -> port.Outcome:
        assert isinstance(address, port.BrowserAddress)
        service = urlsplit(address.endpoint).netloc
        if not service.startswith("silent"):
            self.delivered[service] += 1
            return port.Delivered()
        self.running[service] += 1
        self.most |= self.running
        await self.give_up.wait()
        self.running[service] -= 1
        return port.TIMED_OUT


async def nobody(_role: Role, _user_ids: Sequence[UUID]) -> set[UUID]:
    return set()


async def all_of(_kind: object, subject_ids: Sequence[UUID]) -> set[UUID]:
    return set(subject_ids)


@contextlib.asynccontextmanager
async def sending(database: Database, channel: Channel) -> AsyncIterator[Outbox]:
    outbox = Outbox(database, channel, nobody, all_of)
    running = asyncio.create_task(outbox.run())
    try:
        async with asyncio.timeout(10):
            yield outbox
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.rule("4.1")
@pytest.mark.invariant(12)
async def test_a_silent_push_service_delays_no_message_to_another_service(
    database: Database, make: Make
) -> None:
    mitra, channel = await make.mitra(), Channel()
    await database.execute(ENQUEUE, mitra, 200, "silent.push.apple.com")
    await database.execute(ENQUEUE, mitra, 100, "fcm.googleapis.com:443")
    async with sending(database, channel):
        while channel.delivered["fcm.googleapis.com:443"] < 100:
            await asyncio.sleep(0.01)
        assert channel.most["silent.push.apple.com"] <= MAX_SENDS_RUNNING // 2
        # After the calls to the service have timed out, the metrics show the failures.
        channel.give_up.set()
        while prometheus_client.REGISTRY.get_sample_value("curhat_push_silent_services") != 1:
            await asyncio.sleep(0.01)


@pytest.mark.rule("4.1")
@pytest.mark.invariant(12)
async def test_silent_hosts_of_client_subscriptions_delay_no_message_to_a_known_push_service(
    database: Database, make: Make
) -> None:
    mitra, channel = await make.mitra(), Channel()
    for number in range(20):
        await database.execute(ENQUEUE, mitra, 10, f"silent{number}.example")
    await database.execute(ENQUEUE, mitra, 30, "fcm.googleapis.com")
    async with sending(database, channel):
        while channel.delivered["fcm.googleapis.com"] < 30:
            await asyncio.sleep(0.01)
        assert channel.running.total() <= MAX_SENDS_RUNNING // 3


async def test_an_unknown_push_service_gets_its_messages(database: Database, make: Make) -> None:
    mitra, channel = await make.mitra(), Channel()
    await database.execute(ENQUEUE, mitra, 60, "push.example")
    async with sending(database, channel):
        while channel.delivered["push.example"] < 60:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("endpoint", "service"),
    [
        ("https://fcm.googleapis.com/fcm/send/x:y", "fcm.googleapis.com"),
        ("https://updates.push.services.mozilla.com/wpush/v2/x", "push.services.mozilla.com"),
        ("https://web.push.apple.com/x", "push.apple.com"),
        ("https://wns2-sg2p.notify.windows.com:443/w/?token=x", "notify.windows.com"),
        ("http://127.0.0.1:8123/push/1", "127.0.0.1"),
        ("https://example.com/https://fcm.googleapis.com/", None),
        ("https://evilpush.apple.com/", None),
        ("https://push.apple.com.example.com/", None),
        ("https://example.com?.push.apple.com/", None),
        ("https://example.com#.push.apple.com/", None),
        ("https://example.com\\.push.apple.com/", None),
        ("https://fcm-googleapis.com/", None),
        ("https://fcmxgoogleapis.com/", None),
    ],
)
async def test_only_the_host_of_an_endpoint_decides_whether_its_push_service_is_known(
    database: Database, endpoint: str, service: str | None
) -> None:
    assert await database.fetchval("SELECT substring($1, $2)", endpoint, KNOWN_ENDPOINT) == service
    found = re.match(KNOWN_ENDPOINT, endpoint)
    assert (found and found[1]) == service
