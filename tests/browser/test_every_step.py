"""Test that a reload, a lost network and a second phone show the same state at every step of the journey.

When the network returns, the phone shows the missed changes.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.mitras import (
    accept_blast,
    ask_for_more_time,
    button,
    card,
    new_mitra,
    past_chat,
    send_message,
)
from tests.browser.pushed import open_installed_app
from tests.browser.system import System, json_of, wait_until
from tests.support.server import Person

Shows = Callable[[Page], Locator]


@dataclass
class Step:
    """One step of the journey: a person's state, and the screen that shows the state.

    `move_on` makes other people change this state.
    """

    person: Person
    shows: Shows
    move_on: Callable[[], Awaitable[Any]]
    then: Shows
    # The screen after a reload without a network. None means that the phone still shows the screen `shows`. The phone
    # does not store short-lived cards, so the screen without a network lacks these cards.
    offline: Shows | None = None


Begin = Callable[[System], AbstractAsyncContextManager[Step]]
CUSTOMERS: dict[str, Begin] = {}
MITRAS: dict[str, Begin] = {}


def step(of: dict[str, Begin]) -> Callable[[Callable[[System], AsyncIterator[Step]]], None]:
    """Return a decorator that adds the function as a step to `of`, under the function's name."""

    def add(begin: Callable[[System], AsyncIterator[Step]]) -> None:
        of[begin.__name__] = asynccontextmanager(begin)

    return add


def heading(name: str) -> Shows:
    """Find a heading by its name."""
    return lambda page: page.get_by_role("heading", name=name, exact=True)


def text(words: str) -> Shows:
    """Find a text."""
    return lambda page: page.get_by_text(words)


def popup(name: str) -> Shows:
    """Find a dialog by its name."""
    return lambda page: page.get_by_role("dialog", name=name)


PAY: Shows = lambda page: button(page, "Bayar Rp20.000")  # noqa: E731
WRITE: Shows = lambda page: page.get_by_label("Tulis pesan")  # noqa: E731


# The customer ------------------------------------------------------------------------------------------------


@step(CUSTOMERS)
async def paying(system: System) -> AsyncIterator[Step]:
    async with system.mitra():
        customer = await system.customer()
        payment = await system.open_payment(customer)
        confirm = f"/payments/{payment['id']}/confirm"
        # After a reload, the app shows the home screen. The home screen mentions the payment.
        waits = heading("Pembayaranmu belum selesai")
        yield Step(customer, waits, lambda: customer.post(confirm), heading("Mencari bestie…"))


@step(CUSTOMERS)
async def confirming(system: System) -> AsyncIterator[Step]:
    async with system.mitra():
        customer = await system.customer()
        payment = await system.open_payment(customer)
        behaviour = {"behaviour": "lost", "payment_id": payment["id"]}
        json_of(await system.http.put("/api/dev/gateway", json=behaviour))
        confirmation = asyncio.create_task(customer.post(f"/payments/{payment['id']}/confirm"))

        async def is_confirming() -> bool:
            return bool(json_of(await customer.get(f"/payments/{payment['id']}"))["status"] == "confirming")

        await wait_until(is_confirming)
        # When the clock runs again, the server asks the gateway about the charge.
        await system.advance_clock(0)
        go_on = "DELETE FROM virtual_clock"
        yield Step(
            customer,
            text("Jangan bayar lagi"),
            lambda: system.database.execute(go_on),
            heading("Mencari bestie…"),
        )
        await confirmation


@step(CUSTOMERS)
async def searching(system: System) -> AsyncIterator[Step]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.search(customer)
        request = await socket.wait_for("request.offered")
        accept = f"/requests/{request['id']}/accept"
        yield Step(customer, heading("Mencari bestie…"), lambda: mitra.post(accept), WRITE)


@step(CUSTOMERS)
async def waiting_for_one(system: System) -> AsyncIterator[Step]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.ask_again(customer, mitra, socket)
        request = await socket.wait_for("request.offered", kind="targeted")
        reject = f"/requests/{request['id']}/reject"
        yield Step(
            customer,
            heading("Menunggu konfirmasi bestie..."),
            lambda: mitra.post(reject),
            popup("Bestie sedang tidak online"),
        )


@step(CUSTOMERS)
async def choosing(system: System) -> AsyncIterator[Step]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        pairing = await system.reject_again(customer, mitra, socket)
        decline = f"/pairings/{pairing['id']}/decline-fallback"
        yield Step(
            customer,
            popup("Bestie sedang tidak online"),
            lambda: customer.post(decline),
            heading("Bestie pilihanmu belum bisa menemani"),
        )


@step(CUSTOMERS)
async def failed(system: System) -> AsyncIterator[Step]:
    async with system.mitra():
        customer = await system.customer()
        pairing = await system.search(customer)
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
        yield Step(customer, heading("Pencarian dibatalkan"), lambda: system.open_payment(customer), PAY)


@step(CUSTOMERS)
async def chatting(system: System) -> AsyncIterator[Step]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await send_message(customer, session, "Halo Kak")
        yield Step(
            customer,
            text("Halo Kak"),
            lambda: send_message(mitra, session, "Boleh sekali"),
            text("Boleh sekali"),
        )


