"""FCM: sends a message to one native app through Firebase Cloud Messaging, HTTP v1.

A service account signs a JWT, and Google exchanges the JWT for an access token that is valid for an hour (OAuth 2.0,
RFC 7523). Google can read a message, so a message contains only ids and text that a locked phone is allowed to show
(V.5).
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Self
from uuid import UUID

import msgspec
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from curhat.kit.outgoing import Answer, AnswerLost, NotReached, OutgoingHttp
from curhat.notifications.port import (
    TIMED_OUT,
    AppAddress,
    Delivered,
    Gone,
    Outcome,
    Push,
    Refused,
    Unavailable,
    base64url,
)
from curhat.notifications.schemas import PushPayload

log = structlog.get_logger(__name__)

URL: Final = "https://fcm.googleapis.com"
TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Sending one message can take SEND_TIMEOUT_SECONDS, including a new access token. A claim of the outbox lasts longer
# than SEND_TIMEOUT_SECONDS.
SEND_TIMEOUT_SECONDS: Final = 5.0
TOKEN_TIMEOUT_SECONDS: Final = 3.0
# Google accepts assertions that are valid for at most an hour.
ASSERTION_TTL_SECONDS: Final = 3600
# The process fetches a new access token TOKEN_MARGIN_SECONDS before the old token expires.
TOKEN_MARGIN_SECONDS: Final = 300.0
# After Google refuses an access token, the process waits TOKEN_RETRY_SECONDS before it asks again.
TOKEN_RETRY_SECONDS: Final = 1.0

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"


class ServiceAccount(msgspec.Struct, frozen=True):
    """The key file of a Google service account, as the Firebase console downloads it."""

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str = ""

    def __repr__(self) -> str:
        return "ServiceAccount(…)"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Decode the key file. Raises ValueError."""
        account = msgspec.json.decode(text, type=cls)
        if not isinstance(load_pem_private_key(account.private_key.encode(), None), rsa.RSAPrivateKey):
            raise ValueError("no RSA key")  # noqa: TRY004  as for every other fault of the file
        return account


class TokenUnavailable(Exception):
    """Google gave no access token. The error's text gives the reason, and contains no secret."""


