"""Limits on requests, counted in Valkey for all processes together: per network address, and per signed-in person.

The limits per address count only strangers. A mobile carrier can put thousands of people behind one address. So a
stranger's requests must never block a person who is signed in or who signs in on a known device. The limits per address
slow down a client that tries many phone numbers. PostgreSQL keeps the counts that protect a single phone number. While
Valkey is away, each process counts only its own requests, and the hourly limits let every request pass.
"""

import asyncio
import functools
import ipaddress
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from curhat.kit.asgi import Application, Receive, Scope, Send, send_problem
from curhat.kit.errors import TooManyRequests
from curhat.kit.refusals import LIMITED, REFUSALS, LimitName

log = structlog.get_logger(__name__)

HOUR_SECONDS: Final = 3600
MINUTE_SECONDS: Final = 60

# After VALKEY_TIMEOUT_SECONDS, a request no longer waits for Valkey's count. A healthy Valkey answers within
# VALKEY_TIMEOUT_SECONDS.
VALKEY_TIMEOUT_SECONDS: Final = 0.25
# A process counts requests in memory. When the count of an address or person reaches 1/20 of the limit, the process
# adds the count to Valkey's count. So most requests need no round trip to Valkey. Each process can therefore exceed the
# limit by 1/20.
REPORTS_PER_LIMIT: Final = 20
# A process that counts MAX_COUNTED addresses or people resets all its counts, so that its memory stays bounded.
MAX_COUNTED: Final = 100_000
# The limit of a person is PERSON_FACTOR times the limit of all strangers behind one address. The busiest mitra sends a
# quarter of a person's limit.
PERSON_FACTOR: Final = 4
# An IPv6 address without an interface name has at most 45 characters.
MAX_ADDRESS_CHARACTERS: Final = 45

_PREFIX: Final = "curhat:limit:"
HourlyLimit = Literal["codes", "passwords"]
_SIGN_IN_PATH: Final = re.compile(r"/api/[^/]+/auth/")


def address_of(scope: Mapping[str, Any]) -> str:
    """Return the network address whose limit applies to a request.

    All addresses of an IPv6 /64 count as one address, because a whole /64 belongs to one household. Returns `unknown`
    for text that is not an address, such as a wrong X-Forwarded-For header.
    """
    client = scope.get("client")
    if client is None or len(client[0]) > MAX_ADDRESS_CHARACTERS:
        return "unknown"
    return _counted_as(client[0])


@functools.lru_cache(4096)
def _counted_as(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address.packed, 64), strict=False).network_address)


async def count_in_hour(
    valkey: Valkey, what: HourlyLimit, stranger: bytes, max_per_hour: int, *, address: str
) -> None:
    """Count one requested code or one password try for a network address.

    `stranger` is the digest of the address (`requesters.stranger`). The log shows the plain `address`.
    Raises TooManyRequests if the address exceeds `max_per_hour`. A refused request or try does not count.
    """
    count, left_seconds = await _add(valkey, what, stranger.hex(), 1, HOUR_SECONDS)
    if count > max_per_hour:
        await give_back(valkey, what, stranger)
        LIMITED.labels("codes_address" if what == "codes" else "passwords_address").inc()
        log.warning("accounts.address_limited", limit=what, address=address)
        raise TooManyRequests(retry_after_seconds=left_seconds)


async def give_back(valkey: Valkey, what: HourlyLimit, stranger: bytes) -> None:
    """Subtract one from this hour's count of a network address.

    If a new hour began after the request was counted, the new hour allows the address one request or try above its
    limit.
    """
    await _add(valkey, what, stranger.hex(), -1, HOUR_SECONDS)


class RequestLimit:
    """An ASGI application that limits the requests per minute of each network address and each person.

    `name_of` names the signed-in person or the known device of a request, or returns None for a stranger. All strangers
    behind one address can together send `requests_per_minute` requests in a minute. Sign-in requests are counted
    separately, with the same limit. So a flood of other requests never stops the people behind an address from signing
    in. A sender that exceeds a limit gets status 429 until the minute ends. A socket handshake counts as a request, so
    a refused socket never opens.
    """

    def __init__(
        self,
        application: Application,
        valkey: Valkey,
        requests_per_minute: int,
        name_of: Callable[[Scope], Awaitable[str | None]],
    ) -> None:
        self._application = application
        self._name_of = name_of
        self._strangers = _Counter(valkey, "requests", requests_per_minute)
        self._strangers_sign_ins = _Counter(valkey, "sign-ins", requests_per_minute)
        self._people = _Counter(valkey, "people", requests_per_minute * PERSON_FACTOR)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] in ("http", "websocket") and not await self._may_pass(scope):
            await _refuse(scope, receive, send)
            return
        await self._application(scope, receive, send)

    async def _may_pass(self, scope: Scope) -> bool:
        name = await self._name_of(scope)
        if name is not None:
            return await self._people.count(name)
        signs_in = _SIGN_IN_PATH.match(scope["path"]) is not None
        return await (self._strangers_sign_ins if signs_in else self._strangers).count(address_of(scope))


class _Counter:
    """Counts requests per minute, in memory and in Valkey."""

    def __init__(self, valkey: Valkey, what: str, limit: int) -> None:
        self._valkey = valkey
        self._what = what
        self._name: LimitName = "requests_person" if what == "people" else "requests_stranger"
        self._limit = limit
        self._report_at = max(1, limit // REPORTS_PER_LIMIT)
        self._minute = -1
        self._counts: defaultdict[str, _Count] = defaultdict(_Count)

    async def count(self, who: str) -> bool:
        """Count one request. Returns False if the request exceeds the limit."""
        minute = int(time.time()) // MINUTE_SECONDS
        if minute != self._minute or len(self._counts) >= MAX_COUNTED:
            self._minute = minute
            self._counts.clear()
        count = self._counts[who]
        count.unreported += 1
        if count.unreported >= self._report_at and count.known + count.unreported <= self._limit:
            report, count.unreported = count.unreported, 0
            count.known += report
            known, _ = await _add(self._valkey, self._what, who, report, MINUTE_SECONDS)
            count.known = max(count.known, known)
        if count.known + count.unreported <= self._limit:
            return True
        LIMITED.labels(self._name).inc()
        if not count.is_logged:
            # Log each sender at most once per minute, because an attacker could otherwise fill the log.
            count.is_logged = True
            log.warning("accounts.limited", limit=self._name, who=who)
        return False


@dataclass(slots=True)
class _Count:
    """The requests of this minute: the count from Valkey, and the number that Valkey has not counted yet."""

    known: int = 0
    unreported: int = 0
    is_logged: bool = False


async def _add(valkey: Valkey, what: str, who: str, count: int, window_seconds: int) -> tuple[int, int]:
    """Add `count` to the count of the current period in Valkey.

    Returns the sum (0 if Valkey is away) and the seconds until the period ends.
    """
    window, past_seconds = divmod(int(time.time()), window_seconds)
    key = f"{_PREFIX}{what}:{who}:{window}"
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
    error = TooManyRequests(retry_after_seconds=MINUTE_SECONDS - int(time.time()) % MINUTE_SECONDS)
    if scope["type"] == "http":
        REFUSALS.labels(error.code).inc()
        await send_problem(send, error)
        return
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await send_problem(send, error, "websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1013})
