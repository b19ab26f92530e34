"""A fake browser with a push subscription, and its fake push service, on this machine.

The browser decrypts messages as RFC 8291 and RFC 8188 describe. The browser does not use the library with which the
product encrypts.
"""

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()


def base64url(value: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """Decode base64 with or without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def uncompressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class Received(msgspec.Struct, frozen=True):
    """One request that the push service received."""

    path: str
    headers: dict[str, str]
    body: bytes


class Browser:
    """A browser with one subscription and its keys."""

    def __init__(
        self,
        endpoint: str,
        *,
        private_key: ec.EllipticCurvePrivateKey | None = None,
        auth: bytes | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.auth = auth or secrets.token_bytes(16)
        self._key = private_key or ec.generate_private_key(CURVE)
        self.p256dh = uncompressed(self._key.public_key())

    def to_json(self, **more: Any) -> dict[str, Any]:
        """The browser's `PushSubscription.toJSON()`."""
        keys = {"p256dh": base64url(self.p256dh), "auth": base64url(self.auth)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys, **more}

    def decrypt(self, body: bytes) -> bytes:
        """Decrypt one aes128gcm record (RFC 8188) with the keys of RFC 8291."""
        salt, key_length = body[:16], body[20]
        sender_public = body[21 : 21 + key_length]
        sealed = body[21 + key_length :]
        sender = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender_public)
        shared = self._key.exchange(ec.ECDH(), sender)
        input_key = _hkdf(shared, self.auth, b"WebPush: info\0" + self.p256dh + sender_public, 32)
        key = _hkdf(input_key, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _hkdf(input_key, salt, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert padded.endswith(b"\2"), "not the last record"
        return padded[:-1]

    def read(self, received: Received) -> dict[str, Any]:
        """Return the payload that the service worker gets."""
        payload: dict[str, Any] = json.loads(self.decrypt(received.body))
        return payload


def _hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(key)


def verified_claims(authorization: str, public_key: str) -> dict[str, Any]:
    """Return the claims of a VAPID header (RFC 8292), and assert that `public_key` verifies the signature."""
    scheme, _, rest = authorization.partition(" ")
    assert scheme == "vapid"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert parts["k"] == public_key
    header, claims, signature = parts["t"].split(".")
    assert json.loads(from_base64url(header)) == {"typ": "JWT", "alg": "ES256"}
    raw = from_base64url(signature)
    assert len(raw) == 64
    encoded = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, from_base64url(public_key))
    key.verify(encoded, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    decoded: dict[str, Any] = json.loads(from_base64url(claims))
    return decoded


class PushService:
    """A push service. The push service answers 201, or the status in `answers` for the path."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.arrived = asyncio.Event()

    def browser(self) -> Browser:
        """Return a browser that has just subscribed at this service."""
        return Browser(f"{self.url}/push/{secrets.token_urlsafe(24)}")

    def for_browser(self, browser: Browser) -> list[Received]:
        """Return the push messages for one browser, in order."""
        return [each for each in self.received if self.url + each.path == browser.endpoint]

    def answer(self, browser: Browser, status: int, **headers: str) -> None:
        """Answer all later messages of this browser with `status`."""
        self.answers[browser.endpoint.removeprefix(self.url)] = (status, headers)

    async def handle(self, request: web.Request) -> web.Response:
        """Receive one message."""
        self.received.append(Received(request.path, dict(request.headers), await request.read()))
        self.arrived.set()
        status, headers = self.answers.get(request.path, (201, {}))
        return web.Response(status=status, headers={name.replace("_", "-"): v for name, v in headers.items()})


@contextlib.asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """Run a push service on a port of this machine."""
    application = web.Application()
    runner = web.AppRunner(application, access_log=None)
    service = PushService("")
    application.router.add_post("/{path:.*}", service.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
