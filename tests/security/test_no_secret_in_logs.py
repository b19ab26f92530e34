"""Test that a whole journey through real processes writes no secret into the logs at level debug."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pyotp
import pytest
import valkey.asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from curhat.control_center.operators import passwords
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.pricing.service import seed_offers
from tests.support.server import Person
from tests.support.signed_in import environment_of, process, server_process

CUSTOMER_PHONE = "+6281298765432"
OTHER_PHONE = "+6281355556666"
MITRA_PHONE = "+6281187654321"
REQUEST_ID = "a-journey-of-this-test"


class Journey:
    """A client of the whole service. The client remembers every secret that it has seen."""

    def __init__(self, http: httpx.AsyncClient, database: Database) -> None:
        self.http = http
        self.database = database
        self.secrets: set[str] = set()

    def secret(self, text: str) -> str:
        """Remember a text that must never appear in a log."""
        self.secrets.add(text)
        return text

    def phone(self, number: str) -> None:
        """Remember a phone number in every form in which people write the number."""
        national = number.removeprefix("+62")
        spaced = f"{national[:3]}-{national[3:7]}-{national[7:]}"
        self.secrets |= {number, national, f"0{national}", f"62{national}", f"0{spaced}", f"%2B62{national}"}

    async def code(self, prefix: str, phone: str) -> dict[str, str]:
        """Request a code, and read the code from the inbox. Returns the request body that verifies the code."""
        asked = await self.http.post(f"/api/{prefix}/auth/otp/request", json={"phone": phone})
        assert asked.status_code == 202, asked.text
        inbox = await self.http.get("/api/dev/inbox", params={"phone": phone})
        code = self.secret(inbox.json()["messages"][0]["code"])
        return {"request_id": asked.json()["request_id"], "code": code}

    async def sign_in(self, prefix: str, phone: str, **more: str) -> Person:
        """Sign in after one wrong try."""
        body = await self.code(prefix, phone)
        verify = f"/api/{prefix}/auth/otp/verify"
        wrong = self.secret(f"{(int(body['code']) + 1) % 1_000_000:06d}")
        assert (await self.http.post(verify, json={**body, **more, "code": wrong})).status_code == 401
        signed_in = await self.http.post(verify, json={**body, **more})
        assert signed_in.status_code == 200, signed_in.text
        answer = signed_in.json()
        token = self.secret(answer["token"])
        self.secret(hashlib.sha256(token.encode()).hexdigest())
        role = "customer" if prefix == "client" else "mitra"
        return Person(self.http, role, answer[role]["id"], token)


async def _refused_everywhere(journey: Journey, customer: Person) -> None:
    """Send requests with secrets in wrong places, as a broken or hostile client does."""
    http, token = journey.http, customer.token
    await http.get(f"/api/client/{CUSTOMER_PHONE}")
    await http.get("/api/client/me", params={"token": token})
    await http.get("/api/client/me", headers={"Authorization": f"Basic {token}"})
    await http.get("/api/client/me", headers={"Cookie": f"curhat_customer={token}"})
    await http.get("/api/dev/inbox", params={"phone": f"{CUSTOMER_PHONE}x"})
    await http.post("/api/client/auth/otp/request", json={"phone": f"{CUSTOMER_PHONE};DROP"})
    await http.post("/api/client/auth/otp/request", json={"phone": CUSTOMER_PHONE, "x": token})
    await http.post("/api/client/auth/otp/request", content=f'{{"phone": "{CUSTOMER_PHONE}"'.encode())
    await customer.post("/payments", {"offer_id": token})
    await customer.post("/payments", {"offer_id": str(uuid4())}, key=token)
    await customer.patch("/me", {"call_name": CUSTOMER_PHONE})
    url = str(http.base_url).replace("http", "ws", 1).rstrip("/") + "/api/client/realtime"
    for query in (f"?ticket={token}", f"?token={token}"):
        with contextlib.suppress(ConnectionClosed):
            async with connect(url + query) as socket:
                await socket.recv()


async def _faults(journey: Journey, customer: Person, session_id: str) -> None:
    """Cause internal errors in requests that handle secrets."""
    text = journey.secret("kalimat yang membuat kita jatuh")
    await journey.database.execute("ALTER TABLE messages RENAME TO messages_away")
    sent = await customer.post(f"/sessions/{session_id}/messages", {"client_message_id": "9", "text": text})
    assert sent.status_code == 500
    await journey.database.execute("ALTER TABLE messages_away RENAME TO messages")
    # The code sender fails while handling a code.
    await journey.database.execute("ALTER TABLE development_inbox RENAME TO inbox_away")
    other = "+6281311112222"
    journey.phone(other)
    assert (await journey.http.post("/api/client/auth/otp/request", json={"phone": other})).status_code == 500
    await journey.database.execute("ALTER TABLE inbox_away RENAME TO development_inbox")
    # PostgreSQL's message for a violated constraint contains the whole row.
    await journey.database.execute(
        "ALTER TABLE messages ADD CONSTRAINT nothing_more CHECK (text = 'x') NOT VALID"
    )
    sent = await customer.post(f"/sessions/{session_id}/messages", {"client_message_id": "8", "text": text})
    assert sent.status_code == 500
    await journey.database.execute("ALTER TABLE messages DROP CONSTRAINT nothing_more")


async def _chat(journey: Journey, customer: Person, other: Person, mitra: Person) -> str:
    """Bring the mitra online, start a session, and chat in the session.

    `other` never pays. Returns the session's id.
    """
    offers = (await customer.get("/pricing", purpose="session")).json()["offers"]
    async with mitra.socket() as mitras, customer.socket() as customers:
        assert (await mitra.put("/presence", {"online": True})).status_code == 200
        order = {"offer_id": offers[-1]["id"]}
        assert (await other.post("/payments", order)).status_code == 201
        opened = await customer.post("/payments", order)
        await journey.http.put("/api/dev/gateway", json={"behaviour": "double"})
        confirmed = await journey.http.post(
            f"/api/client/payments/{opened.json()['id']}/confirm",
            headers={
                "Authorization": f"Bearer {customer.token}",
                "Idempotency-Key": "one",
                "X-Request-Id": REQUEST_ID,
            },
        )
        assert confirmed.status_code == 200
        request = await mitras.wait_for("request.offered")
        accepted = await mitra.post(f"/requests/{request['id']}/accept")
        session_id: str = accepted.json()["session"]["id"]
        await customers.wait_for("session.started")
        for sender, reader in ((customer, mitras), (mitra, customers)):
            text = journey.secret(f"rahasia {uuid4()} dari {sender.role}")
            message = {"client_message_id": str(uuid4()), "text": text}
            assert (await sender.post(f"/sessions/{session_id}/messages", message)).status_code == 201
            await reader.wait_for("message.created", text=text)
        typed = journey.secret("yang diketik di tempat yang salah")
        await customers.connection.send(json.dumps({"op": "say", "text": typed, "token": customer.token}))
        await customers.connection.send(typed)
        ticket = journey.secret((await customer.post("/realtime-ticket", key="")).json()["ticket"])
        url = str(journey.http.base_url).replace("http", "ws", 1).rstrip("/") + "/api/client/realtime"
        async with connect(f"{url}?ticket={ticket}") as by_ticket:
            await by_ticket.send(json.dumps({"op": "hello", "device_id": "d"}))
            await by_ticket.recv()
    return session_id


async def _with_a_cookie(journey: Journey, database: Database) -> None:
    """Sign in as a web client, so that the token is in a cookie."""
    await database.execute("DELETE FROM one_time_codes")
    body = await journey.code("client", "0812-9876-5432")
    # In development, this server serves our own pages, so the pages have the server's origin.
    origin = str(journey.http.base_url).rstrip("/")
    signed_in = await journey.http.post(
        "/api/client/auth/otp/verify", json={**body, "transport": "cookie"}, headers={"Origin": origin}
    )
    assert signed_in.status_code == 200, signed_in.text
    cookie = signed_in.cookies["curhat_customer"]
    journey.secret(cookie)
    url = origin.replace("http", "ws", 1) + "/api/client/realtime"
    headers = {"Cookie": f"curhat_customer={cookie}", "Origin": origin}
    async with connect(url, additional_headers=headers) as socket:
        await socket.send(json.dumps({"op": "hello", "device_id": "d"}))
        await socket.recv()


async def _in_the_control_center(journey: Journey, session_id: str) -> None:
    """An operator signs in, sets up an authenticator app, searches for a customer, and reads the chat."""
    password, wrong = journey.secret("kata sandi operator ini"), journey.secret("kata sandi yang salah")
    operator_id = await journey.database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ('sari@example.id', 'admin', $1) RETURNING id",
        passwords.hashed(password),
    )
    login = "/api/control-center/auth/login"
    body = {"email": "sari@example.id", "password": password}
    assert (await journey.http.post(login, json={**body, "password": wrong})).status_code == 401
    signed_in = await journey.http.post(login, json=body)
    token = journey.secret(signed_in.json()["token"])
    journey.secret(hashlib.sha256(token.encode()).hexdigest())
    operator = Person(journey.http, "operator", operator_id, token)
    begun = (await operator.post("/auth/totp", {"password": password})).json()
    secret = journey.secret(begun["secret"])
    confirmed = await operator.post("/auth/totp/confirm", {"totp": pyotp.TOTP(secret).now()})
    for code in confirmed.json()["recovery_codes"]:
        journey.secret(code)
    for query in ({"q": CUSTOMER_PHONE}, {"q": CUSTOMER_PHONE, "format": "csv"}):
        assert (await operator.get("/customers", **query)).status_code == 200
    reason = journey.secret("alasan membaca percakapan ini")
    order = {"reason": reason, "ground": {"kind": "legal_order"}}
    revealed = await operator.post(f"/sessions/{session_id}/transcript", order)
    assert revealed.status_code == 200
    await journey.database.execute("ALTER TABLE audit_entries RENAME TO audit_away")
    assert (await operator.post(f"/sessions/{session_id}/transcript", order)).status_code == 500
    await journey.database.execute("ALTER TABLE audit_away RENAME TO audit_entries")


@contextlib.asynccontextmanager
async def _service(
    environment: dict[str, str], folder: Path, database: Database
) -> AsyncIterator[tuple[Journey, list[Path]]]:
    logs = [folder / "server.log", folder / "worker.log"]
    with server_process(environment, logs[0]) as url, process("worker", environment, logs[1]):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            yield Journey(http, database), logs


async def _until_worked(database: Database) -> None:
    async with asyncio.timeout(20):
        while await database.fetchval("SELECT count(*) FROM deadlines WHERE due_at < curhat_now()"):
            pass


@pytest.mark.rule("S.1")
async def test_no_process_logs_a_code_or_a_token_or_a_phone_number_or_a_chat_text(
    servers: EmbeddedServers,
    database_url: str,
    database: Database,
    valkey_client: valkey.asyncio.Valkey,
    tmp_path: Path,
) -> None:
    async with database.transaction() as tx:
        await seed_offers(tx)
    await database.execute("INSERT INTO people (phone_number) VALUES ($1)", MITRA_PHONE)
    await database.execute(
        "INSERT INTO mitras (id, display_name, max_customers) SELECT id, 'Kak Sari', 2 FROM people"
    )
    environment = environment_of(
        database_url,
        servers.valkey_url,
        CURHAT_LOG_LEVEL="debug",
        CURHAT_LOG_FORMAT="json",
        CURHAT_DATA_DIR=str(tmp_path),
    )
    async with _service(environment, tmp_path, database) as (journey, logs):
        journey.phone(CUSTOMER_PHONE)
        journey.phone(MITRA_PHONE)
        mitra = await journey.sign_in("mitra", MITRA_PHONE)
        customer = await journey.sign_in("client", "081298765432", call_name="Bunga")
        journey.phone(OTHER_PHONE)
        other = await journey.sign_in("client", OTHER_PHONE, call_name="Tari")
        session_id = await _chat(journey, customer, other, mitra)
        await _refused_everywhere(journey, customer)
        await _faults(journey, customer, session_id)
        reason = journey.secret("pelanggan menangis terus")
        assert (await mitra.post(f"/sessions/{session_id}/end", {"reason": reason})).status_code == 200
        await _with_a_cookie(journey, database)
        await _in_the_control_center(journey, session_id)
        # Make the worker fire the deadline that expires the payment of `other`.
        await database.execute("UPDATE payments SET expires_at = curhat_now() WHERE status = 'pending'")
        await database.execute("UPDATE deadlines SET due_at = curhat_now()")
        await _until_worked(database)
        assert (await customer.post("/auth/logout")).status_code == 204

    lines = [line for log in logs for line in log.read_text().splitlines()]
    # The function _holds leaves out ids, because ids are not secret and their digits can contain a code.
    found = {(secret, line) for line in lines for secret in journey.secrets if _holds(line, secret)}
    assert not found
    entries: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
    events = {entry["event"] for entry in entries}
    assert {"accounts.code_sent", "accounts.signed_in", "pairing.matched", "request.failed"} <= events
    assert {entry["level"] for entry in entries} >= {"info", "error"}
    followed = {entry["event"] for entry in entries if entry.get("correlation_id") == REQUEST_ID}
    assert {"charge.answered", "blast.opened"} <= followed


def _holds(line: str, secret: str) -> bool:
    """Return whether the line contains the secret. Six digits inside an id or a time do not count as a code."""
    if not (secret.isdigit() and len(secret) == 6):
        return secret in line
    for before, after in zip(
        (part[-1:] for part in line.split(secret)[:-1]),
        (part[:1] for part in line.split(secret)[1:]),
        strict=True,
    ):
        if not (before.isalnum() or before in "-." or after.isalnum() or after == "-"):
            return True
    return False
