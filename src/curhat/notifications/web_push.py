"""Web Push: encrypt a message for one browser (RFC 8291), sign it (RFC 8292), and post it to the push service."""

import asyncio
import time
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import http_ece  # type: ignore[import-untyped]
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02  # type: ignore[import-untyped]

from curhat.notifications.addresses import Addresses, EndpointRefused
from curhat.notifications.port import (
    TIMED_OUT,
    BrowserAddress,
    Delivered,
    Gone,
    Outcome,
    Push,
    Refused,
    Unavailable,
    base64url,
)

log = structlog.get_logger(__name__)

# Sending one message can take SEND_TIMEOUT_SECONDS, including the connection.
SEND_TIMEOUT_SECONDS: Final = 5.0
# There are more connections than messages that a worker sends at the same time, so no message waits for a connection.
MAX_CONNECTIONS: Final = 128
# RFC 8292 allows a signature to be valid for 24 h. Our signature is valid for 12 h, and we make a new signature every
# hour. So the clock of a push service can differ from our clock by hours.
SIGNATURE_TTL_SECONDS: Final = 12 * 3600
MAX_SIGNATURE_AGE_SECONDS: Final = 3600
# Limits memory. There are only a few push services, but clients choose the endpoints.
MAX_SIGNATURES: Final = 200
_MAX_ANSWER_BYTES: Final = 4096


class VapidKey:
    """The key that identifies us to push services.

    `contact` tells the push services how to reach us: https://… or mailto:…
    """

    def __init__(self, private_key: bytes, contact: str) -> None:
        self._key = ec.derive_private_key(int.from_bytes(private_key), ec.SECP256R1())
        self._vapid: Any = Vapid02(self._key)
        self._contact = contact
        # Maps a push service to its Authorization header, and to the time at which we signed the header.
        self._signed: dict[str, tuple[float, str]] = {}

    @property
    def public_key(self) -> str:
        """Return the public key in the form that browsers need: an uncompressed point in base64url."""
        return base64url(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def authorization(self, endpoint: str) -> str:
        """Return the Authorization header for this endpoint's push service."""
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        now = time.time()
        signed = self._signed.get(audience)
        # The age is negative if the clock was set back.
        if signed is None or not 0 <= now - signed[0] < MAX_SIGNATURE_AGE_SECONDS:
            claims = {"aud": audience, "sub": self._contact, "exp": int(now) + SIGNATURE_TTL_SECONDS}
            if len(self._signed) >= MAX_SIGNATURES:
                self._signed.clear()
            signed = self._signed[audience] = (now, self._vapid.sign(claims)["Authorization"])
        return signed[1]


class WebPush:
    """The PushChannel for browsers. Call `close` at the end."""

    def __init__(self, key: VapidKey, addresses: Addresses) -> None:
        self._key = key
        self._addresses = addresses
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, subscription_id: UUID, address: BrowserAddress, push: Push) -> Outcome:
        """See port.PushChannel."""
        try:
            self._addresses.check_form(address.endpoint)
            return await self._post(address, push)
        except EndpointRefused:
            return Refused("address_refused")
        except TimeoutError:
            return TIMED_OUT
        except (aiohttp.ClientError, OSError) as error:
            # Log only the class of the error, because the text of the error contains the host name.
            return Unavailable(type(error).__name__)
        except Exception as error:  # noqa: BLE001  a fault in one subscription must not stop the others
            # Log only the class of the error, because its text and its traceback can contain the endpoint.
            log.warning("push.fault", subscription_id=str(subscription_id), error=type(error).__name__)
            return Refused("fault")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, address: BrowserAddress, push: Push) -> Outcome:
        body = http_ece.encrypt(
            push.payload,
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=address.p256dh,
            auth_secret=address.auth,
            version="aes128gcm",
        )
        headers = {
            "Authorization": self._key.authorization(address.endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(push.ttl_seconds),
            "Topic": push.topic,
            # Asks the push service to deliver immediately, even to a phone that saves power.
            "Urgency": "high",
        }
        post = self._opened().post(address.endpoint, data=body, headers=headers, allow_redirects=False)
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS), post as response:
            # The connection can be reused for the next message only if the whole answer was read.
            await response.content.read(_MAX_ANSWER_BYTES)
            return outcome_of(response.status, response.headers.get("Retry-After"))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MAX_CONNECTIONS, resolver=self._addresses, keepalive_timeout=30
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=4096,
                max_field_size=4096,
            )
        return self._session


def outcome_of(status: int, retry_after: str | None) -> Outcome:
    """Convert a push service's answer to an outcome (RFC 8030).

    Refuses a redirect, because a redirect could name any host.
    """
    if 200 <= status < 300:
        return Delivered()
    if status in (404, 410):
        return Gone()
    if status == 429 or status >= 500:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return Unavailable(str(status), seconds, is_their_limit=status == 429)
    return Refused(str(status))
