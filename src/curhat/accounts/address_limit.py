"""Limits per network address, counted in Valkey for all processes together.

These limits slow down a client that tries many phone numbers. PostgreSQL keeps the counts that protect a single
number. So this module may let every request pass while Valkey is away.
"""

import asyncio
import functools
import ipaddress
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import structlog
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from curhat.kit.asgi import Application, Receive, Scope, Send
from curhat.kit.errors import TooManyRequests

log = structlog.get_logger(__name__)

HOUR_SECONDS: Final = 3600
MINUTE_SECONDS: Final = 60

# Limits how long a request waits until Valkey has counted it. A healthy Valkey answers within this time.
VALKEY_TIMEOUT_SECONDS: Final = 0.25
# A process counts an address's requests in memory. When this count reaches 1/20 of the limit, the process adds it to
# the count in Valkey. So most requests need no round trip. Per process, an address may exceed the limit by 1/20.
REPORTS_PER_LIMIT: Final = 20
# Limits the memory of a process. A process that counts this many addresses sets all counts to zero.
MAX_ADDRESSES: Final = 100_000

_PREFIX: Final = "curhat:address:"


def address_of(scope: Mapping[str, Any]) -> str:
    """Return the network address whose limit applies to a request.

    An IPv6 /64 is treated as one address, because the whole /64 belongs to one household.
    """
    client = scope.get("client")
    return "unknown" if client is None else _counted_as(client[0])


@functools.lru_cache(4096)
def _counted_as(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address.packed, 64), strict=False).network_address)


async def count_in_hour(
    valkey: Valkey, what: Literal["codes", "passwords"], scope: Mapping[str, Any], max_per_hour: int
) -> None:
    """Count one request for a code, or one try of a password, for the network address of the request.

    Raises TooManyRequests if the address exceeds `max_per_hour`.
    """
    count, left_seconds = await _add(valkey, what, address_of(scope), 1, HOUR_SECONDS)
    if count > max_per_hour:
        raise TooManyRequests(retry_after_seconds=left_seconds)


class AddressLimit:
    """An ASGI application that passes at most `requests_per_minute` requests of one address on to `application`.

    Each process counts requests in memory. It adds its counts to counters in Valkey, which all processes share. If an
    address exceeds the limit, the address gets 429 until the minute ends. A handshake of a socket counts as a
    request, so a refused socket never opens.
    """

    def __init__(self, application: Application, valkey: Valkey, requests_per_minute: int) -> None:
        self._application = application
        self._valkey = valkey
        self._limit = requests_per_minute
        self._report_at = max(1, requests_per_minute // REPORTS_PER_LIMIT)
        self._minute = -1
        self._counts: defaultdict[str, _Count] = defaultdict(_Count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] in ("http", "websocket") and not await self._may_pass(address_of(scope)):
            await _refuse(scope, receive, send)
            return
        await self._application(scope, receive, send)

    async def _may_pass(self, address: str) -> bool:
        minute = int(time.time()) // MINUTE_SECONDS
        if minute != self._minute or len(self._counts) >= MAX_ADDRESSES:
            self._minute = minute
            self._counts.clear()
        count = self._counts[address]
        count.unreported += 1
        if count.unreported >= self._report_at and count.known + count.unreported <= self._limit:
            report, count.unreported = count.unreported, 0
            count.known += report
            known, _ = await _add(self._valkey, "requests", address, report, MINUTE_SECONDS)
            count.known = max(count.known, known)
        return count.known + count.unreported <= self._limit


@dataclass(slots=True)
class _Count:
    """The requests of one address in this minute: the count from Valkey, and how many Valkey has not counted yet."""

    known: int = 0
    unreported: int = 0


async def _add(valkey: Valkey, what: str, address: str, count: int, window_seconds: int) -> tuple[int, int]:
    """Add `count` to the count of the current period in Valkey.

    Returns the sum (0 if Valkey is away) and the seconds until the period ends.
    """
    window, past_seconds = divmod(int(time.time()), window_seconds)
    key = f"{_PREFIX}{what}:{address}:{window}"
    try:
        async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS), valkey.pipeline(transaction=False) as pipeline:
            pipeline.incrby(key, count)
            pipeline.expire(key, window_seconds)
            total, _ = await pipeline.execute()
    except (ValkeyError, OSError, TimeoutError) as error:
        log.warning("accounts.address_not_counted", error=type(error).__name__)
        total = 0
    return total, window_seconds - past_seconds


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    left_seconds = MINUTE_SECONDS - int(time.time()) % MINUTE_SECONDS
    error = TooManyRequests(retry_after_seconds=left_seconds)
    body = msgspec.json.encode(error.problem())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(left_seconds).encode()),
        (b"cache-control", b"no-store"),
    ]
    prefix = "http.response"
    if scope["type"] == "websocket":
        await receive()
        prefix = "websocket.http.response"
        if prefix not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1013})
            return
    await send({"type": f"{prefix}.start", "status": error.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
