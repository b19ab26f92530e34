"""Helpers for tests of the mitra's app: mitras, their cards and their chats."""

from typing import Any
from uuid import UUID

from playwright.async_api import Locator, Page, expect

from tests.browser.system import System, done
from tests.support.journey import request_of
from tests.support.server import Person


def button(page: Page | Locator, name: str) -> Locator:
    """Find the button with exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def switch(page: Page) -> Locator:
    """The toggle."""
    return page.get_by_role("switch")


async def new_mitra(system: System, display_name: str = "Kak Sari", *, max_customers: int = 3) -> Person:
    """A mitra who is offline."""
    mitra_id = await system.make.mitra(display_name, online=False, max_customers=max_customers)
    return await system.person("mitra", mitra_id)


async def go_online(page: Page) -> None:
    """Move the toggle, and wait until the change has taken effect."""
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


async def online_mitra(
    system: System, display_name: str = "Kak Sari", *, max_customers: int = 3, **options: Any
) -> tuple[Person, Page]:
    """A mitra who has just gone online, with the app open."""
    mitra = await new_mitra(system, display_name, max_customers=max_customers)
    page = await system.page_of(mitra, "/mitra/", **options)
    await go_online(page)
    return mitra, page


def card(page: Page, call_name: str) -> Locator:
    """The card of a customer who waits for the mitra's answer."""
    return page.get_by_role("article", name=call_name)


async def take(system: System, customer: Person, mitra: Person) -> dict[str, Any]:
    """This mitra accepts this customer's blast through the API. Returns the session."""
    pairing = await system.search(customer)
    request_id = await request_of(system.database, UUID(pairing["id"]), mitra.id)
    session: dict[str, Any] = done(await mitra.post(f"/requests/{request_id}/accept"))["session"]
    return session


async def past_chat(system: System, customer: Person, mitra: Person) -> dict[str, Any]:
    """A session of these two users that has ended."""
    session = await take(system, customer, mitra)
    ended: dict[str, Any] = done(await customer.post(f"/sessions/{session['id']}/end"))
    return ended


async def ask_again(system: System, customer: Person, mitra: Person) -> dict[str, Any]:
    """The customer of a past chat asks for this mitra again. Returns the pairing."""
    offer_id = await system.make.offer(duration_minutes=30, price_rp=20_000)
    order = {"offer_id": str(offer_id), "target_mitra_id": str(mitra.id)}
    payment = done(await customer.post("/payments", order))
    pairing: dict[str, Any] = done(await customer.post(f"/payments/{payment['id']}/confirm"))["pairing"]
    return pairing


async def ask_for_more(system: System, customer: Person, session: dict[str, Any]) -> dict[str, Any]:
    """The customer asks for 15 more minutes. Returns the extension."""
    offer_id = await system.make.offer(duration_minutes=15, price_rp=10_000, purpose="extension")
    path = f"/sessions/{session['id']}/extensions"
    extension: dict[str, Any] = done(await customer.post(path, {"offer_id": str(offer_id)}))
    return extension


async def say(person: Person, session: dict[str, Any], text: str) -> dict[str, Any]:
    """Write into a chat through the API."""
    body = {"client_message_id": text, "text": text}
    message: dict[str, Any] = done(await person.post(f"/sessions/{session['id']}/messages", body, key=""))
    return message
