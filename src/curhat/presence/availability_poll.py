"""Answers the availability poll (1.2) before the web framework sees the request.

Every customer sends the poll every 5 s.

Guarantees:
    The poll never queries PostgreSQL. Each process asks Valkey at most 5 times per second, even if many customers
    poll. An answer is at most MAX_ANSWER_AGE_SECONDS old.
    If Valkey gives no valid answer, the poll answers `{"available": false}` (1.6) after at most one second.
How it works:
    The module encodes both answers once, at import. If the last answer is too old, all waiting polls share one query
    to Valkey. The query runs ZCOUNT in the presence script, with the time of Valkey's own clock.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from curhat.kit.asgi import SECURITY_HEADERS, Application, Message, Receive, Scope, Send
from curhat.kit.errors import MethodNotAllowed, PresenceUnknown
from curhat.presence.schemas import Availability

log = structlog.get_logger(__name__)

PATH = "/api/client/mitra-availability"
MAX_ANSWER_AGE_SECONDS = 0.2


def _answer(
    status: int, content: object, media_type: bytes, *headers: tuple[bytes, bytes]
) -> tuple[Message, Message]:
    body = msgspec.json.encode(content)
    # The headers are a tuple because all polls share this object. No middleware is allowed to append to the headers.
    all_headers = (
        (b"content-type", media_type),
        *headers,
        *SECURITY_HEADERS,
        (b"content-length", str(len(body)).encode()),
    )
    return (
        {"type": "http.response.start", "status": status, "headers": all_headers},
        {"type": "http.response.body", "body": body},
    )


_AVAILABLE = _answer(200, Availability(available=True), b"application/json")
_UNAVAILABLE = _answer(200, Availability(available=False), b"application/json")
_NOT_ALLOWED = _answer(
    405, MethodNotAllowed().problem(), b"application/problem+json", (b"allow", b"GET, HEAD")
)


class AvailabilityPoll:
    """An ASGI application that answers the poll and passes every other request to `application`."""

    def __init__(self, application: Application, count_available: Callable[[], Awaitable[int]]) -> None:
        self._application = application
        self._count_available = count_available
        self._current = _UNAVAILABLE
        self._too_old_at = 0.0
        self._query: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._application(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            start, body = _NOT_ALLOWED
        else:
            if time.monotonic() >= self._too_old_at:
                if self._query is None:
                    self._query = asyncio.create_task(self._ask())
                # Without the shield, a client that disconnects would cancel the query for all other clients.
                await asyncio.shield(self._query)
            start, body = self._current
        await send(start)
        await send(body)

    async def _ask(self) -> None:
        try:
            self._current = _AVAILABLE if await self._count_available() > 0 else _UNAVAILABLE
        except PresenceUnknown:
            self._current = _UNAVAILABLE
        except Exception:
            self._current = _UNAVAILABLE
            log.exception("presence.poll_failed")
        finally:
            self._too_old_at = time.monotonic() + MAX_ANSWER_AGE_SECONDS
            self._query = None
