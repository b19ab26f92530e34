"""Helpers for tests with operators. The helpers create operators, open the Control Center, and create cases."""

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from playwright.async_api import Page

from curhat.control_center.operators.permissions import OperatorRole
from tests.browser.system import System, json_of
from tests.support.server import Person
from tests.support.signed_in import SIGN_IN_OPERATOR, operator_password_hash

DESKTOP_SCREEN: Final = {"width": 1280, "height": 800}
WIDE_SCREEN: Final = {"width": 1920, "height": 1080}


async def operator(system: System, role: OperatorRole = "admin") -> tuple[UUID, str]:
    """Create an operator with the password OPERATOR_PASSWORD. Return the operator's id and e-mail address."""
    email = f"{role}-{secrets.token_hex(4)}@example.id"
    operator_id = await system.database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ($1, $2, $3) RETURNING id",
        email,
        role,
        operator_password_hash(),
    )
    return operator_id, email


async def sign_in_operator(system: System, operator_id: UUID) -> Person:
    """Sign this operator in. The returned Person acts through the API."""
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).digest()
    await system.database.execute(SIGN_IN_OPERATOR, digest, operator_id, "bearer", 3600.0)
    return Person(system.http, "operator", operator_id, token)


async def control_center_page(system: System, operator_id: UUID, path: str = "/", **options: Any) -> Page:
    """Open the Control Center at a path in a browser in which this operator is signed in."""
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).digest()
    await system.database.execute(SIGN_IN_OPERATOR, digest, operator_id, "cookie", 3600.0)
    cookie = {
        "name": "curhat_operator",
        "value": token,
        "domain": "127.0.0.1",
        "path": "/api/control-center",
        "expires": -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Strict",
    }
    options = {"language": "en", "size": DESKTOP_SCREEN} | options
    kept = {"curhat:control-center": "signed in"}
    context = await system.context(cookies=[cookie], kept=kept, is_phone=False, **options)
    page = await context.new_page()
    await page.goto(f"/control-center{path}")
    return page


async def case(system: System, *, price_rp: int = 20_000, call_name: str = "Melati") -> UUID:
    """As a customer, pay, start a search, and cancel the search. Return the id of the review case."""
    customer = await system.customer(call_name)
    async with system.mitra():
        pairing = await system.search(customer, price_rp=price_rp)
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
    case_id: UUID = await system.database.fetchval(
        "SELECT review_cases.id FROM review_cases JOIN payments ON payments.id = review_cases.payment_id"
        " WHERE payments.customer_id = $1",
        customer.id,
    )
    return case_id


@contextlib.asynccontextmanager
async def chat(
    system: System, *, display_name: str = "Kak Sari"
) -> AsyncIterator[tuple[Person, dict[str, Any]]]:
    """Start a session with one message. Yield the session's mitra and the session."""
    customer = await system.customer("Melati")
    async with system.mitra(display_name) as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        message = {"text": "Aku lagi capek banget.", "client_message_id": secrets.token_hex(16)}
        json_of(await customer.post(f"/sessions/{session['id']}/messages", message))
        yield mitra, session