class AccessTokens:
    """The access token of a service account. All messages share one token.

    When the token must be replaced, all messages share one request for the next token.
    """

    def __init__(self, account: ServiceAccount, http: OutgoingHttp, url: str) -> None:
        key = load_pem_private_key(account.private_key.encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key
        self._account = account
        self._http = http
        self._url = url
        self._token: str | None = None
        self._fetch_at = 0.0
        self._refused_until = 0.0
        self._fetching: asyncio.Task[str] | None = None

    async def get(self) -> str:
        """Return a valid access token. Raises TokenUnavailable."""
        now = time.monotonic()
        if self._token is not None and now < self._fetch_at:
            return self._token
        if now < self._refused_until:
            raise TokenUnavailable("token_refused_before")
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
            # If all waiting messages are cancelled, no other task reads the error.
            self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A message that is cancelled must not cancel the request that other messages wait for.
        return await asyncio.shield(self._fetching)

    def forget(self, token: str) -> None:
        """Fetch a new token next time, because FCM refused this token."""
        if self._token == token:
            self._token = None

    async def _fetch(self) -> str:
        try:
            answer = await self._http.post(
                self._url,
                form={"grant_type": GRANT_TYPE, "assertion": self._assertion()},
                timeout_seconds=TOKEN_TIMEOUT_SECONDS,
            )
        except (NotReached, AnswerLost) as error:
            self._refused_until = time.monotonic() + TOKEN_RETRY_SECONDS
            raise TokenUnavailable(f"token_{error}") from None
        token, lifetime = answer.body.get("access_token"), answer.body.get("expires_in")
        if answer.status != 200 or not isinstance(token, str) or not isinstance(lifetime, int):
            self._refused_until = time.monotonic() + TOKEN_RETRY_SECONDS
            reason = answer.body.get("error")
            # `invalid_grant`: the key was deleted, or our clock is wrong. An operator must find the cause.
            log.error(
                "push.fcm_token_refused", status=answer.status, error=reason if _is_word(reason) else None
            )
            raise TokenUnavailable(f"token_{answer.status}")
        self._token = token
        self._fetch_at = time.monotonic() + max(0.0, lifetime - TOKEN_MARGIN_SECONDS)
        return token

    def _assertion(self) -> str:
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT", "kid": self._account.private_key_id}
        claims = {
            "iss": self._account.client_email,
            "scope": SCOPE,
            "aud": self._url,
            "iat": now,
            "exp": now + ASSERTION_TTL_SECONDS,
        }
        signed = ".".join(base64url(msgspec.json.encode(part)) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64url(signature)}"


class Fcm:
    """The PushChannel for native apps. Call `close` at the end."""

    def __init__(self, account: ServiceAccount, *, url: str = URL, token_url: str = TOKEN_URL) -> None:
        self._http = OutgoingHttp()
        self._tokens = AccessTokens(account, self._http, token_url)
        self._send = f"{url}/v1/projects/{account.project_id}/messages:send"

    async def deliver(self, subscription_id: UUID, address: AppAddress, push: Push) -> Outcome:
        """See port.PushChannel."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                return await self._deliver(address, push)
        except TimeoutError:
            return TIMED_OUT
        except TokenUnavailable as error:
            return Unavailable(str(error))
        except Exception as error:  # noqa: BLE001  a fault in one subscription must not stop the others
            # Log only the class of the error, because its text and its traceback can contain the token.
            log.warning("push.fault", subscription_id=str(subscription_id), error=type(error).__name__)
            return Refused("fault")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _deliver(self, address: AppAddress, push: Push) -> Outcome:
        body = message_of(address.token, push)
        access_token = await self._tokens.get()
        answer = await self._post(body, access_token)
        if isinstance(answer, Answer) and error_code(answer) == "UNAUTHENTICATED":
            # The access token was revoked, or expired early. Try once with a new token.
            self._tokens.forget(access_token)
            answer = await self._post(body, await self._tokens.get())
        return outcome_of(answer) if isinstance(answer, Answer) else answer

    async def _post(self, body: Mapping[str, Any], access_token: str) -> Answer | Outcome:
        headers = {"Authorization": f"Bearer {access_token}"}
        try:
            return await self._http.post(
                self._send, json=body, headers=headers, timeout_seconds=SEND_TIMEOUT_SECONDS
            )
        except NotReached as error:
            return Unavailable(str(error))
        except AnswerLost as error:
            return TIMED_OUT if str(error) == TIMED_OUT.reason else Unavailable(str(error))


def message_of(token: str, push: Push) -> Mapping[str, Any]:
    """Return the body of `messages:send`: a notification for the phone's screen, and data for the app.

    A message has no `collapse_key`, because FCM keeps only four collapse keys per app. On the screen, a notification
    replaces the earlier notification of its topic (Android: `tag`, Apple: `apns-collapse-id`).
    """
    payload = msgspec.json.decode(push.payload, type=PushPayload)
    data = {
        name: value for name, value in msgspec.to_builtins(payload).items() if name not in ("title", "body")
    }
    return {
        "message": {
            "token": token,
            "notification": {"title": payload.title, "body": payload.body},
            # FCM takes only strings as values.
            "data": {name: str(value) for name, value in data.items() if value is not None},
            "android": {
                # Wakes a phone that saves power.
                "priority": "HIGH",
                "ttl": f"{push.ttl_seconds}s",
                "notification": {"tag": push.topic},
            },
            "apns": {
                "headers": {
                    "apns-priority": "10",
                    "apns-push-type": "alert",
                    "apns-expiration": str(int(time.time()) + push.ttl_seconds),
                    "apns-collapse-id": push.topic,
                },
                "payload": {"aps": {"sound": "default"}},
            },
        }
    }


def error_code(answer: Answer) -> str | None:
    """Return the error code of FCM, or else Google's status of the answer, such as UNREGISTERED or UNAVAILABLE."""
    error = answer.body.get("error")
    if answer.status == 200 or not isinstance(error, dict):
        return None
    codes = [detail.get("errorCode") for detail in _details(error, _FCM_ERROR)] + [error.get("status")]
    return next((code for code in codes if _is_word(code)), None)


def outcome_of(answer: Answer) -> Outcome:
    """Convert an answer of FCM to an outcome ("FCM error codes"). Refuses a redirect."""
    if answer.status == 200:
        return Delivered()
    code = error_code(answer)
    reason = f"{answer.status}/{code}"
    # A 404 without the code UNREGISTERED means that the project does not exist, and the app's token is perhaps good.
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _is_invalid_token(answer)):
        return Gone()
    if answer.status == 429:
        return Unavailable(reason, answer.retry_after_seconds, is_their_limit=True)
    # 401 UNAUTHENTICATED and 403 PERMISSION_DENIED: an operator can repair our account while the message is still
    # wanted.
    if answer.status >= 500 or code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return Unavailable(reason, answer.retry_after_seconds)
    return Refused(reason)


def _is_invalid_token(answer: Answer) -> bool:
    """Return whether FCM says that the app's token is invalid, rather than another part of the message."""
    violations = [
        violation
        for detail in _details(answer.body["error"], _BAD_REQUEST)
        for violation in (detail.get("fieldViolations") or ())
        if isinstance(violation, dict)
    ]
    return [violation.get("field") for violation in violations] == ["message.token"]


def _details(error: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    details = error.get("details")
    found = details if isinstance(details, list) else []
    return [detail for detail in found if isinstance(detail, dict) and detail.get("@type") == kind]


def _is_word(text: object) -> bool:
    """Return whether this text is a code of Google.

    A log can contain such a code, but must not contain a text that repeats our request.
    """
    return isinstance(text, str) and len(text) <= 40 and text.replace("_", "").isalpha()