@step(CUSTOMERS)
async def waiting_for_more_time(system: System) -> AsyncIterator[Step]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        # Stop the clock, so that the mitra's time limit of ten seconds does not end.
        await system.advance_clock(0)
        extension = await ask_for_more_time(system, customer, session)
        reject = f"/extensions/{extension['id']}/reject"
        yield Step(
            customer,
            popup("Menunggu konfirmasi bestie..."),
            lambda: mitra.post(reject),
            popup("Waktu tidak ditambah"),
        )


# The mitra ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def online(system: System) -> AsyncIterator[Person]:
    """Create a mitra who is online."""
    mitra = await new_mitra(system)
    async with mitra.socket():
        json_of(await mitra.put("/presence", {"online": True}))
        yield mitra


CUT_OFF = heading("Tidak tersambung")


@step(MITRAS)
async def offline(system: System) -> AsyncIterator[Step]:
    mitra = await new_mitra(system)
    yield Step(
        mitra,
        heading("Kamu offline"),
        lambda: mitra.put("/presence", {"online": True}),
        heading("Kamu online"),
    )


@step(MITRAS)
async def asked(system: System) -> AsyncIterator[Step]:
    async with online(system) as mitra:
        customer = await system.customer("Melati")
        pairing = await system.search(customer)

        async def cancel_and_ask() -> None:
            json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
            await system.search(await system.customer("Mawar"))

        yield Step(
            mitra,
            lambda page: card(page, "Melati"),
            cancel_and_ask,
            lambda page: card(page, "Mawar"),
            CUT_OFF,
        )


@step(MITRAS)
async def listening(system: System) -> AsyncIterator[Step]:
    async with online(system) as mitra:
        customer = await system.customer("Melati")
        session = await accept_blast(system, customer, mitra)
        await send_message(customer, session, "Halo Kak")
        yield Step(
            mitra, text("Halo Kak"), lambda: send_message(customer, session, "Ada waktu?"), text("Ada waktu?")
        )


@step(MITRAS)
async def asked_for_more_time(system: System) -> AsyncIterator[Step]:
    async with online(system) as mitra:
        customer = await system.customer("Melati")
        session = await accept_blast(system, customer, mitra)
        # Stop the clock, so that the mitra's time limit of ten seconds does not end.
        await system.advance_clock(0)
        extension = await ask_for_more_time(system, customer, session)
        yield Step(
            mitra,
            text("Tidak dijawab berarti setuju"),
            lambda: mitra.post(f"/extensions/{extension['id']}/accept"),
            lambda page: page.get_by_role("timer").filter(has_text=re.compile(r"^(45:00|44:\d\d)$")),
            CUT_OFF,
        )


# The tests ---------------------------------------------------------------------------------------------------


async def check_interruptions(system: System, step: Step, path: str) -> None:
    """Check that the app shows the step after a reload, on a second phone, and without a network.

    The check without a network includes a reload. After these checks, change the state, and check that both phones show
    the new state.
    """
    device: BrowserContext = await system.device_of(step.person, service_workers="allow")
    phone = await open_installed_app(device, path)
    await expect(step.shows(phone)).to_be_visible()
    await phone.reload()
    await expect(step.shows(phone)).to_be_visible()
    second = await system.page_of(step.person, path)
    await expect(step.shows(second)).to_be_visible()
    await device.set_offline(True)
    await expect(phone.get_by_text("Tidak ada koneksi. Menyambung lagi…")).to_be_visible()
    await expect(step.shows(phone)).to_be_visible()
    await phone.reload()
    await expect((step.offline or step.shows)(phone)).to_be_visible()
    await step.move_on()
    await expect(step.then(second)).to_be_visible()
    await device.set_offline(False)
    await expect(step.then(phone)).to_be_visible()
    await expect(phone.get_by_text("Tidak ada koneksi. Menyambung lagi…")).to_have_count(0)


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
@pytest.mark.parametrize("name", CUSTOMERS)
async def test_a_customer_sees_the_state_of_the_journey_after_every_interruption(
    system: System, name: str
) -> None:
    async with CUSTOMERS[name](system) as begun:
        await check_interruptions(system, begun, "/app/")


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
@pytest.mark.parametrize("name", MITRAS)
async def test_a_mitra_sees_the_state_of_the_work_after_every_interruption(system: System, name: str) -> None:
    async with MITRAS[name](system) as begun:
        await check_interruptions(system, begun, "/mitra/")


@pytest.mark.rule("V.3", "X.8")
async def test_an_ended_chat_can_be_read_after_a_reload_and_on_a_second_phone(system: System) -> None:
    customer = await system.customer("Melati")
    async with online(system) as mitra:
        session = await past_chat(system, customer, mitra)
    for person, root in ((customer, "/app"), (mitra, "/mitra")):
        phone = await system.page_of(person, f"{root}/history/{session['id']}")
        await expect(heading("Sesi selesai")(phone)).to_be_visible()
        await phone.reload()
        await expect(heading("Sesi selesai")(phone)).to_be_visible()
