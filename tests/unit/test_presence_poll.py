"""Test the availability poll: its answers, its queries to Valkey, and the HTTP requests that it forwards."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import pytest

from curhat.kit.errors import PresenceUnknown
from curhat.presence.availability_poll import MAX_ANSWER_AGE_SECONDS, PATH, AvailabilityPoll

Scope = MutableMapping[str, Any]


class Counter:
    """Replaces Valkey in these tests.

    A call waits until `gate` is open. When `gate` is open, the call returns or raises `available`.
    """

    def __init__(self, available: int | Exception) -> None:
        self.available = available
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.available, Exception):
            raise self.available
        return self.available


async def framework(scope: Scope, _receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
    await send({"type": "framework", "scope": scope})


async def call(
    poll: AvailabilityPoll, method: str = "GET", path: str = PATH, kind: str = "http"
) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the poll reads no body")

    async def send(message: Any) -> None:
        sent.append(message)

    await poll({"type": kind, "method": method, "path": path}, receive, send)
    return sent


def body_of(sent: list[Any]) -> Any:
    return msgspec.json.decode(sent[1]["body"])


@pytest.mark.rule("1.2")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_answer_to_the_poll_contains_only_whether_any_mitra_is_available(method: str) -> None:
    sent = await call(AvailabilityPoll(framework, Counter(3)), method)

    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 200
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"content-length"] == str(len(sent[1]["body"])).encode()
    assert body_of(sent) == {"available": True}


@pytest.mark.rule("1.2")
async def test_the_poll_says_unavailable_when_no_mitra_is_available() -> None:
    assert body_of(await call(AvailabilityPoll(framework, Counter(0)))) == {"available": False}


@pytest.mark.rule("1.6")
@pytest.mark.parametrize("error", [PresenceUnknown(), ValueError("not a number")])
async def test_the_poll_says_unavailable_immediately_when_presence_is_unknown(error: Exception) -> None:
    counter = Counter(1)
    poll = AvailabilityPoll(framework, counter)
    assert body_of(await call(poll)) == {"available": True}

    counter.available = error

    async with asyncio.timeout(10):
        while body_of(await call(poll)) == {"available": True}:
            await asyncio.sleep(0)
    assert body_of(await call(poll)) == {"available": False}


@pytest.mark.rule("1.2")
async def test_concurrent_polls_share_one_query() -> None:
    counter = Counter(1)
    counter.gate.clear()
    poll = AvailabilityPoll(framework, counter)
    polls = [asyncio.create_task(call(poll)) for _ in range(50)]
    while counter.asked == 0:
        await asyncio.sleep(0)
    counter.gate.set()

    assert [body_of(sent) for sent in await asyncio.gather(*polls)] == [{"available": True}] * 50
    assert counter.asked == 1


@pytest.mark.rule("1.2")
async def test_polls_query_valkey_at_most_five_times_per_second() -> None:
    counter = Counter(1)
    poll = AvailabilityPoll(framework, counter)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() < begun + 1:
        await call(poll)
        await asyncio.sleep(0)

    assert 2 <= counter.asked <= 1 / MAX_ANSWER_AGE_SECONDS + 1


async def test_a_disconnecting_client_does_not_cancel_the_answers_of_other_clients() -> None:
    counter = Counter(1)
    counter.gate.clear()
    poll = AvailabilityPoll(framework, counter)
    gone, stays = asyncio.create_task(call(poll)), asyncio.create_task(call(poll))
    while counter.asked == 0:
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    counter.gate.set()

    assert body_of(await stays) == {"available": True}
    assert counter.asked == 1
    assert gone.cancelled()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_methods_other_than_get_and_head_are_refused_without_a_query(method: str) -> None:
    counter = Counter(1)
    sent = await call(AvailabilityPoll(framework, counter), method)

    assert sent[0]["status"] == 405
    assert dict(sent[0]["headers"])[b"allow"] == b"GET, HEAD"
    assert dict(sent[0]["headers"])[b"content-type"] == b"application/problem+json"
    assert body_of(sent)["code"] == "method_not_allowed"
    assert counter.asked == 0


@pytest.mark.parametrize(
    ("kind", "path"),
    [("http", "/api/client/pricing"), ("http", PATH + "/"), ("websocket", PATH), ("lifespan", "")],
)
async def test_every_request_other_than_the_poll_is_passed_to_the_framework(kind: str, path: str) -> None:
    counter = Counter(1)
    sent = await call(AvailabilityPoll(framework, counter), path=path, kind=kind)

    assert [message["type"] for message in sent] == ["framework"]
    assert counter.asked == 0
