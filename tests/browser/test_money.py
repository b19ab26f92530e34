"""Test that a customer finds every payment in the app, and sees a decision and a refund without asking."""

import re
from uuid import UUID

import pytest
from playwright.async_api import expect

from curhat.payments.reference import payment_reference
from tests.browser.screens import refund
from tests.browser.system import System, json_of
from tests.browser.test_journey import button
from tests.support.journey import open_blast


@pytest.mark.rule("X.12", "X.9")
async def test_a_customer_follows_the_money_of_a_failed_search_until_it_is_back(system: System) -> None:
    customer = await system.customer()
    async with system.mitra():
        pairing = await system.search(customer)
        payment_id = UUID(pairing["payment_id"])
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
        page = await system.page_of(customer, "/app/failed")
        await button(page, "Ke beranda").click()
        # The note is there at every start, until the team has decided.
        await page.reload()
        await page.get_by_text(re.compile("sedang kami periksa")).click()
        await expect(page.get_by_role("heading", name="Rincian pembayaran")).to_be_visible()
        await expect(page.get_by_text(payment_reference(payment_id))).to_be_visible()
        await expect(page.get_by_text("Begitu ada keputusan")).to_be_visible()
        await refund(system, payment_id)
        await expect(page.get_by_text(re.compile("sudah kami kembalikan pada"))).to_be_visible(timeout=10_000)
        await button(page, "Kembali").click()
        # The customer has seen the refund, so the home screen of another device does not note it.
        other = await system.page_of(customer)
        await expect(button(other, "Curhat")).to_be_visible()
        await other.get_by_label("Profil").click()
        await button(other, "Pembayaranmu").click()
        await expect(other.get_by_text("Sudah dikembalikan")).to_be_visible()
        news = json_of(await customer.get("/payments", news=True))
        assert news["items"] == []


@pytest.mark.rule("2b.1", "1.5")
async def test_the_search_says_that_a_bestie_is_asked_as_soon_as_one_is(system: System) -> None:
    customer = await system.customer()
    await open_blast(system.database, await system.make.confirmed_payment(customer.id), [])
    page = await system.page_of(customer, "/app/search")
    await expect(page.get_by_text("Kami menunggu bestie yang siap.")).to_be_visible()
    async with system.mitra():
        await expect(page.get_by_text("Kami sedang menghubungi bestie yang siap")).to_be_visible(
            timeout=10_000
        )
