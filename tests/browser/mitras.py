"""Helpers for the tests of the mitra's app."""

from typing import Any
from uuid import UUID

from playwright.async_api import Locator, Page, expect

from tests.browser.system import System, json_of
from tests.support.journey import request_of
from tests.support.server import Person


def button(page: Page | Locator, name: str) -> Locator:
    """Find a button by its exact name."""
    return page.get_by_role("button", name=name, exact=True)


def switch(page: Page) -> Locator:
    """Find the mitra's online toggle."""
    return page.get_by_role("switch")


async def new_mitra(system: System, display_name: str = "Kak Sari", *, max_customers: int = 3) -> Person:
    """Create a mitra who is offline."""
    mitra_id = await system.make.mitra(display_name, online=False, max_customers=max_customers)
    return await system.person("mitra", mitra_id)


async def go_online(page: Page) -> None:
    """Switch the toggle on, and wait until the app shows that the mitra is online."""
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


async def online_mitra(
    system: System, display_name: str = "Kak Sari", *, max_customers: int = 3, **options: Any
) -> tuple[Person, Page]:
    """Create a mitra, open the mitra's app, and go online in the app."""
    mitra = await new_mitra(system, display_name, max_customers=max_customers)
    page = await system.page_of(mitra, "/mitra/", **options)
    await go_online(page)
    return mitra, page


def card(page: Page, call_name: str) -> Locator:
    """Find the open card that shows this call name."""
    return page.get_by_role("article", name=call_name)


async def accept_blast(system: System, customer: Person, mitra: Person) -> dict[str, Any]:
    """Start a search as this customer, accept the request as this mitra through the API, and return the session."""
    pairing = await system.search(customer)
    request_id = await request_of(system.database, UUID(pairing["id"]), mitra.id)
    session: dict[str, Any] = json_of(await mitra.post(f"/requests/{request_id}/accept"))["session"]
    return session


async def past_chat(system: System, customer: Person, mitra: Person) -> dict[str, Any]:
    """Start and end a session between this customer and this mitra."""
    session = await accept_blast(system, customer, mitra)
    ended: dict[str, Any] = json_of(await customer.post(f"/sessions/{session['id']}/end"))
    return ended


async def ask_again(system: System, customer: Person, mitra: Person) -> dict[str, Any]:
    """As the customer of a past chat, ask for this mitra again, and return the pairing."""
    offer_id = await system.make.offer(duration_minutes=30, price_rp=20_000)
    order = {"offer_id": str(offer_id), "target_mitra_id": str(mitra.id)}
    payment = json_of(await customer.post("/payments", order))
    pairing: dict[str, Any] = json_of(await customer.post(f"/payments/{payment['id']}/confirm"))["pairing"]
    return pairing


async def ask_for_more_time(system: System, customer: Person, session: dict[str, Any]) -> dict[str, Any]:
    """Ask for an extension of 15 minutes as this customer, and return the extension."""
    offer_id = await system.make.offer(duration_minutes=15, price_rp=10_000, purpose="extension")
    path = f"/sessions/{session['id']}/extensions"
    extension: dict[str, Any] = json_of(await customer.post(path, {"offer_id": str(offer_id)}))
    return extension


async def send_message(person: Person, session: dict[str, Any], text: str) -> dict[str, Any]:
    """Send a chat message through the API."""
    body = {"client_message_id": text, "text": text}
    message: dict[str, Any] = json_of(await person.post(f"/sessions/{session['id']}/messages", body, key=""))
    return message
