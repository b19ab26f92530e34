"""Calls the HTTP APIs of other companies, such as the senders of one-time codes."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

CONNECT_TIMEOUT_SECONDS: Final = 2.0
# The other side has perhaps already closed a connection that was idle for longer than KEEPALIVE_SECONDS. A request on a
# closed connection would be lost.
KEEPALIVE_SECONDS: Final = 15.0
MAX_CONNECTIONS: Final = 128
_MAX_ANSWER_BYTES: Final = 64 * 1024


class NotReached(Exception):
    """No connection was made, so the other side has certainly not received the request."""


class AnswerLost(Exception):
    """The request perhaps arrived, but no whole answer came in time."""


class Answer(msgspec.Struct, frozen=True):
    """The status, the JSON and the `Retry-After` seconds of an answer.

    The JSON is an empty mapping if the body is no JSON object.
    """

    status: int
    body: Mapping[str, Any]
    retry_after_seconds: float | None


class OutgoingHttp:
    """A pool of connections that follows no redirect, sends no cookie and reads no proxy from the environment.

    Call `close` at the end.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self,
        url: str,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post `json` or `form`, and return the answer. Raises NotReached or AnswerLost, without any secret."""
        body = msgspec.json.encode(json) if form is None else form
        sent = dict(headers or {})
        if form is None:
            sent["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._opened().post(url, data=body, headers=sent, allow_redirects=False) as response,
            ):
                return await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # The text of the error contains the host, so keep only the error's class.
            raise NotReached(type(error).__name__) from None
        except TimeoutError:
            raise AnswerLost("timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            raise AnswerLost(type(error).__name__) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> Answer:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _MAX_ANSWER_BYTES:
            raise AnswerLost("answer_too_large")
    try:
        body = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        body = {}
    wait = response.headers.get("Retry-After", "")
    return Answer(response.status, body, float(wait) if wait.isascii() and wait.isdigit() else None)
