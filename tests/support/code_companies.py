"""Fakes of the companies that send one-time codes: Meta's Cloud API and Twilio's Messages API, on this machine.

Each fake checks requests and sends answers as the company documents them. Each fake can also simulate every documented
fault.
"""

import asyncio
import base64
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

Mood = Literal[
    "accept",
    "slow",  # no answer while the test runs
    "lost",  # takes the code, then closes the connection without an answer
    "limit",  # 429
    "broken",  # 500, with no body of the company
    "unavailable",  # 503
    "invalid_number",
    "expired_token",
    "garbage",  # 200, but no JSON
    "huge",  # 200, and a body without end
    "redirect",
    "held_back",  # 200, but the message does not go out now
]

TOKEN = "EAA-the-token-of-the-tests"
PHONE_NUMBER_ID = "106540352242922"
TEMPLATE = "sign_in_code"
ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "the auth token of the tests"
SERVICE_SID = "MG" + "0123456789abcdef" * 2


class Taken(msgspec.Struct, frozen=True):
    """A code that the company accepted, or perhaps accepted."""

    phone_number: str
    code: str
    fields: dict[str, Any]


class Company(ABC):
    """A company on a port of this machine."""

    def __init__(self) -> None:
        self.url = ""
        self.mood: Mood = "accept"
        self.requests = 0
        self.taken: list[Taken] = []
        self.arrived = asyncio.Event()
        self._ended = asyncio.Event()

    @abstractmethod
    def refuse_malformed(self, request: web.Request, body: bytes) -> web.Response | None:
        """Return the company's answer to a malformed or forbidden request, and None for any other request."""

    @abstractmethod
    def take(self, body: bytes, path: str) -> Taken:
        """Read a request's code."""

    @abstractmethod
    def answer(self, mood: Mood) -> web.Response:
        """Return the answer that the company documents for this behaviour."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Receive one request."""
        body = await request.read()
        self.requests += 1
        self.arrived.set()
        if self.mood == "unavailable":
            return web.Response(status=503, text="upstream connect error")
        if self.mood == "broken":
            return web.Response(status=500, text="<html>Internal Server Error</html>")
        if self.mood == "redirect":
            raise web.HTTPTemporaryRedirect(f"{self.url}/elsewhere")
        refusal = self.refuse_malformed(request, body)
        if refusal is not None:
            return refusal
        if self.mood == "slow":
            await self._ended.wait()
        taken = self.take(body, request.path)
        if self.mood in ("accept", "lost", "slow", "garbage"):
            self.taken.append(taken)
        if self.mood == "lost":
            assert request.transport is not None
            request.transport.close()
        if self.mood == "garbage":
            return web.Response(text="OK")
        if self.mood == "huge":
            return web.Response(body=b"[" * 1_000_000, content_type="application/json")
        return self.answer("accept" if self.mood in ("lost", "slow") else self.mood)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve on a port of this machine."""
        application = web.Application()
        application.router.add_post("/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._ended.set()
            await runner.cleanup()


class Meta(Company):
    """The WhatsApp Cloud API."""

    def refuse_malformed(self, request: web.Request, body: bytes) -> web.Response | None:
        """See Company.

        A wrong path or body gives the error 100 (wrong parameter), and a wrong template gives the error 132000.
        """
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _meta_error(401, 190, "Invalid OAuth access token")
        if not request.path.startswith("/v") or not request.path.endswith(f"/{PHONE_NUMBER_ID}/messages"):
            return _meta_error(400, 100, "Unsupported post request")
        message = msgspec.json.decode(body)
        envelope = {name: message[name] for name in ("messaging_product", "recipient_type", "type")}
        wanted = {"messaging_product": "whatsapp", "recipient_type": "individual", "type": "template"}
        if envelope != wanted or not message["to"].isdigit():
            return _meta_error(400, 100, "Invalid parameter")
        template = message["template"]
        if template["name"] != TEMPLATE or template["language"] != {"code": "id"}:
            return _meta_error(404, 132001, "Template name does not exist in the translation")
        body_part, button = template["components"]
        parameters = body_part["parameters"]
        is_button = (button["type"], button["sub_type"], button["index"]) == ("button", "url", "0")
        if body_part["type"] != "body" or not is_button or button["parameters"] != parameters:
            return _meta_error(
                400, 132000, "Number of parameters does not match the expected number of params"
            )
        return None

    def take(self, body: bytes, path: str) -> Taken:
        """See Company."""
        message = msgspec.json.decode(body)
        (parameter,) = message["template"]["components"][0]["parameters"]
        assert parameter["type"] == "text"
        return Taken(f"+{message['to']}", parameter["text"], message)

    def answer(self, mood: Mood) -> web.Response:
        """See Company."""
        if mood == "limit":
            return _meta_error(429, 130429, "Rate limit hit")
        if mood == "invalid_number":
            return _meta_error(400, 131026, "Message undeliverable")
        if mood == "expired_token":
            return _meta_error(401, 190, "Access token has expired")
        message = {"id": "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1"}
        if mood == "held_back":
            message["message_status"] = "held_for_quality_assessment"
        contacts = [{"input": "6281234567890", "wa_id": "6281234567890"}]
        return web.json_response(
            {"messaging_product": "whatsapp", "contacts": contacts, "messages": [message]}
        )


def _meta_error(status: int, code: int, message: str) -> web.Response:
    error = {
        "message": f"(#{code}) {message}",
        "type": "OAuthException",
        "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": message},
        "fbtrace_id": "Az8or2yhqkZfEZ",
    }
    return web.json_response({"error": error}, status=status)


class Twilio(Company):
    """Twilio's Messages API."""

    def refuse_malformed(self, request: web.Request, body: bytes) -> web.Response | None:
        """See Company."""
        expected = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return _twilio_error(401, 20003, "Authenticate")
        if request.path != f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json":
            return _twilio_error(404, 20404, "The requested resource was not found")
        form = _form(body)
        if not form.get("To", "").startswith("+"):
            return _twilio_error(400, 21604, "A 'To' phone number is required.")
        if form.get("MessagingServiceSid") != SERVICE_SID and form.get("From") not in (
            "CURHAT",
            "+6281100000000",
        ):
            return _twilio_error(400, 21603, "A 'From' phone number is required.")
        if not 1 <= int(form["ValidityPeriod"]) <= 36_000:
            return _twilio_error(400, 21716, "ValidityPeriod is not valid")
        return None

    def take(self, body: bytes, path: str) -> Taken:
        """See Company."""
        form = _form(body)
        (code,) = (
            word for word in form["Body"].replace(".", " ").split() if word.isdigit() and len(word) == 6
        )
        return Taken(form["To"], code, dict(form))

    def answer(self, mood: Mood) -> web.Response:
        """See Company."""
        if mood == "limit":
            return _twilio_error(429, 20429, "Too Many Requests")
        if mood == "invalid_number":
            return _twilio_error(400, 21211, "The 'To' number is not a valid phone number.")
        if mood == "expired_token":
            return _twilio_error(401, 20003, "Authenticate")
        message: dict[str, Any] = {
            "sid": "SM" + "0" * 32,
            "status": "queued",
            "error_code": None,
            "error_message": None,
        }
        if mood == "held_back":
            message |= {"status": "failed", "error_code": 30005}
        return web.json_response(message, status=201)


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), strict_parsing=True))


def _twilio_error(status: int, code: int, message: str) -> web.Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response(
        {"code": code, "message": message, "more_info": more, "status": status}, status=status
    )
