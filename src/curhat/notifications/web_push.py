"""Web Push: a message encrypted for one browser (RFC 8291), signed by us (8292), posted to its vendor (8030)."""

import asyncio
import base64
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

from curhat.notifications.addresses import Addresses, CheckedResolver, EndpointRefused
from curhat.notifications.port import Address, Delivered, Gone, Outcome, Push, Refused, Unavailable

log = structlog.get_logger(__name__)

# Bounds how long one message occupies its place, connecting included.
SEND_SECONDS: Final = 5.0
# Connections that are open at once, and to one push service.
CONNECTIONS: Final = 64
# A signature is good for at most 24 h (RFC 8292); a new one each hour, so that clocks may differ.
SIGNATURE_SECONDS: Final = 12 * 3600
SIGN_AGAIN_SECONDS: Final = 3600
# Bounds memory: there are a handful of push services, but endpoints come from clients.
SIGNATURES_LIMIT: Final = 200
_READ_BYTES: Final = 4096


class VapidKey:
    """The key that push services know us by. `contact` is where their operators find us: https://… or mailto:…"""

    def __init__(self, private_key: bytes, contact: str) -> None:
        self._key = ec.derive_private_key(int.from_bytes(private_key), ec.SECP256R1())
        self._vapid: Any = Vapid02(self._key)
        self._contact = contact
        # By push service: when it was signed, and the header.
        self._signed: dict[str, tuple[float, str]] = {}

    @property
    def public_key(self) -> str:
        """The public half as browsers want it: an uncompressed point in base64url."""
        return base64url(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def authorization(self, endpoint: str) -> str:
        """The Authorization header for this endpoint's push service."""
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        now = time.time()
        signed = self._signed.get(audience)
        # Also when the clock was set back.
        if signed is None or not 0 <= now - signed[0] < SIGN_AGAIN_SECONDS:
            claims = {"aud": audience, "sub": self._contact, "exp": int(now) + SIGNATURE_SECONDS}
            if len(self._signed) >= SIGNATURES_LIMIT:
                self._signed.clear()
            signed = self._signed[audience] = (now, self._vapid.sign(claims)["Authorization"])
        return signed[1]


class WebPush:
    """The channel for browsers (port.PushChannel). Must be closed."""

    def __init__(self, key: VapidKey, addresses: Addresses) -> None:
        self._key = key
        self._addresses = addresses
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, subscription_id: UUID, address: Address, push: Push) -> Outcome:
        """See port.PushChannel."""
        try:
            self._addresses.check_form(address.endpoint)
            return await self._post(address, push)
        except EndpointRefused:
            return Refused("address_refused")
        except TimeoutError:
            return Unavailable("timeout")
        except (aiohttp.ClientError, OSError) as error:
            # The error's text names the host; its class says enough.
            return Unavailable(type(error).__name__)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one subscription, the others go on
            # Without its text and trace, which may name the endpoint.
            log.warning("push.fault", subscription_id=str(subscription_id), error=type(error).__name__)
            return Refused("fault")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, address: Address, push: Push) -> Outcome:
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
            "Urgency": push.urgency,
        }
        async with (
            asyncio.timeout(SEND_SECONDS),
            self._opened().post(
                address.endpoint, data=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            # A small answer that is read to its end leaves the connection for the next message.
            await response.content.read(_READ_BYTES)
            return outcome_of(response.status, response.headers.get("Retry-After"))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS, resolver=CheckedResolver(self._addresses), keepalive_timeout=30
                ),
                timeout=aiohttp.ClientTimeout(total=SEND_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=4096,
                max_field_size=4096,
            )
        return self._session


def outcome_of(status: int, retry_after: str | None) -> Outcome:
    """What a push service's answer means (RFC 8030). A redirect is not followed: it could lead anywhere."""
    if 200 <= status < 300:
        return Delivered()
    if status in (404, 410):
        return Gone()
    if status == 429 or status >= 500:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return Unavailable(str(status), seconds, is_their_limit=status == 429)
    return Refused(str(status))


def base64url(value: bytes) -> str:
    """Without padding, as Web Push has it everywhere."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
