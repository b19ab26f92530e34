"""Test the limits per network address and per person, with a real Valkey and without Valkey."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
import valkey.asyncio

from curhat.accounts import address_limit
from curhat.accounts.address_limit import RequestLimit, count_in_hour, give_back
from curhat.kit.errors import TooManyRequests

Valkey = valkey.asyncio.Valkey


class WallClock:
    """A wall clock that stands still until a test moves the clock."""

    now = 1_767_268_800.0

    def time(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    made = WallClock()
    monkeypatch.setattr(address_limit, "time", made)
    return made


@pytest.fixture
def no_valkey() -> Valkey:
    return valkey.asyncio.Valkey(host="127.0.0.1", port=1, socket_connect_timeout=0.1)


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def name_of(scope: Any) -> str | None:
    name: str | None = scope.get("person")
    return name


def limited(client: Valkey, limit: int) -> RequestLimit:
    """Return the application `hello` with a request limit."""
    return RequestLimit(hello, client, limit, name_of)


async def call(
    application: RequestLimit, address: str = "10.0.0.1", kind: str = "http", **further: Any
) -> Any:
    """Call the application, and return the ASGI messages that it sent."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    await application({"type": kind, "client": (address, 1), "path": "/", **further}, receive, send)
    return sent


async def statuses(
    application: RequestLimit, times: int, address: str = "10.0.0.1", person: str | None = None
) -> list[int]:
    return [(await call(application, address, person=person))[0]["status"] for _ in range(times)]


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_an_address_gets_as_many_answers_as_the_limit_allows(
    valkey_client: Valkey, wall: WallClock, limit: int
) -> None:
    application = limited(valkey_client, limit)
    assert await statuses(application, limit + 5) == [200] * limit + [429] * 5
    assert await statuses(application, 1, "10.0.0.2") == [200]
    wall.now += 60
    assert await statuses(application, limit + 1) == [200] * limit + [429]


@pytest.mark.rule("X.13")
async def test_strangers_at_the_address_of_a_signed_in_person_do_not_stop_that_person(
    valkey_client: Valkey,
) -> None:
    application = limited(valkey_client, 10)
    assert await statuses(application, 20) == [200] * 10 + [429] * 10
    assert await statuses(application, 1, person="mitra:1") == [200]
    # Requests of signed-in people do not count for their address. So strangers can use the whole limit of the address.
    assert await statuses(application, 30, "10.0.0.2", person="mitra:1") == [200] * 30
    assert await statuses(application, 10, "10.0.0.2") == [200] * 10


@pytest.mark.rule("X.13")
async def test_a_person_can_send_four_times_as_many_requests_as_an_address(
    valkey_client: Valkey, wall: WallClock
) -> None:
    application = limited(valkey_client, 5)
    answers = [(await statuses(application, 1, f"10.0.0.{n}", person="customer:1"))[0] for n in range(22)]
    assert answers == [200] * 20 + [429] * 2
    assert await statuses(application, 1, person="customer:2") == [200]
    wall.now += 60
    assert await statuses(application, 1, person="customer:1") == [200]


async def test_processes_share_one_limit(valkey_client: Valkey) -> None:
    one = limited(valkey_client, 100)
    other = limited(valkey_client, 100)
    passed = (await statuses(one, 80)).count(200) + (await statuses(other, 80)).count(200)
    # Each process counts up to a twentieth of the limit before it reports to Valkey. So the processes can together
    # exceed the limit by a twentieth per process.
    assert 100 <= passed <= 110


async def test_the_refusal_of_a_request_says_how_long_to_wait(valkey_client: Valkey, wall: WallClock) -> None:
    wall.now += 20
    application = limited(valkey_client, 1)
    await call(application)
    start, body = await call(application)
    headers = dict(start["headers"])
    assert headers[b"retry-after"] == b"40"
    assert headers[b"content-type"] == b"application/problem+json"
    assert b'"code":"too_many_requests"' in body["body"]


async def test_a_socket_over_the_limit_is_refused_before_it_is_opened(valkey_client: Valkey) -> None:
    application = limited(valkey_client, 1)
    await call(application)
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    start, _ = await call(application, kind="websocket", extensions=extensions)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    (close,) = await call(application, kind="websocket")
    assert close == {"type": "websocket.close", "code": 1013}


async def test_the_address_limit_does_not_count_the_lifespan_scope(valkey_client: Valkey) -> None:
    application = limited(valkey_client, 1)
    for _ in range(3):
        assert await call(application, kind="lifespan")
    assert await statuses(application, 1) == [200]


async def test_most_requests_need_no_round_trip_to_valkey(
    valkey_client: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    add = address_limit._add

    async def counted(*arguments: Any) -> tuple[int, int]:
        nonlocal asked
        asked += 1
        return await add(*arguments)

    monkeypatch.setattr(address_limit, "_add", counted)
    await statuses(limited(valkey_client, 300), 300)
    assert asked == 20


async def count_code(valkey_client: Valkey, max_per_hour: int, address: str = "10.0.0.1") -> None:
    await count_in_hour(valkey_client, "codes", address.encode(), max_per_hour, address=address)


async def test_the_number_of_remembered_addresses_is_bounded(
    valkey_client: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_limit, "MAX_COUNTED", 10)
    application = limited(valkey_client, 100)
    for number in range(50):
        await call(application, f"10.0.0.{number}")
        assert len(application._strangers._counts) <= 10


async def test_the_counters_of_addresses_in_valkey_expire(valkey_client: Valkey) -> None:
    await statuses(limited(valkey_client, 1), 1)
    await count_code(valkey_client, 5)
    keys = await valkey_client.keys("curhat:limit:*")
    assert len(keys) == 2
    for key in keys:
        assert 0 < await valkey_client.ttl(key) <= 3600


async def test_requests_for_codes_are_counted_per_hour(valkey_client: Valkey, wall: WallClock) -> None:
    for _ in range(3):
        await count_code(valkey_client, 3)
    with pytest.raises(TooManyRequests) as refused:
        await count_code(valkey_client, 3)
    assert refused.value.retry_after_seconds == 3600 - int(wall.now) % 3600
    await count_code(valkey_client, 3, "10.0.0.2")
    wall.now += 3600
    await count_code(valkey_client, 3)


async def test_an_unsent_code_can_be_subtracted_from_the_count_of_an_address(
    valkey_client: Valkey,
) -> None:
    await count_code(valkey_client, 1)
    for _ in range(5):
        with pytest.raises(TooManyRequests):
            await count_code(valkey_client, 1)
    await give_back(valkey_client, "codes", b"10.0.0.1")
    await count_code(valkey_client, 1)


async def test_each_of_many_concurrent_requests_is_counted(valkey_client: Valkey) -> None:
    found = await asyncio.gather(*(count_code(valkey_client, 5) for _ in range(20)), return_exceptions=True)
    assert sum(outcome is None for outcome in found) == 5


@pytest.mark.rule("X.10")
async def test_a_process_counts_its_own_requests_when_valkey_is_down(no_valkey: Valkey) -> None:
    for _ in range(3):
        await count_code(no_valkey, 1)
    # Without Valkey, each process still counts its own requests.
    assert await statuses(limited(no_valkey, 40), 40) == [200] * 40
    await no_valkey.aclose()


@pytest.mark.rule("X.10")
async def test_a_request_does_not_wait_for_a_valkey_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(address_limit, "VALKEY_TIMEOUT_SECONDS", 0.05)
    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    client = valkey.asyncio.Valkey(host=host, port=port)
    async with asyncio.timeout(5):
        await count_code(client, 1)
    await client.aclose()
    server.close()
    await server.wait_closed()
