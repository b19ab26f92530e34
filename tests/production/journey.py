"""A whole journey through an installation, as people and operators make it, with nothing prepared in the tables."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import pyotp

from curhat.kit.identity import Role
from tests.production.bed import HOSTS, Bed, host
from tests.production.people import Answer, Chat, Crowd, Person

OPERATOR: Final = "ayu@example.id"
NEW_PASSWORD: Final = "lampu kuning di teras rumah"
MESSAGES: Final = 3
WAIT_SECONDS: Final = 15


async def sign_in(crowd: Crowd, role: Role, phone: str, call_name: str | None = None) -> Person:
    """Sign in with a one-time code, which the person reads from the file of codes, and connect a device."""
    bed = crowd.bed
    stranger = Person(crowd, role, UUID(int=0), "", phone)
    del stranger.headers["Authorization"]
    requested = expect(await stranger.try_once("POST", "/auth/otp/request", {"phone": phone}))
    code = code_for(bed, phone)
    verification = {"request_id": requested["request_id"], "code": code, "call_name": call_name}
    answer = expect(await stranger.try_once("POST", "/auth/otp/verify", verification))
    person = Person(crowd, role, UUID(answer[role]["id"]), answer["token"], phone)
    crowd.start(person.stay_connected())
    await person.connected.wait()
    await person.accept_texts()
    return person


def code_for(bed: Bed, phone: str) -> str:
    """The newest code for this phone in the file of codes."""
    lines = [json.loads(line) for line in bed.codes_file.read_text().splitlines()]
    return next(str(line["code"]) for line in reversed(lines) if line["phone_number"] == phone)


def expect(answer: Answer) -> Any:
    """The body of an answer that must be a success."""
    assert answer.ok, answer
    return answer.body


async def whole_journey(crowd: Crowd, number: int = 1) -> AsyncIterator[str]:
    """Go from the invitation of a mitra to the end of a chat. Yield a sentence after each step.

    Another `number` means other people.
    """
    bed = crowd.bed
    mitra_phone, customer_phone = f"+628120000{number:02d}01", f"+628120000{number:02d}02"
    bed.curhat("mitra", "invite", mitra_phone, "--name", "Kak Sari", "--max-customers", "1", owner=False)
    yield "an operator's command invited a mitra"
    mitra = await sign_in(crowd, "mitra", mitra_phone)
    expect(await mitra.put("/presence", {"online": True}))
    yield "the mitra signed in with a code from the file, and is online"
    customer = await sign_in(crowd, "customer", customer_phone, "Bunga")
    assert expect(await customer.get("/mitra-availability")) == {"available": True}
    yield "a customer signed in, and sees that somebody is available"
    offers = expect(await customer.get("/pricing?purpose=session"))["offers"]
    offer = next(each for each in offers if not each["is_trial"])
    payment = expect(await customer.command("/payments", {"offer_id": offer["id"]}))
    expect(await customer.command(f"/payments/{payment['id']}/confirm"))
    yield f"the customer paid Rp{payment['amount_rp']:,} at the mock gateway".replace(",", ".")
    card = await mitra.cards.get()
    session_id = expect(await mitra.command(f"/requests/{card['id']}/accept"))["session"]["id"]
    yield "the mitra saw the card, and accepted"
    chat = Chat(session_id, customer, mitra, {"customer": [], "mitra": []})
    crowd.chats.append(chat)
    for _ in range(MESSAGES):
        for sender, _other in chat.pairs():
            await crowd.say(chat, sender)
    while crowd.sent:
        await customer.event_or(0.1)
    yield f"{2 * MESSAGES} messages were shown within {max(crowd.tally.shown) * 1000:.0f} ms"
    expect(await customer.command(f"/sessions/{session_id}/end"))
    history = expect(await customer.get("/sessions"))["items"]
    assert [each["id"] for each in history] == [session_id]
    yield "the customer ended the chat, and finds it in the history"


async def operator_signs_in(crowd: Crowd, secret: list[str]) -> AsyncIterator[str]:
    """Create an operator, who changes the password and sets up an authenticator app, and looks at the gateway.

    `secret` gets the operator's token.
    """
    printed = crowd.bed.curhat("operator", "create", OPERATOR, "--role", "admin", owner=False)
    found = re.search(r"password \(shown this once\): (\S+)", printed)
    assert found is not None
    yield "a command created an operator"
    call = OperatorCalls(crowd)
    signed_in = await call("POST", "/auth/login", {"email": OPERATOR, "password": found[1]})
    call.token = signed_in["token"]
    secret.append(call.token)
    refused = await call.answer("GET", "/dashboard")
    assert refused.code == "password_change_required", refused
    await call("POST", "/auth/password", {"password": found[1], "new_password": NEW_PASSWORD})
    refused = await call.answer("GET", "/dashboard")
    assert refused.code == "totp_enrolment_required", refused
    totp = await call("POST", "/auth/totp", {"password": NEW_PASSWORD})
    await call("POST", "/auth/totp/confirm", {"totp": pyotp.TOTP(totp["secret"]).now()})
    yield "the operator had to change the password and to set up an authenticator app"
    assert await call("GET", "/gateway") == {"name": "mock", "is_mocked": True}
    await call("GET", "/dashboard")
    yield "the Control Center opens, and says that the gateway is a mock"


class OperatorCalls:
    """Calls the API of the Control Center at its own host name."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.token = ""

    async def answer(self, method: str, path: str, body: Any = None) -> Answer:
        """Send one request."""
        headers = host(HOSTS[2]) | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        url = self._crowd.bed.url(HOSTS[2], f"/api/control-center{path}")
        async with self._crowd.http.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            return Answer(response.status, text, json.loads(text) if text else None)

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request, which must succeed. Return the body of its answer."""
        return expect(await self.answer(method, path, body))


async def check_pages(crowd: Crowd) -> str:
    """Load each client's page and its files at its own host. Return how many."""
    count = 0
    for name, page in zip(HOSTS, ("/app/", "/mitra/", "/control-center/"), strict=True):
        async with crowd.http.get(crowd.bed.url(name, page), headers=host(name)) as answer:
            text = await answer.text()
            assert answer.status == 200, (name, answer.status)
            assert "max-age" in answer.headers["Strict-Transport-Security"]
        for file in re.findall(rf'(?:src|href)="({page}[^"]+)"', text):
            async with crowd.http.get(crowd.bed.url(name, file), headers=host(name)) as answer:
                assert answer.status == 200, (name, file, answer.status)
                count += 1
        count += 1
    return f"{count} pages and files of three hosts load over TLS"
