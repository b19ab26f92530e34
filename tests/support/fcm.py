"""Fakes of Google's token endpoint and of FCM HTTP v1, on this machine. Both fakes check each request."""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from curhat.notifications.fcm import Fcm, ServiceAccount
from tests.support.push import from_base64url

PROJECT = "curhat-tests"
EMAIL = "push@curhat-tests.iam.gserviceaccount.com"

# The reaction of FCM to messages for one app.
Mood = Literal[
    "accept",
    "slow",
    "lost",
    "unregistered",  # 404 UNREGISTERED: the app was removed
    "invalid_token",  # 400, the field is the token
    "invalid_message",  # 400, the field is another one
    "quota",  # 429 with Retry-After
    "internal",  # 500
    "unavailable",  # 503 with Retry-After
    "mismatch",  # 403 SENDER_ID_MISMATCH
    "apns",  # 401 THIRD_PARTY_AUTH_ERROR
    "no_project",  # 404 without UNREGISTERED
    "garbage",
]
TokenMood = Literal["accept", "slow", "refuse", "broken", "lost"]


@functools.cache
def private_key() -> rsa.RSAPrivateKey:
    """The key of the service account. The key is made only once, because its generation takes a while."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@functools.cache
def key_file() -> str:
    """Return the JSON of the service account's key file, in the form of a download from the Firebase console."""
    pem = private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return json.dumps(
        {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "0123456789abcdef",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    )


class Google:
    """Fakes of Google's two endpoints on a port of this machine."""

    def __init__(self) -> None:
        self.url = ""
        self.token_mood: TokenMood = "accept"
        self.token_requests = 0
        self.expires_in = 3599
        self.valid: set[str] = set()
        self.moods: dict[str, Mood] = {}
        self.attempts = 0
        self.received: list[dict[str, Any]] = []
        self._ended = asyncio.Event()

    def fcm(self) -> Fcm:
        """Return a channel to these endpoints."""
        account = ServiceAccount.from_json(key_file())
        return Fcm(account, url=self.url, token_url=f"{self.url}/token")

    def revoke_tokens(self) -> None:
        """Refuse all earlier access tokens, as Google does after a rotation of the key."""
        self.valid.clear()

    async def give_token(self, request: web.Request) -> web.StreamResponse:
        """Answer like the token endpoint (RFC 7523). Checks the assertion's signature and claims."""
        self.token_requests += 1
        form = dict(parse_qsl((await request.read()).decode(), strict_parsing=True))
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        signed, _, signature = form["assertion"].rpartition(".")
        header, claims = (msgspec.json.decode(from_base64url(part)) for part in signed.split("."))
        private_key().public_key().verify(
            from_base64url(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        assert header == {"alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef"}
        assert (claims["iss"], claims["aud"]) == (EMAIL, f"{self.url}/token")
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert abs(claims["iat"] - time.time()) < 60
        assert 0 < claims["exp"] - claims["iat"] <= 3600
        if self.token_mood == "slow":
            await self._ended.wait()
        if self.token_mood == "refuse":
            return web.json_response(
                {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400
            )
        if self.token_mood == "broken":
            return web.Response(status=500, text="<html>")
        if self.token_mood == "lost":
            assert request.transport is not None
            request.transport.close()
        token = f"ya29.token-{self.token_requests}"
        self.valid.add(token)
        return web.json_response(
            {"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"}
        )

    async def send(self, request: web.Request) -> web.StreamResponse:
        """`projects.messages.send`."""
        self.attempts += 1
        body = msgspec.json.decode(await request.read())
        scheme, _, token = request.headers["Authorization"].partition(" ")
        if scheme != "Bearer" or token not in self.valid:
            return _error(401, "UNAUTHENTICATED")
        message = body["message"]
        assert set(body) == {"message"}
        # FCM accepts only strings, and no reserved names.
        assert all(isinstance(value, str) for value in message["data"].values())
        assert not {
            name for name in message["data"] if name in ("from", "message_type") or name[:6] == "google"
        }
        assert message["android"]["ttl"].removesuffix("s").isdigit()
        mood = self.moods.get(message["token"], "accept")
        if mood in ("accept", "lost", "slow"):
            self.received.append(message)
        if mood == "slow":
            await self._ended.wait()
        if mood == "lost":
            assert request.transport is not None
            request.transport.close()
        return _answer(mood)

    def answer(self, token: str, mood: Mood) -> None:
        """From now on, react to each message for this app as `mood` says."""
        self.moods[token] = mood

    def for_app(self, token: str) -> list[dict[str, Any]]:
        """Return the messages that one app received."""
        return [message for message in self.received if message["token"] == token]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve on a port of this machine."""
        application = web.Application()
        application.router.add_post("/token", self.give_token)
        application.router.add_post(f"/v1/projects/{PROJECT}/messages:send", self.send)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._ended.set()
            await runner.cleanup()


def _answer(mood: Mood) -> web.Response:
    if mood == "garbage":
        return web.Response(status=502, text="<html>Bad Gateway</html>")
    documented = ERRORS.get(mood)
    if documented is not None:
        return documented()
    return web.json_response({"name": f"projects/{PROJECT}/messages/0:1500415314455276%31bd1c9631bd1c96"})


def _error(
    status: int,
    name: str,
    fcm: str | None = None,
    *,
    field: str | None = None,
    retry_after: str | None = None,
) -> web.Response:
    details: list[dict[str, Any]] = []
    if fcm is not None:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": fcm})
    if field is not None:
        violation = {"field": field, "description": "Invalid value"}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    error = {"code": status, "message": "the text is for people", "status": name, "details": details}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return web.json_response({"error": error}, status=status, headers=headers)


# The page "FCM error codes" and Google's list of statuses define these answers.
ERRORS: dict[Mood, Callable[[], web.Response]] = {
    "unregistered": lambda: _error(404, "NOT_FOUND", "UNREGISTERED"),
    "invalid_token": lambda: _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.token"),
    "invalid_message": lambda: _error(400, "INVALID_ARGUMENT", field="message.data[0].value"),
    "quota": lambda: _error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after="7"),
    "internal": lambda: _error(500, "INTERNAL", "INTERNAL"),
    "unavailable": lambda: _error(503, "UNAVAILABLE", "UNAVAILABLE", retry_after="3"),
    "mismatch": lambda: _error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
    "apns": lambda: _error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
    "no_project": lambda: _error(404, "NOT_FOUND"),
}
